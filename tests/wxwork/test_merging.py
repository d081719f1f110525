"""What a read may and may not change, by random histories and by the cases that hurt."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
from hypothesis import given

from customers.records import FollowData
from wxwork.merging import CUSTOMER, STAFF, STAFF_LEFT, TRANSFER, Loss, merge, rename, without_tags

BASE = datetime(2026, 9, 22, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return BASE + timedelta(seconds=seconds)


def shown(userid: str = "chen", *, began: int = 0, read: int = 100, **more: object) -> FollowData:
    return FollowData(userid, created_at=at(began), read_at=at(read), personal_tags=None, **more)  # type: ignore[arg-type]


def stored(userid: str = "chen", *, began: int = 0, read: int = 50, **more: object) -> FollowData:
    return FollowData(
        userid,
        created_at=at(began),
        read_at=at(read),
        **{"lost_by": "", "personal_tags": (), **more},  # type: ignore[arg-type]
    )


def after(before: FollowData | None, read: FollowData | None, *losses: Loss, **options: object) -> FollowData | None:
    merged = merge(
        {before.userid: before} if before else {},
        {read.userid: read} if read else {},
        losses=losses,
        **options,  # type: ignore[arg-type]
    )
    return merged.follows[0] if merged.follows else None


moments = st.integers(0, 200)
follows = st.builds(
    lambda began, read, remark, tags, lost, by: stored(
        began=began, read=read, remark=remark, tag_ids=tuple(tags),
        lost_at=None if lost is None else at(lost), lost_by=by if lost is not None else "",
        personal_tags=(("个人标签", "养猫"),),
    ),
    moments, moments, st.text("ab", max_size=2), st.lists(st.sampled_from(["et1", "et2"]), unique=True),
    st.none() | moments, st.sampled_from(["", CUSTOMER, STAFF, "both", TRANSFER, STAFF_LEFT]),
)  # fmt: skip
reads = st.builds(
    lambda began, read, remark, tags: shown(began=began, read=read, remark=remark, tag_ids=tuple(tags)),
    moments, moments, st.text("ab", max_size=2), st.lists(st.sampled_from(["et1", "et2"]), unique=True),
)  # fmt: skip
losses = st.builds(
    lambda by, when, read, exact: Loss("chen", by, at(when), at(read), exact),
    st.sampled_from([CUSTOMER, STAFF, TRANSFER, STAFF_LEFT]), moments, moments, st.booleans(),
)  # fmt: skip


@given(follows, reads)
def test_an_older_read_changes_nothing(before: FollowData, read: FollowData) -> None:
    if read.read_at < before.read_at:  # type: ignore[operator]
        assert merge({"chen": before}, {"chen": read}, stamps=True).follows == (before,)


@given(st.none() | follows, st.none() | reads, st.none() | losses, st.booleans())
def test_twice_is_once(before: FollowData | None, read: FollowData | None, loss: Loss | None, stamps: bool) -> None:
    given_losses = [loss] if loss else []
    once = after(before, read, *given_losses, stamps=stamps)
    if once is not None:
        again = merge({"chen": once}, {"chen": read} if read else {}, losses=given_losses, stamps=stamps)
        # A staff's deletion that the same call shows again as there is the caller's contradiction, not ours.
        if read is None or loss is None or loss.by == CUSTOMER:
            assert again.follows == (once,)
            assert again.changes == {}


@given(follows, reads, reads)
def test_two_reads_end_as_the_newer_one_whatever_their_order(
    before: FollowData, one: FollowData, two: FollowData
) -> None:
    if before.lost_at is not None or one.read_at == two.read_at:
        return
    newer = max(one, two, key=lambda read: read.read_at)  # type: ignore[arg-type, return-value]
    ends = []
    for first, second in ((one, two), (two, one)):
        between = after(before, first, stamps=True)
        ends.append(after(between, second, stamps=True))
    # Tags are equal whatever their order.
    assert len({replace(end, tag_ids=tuple(sorted(end.tag_ids))) for end in ends if end is not None}) == 1
    if newer.read_at >= before.read_at:  # type: ignore[operator]
        end = ends[0]
        assert end is not None
        assert set(end.tag_ids) == set(newer.tag_ids)
        assert end == replace(newer, tag_ids=end.tag_ids, personal_tags=before.personal_tags, lost_by="")


@given(follows, st.lists(reads, max_size=5))
def test_who_left_stays_lost_through_any_number_of_reads(before: FollowData, some: list[FollowData]) -> None:
    follow = replace(before, lost_at=at(150), lost_by=CUSTOMER, created_at=at(min(150, before.created_at.second)))
    for read in some:
        if read.created_at <= at(149):  # type: ignore[operator]
            follow = after(follow, read) or follow
            assert (follow.lost_at, follow.lost_by) == (at(150), CUSTOMER)


@given(follows, reads)
def test_a_batch_leaves_personal_tags(before: FollowData, read: FollowData) -> None:
    merged = after(before, read)
    assert merged is not None
    assert merged.personal_tags == before.personal_tags


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), follows), st.sampled_from(["a", "b", "c", "d"]), reads)
def test_a_read_touches_only_whom_it_shows(before: dict[str, FollowData], userid: str, read: FollowData) -> None:
    before = {name: replace(follow, userid=name) for name, follow in before.items()}
    merged = merge(before, {userid: replace(read, userid=userid)})
    found = {follow.userid: follow for follow in merged.follows}
    assert set(found) == {*before, userid}
    assert all(found[name] == follow for name, follow in before.items() if name != userid)
    assert set(merged.changes) <= {userid}


@given(st.none() | follows, losses)
def test_a_loss_never_invents_and_never_brings_back(before: FollowData | None, loss: Loss) -> None:
    merged = after(before, None, loss)
    if before is None:
        assert merged is None
    else:
        assert merged is not None
        assert merged.lost_at is not None or before.lost_at is None
        assert (merged.remark, merged.tag_ids, merged.created_at) == (before.remark, before.tag_ids, before.created_at)


def test_a_newer_add_brings_back() -> None:
    lost = stored(lost_at=at(60), lost_by=CUSTOMER, read=60)
    assert (after(lost, shown(began=60)) or lost).lost_at is None  # had begun earlier: back within the second
    assert (after(lost, shown(began=59)) or lost).lost_by == CUSTOMER
    assert (after(replace(lost, created_at=at(60)), shown(began=60)) or lost).lost_by == CUSTOMER
    assert (after(lost, shown(began=61)) or lost).lost_at is None


def test_what_is_not_known_of_an_ending_counts_as_the_customers() -> None:
    lost = stored(lost_at=at(60), lost_by="", read=60)
    assert (after(lost, shown(began=10)) or lost).lost_at == at(60)
    assert (after(lost, shown(began=61)) or lost).lost_at is None


def test_losses() -> None:
    live = stored()
    for by in (CUSTOMER, STAFF, TRANSFER, STAFF_LEFT):
        lost = after(live, None, Loss("CHEN", by, at(70), at(100)))
        assert lost == replace(live, lost_at=at(70), lost_by=by, read_at=at(100))
    # Begun since: not lost to the customer or to a leaving, gone by something later otherwise.
    began = stored(began=80)
    assert after(began, None, Loss("chen", CUSTOMER, at(70), at(100))) == began
    assert after(began, None, Loss("chen", STAFF_LEFT, at(70), at(100))) == began
    assert (after(began, None, Loss("chen", STAFF, at(70), at(100))) or began).lost_at == at(100)
    # Found missing first, then told when and why.
    found = after(live, None, Loss("chen", STAFF, at(90), at(100), is_exact=False)) or live
    assert (found.lost_at, found.lost_by) == (at(90), STAFF)
    told = after(found, None, Loss("chen", TRANSFER, at(70), at(120))) or live
    assert (told.lost_at, told.lost_by) == (at(70), TRANSFER)


def test_a_former_userid_of_somebody_gone_is_the_same_relation() -> None:
    before = {"old": stored("old", remark="周", lost_at=at(40), lost_by=CUSTOMER)}
    merged = merge(before, {"new": shown("new", remark="周")}, gone={"old"})
    assert [(one.userid, one.lost_by) for one in merged.follows] == [("new", CUSTOMER)]
    assert merged.changes == {"new": frozenset({"renamed"})}
    kept = merge(before, {"new": shown("new", remark="周")}, gone=())
    assert sorted(one.userid for one in kept.follows) == ["new", "old"]


def test_renaming() -> None:
    old, new, other = stored("old", read=50), stored("new", read=60), stored("li")
    assert rename({"old": old, "li": other}, "OLD", "new") == [other, replace(old, userid="new")]
    assert rename({"old": old, "new": new}, "old", "new") == [new]
    assert rename({"old": replace(old, read_at=at(70)), "new": new}, "old", "new") == [
        replace(old, userid="new", read_at=at(70))
    ]
    assert rename({"li": other}, "old", "new") == [other]
    assert rename({"chen": stored()}, "chen", "Chen") == [stored("Chen")]


def test_deleted_tags() -> None:
    assert [one.tag_ids for one in without_tags({"chen": stored(tag_ids=("et1", "et2"))}, {"et1"})] == [("et2",)]
