"""The map of identities: who is meant by what, filled by every write of a customer, emptied by an erasure."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connections
from django.test.utils import CaptureQueriesContext

from customers import identities, mapping
from customers.directory import upsert, upsert_many
from customers.erasure import request_erasure, run_erasure
from customers.identities import Claim, claim_identities, resolve
from customers.identity_kinds import IdentityError, identity_digest, kind_names, normal_value, read_identity, read_pair
from customers.models import DirectoryEntry, Identity
from customers.moves import move_customer
from customers.records import CustomerData
from tests.customers.gates import Process, gate, wait_for_somebody_behind_a_lock
from tests.customers.people import follow, make

pytestmark = pytest.mark.usefixtures("clean_databases")

M1, M2 = "13812345678", "13900000000"


def mobile(text: str) -> tuple[str, bytes]:
    return read_pair("mobile", text)


def rows() -> set[tuple[str, str, str]]:
    """Return {(kind, owner, external_userid)} of the map."""
    return set(Identity.objects.values_list("kind", "owner", "external_userid"))


def claim(
    who: str, kind: str, *values: str, owner: str = "api:shop", replaces: bool = False, is_weak: bool | None = False
) -> int:
    digests = frozenset(identity_digest(kind, value) for value in values)
    return len(claim_identities([Claim(who, owner, kind, digests, replaces, is_weak)]))


def settle_all() -> None:
    Identity.objects.update(is_fresh=False)


# -------------------------------------------------------------------------------------------------------------- values
@pytest.mark.parametrize(
    ("kind", "value", "same_as"),
    [
        ("mobile", "+86 138 1234 5678", M1),
        ("mobile", "008613812345678", M1),
        ("mobile", "8613812345678", M1),
        ("mobile", "138-1234-5678", M1),
        ("mobile", "１３８１２３４５６７８", M1),
        ("mobile", "(010) 6552-9988", "01065529988"),
        ("mobile", "+86 10 6552 9988", "1065529988"),
        ("mobile", "+852 6123 4567", "+85261234567"),
        ("mobile", "86123456", "86123456"),
        ("openid", " oX_y-1 ", "oX_y-1"),
        ("member_no", "会员🙂1", "会员🙂1"),
        ("unionid", "x" * 128, "x" * 128),
    ],
)
def test_values_are_compared_in_one_form(kind: str, value: str, same_as: str) -> None:
    assert normal_value(kind, value) == same_as
    assert read_pair(kind, value) == read_pair(kind, same_as)


@pytest.mark.parametrize(
    ("identity", "code"),
    [
        ({"kind": "mobile", "value": "138****5678"}, "invalid_identity"),
        ({"kind": "mobile", "value": "1234"}, "invalid_identity"),
        ({"kind": "mobile", "value": "1" * 21}, "invalid_identity"),
        ({"kind": "mobile", "value": 13812345678}, "invalid_identity"),
        ({"kind": "openid", "value": ""}, "invalid_identity"),
        ({"kind": "openid", "value": "  "}, "invalid_identity"),
        ({"kind": "openid", "value": "x" * 129}, "invalid_identity"),
        ({"kind": "openid", "value": "x" * 1_000_000}, "invalid_identity"),
        ({"kind": "openid", "value": "a\x00b"}, "invalid_identity"),
        ({"kind": "openid", "value": "a\ud800"}, "invalid_identity"),
        ({"kind": "openid", "value": None}, "invalid_identity"),
        ({"kind": "openid"}, "invalid_identity"),
        ({"kind": "openid", "value": "x", "app": "y"}, "invalid_identity"),
        ({"kind": "card", "value": "x"}, "unknown_identity_kind"),
        ({"kind": None, "value": "x"}, "unknown_identity_kind"),
        ({"kind": ["openid"], "value": "x"}, "unknown_identity_kind"),
        ("openid:x", "invalid_identity"),
        ([], "invalid_identity"),
    ],
)
def test_what_is_no_identity_says_so(identity: Any, code: str) -> None:
    with pytest.raises(IdentityError) as caught:
        read_identity(identity)
    assert caught.value.code == code


def test_digests_are_keyed_and_of_one_kind(settings: Any) -> None:
    assert identity_digest("openid", "x") != identity_digest("unionid", "x")
    before = identity_digest("openid", "x")
    settings.SECRET_KEY = "another"
    assert identity_digest("openid", "x") != before


def test_kinds_of_a_companys_own(settings: Any) -> None:
    settings.IDENTITY_KINDS = ["taobao=淘宝昵称", "card_no"]
    kind_names.cache_clear()
    try:
        assert kind_names()["taobao"] == "淘宝昵称"
        assert read_pair("card_no", " 7 ") == read_pair("card_no", "7")
        assert [one.id for one in run_checks()] == []
        settings.IDENTITY_KINDS = ["Card No"]
        (error,) = run_checks()
        assert (error.id, "Card No" in error.msg) == ("customers.E001", True)
    finally:
        kind_names.cache_clear()


# --------------------------------------------------------------------------------------------------------- the writers
def test_every_write_that_tells_an_identity_fills_the_map() -> None:
    make("wmA", mobile="138 1234 5678", unionid="u-A")
    make("wmB", follows=(follow("zhang", mobiles=(M2, "分机 12")), follow("li", mobiles=("+86" + M2,))))
    make("wmC")
    assert rows() == {
        ("mobile", "customer", "wmA"), ("unionid", "customer", "wmA"), ("mobile", "follows", "wmB"),
    }  # fmt: skip
    assert resolve([mobile(M1), mobile(M2), read_pair("unionid", "u-A"), mobile("13700000000")]) == {
        mobile(M1): "wmA", mobile(M2): "wmB", read_pair("unionid", "u-A"): "wmA",
    }  # fmt: skip
    assert not any(M1 in str(row) for row in Identity.objects.values())


def test_a_new_value_replaces_the_old_one_of_the_same_owner_only() -> None:
    make("wmA", mobile=M1, follows=(follow("zhang", mobiles=(M1,)),))
    claim("wmA", "mobile", "13600000000")
    upsert(CustomerData("wmA", {"mobile": M2}))
    assert resolve([mobile(M1), mobile(M2), mobile("13600000000")]) == dict.fromkeys(
        [mobile(M1), mobile(M2), mobile("13600000000")], "wmA"
    )
    upsert(CustomerData("wmA", {"mobile": ""}, follows=()))
    assert resolve([mobile(M1), mobile(M2), mobile("13600000000")]) == {mobile("13600000000"): "wmA"}
    upsert(CustomerData("wmA", {"name": "王"}))
    assert rows() == {("mobile", "api:shop", "wmA")}


def test_mobiles_of_follows_that_a_restricted_writer_does_not_see_stay() -> None:
    make("wmA", follows=(follow("zhang", mobiles=(M1,)), follow("chen", mobiles=(M2,))))
    upsert(CustomerData("wmA", follows=(follow("zhang"),), follows_within=frozenset({"zhang"})))
    assert resolve([mobile(M1), mobile(M2)]) == {mobile(M2): "wmA"}


def test_what_is_refused_claims_nothing() -> None:
    make("wmA", unionid="u-1")
    upsert(CustomerData("wmA", {"unionid": "u-1"}, by_wecom=True))
    done = upsert_many([CustomerData("wmA", {"unionid": "u-2", "mobile": M1})])
    assert done.rejected["wmA"].code == "owned_by_wecom"
    assert rows() == {("unionid", "customer", "wmA")}


def test_an_answer_of_wecom_that_is_older_leaves_the_unionid() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    upsert(CustomerData("wmA", {"unionid": "new"}, by_wecom=True, read_at=at.replace(hour=2)))
    upsert(CustomerData("wmA", {"unionid": "old"}, by_wecom=True, read_at=at.replace(hour=1)))
    assert set(resolve([read_pair("unionid", "new"), read_pair("unionid", "old")])) == {read_pair("unionid", "new")}


def test_a_repeat_mends_a_crash_between_the_two_databases() -> None:
    make("wmA", mobile=M1)
    Identity.objects.all().delete()  # the writer died after the commit in the home
    assert upsert(CustomerData("wmA", {"mobile": M1}))[1] == "unchanged"
    assert resolve([mobile(M1)]) == {mobile(M1): "wmA"}


def test_a_chore_brings_the_map_to_what_customers_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "PAGE", 2)
    for number in range(5):
        make(f"wm{number}", home=100 + number % 2, mobile=f"1380000000{number}", unionid=f"u{number}")
    make("wmF", follows=(follow("zhang", mobiles=(M1,)), follow("li", mobiles=(M1, "13800000000"))))
    before = set(Identity.objects.values_list("kind", "digest", "external_userid", "owner"))
    assert (len(before), mapping.map_all()) == (12, 0)
    Identity.objects.exclude(external_userid="wm1").delete()
    claim("wm1", "mobile", M2, owner="customer")  # of a writer who was overtaken
    claim("wm1", "openid", "o1")
    assert mapping.map_all() == 10
    after = set(Identity.objects.exclude(kind="openid").values_list("kind", "digest", "external_userid", "owner"))
    assert after == before
    assert resolve([read_pair("openid", "o1")]) == {read_pair("openid", "o1"): "wm1"}


def test_a_move_keeps_identities() -> None:
    make("wmA", mobile=M1)
    move_customer("wmA", 101, actor="test")
    assert resolve([mobile(M1)]) == {mobile(M1): "wmA"}


# ----------------------------------------------------------------------------------------------------------------- map
def test_a_value_that_two_claim_names_nobody_until_one_gives_it_up() -> None:
    make("wmA", mobile=M1)
    make("wmB", mobile=M1)
    claim("wmA", "mobile", M1)
    assert resolve([mobile(M1)]) == {mobile(M1): None}
    settle_all()
    upsert(CustomerData("wmB", {"mobile": ""}))
    assert resolve([mobile(M1)]) == {mobile(M1): "wmA"}
    # What waits for it is looked through again.
    assert set(Identity.objects.values_list("external_userid", "is_fresh")) == {("wmA", True)}


def test_claims_are_idempotent_and_only_of_who_is_there() -> None:
    make("wmA")
    make("moving")
    DirectoryEntry.objects.filter(external_userid="moving").update(state="moving")
    make("creating")
    DirectoryEntry.objects.filter(external_userid="creating").update(state="creating")
    assert [claim("wmA", "openid", "o1", "o2"), claim("wmA", "openid", "o1", "o2"), claim("wmA", "openid", "o3")] == [
        2, 0, 1,
    ]  # fmt: skip
    assert [claim("nobody", "openid", "o9"), claim("creating", "openid", "o9"), claim("moving", "openid", "m")] == [
        0, 0, 1,
    ]  # fmt: skip
    assert claim("wmA", "openid", "o4", replaces=True) == 1
    assert sorted(Identity.objects.filter(external_userid="wmA").values_list("kind", flat=True)) == ["openid"]
    assert claim_identities([]) == set()
    assert resolve([]) == {}


def test_what_restricted_keys_say_counts_only_where_nobody_else_says_otherwise() -> None:
    """One table, asked in both ways: by the database, and of the claimants by choose."""
    for one in ("wmA", "wmB", "wmC"):
        make(one)
    table: dict[str, tuple[str, str, str | None]] = {  # who claims it, who weakly, whom it names
        "strong": ("A", "", "wmA"),
        "weak": ("", "A", "wmA"),
        "strong before weak": ("A", "BC", "wmA"),
        "two strong": ("AB", "C", None),
        "two weak": ("", "BC", None),
        "both": ("A", "AB", "wmA"),
    }
    for value, (strong, weak, _) in table.items():
        for letter in strong:
            claim(f"wm{letter}", "member_no", value)
        for letter in weak:
            claim(f"wm{letter}", "member_no", value, owner="api:branch", is_weak=True)
    pairs = {value: read_pair("member_no", value) for value in (*table, "nobody's")}
    assert resolve(pairs.values()) == {pairs[value]: whom for value, (_, _, whom) in table.items()}
    claimants = identities.list_claimants(pairs.values())
    assert claimants[pairs["both"]] == {"wmA": False, "wmB": True}
    assert {pair: identities.choose(found) for pair, found in claimants.items()} == resolve(pairs.values())


def test_a_weak_claim_becomes_strong_when_somebody_unrestricted_says_it_and_never_weak_again() -> None:
    for one in ("wmA", "wmB"):
        make(one)
        claim(one, "openid", "o", owner="api:branch", is_weak=True)
    pair = read_pair("openid", "o")
    settle_all()
    assert claim("wmA", "openid", "o", owner="api:branch", is_weak=None) == 0
    assert (resolve([pair]), identities.list_fresh(limit=9)) == ({pair: None}, [])
    assert claim("wmA", "openid", "o", owner="api:branch") == 0
    assert (resolve([pair]), [one.pair for one in identities.list_fresh(limit=9)]) == ({pair: "wmA"}, [pair])
    settle_all()
    assert claim("wmA", "openid", "o", owner="api:branch", is_weak=True) == 0
    assert (resolve([pair]), identities.list_fresh(limit=9)) == ({pair: "wmA"}, [])
    # Given up by the strong one, it is the weak one's, and what waits is looked through again.
    claim("wmA", "openid", owner="api:branch", replaces=True)
    assert (resolve([pair]), [one.pair for one in identities.list_fresh(limit=9)]) == ({pair: "wmB"}, [pair])


def test_what_a_restricted_writer_tells_of_a_customer_is_claimed_weakly_and_stays_so_through_the_chore() -> None:
    make("theirs", mobile=M1, follows=(follow("zhang", mobiles=(M2,)),))
    make("ours")
    told = CustomerData(
        "ours", {"mobile": M1, "unionid": "u"}, follows=(follow("li", mobiles=(M2,)),), is_restricted=True
    )
    upsert(told)
    upsert(CustomerData("new", {"mobile": M1}, home=100, is_restricted=True))
    weak = {("mobile", "customer", "ours"), ("unionid", "customer", "ours"), ("mobile", "follows", "ours"),
            ("mobile", "customer", "new")}  # fmt: skip
    asked = [mobile(M1), mobile(M2), read_pair("unionid", "u")]
    for _time in range(2):
        assert set(Identity.objects.filter(is_weak=True).values_list("kind", "owner", "external_userid")) == weak
        assert resolve(asked) == {asked[0]: "theirs", asked[1]: "theirs", asked[2]: "ours"}
        assert mapping.map_all() == 0
    upsert(replace(told, is_restricted=False))
    assert resolve(asked) == {asked[0]: None, asked[1]: None, asked[2]: "ours"}


def test_what_a_restricted_writer_put_on_a_follow_stays_weak_when_wecom_changes_another() -> None:
    """A tag is deleted, a member leaves, a customer is read: all of them write what else is on the follows again."""
    make("theirs", mobile=M1)
    make("ours", follows=(follow("li", mobiles=(M2,)),))
    upsert(
        CustomerData(
            "ours",
            follows=(follow("zhang", mobiles=(M1,)),),
            follows_within=frozenset({"zhang"}),
            is_restricted=True,
        )
    )
    settle_all()

    def merge(stored: Any) -> Any:
        return [replace(stored["zhang"], tag_ids=("t",)), replace(stored["li"], mobiles=(M2, "13700000000"))]

    assert upsert(CustomerData("ours", merge_follows=merge, by_wecom=True))[1] == "updated"
    asked = [mobile(M1), mobile(M2), mobile("13700000000")]
    assert resolve(asked) == {asked[0]: "theirs", asked[1]: "ours", asked[2]: "ours"}
    weak = Identity.objects.filter(external_userid="ours", is_weak=True)
    assert [bytes(one.digest) for one in weak] == [asked[0][1]]


def test_what_others_have_on_follows_is_no_weaker_for_it_that_a_restricted_writer_finds_it_missing() -> None:
    make("ours", follows=(follow("li", mobiles=(M2,)),))
    Identity.objects.all().delete()  # as if whoever wrote it had been killed before claiming it
    told = CustomerData("ours", follows=(follow("zhang", mobiles=(M1,)),), is_restricted=True)
    upsert(replace(told, follows_within=frozenset({"zhang"})))
    make("theirs", follows=(follow("li", mobiles=(M1, M2)),))
    assert resolve([mobile(M1), mobile(M2)]) == {mobile(M1): "theirs", mobile(M2): None}


@pytest.mark.parametrize("size", [1, 1000])
def test_cost_is_one_statement_a_batch_and_none_for_nothing(size: int) -> None:
    upsert_many([CustomerData(f"wm{n}", home=100) for n in range(size)])
    told = [CustomerData(f"wm{n}", {"mobile": f"138{n:08}", "unionid": f"u{n}"}) for n in range(size)]
    silent = [CustomerData(f"wm{n}", {"name": "王"}) for n in range(size)]
    costs = []
    for batch in (told, told, silent):
        with CaptureQueriesContext(connections["default"]) as control:
            upsert_many(batch)
        costs.append(len(control))
    assert costs == [2, 2, 1]
    with CaptureQueriesContext(connections["default"]) as control:
        found = resolve([mobile(f"138{n:08}") for n in range(size)])
    assert (len(control), len(found)) == (1, size)
    assert Identity.objects.count() == 2 * size


def test_fresh_claims_are_settled_once_unless_somebody_freshens_them_meanwhile() -> None:
    make("wmA", mobile=M1, unionid="u")
    (first, second) = identities.list_fresh(limit=10)
    assert identities.list_fresh(limit=1) == [first]
    assert identities.list_fresh(after=first.id, limit=10) == [second]
    identities.freshen([first.pair])
    identities.settle_fresh([first, second])
    (left,) = identities.list_fresh(limit=10)
    assert (left.id, left.pair) == (first.id, first.pair)
    identities.settle_fresh([left])
    assert identities.list_fresh(limit=10) == []
    identities.freshen([])
    identities.settle_fresh([])


# ------------------------------------------------------------------------------------------------------------ erasures
def test_an_erasure_forgets_identities_and_says_so() -> None:
    make("wmA", mobile=M1, unionid="u-A")
    make("wmB", mobile=M1)
    settle_all()
    done = run_erasure(request_erasure("wmA", actor="test").id)
    assert done.places["identities"]["rows"] == {"identities": 2}
    assert list(Identity.objects.values_list("external_userid", "is_fresh")) == [("wmB", True)]
    assert resolve([mobile(M1)]) == {mobile(M1): "wmB"}
    assert claim("wmA", "openid", "o") == 0


def test_who_is_being_erased_is_given_no_identity() -> None:
    make("wmA")
    request_erasure("wmA", actor="test")
    assert claim("wmA", "openid", "o") == 0
    assert Identity.objects.count() == 0


def test_an_erasure_waits_for_a_claim_that_is_on_its_way() -> None:
    make("wmA")
    with gate("default", "identities", "INSERT") as shut:
        claimant = Process(lambda: claim("wmA", "openid", "o"))
        shut.wait_for(claimant)
        eraser = Process(lambda: run_erasure(request_erasure("wmA", actor="test").id).places["identities"]["rows"])
        wait_for_somebody_behind_a_lock("default", 2)
        shut.open()
        assert claimant.answer() == 1
        assert eraser.answer() == {"identities": 1}
    assert Identity.objects.count() == 0


def test_a_crowd_that_claims_the_same_ends_with_each_once() -> None:
    names = [f"wm{n}" for n in range(50)]
    upsert_many([CustomerData(one) for one in names])

    def work(order: list[str]) -> int:
        return sum(claim(one, "openid", one) for _ in range(5) for one in order)

    crowd = [Process(lambda order=order: work(order)) for order in (names, names[::-1]) * 3]
    assert sum(process.answer() for process in crowd) == 50
    assert Identity.objects.count() == 50
