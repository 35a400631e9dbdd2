"""Changes that a platform has accepted and not yet put in force: nothing is promised twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pla.core import under_way
from pla.core.fleet import Fleet, InstanceState, InstanceTable, Mode, Tier
from pla.core.plan import Reason, Skip

NOW_S = 1_800_000_000.0
NAN = float("nan")

Make = Callable[..., Any]


def with_pending(fleet: Fleet, pending: Any) -> Fleet:
    amounts = np.array(pending, dtype=np.float64).reshape(fleet.instances.current.shape)
    return dataclasses.replace(
        fleet, instances=dataclasses.replace(fleet.instances, pending=amounts)
    )


# -- the table -----------------------------------------------------------------------------


def test_left_out_nothing_is_under_way(make_fleet: Make) -> None:
    table = make_fleet([[1.0, 2.0], [3.0, 4.0]], resources=("cpu", "gpu")).instances
    assert table.pending.shape == (2, 2)
    assert np.isnan(table.pending).all()
    np.testing.assert_array_equal(under_way.coming(table.current, table.pending), table.current)
    np.testing.assert_array_equal(under_way.held(table.current, table.pending), table.current)
    none = np.empty(0, dtype=np.int32)
    empty = InstanceTable((), none, none, np.empty((0, 3)), none.astype(np.int8), ())
    assert empty.pending.shape == (0, 3)


def test_a_table_of_another_shape_is_refused(make_fleet: Make) -> None:
    fleet = make_fleet([[1.0], [2.0]])
    table = dataclasses.replace(fleet.instances, pending=np.full((1, 1), NAN))
    with pytest.raises(ValueError, match=r"instances\.pending has shape \(1, 1\), expected \(2, 1"):
        dataclasses.replace(fleet, instances=table)


def test_both_ends_are_held_and_what_is_no_amount_is_nothing() -> None:
    current = np.array([1.0, 4.0, 2.0, 2.0, NAN, np.inf, -1.0])
    pending = np.array([3.0, 2.0, NAN, np.inf, 5.0, NAN, -7.0])
    assert under_way.held(current, pending).tolist() == [3.0, 4.0, 2.0, 2.0, 5.0, 0.0, 0.0]
    found = under_way.coming(current, pending)
    np.testing.assert_array_equal(found, [3.0, 2.0, 2.0, 2.0, NAN, np.inf, -7.0])


# -- the same again, more, less ------------------------------------------------------------


@pytest.mark.parametrize("state", [InstanceState.RESIZING, InstanceState.RUNNING])
@pytest.mark.parametrize("target", [3.0, 0.5])
def test_what_is_under_way_already_is_not_planned_again(
    make_fleet: Make, planned: Make, state: InstanceState, target: float
) -> None:
    fleet = with_pending(make_fleet([[1.0]], state=state), [[target]])
    found = planned(fleet, [target], last_s=NOW_S - 5)
    assert found.changes == {}
    assert found.skipped == {}


def test_growth_beyond_what_is_under_way_needs_room_for_the_rest_only(
    make_fleet: Make, planned: Make
) -> None:
    fleet = make_fleet([[1.0]], state=InstanceState.RESIZING, node=0, capacity=[[5.0]])
    found = planned(with_pending(fleet, [[3.0]]), [4.5])
    assert found.changes == {(0, 0): 4.5}
    assert found.plan.current.tolist() == [1.0]
    trimmed = planned(with_pending(fleet, [[3.0]]), [9.0])
    assert trimmed.changes == {(0, 0): 5.0}
    assert trimmed.plan.unmet.tolist() == [[4.0]]


def test_a_shrink_waits_for_what_is_under_way(make_fleet: Make, planned: Make) -> None:
    fleet = with_pending(make_fleet([[1.0], [4.0], [4.0]]), [8.0, 3.0, 6.0])
    found = planned(fleet, [2.0, 0.5, 0.5])
    assert found.changes == {}
    assert set(found.skipped.values()) == {Skip.RESIZING}
    # A person's as well: nobody knows yet what there will be.
    assert planned(fleet, [2.0, 0.5, 0.5], why=Reason.OVERRIDE).changes == {}


@pytest.mark.parametrize(("target", "reached"), [(4.0, 4.0), (2.0, 2.0), (5.0, 5.0)])
def test_a_shrink_under_way_is_called_off_when_the_need_is_back(
    make_fleet: Make, planned: Make, target: float, reached: float
) -> None:
    fleet = make_fleet([[4.0]], state=InstanceState.RESIZING, node=0, capacity=[[8.0]])
    found = planned(with_pending(fleet, [[1.0]]), [target], last_s=NOW_S - 1)
    assert found.changes == {(0, 0): reached}


def test_calling_a_shrink_off_needs_no_room(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet([[4.0], [4.0]], node=0, capacity=[[8.0]])
    fleet = with_pending(fleet, [1.0, NAN])
    assert planned(fleet, [4.0, 4.0]).changes == {(0, 0): 4.0}
    more = planned(fleet, [6.0, 4.0])
    assert more.changes == {(0, 0): 4.0}
    assert more.plan.reason[0] & Reason.NODE_SHORT
    assert more.plan.unmet.tolist() == [[2.0]]
    assert more.skipped == {}


# -- room ----------------------------------------------------------------------------------


def test_room_that_was_accepted_is_not_given_to_another(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet([[1.0], [1.0]], node=0, capacity=[[4.0]])
    assert planned(fleet, [1.0, 3.0]).changes == {(1, 0): 3.0}
    full = planned(with_pending(fleet, [3.0, NAN]), [3.0, 3.0])
    assert full.changes == {}
    assert full.skipped == {(1, 0): Skip.NODE_FULL}


def test_room_that_a_shrink_under_way_gives_back_is_not_there_yet(
    make_fleet: Make, planned: Make
) -> None:
    fleet = make_fleet([[3.0], [1.0]], node=0, capacity=[[4.0]])
    found = planned(with_pending(fleet, [1.0, NAN]), [1.0, 3.0])
    assert found.skipped == {(1, 0): Skip.NODE_FULL}


def test_a_higher_tier_takes_nothing_that_was_accepted(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet([[1.0], [1.0]], tier=[2, 0], node=0, capacity=[[4.0]])
    found = planned(with_pending(fleet, [2.5, NAN]), [2.5, 4.0])
    assert found.changes == {(1, 0): 1.5}


def test_a_stopped_instance_holds_nothing_that_is_under_way(
    make_fleet: Make, planned: Make
) -> None:
    states = [InstanceState.STOPPED, InstanceState.RUNNING]
    fleet = make_fleet([[1.0], [1.0]], state=states, node=0, capacity=[[4.0]])
    assert planned(with_pending(fleet, [3.0, NAN]), [3.0, 4.0]).changes == {(1, 0): 4.0}


def test_canary_chooses_the_same_instances_while_they_are_resized(
    make_fleet: Make, planned: Make
) -> None:
    tiers = (Tier("t", 1, 0.9, 0, 0, 1, canary_fraction=0.5),)
    states = [InstanceState.RESIZING, *[InstanceState.RUNNING] * 3]
    fleet = make_fleet(
        np.ones((4, 1)), tiers=tiers, tier=0, workload=[0] * 4, mode=Mode.CANARY, state=states
    )
    found = planned(with_pending(fleet, [2.0, NAN, NAN, NAN]), [2.0])
    assert found.changes == {(1, 0): 2.0}
    assert found.skipped == {(2, 0): Skip.CANARY, (3, 0): Skip.CANARY}


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_over_many_ticks_no_node_is_ever_promised_more_than_it_has(
    make_fleet: Make, planned: Make, seed: int, lead: int
) -> None:
    """Targets change every tick, and a platform puts in force `lead` ticks after it accepted."""
    random = np.random.default_rng(seed)
    count, capacity = int(random.integers(2, 12)), 30.0
    current, pending = np.ones(count), np.full(count, NAN)
    due = np.zeros(count)
    changed = np.full(count, -np.inf)
    for tick in range(25):
        ready = ~np.isnan(pending) & (due <= tick)
        current[ready], pending[ready] = pending[ready], NAN
        state = np.where(np.isnan(pending), InstanceState.RUNNING, InstanceState.RESIZING)
        fleet = make_fleet(current[:, None], state=state, node=0, capacity=[[capacity]], tier=2)
        found = planned(
            with_pending(fleet, pending),
            np.round(random.uniform(0.1, 15, count), 3),
            last_s=changed[:, None] - tick * 60 + NOW_S,
        )
        for (row, _), target in found.changes.items():
            pending[row], due[row], changed[row] = target, tick + lead, tick * 60
        assert np.fmax(current, pending).sum() <= capacity + 1e-6
