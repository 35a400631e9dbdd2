"""Every rule that turns a recommendation into changes (DESIGN 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pla.core.fleet import InstanceState, Mode, Tier
from pla.core.plan import Reason, Skip

NOW_S = 1_800_000_000.0

Make = Callable[..., Any]


# -- growth and shrink ---------------------------------------------------------------------


def test_nothing_to_do_is_an_empty_plan(make_fleet: Make, planned: Make) -> None:
    found = planned(make_fleet([[2.0], [3.0]]), [2.0, 3.0])
    assert len(found.plan) == 0
    assert found.skipped == {}


def test_growth_is_at_once_whatever_the_cooldown(make_fleet: Make, planned: Make) -> None:
    found = planned(make_fleet([[1.0]]), [1.5], last_s=NOW_S - 1)
    assert found.changes == {(0, 0): 1.5}


@pytest.mark.parametrize(("target", "shrinks"), [(0.81, False), (0.8, False), (0.79, True)])
def test_a_shrink_only_below_four_fifths(
    make_fleet: Make, planned: Make, target: float, shrinks: bool
) -> None:
    found = planned(make_fleet([[1.0]]), [target])
    assert found.changes == ({(0, 0): target} if shrinks else {})
    assert found.skipped == ({} if shrinks else {(0, 0): Skip.DEADBAND})


@pytest.mark.parametrize(("elapsed_s", "shrinks"), [(0, False), (599, False), (600, True)])
def test_a_shrink_only_after_the_cooldown(
    make_fleet: Make, planned: Make, elapsed_s: float, shrinks: bool
) -> None:
    found = planned(make_fleet([[1.0]]), [0.6], last_s=NOW_S - elapsed_s)
    assert found.changes == ({(0, 0): 0.6} if shrinks else {})
    assert found.skipped == ({} if shrinks else {(0, 0): Skip.COOLDOWN})


@pytest.mark.parametrize(("tier", "reached"), [(0, 0.7), (1, 0.5), (2, 0.3)])
def test_a_shrink_takes_at_most_the_tiers_share(
    make_fleet: Make, planned: Make, tier: int, reached: float
) -> None:
    found = planned(make_fleet([[1.0]], tier=tier), [0.1])
    assert found.changes[0, 0] == pytest.approx(reached)
    assert found.plan.reason[0] & Reason.SHRINK_LIMITED


def test_a_shrink_within_the_share_goes_all_the_way(make_fleet: Make, planned: Make) -> None:
    found = planned(make_fleet([[1.0]]), [0.6])
    assert not found.plan.reason[0] & Reason.SHRINK_LIMITED


@pytest.mark.parametrize(
    ("tier", "current", "target", "reached"),
    [
        (0, 3.0, 1.0, 2.0),  # 30 % of three are less than one device: one is taken
        (0, 1.0, 0.0, 0.0),
        (0, 2.6, 1.0, 2.0),  # what is not whole is made whole
        (1, 4.0, 1.0, 2.0),
        (0, 10.0, 0.0, 7.0),
    ],
)
def test_a_shrink_takes_one_device_at_least(
    make_fleet: Make, planned: Make, tier: int, current: float, target: float, reached: float
) -> None:
    found = planned(make_fleet([[current]], resources=("gpu",), tier=tier), [target])
    assert found.changes == {(0, 0): reached}
    assert bool(found.plan.reason[0] & Reason.SHRINK_LIMITED) == (reached > target)


def test_an_amount_that_cannot_be_divided_that_small_stays_and_it_says_so(
    make_fleet: Make, planned: Make
) -> None:
    found = planned(make_fleet([[0.003]], tier=0), [0.001])
    assert found.changes == {}
    assert found.skipped == {(0, 0): Skip.SHRINK_LIMIT}


def test_the_first_plan_may_shrink(make_fleet: Make, planned: Make) -> None:
    assert planned(make_fleet([[1.0]]), [0.6], last_s=-np.inf).changes == {(0, 0): 0.6}


def test_without_a_cooldown_two_plans_at_one_time_do_not_add_up(
    make_fleet: Make, planned: Make
) -> None:
    tiers = (Tier("t", 1, 0.9, 0, cooldown_s=0, max_shrink_fraction=0.5),)
    fleet = make_fleet([[1.0]], tiers=tiers, tier=0)
    assert planned(fleet, [0.1], last_s=NOW_S - 1).changes == {(0, 0): 0.5}
    assert planned(fleet, [0.1], last_s=NOW_S).skipped == {(0, 0): Skip.COOLDOWN}


def test_less_than_half_a_quantum_is_no_change(make_fleet: Make, planned: Make) -> None:
    assert len(planned(make_fleet([[1.0]]), [1.0004]).plan) == 0
    assert len(planned(make_fleet([[1.0]]), [1.001]).plan) == 1


def test_shrinks_come_before_growth(make_fleet: Make, planned: Make) -> None:
    found = planned(make_fleet([[1.0], [4.0], [1.0], [4.0]]), [2.0, 2.5, 2.0, 2.5])
    assert found.plan.instance.tolist() == [1, 3, 0, 2]


def test_all_instances_of_a_workload_get_its_target(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet([[1.0], [2.0], [3.0]], workload=[0, 0, 1])
    assert planned(fleet, [2.0, 5.0]).changes == {(0, 0): 2.0, (2, 0): 5.0}


# -- who may act ---------------------------------------------------------------------------


@pytest.mark.parametrize("target", [2.0, 0.5])
def test_observe_only_recommends(make_fleet: Make, planned: Make, target: float) -> None:
    found = planned(make_fleet([[1.0]], mode=Mode.OBSERVE), [target])
    assert len(found.plan) == 0
    assert list(found.plan.skips()) == [(0, 0, target, Skip.OBSERVE)]


@pytest.mark.parametrize(
    ("fraction", "count", "chosen"),
    [(0.1, 30, 3), (0.07, 100, 7), (0.1, 31, 4), (0.1, 1, 1), (1.0, 7, 7)],
)
def test_canary_acts_on_its_share_of_instances(
    make_fleet: Make, planned: Make, fraction: float, count: int, chosen: int
) -> None:
    tiers = (Tier("t", 1, 0.9, 0, 0, 1, canary_fraction=fraction),)
    fleet = make_fleet(
        np.ones((2 * count, 1)),
        tiers=tiers,
        tier=0,
        workload=np.tile([0, 1], count),
        mode=[Mode.CANARY, Mode.ENFORCE],
    )
    found = planned(fleet, [2.0, 2.0])
    acted = found.plan.instance[fleet.instances.workload[found.plan.instance] == 0]
    assert acted.tolist() == [2 * row for row in range(chosen)]
    assert len(found.plan) == count + chosen
    assert set(found.skipped.values()) == ({Skip.CANARY} if chosen < count else set())


def test_canary_does_not_choose_an_instance_that_is_stopped(
    make_fleet: Make, planned: Make
) -> None:
    tiers = (Tier("t", 1, 0.9, 0, 0, 1, canary_fraction=0.5),)
    states = [InstanceState.STOPPED, InstanceState.RUNNING, InstanceState.RUNNING]
    fleet = make_fleet(
        np.ones((3, 1)), tiers=tiers, tier=0, workload=[0] * 3, mode=Mode.CANARY, state=states
    )
    assert planned(fleet, [2.0]).plan.instance.tolist() == [1]


def test_paused_workloads_are_left_alone(make_fleet: Make, planned: Make) -> None:
    found = planned(make_fleet([[1.0], [1.0]], paused=[True, False]), [2.0, 2.0])
    assert found.changes == {(1, 0): 2.0}
    assert found.skipped == {(0, 0): Skip.PAUSED}


def test_what_the_platform_cannot_resize_is_only_recommended(
    make_fleet: Make, planned: Make
) -> None:
    fleet = make_fleet([[1.0, 1.0]], resources=("cpu", "gpu"))
    found = planned(fleet, [[2.0, 2.0]], supported=[[True, False]])
    assert found.changes == {(0, 0): 2.0}
    assert found.skipped == {(0, 1): Skip.UNSUPPORTED}


@pytest.mark.parametrize("state", [InstanceState.STOPPED, InstanceState.STARTING])
def test_an_instance_that_does_not_run_is_left_alone(
    make_fleet: Make, planned: Make, state: InstanceState
) -> None:
    assert planned(make_fleet([[1.0]], state=state), [2.0]).skipped == {(0, 0): Skip.NOT_RUNNING}


def test_a_resize_under_way_stops_a_shrink_but_not_growth(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet([[1.0], [1.0]], state=InstanceState.RESIZING)
    found = planned(fleet, [2.0, 0.5])
    assert found.changes == {(0, 0): 2.0}
    assert found.skipped == {(1, 0): Skip.RESIZING}


def test_a_skip_says_the_first_reason_that_stands(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet([[1.0]], mode=Mode.OBSERVE, paused=True, state=InstanceState.STOPPED)
    assert planned(fleet, [2.0], supported=False).skipped == {(0, 0): Skip.UNSUPPORTED}


def test_an_empty_fleet_has_an_empty_plan(make_fleet: Make, planned: Make) -> None:
    fleet = make_fleet(np.empty((0, 1)))
    found = planned(fleet, np.empty((0, 1)))
    assert len(found.plan) == 0
    assert found.plan.unmet.shape == (0, 1)
