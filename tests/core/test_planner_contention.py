"""Contention on nodes: by tier, in whole quanta, and nothing promised twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pla.core.fleet import InstanceState, Tier
from pla.core.plan import Reason, Skip

NOW_S = 1_800_000_000.0
MIB = 2.0**20
NAN = float("nan")

Make = Callable[..., Any]


def test_the_higher_tier_is_satisfied_first(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet([[1.0], [1.0], [1.0]], tier=[2, 0, 1], node=0, capacity=[[5.0]])
    found = planned(fleet, [2.0, 2.5, 2.5])
    assert found.changes == {(1, 0): 2.5, (2, 0): 1.5}
    assert found.plan.reason[found.plan.instance == 2] & Reason.NODE_SHORT
    assert found.skipped == {(0, 0): Skip.NODE_FULL}
    assert found.plan.unmet.tolist() == [[2.0]]


def test_a_lower_tier_gets_nothing_while_a_higher_one_lacks(
    make_fleet: Make, planned: Make
) -> None:
    fleet = make_fleet([[1.0], [1.0]], tier=[0, 2], node=0, capacity=[[3.0]])
    found = planned(fleet, [100.0, 1.1])
    assert found.changes == {(0, 0): 2.0}
    assert found.plan.unmet[0, 0] == pytest.approx(98.1)


def test_tiers_of_equal_priority_share_by_size(make_fleet: Make, planned: Make) -> None:
    tiers = (Tier("a", 5, 0.9, 0, 0, 1), Tier("b", 5, 0.9, 0, 0, 1))
    fleet = make_fleet([[1.0], [1.0]], tiers=tiers, tier=[0, 1], node=0, capacity=[[3.0]])
    assert planned(fleet, [3.0, 1.5]).changes == {(0, 0): 1.5, (1, 0): 1.5}


def test_within_a_tier_the_smallest_growth_comes_first(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet([[1.0], [1.0], [1.0]], node=0, capacity=[[4.0]])
    assert planned(fleet, [2.0, 1.25, 1.5]).changes == {
        (0, 0): 1.25,
        (1, 0): 1.25,
        (2, 0): 1.5,
    }


def test_what_this_plan_takes_back_is_not_promised_yet(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet([[3.0], [1.0]], node=0, capacity=[[4.0]])
    found = planned(fleet, [1.5, 2.0])
    assert found.changes == {(0, 0): 1.5}
    assert found.skipped == {(1, 0): Skip.NODE_FULL}


def test_what_was_given_back_is_there_in_the_next_tick(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet([[1.5], [1.0]], node=0, capacity=[[4.0]])
    assert planned(fleet, [1.5, 2.0], last_s=NOW_S - 5).changes == {(1, 0): 2.0}


def test_each_node_and_resource_has_its_own_room(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet(
        [[1.0, 100 * MIB], [1.0, 100 * MIB]],
        resources=("cpu", "memory"),
        node=[0, 1],
        capacity=[[1.0, 300 * MIB], [4.0, 100 * MIB]],
    )
    found = planned(fleet, [[2.0, 200 * MIB], [2.0, 200 * MIB]])
    assert found.changes == {(0, 1): 200 * MIB, (1, 0): 2.0}
    assert found.plan.unmet.tolist() == [[1.0, 0.0], [0.0, 100 * MIB]]


def test_an_unlimited_resource_and_an_unbound_instance_are_not_trimmed(
    make_fleet: Make, planned: Make
) -> None:
    fleet = make_fleet(
        [[1.0, 1.0], [1.0, 1.0]],
        resources=("cpu", "gpu"),
        node=[0, -1],
        capacity=[[1.5, NAN]],
    )
    found = planned(fleet, [[9.0, 9.0], [9.0, 9.0]])
    assert found.changes == {(0, 0): 1.5, (0, 1): 9.0, (1, 0): 9.0, (1, 1): 9.0}


def test_stopped_instances_hold_nothing(make_fleet: Make, planned: Make) -> None:
    states = [InstanceState.STOPPED, InstanceState.RUNNING]
    fleet = make_fleet([[3.0], [1.0]], node=0, capacity=[[4.0]], state=states)
    assert planned(fleet, [3.0, 4.0]).changes == {(1, 0): 4.0}


def test_starting_and_warm_instances_hold_what_they_have(make_fleet: Make, planned: Make) -> None:
    states = [InstanceState.STARTING, InstanceState.WARM, InstanceState.RUNNING]
    fleet = make_fleet([[1.0], [1.0], [1.0]], node=0, capacity=[[4.0]], state=states)
    assert planned(fleet, [1.0, 1.0, 4.0]).changes == {(2, 0): 2.0}


def test_an_overcommitted_node_gets_no_worse(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet([[3.0], [3.0]], tier=[0, 0], node=0, capacity=[[4.0]])
    found = planned(fleet, [5.0, 2.25])
    assert found.changes == {(1, 0): 2.25}


def test_devices_are_trimmed_to_whole_devices(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet([[1.0]], resources=("gpu",), node=0, capacity=[[3.5]])
    assert planned(fleet, [8.0]).changes == {(0, 0): 3.0}


@pytest.mark.parametrize("absurd", [1e30, 1e300, np.inf])
def test_an_absurd_target_costs_other_nodes_nothing(
    make_fleet: Make, planned: Make, absurd: float
) -> None:
    node, capacity = [0, 1, 1, 2], [[2.0], [3.0], [NAN]]
    fleet = make_fleet(np.ones((4, 1)), node=node, capacity=capacity)
    found = planned(fleet, [absurd, 1.75, 2.5, 7.0])
    first = {} if np.isinf(absurd) else {(0, 0): 2.0}
    assert found.changes == first | {(1, 0): 1.75, (2, 0): 1.25, (3, 0): 7.0}


def test_no_target_is_no_change(make_fleet: Make, planned: Make) -> None:
    found = planned(make_fleet([[1.0], [NAN]], node=0, capacity=[[4.0]]), [NAN, 2.0])
    assert len(found.plan) == 0
    assert found.skipped == {}
