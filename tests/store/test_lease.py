"""One leader: take, renew, take over, and what clocks may do meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from pla.ports import LeaseLost
from pla.store import SqlStore, machine_timeline

TTL_S = 30.0


def test_first_comer_gets_it_and_a_second_does_not(open_store: Any) -> None:
    first, second = open_store(), open_store()
    lease = first.acquire("tick", "a", TTL_S)
    assert (lease.holder, lease.epoch) == ("a", 1)
    assert second.acquire("tick", "b", TTL_S) is None


def test_leases_of_other_names_are_independent(store: SqlStore) -> None:
    assert store.acquire("tick", "a", TTL_S) is not None
    assert store.acquire("retrain", "b", TTL_S) is not None


def test_expiry_counts_from_before_the_round_trip(store: SqlStore, clock: Any) -> None:
    lease = store.acquire("tick", "a", TTL_S)
    assert lease is not None
    assert lease.expires_s == clock.monotonic_s() + TTL_S


def test_renewing_keeps_the_epoch_and_prolongs(store: SqlStore, clock: Any) -> None:
    store.acquire("tick", "a", TTL_S)
    clock.advance(20)
    lease = store.acquire("tick", "a", TTL_S)
    assert lease is not None
    assert (lease.epoch, lease.expires_s) == (1, clock.monotonic_s() + TTL_S)


def test_renewing_after_its_end_keeps_the_epoch_if_nobody_took_over(
    store: SqlStore, clock: Any
) -> None:
    store.acquire("tick", "a", TTL_S)
    clock.advance(500)
    lease = store.acquire("tick", "a", TTL_S)
    assert lease is not None
    assert lease.epoch == 1


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, float("nan")])
def test_a_useless_ttl_is_refused(store: SqlStore, ttl_s: float) -> None:
    with pytest.raises(ValueError, match="ttl above 0"):
        store.acquire("tick", "a", ttl_s)


def test_a_nameless_holder_is_refused(store: SqlStore) -> None:
    with pytest.raises(ValueError, match="needs a holder"):
        store.acquire("tick", "", TTL_S)


def test_takeover_on_a_shared_timeline_comes_at_the_deadline_and_raises_the_epoch(
    open_store: Any, clock: Any
) -> None:
    first, second = open_store(timeline="boot-1"), open_store(timeline="boot-1")
    old = first.acquire("tick", "a", TTL_S)
    clock.advance(TTL_S - 0.001)
    assert second.acquire("tick", "b", TTL_S) is None
    clock.advance(0.001)
    new = second.acquire("tick", "b", TTL_S)
    assert (new.holder, new.epoch) == ("b", 2)
    with pytest.raises(LeaseLost, match="b holds it now"):
        first.check("tick", old)
    assert first.acquire("tick", "a", TTL_S) is None


def test_a_newcomer_on_a_shared_timeline_replaces_one_long_dead_at_once(
    open_store: Any, clock: Any
) -> None:
    open_store(timeline="boot-1").acquire("tick", "a", TTL_S)
    clock.advance(3600)
    assert open_store(timeline="boot-1").acquire("tick", "b", TTL_S).epoch == 2


def test_takeover_from_elsewhere_waits_for_a_whole_ttl_of_silence(
    open_store: Any, clock: Any, new_clock: Any
) -> None:
    other = new_clock()
    other.elapsed_s = 5.0  # another machine, booted just now
    first, second = open_store(), open_store(clock=other)
    first.acquire("tick", "a", TTL_S)
    assert second.acquire("tick", "b", TTL_S) is None  # first sight
    other.advance(TTL_S)
    assert second.acquire("tick", "b", TTL_S) is None  # clock rates may differ a little
    other.advance(TTL_S * 0.02)
    assert second.acquire("tick", "b", TTL_S).epoch == 2


def test_a_holder_that_shows_life_is_not_replaced(
    open_store: Any, clock: Any, new_clock: Any
) -> None:
    other = new_clock()
    first, second = open_store(), open_store(clock=other)
    first.acquire("tick", "a", TTL_S)
    for _ in range(10):
        assert second.acquire("tick", "b", TTL_S) is None
        clock.advance(TTL_S * 0.9)
        other.advance(TTL_S * 0.9)
        assert first.acquire("tick", "a", TTL_S).epoch == 1


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0])
@pytest.mark.parametrize("timeline", [None, "boot-1"])
def test_wall_clock_jumps_change_nothing(
    open_store: Any, clock: Any, new_clock: Any, jump_s: float, timeline: str | None
) -> None:
    other = new_clock()
    first, second = open_store(timeline=timeline), open_store(clock=other, timeline=timeline)
    lease = first.acquire("tick", "a", TTL_S)
    second.acquire("tick", "b", TTL_S)
    clock.wall_s += jump_s
    other.wall_s += jump_s
    assert second.acquire("tick", "b", TTL_S) is None
    first.check("tick", lease)
    other.advance(TTL_S * 1.02)
    assert second.acquire("tick", "b", TTL_S).epoch == 2


def test_two_processes_of_one_name_are_two_holders(
    open_store: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = open_store(timeline="boot-1"), open_store(timeline="boot-1")
    first.acquire("tick", "worker", TTL_S)
    with monkeypatch.context() as other_process:
        other_process.setattr("pla.store.lease._PROCESS", "another")
        assert second.acquire("tick", "worker", TTL_S) is None
        clock.advance(TTL_S)
        assert second.acquire("tick", "worker", TTL_S).epoch == 2


def test_stores_of_one_process_share_its_lease(open_store: Any) -> None:
    open_store().acquire("tick", "a", TTL_S)
    assert open_store().acquire("tick", "a", TTL_S).epoch == 1


def test_a_released_lease_is_free_at_once(open_store: Any) -> None:
    first, second = open_store(), open_store()
    lease = first.acquire("tick", "a", TTL_S)
    first.release("tick", lease)
    with pytest.raises(LeaseLost, match="nobody holds it now"):
        first.check("tick", lease)
    assert second.acquire("tick", "b", TTL_S).epoch == 2


def test_a_lost_lease_releases_nothing(open_store: Any, clock: Any) -> None:
    first, second = open_store(timeline="boot-1"), open_store(timeline="boot-1")
    old = first.acquire("tick", "a", TTL_S)
    clock.advance(TTL_S)
    new = second.acquire("tick", "b", TTL_S)
    first.release("tick", old)
    second.check("tick", new)


def test_check_of_an_expired_lease_that_nobody_took(
    store: SqlStore, lease: Any, clock: Any
) -> None:
    clock.advance(29.9)
    store.check("tick", lease)
    clock.advance(12.6)
    with pytest.raises(LeaseLost, match=r"ran out 12\.5 s ago"):
        store.check("tick", lease)


def test_check_of_a_lease_that_never_was(store: SqlStore, lease: Any) -> None:
    with pytest.raises(LeaseLost, match="nobody holds it"):
        store.check("no such lease", lease)


def test_the_machine_names_its_timeline() -> None:
    assert machine_timeline() == machine_timeline()
    assert machine_timeline()
