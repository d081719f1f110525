from collections.abc import Iterator

import redis

from scrm.cache import CacheUnreachableError, ReadThrough, settle


def test_every_owed_key_is_deleted_and_named(rt: ReadThrough, redis_client: redis.Redis) -> None:
    redis_client.mset({"thing:a": "old", "guard:thing:b": "a reader's", "thing:c": "not owed"})
    assert settle(rt, [(1, "a"), (2, "b"), (5, "a"), (9, "never cached")]) == [1, 2, 5, 9]
    assert redis_client.keys() == [b"thing:c"]


def test_nothing_owed_is_nothing_done(rt: ReadThrough) -> None:
    assert settle(rt, []) == []


def test_what_redis_did_not_take_stays_owed(rt: ReadThrough) -> None:
    taken = []

    def owed() -> Iterator[tuple[int, str]]:
        for number in range(3500):
            taken.append(number)
            yield number, f"k{number}"

    drop = rt.drop

    def fail_at_the_third(keys: Iterator[str]) -> None:
        keys = list(keys)
        if "k2000" in keys:
            raise CacheUnreachableError
        drop(keys)

    rt.drop = fail_at_the_third  # type: ignore[method-assign,assignment]
    assert settle(rt, owed()) == list(range(2000))
    assert len(taken) == 3000  # and no more rows were read than were tried
