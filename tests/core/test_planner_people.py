"""What a person set takes effect: deadband, cooldown and steps are there against noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pla.core.fleet import Mode, Tier
from pla.core.plan import Reason, Skip, describe, imposed
from pla.core.planner import plan
from pla.core.policy import recommend
from pla.core.resources import BY_NAME
from pla.core.situation import Rules, Will

NOW_S = 1_800_000_000.0
RULES = Rules()
MIB = 2.0**20
NAN = float("nan")

FIXED = Reason.OVERRIDE
MAXIMUM = Reason.FORECAST | Reason.MAXIMUM
FLOOR = Reason.FORECAST | Reason.OVERRIDE | Reason.OVERRIDE_FLOOR

Make = Callable[..., Any]


# -- which reasons are a person's ----------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "will", "by_person"),
    [
        ({}, {}, False),
        ({}, {"fix": 0.9}, True),
        ({}, {"fix": 0.2}, True),
        ({}, {"ceiling": 0.4}, True),
        ({}, {"ceiling": 0.9}, False),  # it caps nothing: the forecast is below
        ({}, {"floor": 0.9}, False),  # it takes nothing away
        ({"maximum": 0.4}, {}, True),
        ({"maximum": 0.9}, {}, False),
        ({"minimum": 0.9}, {}, False),
        ({"minimum": 5.0, "maximum": 0.9}, {}, True),
        ({}, {"floor": 5.0, "ceiling": 0.9}, True),
        ({"maximum": 0.9}, {"floor": 5.0}, True),
        ({"maximum": 0.4}, {"floor": 0.1}, True),
    ],
)
def test_a_target_is_imposed_where_a_person_set_it_or_capped_it(
    advise: Make, bounds: dict[str, float], will: dict[str, float], by_person: bool
) -> None:
    _, reason = advise(1.0, 0.1, 0.475, fleet=bounds, will=will)
    assert imposed(np.array([[reason]], dtype=np.int32)).item() is by_person


def test_a_floor_of_an_override_says_so_in_words(advise: Make) -> None:
    _, reason = advise(1.0, 0.1, 0.5, will={"floor": 3.0})
    assert "an override set by a person; that override is a floor" in describe(reason)


# -- deadband ------------------------------------------------------------------------------


@pytest.mark.parametrize("why", [FIXED, MAXIMUM])
@pytest.mark.parametrize("resource", ["cpu", "memory"])
@pytest.mark.parametrize("share", [0.81, 0.9, 0.98])
def test_the_deadband_is_not_for_people(
    make_fleet: Make, planned: Make, why: Reason, resource: str, share: float
) -> None:
    one = 1.0 if resource == "cpu" else 100 * MIB
    fleet = make_fleet([[one]], resources=(resource,))
    assert planned(fleet, [share * one], why=why).changes == {(0, 0): share * one}
    assert planned(fleet, [share * one]).skipped == {(0, 0): Skip.DEADBAND}


def test_a_floor_of_a_persons_is_no_wish_to_shrink(make_fleet: Make, planned: Make) -> None:
    assert planned(make_fleet([[1.0]]), [0.9], why=FLOOR).skipped == {(0, 0): Skip.DEADBAND}


# -- cooldown and steps --------------------------------------------------------------------


@pytest.mark.parametrize("why", [FIXED, MAXIMUM])
@pytest.mark.parametrize("resource", ["cpu", "network_rx", "network_tx"])
def test_what_only_slows_follows_a_person_in_the_next_tick(
    make_fleet: Make, planned: Make, why: Reason, resource: str
) -> None:
    one = BY_NAME[resource].floor * 100
    fleet = make_fleet([[one]], resources=(resource,), tier=0)
    found = planned(fleet, [0.1 * one], why=why, last_s=NOW_S - 1)
    assert found.changes == {(0, 0): pytest.approx(0.1 * one)}
    assert not found.plan.reason[0] & Reason.SHRINK_LIMITED


@pytest.mark.parametrize("why", [FIXED, MAXIMUM])
@pytest.mark.parametrize(("resource", "one"), [("memory", 100 * MIB), ("gpu", 10.0)])
def test_what_kills_follows_a_person_in_steps(
    make_fleet: Make, planned: Make, why: Reason, resource: str, one: float
) -> None:
    fleet = make_fleet([[one]], resources=(resource,), tier=0)
    found = planned(fleet, [0.1 * one], why=why)
    assert found.changes == {(0, 0): pytest.approx(0.7 * one)}
    assert found.plan.reason[0] == why | Reason.SHRINK_LIMITED
    waiting = planned(fleet, [0.1 * one], why=why, last_s=NOW_S - 1)
    assert waiting.skipped == {(0, 0): Skip.COOLDOWN}


def test_at_one_time_nobody_shrinks_a_cell_twice(make_fleet: Make, planned: Make) -> None:
    found = planned(make_fleet([[1.0]]), [0.5], why=FIXED, last_s=NOW_S)
    assert found.skipped == {(0, 0): Skip.COOLDOWN}


def test_a_clock_that_jumped_back_holds_up_forecasts_but_no_person(
    make_fleet: Make, planned: Make
) -> None:
    tiers = (Tier("t", 1, 0.9, 0, cooldown_s=0, max_shrink_fraction=0.5),)
    fleet = make_fleet([[1.0]], tiers=tiers, tier=0)
    assert planned(fleet, [0.5], last_s=NOW_S + 9e4).skipped == {(0, 0): Skip.COOLDOWN}
    assert planned(fleet, [0.5], why=FIXED, last_s=NOW_S + 9e4).changes == {(0, 0): 0.5}


# -- and what else holds -------------------------------------------------------------------


@pytest.mark.parametrize("target", [0.5, 2.0])
def test_a_pause_and_the_mode_stand_above_an_override(
    make_fleet: Make, planned: Make, target: float
) -> None:
    fleet = make_fleet([[1.0], [1.0]], paused=[True, False], mode=[Mode.ENFORCE, Mode.OBSERVE])
    found = planned(fleet, [target, target], why=FIXED)
    assert found.skipped == {(0, 0): Skip.PAUSED, (1, 0): Skip.OBSERVE}


def test_what_is_in_use_stays_whatever_a_person_fixed(
    make_fleet: Make, make_situation: Make, make_forecast: Make, planned: Make
) -> None:
    fleet = make_fleet([[200 * MIB]], resources=("memory",))
    will = dataclasses.replace(Will.none(1, 1), fix=np.array([[20 * MIB]]))
    situation = make_situation(fleet, 150 * MIB, recent_peak=190 * MIB)
    advice = recommend(make_forecast([[190 * MIB]]), situation, fleet, will, RULES)
    changes = plan(advice, fleet, fleet.workloads.support, np.full((1, 1), -np.inf), NOW_S, RULES)
    assert changes.target.tolist() == [190 * MIB]
    assert changes.reason[0] == Reason.OVERRIDE | Reason.RECENT_PEAK


@given(
    st.sampled_from(sorted(BY_NAME)),
    st.floats(0.0, 1.2),
    st.sampled_from(["fix", "ceiling", "maximum"]),
    st.sampled_from([0, 1, 2]),
    st.integers(20, 4000),
)
def test_a_person_gets_there_in_a_few_steps_and_there_it_stays(
    make_fleet: Make,
    make_situation: Make,
    make_forecast: Make,
    resource: str,
    share: float,
    bound: str,
    tier: int,
    quanta: int,
) -> None:
    """Ticks an hour apart, a use of nearly nothing, and a forecast of all that there is."""
    spec = BY_NAME[resource]
    start = quanta * spec.quantum if spec.whole else max(quanta * spec.quantum, spec.floor)
    wish = np.array([[share * start]])
    nothing = np.full((1, 1), NAN)
    wishes = {"fix": nothing, "floor": nothing, "ceiling": nothing}
    if bound != "maximum":
        wishes[bound] = wish
    now, amount, taken = NOW_S, start, 0
    for _ in range(60):
        fleet = make_fleet(
            [[amount]],
            resources=(resource,),
            tier=tier,
            maximum=wish if bound == "maximum" else None,
        )
        situation = make_situation(fleet, 0.0)
        advice = recommend(make_forecast([[start]]), situation, fleet, Will(**wishes), RULES)
        last = np.full((1, 1), now - 3600)
        changes = plan(advice, fleet, fleet.workloads.support, last, now, RULES)
        if not len(changes):
            break
        amount, taken, now = float(changes.target[0]), taken + 1, now + 3600
    goal = max(share * start, spec.floor)
    if bound != "fix":
        # No bound makes it grow beyond what is forecast, divided by the ratio of held-down usage.
        goal = min(goal, start / RULES.censored_ratio)
    if spec.growth_only:
        goal = max(goal, start)
    assert abs(amount - goal) <= 1.5 * spec.quantum
    assert taken <= (1 if spec.compressible else 40)
