"""Decisions: written under the lease, settled once, read back, aged out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pla.ports import Lease, LeaseLost
from pla.store import SqlStore


def test_begun_and_settled_decisions_read_back_newest_first(
    store: SqlStore, lease: Lease, decision: Any
) -> None:
    planned = [decision(instance="web-1"), decision(instance="web-2", resource="memory")]
    rows = store.begin("tick", lease, planned)
    assert len(set(rows)) == 2
    assert rows == sorted(rows)
    store.settle([(rows[1], "deferred", 1.0, "node busy"), (rows[0], "applied", 2.0, "")])
    newest, older = store.decisions(None, 10)
    assert newest == replace(planned[1], status="deferred", amount=1.0, message="node busy")
    assert older == replace(planned[0], status="applied", amount=2.0)


def test_row_numbers_follow_the_order_of_many_decisions(
    store: SqlStore, lease: Lease, decision: Any
) -> None:
    rows = store.begin("tick", lease, [decision(instance=f"i{n}") for n in range(2500)])
    store.settle([(row, "applied", float(n), "") for n, row in enumerate(rows)])
    read = {d.instance: d.amount for d in store.decisions(None, 3000)}
    assert read == {f"i{n}": float(n) for n in range(2500)}


def test_unknown_amounts_stay_unknown(store: SqlStore, lease: Lease, decision: Any) -> None:
    rows = store.begin("tick", lease, [decision(current=math.nan)])
    store.settle([(rows[0], "failed", math.nan, "no answer")])
    (read,) = store.decisions(None, 1)
    assert math.isnan(read.current)
    assert math.isnan(read.amount)
    assert read.status == "failed"


def test_numpy_scalars_and_odd_messages_are_taken(
    store: SqlStore, lease: Lease, decision: Any
) -> None:
    odd = decision(current=np.float32(0.5), target=np.float64(2), epoch=np.int64(1))
    rows = store.begin("tick", lease, [odd])
    store.settle([(rows[0], "failed", np.float32(0.5), "bad\0byte \udc80 é")])  # type: ignore[list-item]
    (read,) = store.decisions(None, 1)
    assert (read.current, read.amount, read.message) == (0.5, 0.5, "badbyte ? é")


def test_decisions_of_one_workload_and_the_limit(
    store: SqlStore, lease: Lease, decision: Any
) -> None:
    store.begin("tick", lease, [decision(workload=f"sim://{n % 2}", at_s=n) for n in range(10)])
    assert [d.at_s for d in store.decisions("sim://1", 3)] == [9, 7, 5]
    assert store.decisions("sim://none", 3) == []


def test_no_decisions_no_row_no_transaction(store: SqlStore, lease: Lease, clock: Any) -> None:
    clock.advance(3600)  # an expired lease would be noticed in a transaction
    assert store.begin("tick", lease, []) == []
    store.settle([])
    assert store.decisions(None, 1) == []


def test_an_outcome_is_noted_once(store: SqlStore, lease: Lease, decision: Any) -> None:
    (row,) = store.begin("tick", lease, [decision()])
    store.settle([(row, "applied", 2.0, "")])
    store.settle([(row, "failed", math.nan, "late word")])
    assert store.decisions(None, 1)[0].status == "applied"


def test_an_expired_lease_writes_nothing(
    store: SqlStore, lease: Lease, clock: Any, decision: Any
) -> None:
    clock.advance(30)
    with pytest.raises(LeaseLost, match="ran out"):
        store.begin("tick", lease, [decision()])
    assert store.decisions(None, 1) == []


def test_a_lease_that_ends_while_writing_writes_nothing(
    store: SqlStore, lease: Lease, clock: Any, decision: Any
) -> None:
    class SlowDisk(float):
        """An amount whose conversion lets the lease run out, as a stopped process would."""

        def __float__(self) -> float:
            clock.advance(31)
            return 1.0

    with pytest.raises(LeaseLost, match=r"ran out 1\.0 s ago"):
        store.begin("tick", lease, [decision(current=SlowDisk(1.0))])
    assert store.decisions(None, 1) == []


def test_a_lease_taken_over_writes_nothing(open_store: Any, clock: Any, decision: Any) -> None:
    first, second = open_store(timeline="t"), open_store(timeline="t")
    lease = first.acquire("tick", "a", 30.0)
    clock.advance(30)
    second.acquire("tick", "b", 30.0)
    # Even if the former leader's own clock had stood still:
    stale = replace(lease, expires_s=math.inf)
    with pytest.raises(LeaseLost, match=r"b holds it now \(epoch 2\)"):
        first.begin("tick", stale, [decision()])
    with pytest.raises(LeaseLost):
        first.save_state("calibration", b"x", guard=("tick", stale))
    assert second.decisions(None, 1) == []
    assert second.load_state("calibration") is None


def test_last_changes_are_the_newest_that_may_have_happened(
    store: SqlStore, lease: Lease, decision: Any
) -> None:
    def past(at_s: float, status: str, resource: str = "cpu") -> None:
        (row,) = store.begin("tick", lease, [decision(at_s=at_s, resource=resource)])
        if status != "planned":
            store.settle([(row, status, 1.0, "")])

    past(100, "applied")
    past(200, "accepted")
    past(300, "failed")
    past(400, "conflict")
    past(50, "applied", "memory")
    past(250, "planned", "network_rx")  # its process died before it could note the outcome
    assert store.last_changes(100) == {("web-1", "cpu"): 200, ("web-1", "network_rx"): 250}
    assert store.last_changes(0)[("web-1", "memory")] == 50


def test_vacuum_deletes_what_is_older(store: SqlStore, lease: Lease, decision: Any) -> None:
    store.begin("tick", lease, [decision(at_s=float(n)) for n in range(100)])
    assert store.vacuum(90.0) == 90
    assert [d.at_s for d in store.decisions(None, 100)] == [float(n) for n in range(99, 89, -1)]
    assert store.vacuum(90.0) == 0


def test_vacuum_in_portions(
    store: SqlStore, lease: Lease, decision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pla.store.sql_store._VACUUM_ROWS", 10)
    store.begin("tick", lease, [decision(at_s=float(n)) for n in range(30)])
    assert store.vacuum(25.0) == 25


def test_row_numbers_are_never_used_again(store: SqlStore, lease: Lease, decision: Any) -> None:
    (row,) = store.begin("tick", lease, [decision(at_s=1.0)])
    store.vacuum(2.0)
    (later,) = store.begin("tick", lease, [decision(at_s=3.0)])
    assert later > row
