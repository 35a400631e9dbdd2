"""What overrules a forecast: missing data, bounds of owners and the wishes of people (DESIGN 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pla.core.plan import Reason
from pla.core.policy import recommend
from pla.core.resources import BY_NAME
from pla.core.situation import Rules, Will, plausible

RULES = Rules()
ALL = tuple(BY_NAME)
MIB = 2.0**20
NAN = float("nan")

Make = Callable[..., Any]


# -- fail static, then fail safe -----------------------------------------------------------


@pytest.mark.parametrize("forecast", [0.1, 50.0, NAN])
def test_stale_data_holds_what_is_there(advise: Make, forecast: float) -> None:
    target, reason = advise(2.0, NAN, forecast, age_s=301.0, recent_peak=1.0, stored_peak=9.0)
    assert target == 2.0
    assert reason == Reason.STALE_HOLD


def test_data_of_unknown_age_are_stale(advise: Make) -> None:
    assert advise(2.0, 0.1, 0.1, age_s=NAN) == (2.0, Reason.STALE_HOLD)


def test_stale_for_three_times_as_long_raises_to_the_stored_peak(advise: Make) -> None:
    target, reason = advise(2.0, NAN, 0.1, age_s=901.0, recent_peak=NAN, stored_peak=9.0)
    assert target == 9.0
    assert reason == Reason.STALE_HOLD | Reason.STALE_RAISE


@pytest.mark.parametrize("stored_peak", [1.0, NAN])
def test_stale_never_lowers(advise: Make, stored_peak: float) -> None:
    target, reason = advise(2.0, NAN, 0.1, age_s=1e9, recent_peak=NAN, stored_peak=stored_peak)
    assert target == 2.0
    assert reason == Reason.STALE_HOLD


def test_a_workload_never_seen_keeps_the_larger_of_what_it_has_and_asked_for(
    advise: Make,
) -> None:
    assert advise(2.0, NAN, NAN, age_s=np.inf, fleet={"request": 5.0})[0] == 5.0
    assert advise(2.0, NAN, NAN, age_s=np.inf, fleet={"request": 1.0})[0] == 2.0


def test_a_gap_in_the_newest_step_stops_a_shrink(advise: Make) -> None:
    target, reason = advise(2.0, NAN, 0.5, age_s=90.0, recent_peak=0.4)
    assert target == 2.0
    assert reason & Reason.STALE_HOLD


def test_a_gap_in_the_newest_step_does_not_stop_growth(advise: Make) -> None:
    target, reason = advise(2.0, NAN, 3.8, age_s=90.0, recent_peak=0.4)
    assert (target, reason) == (4.0, Reason.FORECAST)


@pytest.mark.parametrize("resource", ["cpu", "memory"])
@pytest.mark.parametrize("bound", ["maximum", "ceiling", "fix"])
@pytest.mark.parametrize("age_s", [90.0, 400.0, 1e9])
def test_no_bound_shrinks_what_nobody_can_see(
    advise: Make, resource: str, bound: str, age_s: float
) -> None:
    one = 1.0 if resource == "cpu" else 100 * MIB
    will, fleet = {bound: one}, {}
    if bound == "maximum":
        will, fleet = {}, {"maximum": one}
    target, reason = advise(
        4 * one,
        NAN,
        one / 2,
        resource=resource,
        age_s=age_s,
        recent_peak=NAN,
        stored_peak=NAN,
        will=will,
        fleet=fleet,
    )
    assert target == 4 * one
    assert reason & Reason.STALE_HOLD


def test_holding_an_amount_between_two_quanta_changes_nothing(advise: Make) -> None:
    assert advise(2.0004, NAN, 0.1, age_s=400.0)[0] == 2.0004
    assert advise(100.3 * MIB, NAN, 1.0, resource="memory", age_s=400.0)[0] == 100.3 * MIB


# -- bounds and wishes ---------------------------------------------------------------------


def test_the_floor_of_a_resource(advise: Make) -> None:
    target, reason = advise(1.0, 0.0, 0.0)
    assert target == 0.01
    assert reason & Reason.FLOOR
    assert advise(1.0, 0.0, -5.0)[0] == 0.01
    assert advise(2.0, 0.0, 0.0, resource="gpu")[0] == 0.0


def test_bounds_of_the_owner(advise: Make) -> None:
    assert advise(1.0, 0.1, 0.1, fleet={"minimum": 0.5}) == (
        0.5,
        Reason.FORECAST | Reason.MINIMUM,
    )
    assert advise(1.0, 0.1, 9.0, fleet={"maximum": 2.0}) == (
        2.0,
        Reason.FORECAST | Reason.MAXIMUM,
    )


def test_a_maximum_is_never_exceeded_by_rounding(advise: Make) -> None:
    assert advise(1.0, 0.1, 9.0, fleet={"maximum": 2.0006})[0] == 2.0
    target, _ = advise(100 * MIB, 50 * MIB, 9e9, resource="memory", fleet={"maximum": 1000e6})
    assert target == 953 * MIB
    assert advise(1.0, 0.1, 9.0, resource="gpu", fleet={"maximum": 2.5})[0] == 2.0


def test_a_maximum_takes_no_memory_that_is_in_use(advise: Make) -> None:
    target, reason = advise(
        200 * MIB,
        150 * MIB,
        190 * MIB,
        resource="memory",
        recent_peak=160 * MIB,
        fleet={"maximum": 100 * MIB},
    )
    assert target == 160 * MIB
    assert reason & Reason.MAXIMUM
    assert reason & Reason.RECENT_PEAK


def test_a_maximum_below_what_is_in_use_does_not_make_it_grow(advise: Make) -> None:
    target, _ = advise(
        120 * MIB,
        150 * MIB,
        190 * MIB,
        resource="memory",
        recent_peak=160 * MIB,
        fleet={"maximum": 100 * MIB},
    )
    assert target == 120 * MIB


def test_a_maximum_takes_cpu_that_is_in_use(advise: Make) -> None:
    target, _ = advise(4.0, 4.0, 9.0, censored=True, fleet={"maximum": 2.0})
    assert target == 2.0


def test_an_override_wins_over_forecast_and_bounds(advise: Make) -> None:
    assert advise(1.0, 0.1, 9.0, will={"fix": 3.0}, fleet={"maximum": 2.0}) == (
        3.0,
        Reason.OVERRIDE,
    )
    target, reason = advise(1.0, 0.1, 0.5, will={"floor": 3.0})
    assert target == 3.0
    assert reason & Reason.OVERRIDE
    target, reason = advise(1.0, 0.1, 9.0, will={"ceiling": 0.5})
    assert target == 0.5
    assert reason & Reason.OVERRIDE


def test_a_fixed_amount_takes_no_memory_that_is_in_use(advise: Make) -> None:
    target, reason = advise(
        200 * MIB,
        150 * MIB,
        190 * MIB,
        resource="memory",
        recent_peak=160 * MIB,
        will={"fix": 20 * MIB},
    )
    assert target == 160 * MIB
    assert reason == Reason.OVERRIDE | Reason.RECENT_PEAK


def test_nobody_goes_below_the_floor(advise: Make) -> None:
    assert advise(1.0, 0.1, 0.5, will={"fix": 0.0})[0] == 0.01
    assert advise(1.0, 0.1, 0.5, fleet={"maximum": 0.001})[0] == 0.01


def test_contradictory_bounds_the_maximum_wins(advise: Make) -> None:
    assert advise(1.0, 0.1, 0.5, fleet={"minimum": 5.0, "maximum": 2.0})[0] == 2.0
    assert advise(1.0, 0.1, 0.5, will={"floor": 5.0, "ceiling": 2.0})[0] == 2.0


def test_the_uncapped_target_is_what_it_would_be_without_people(
    make_fleet: Make, make_situation: Make, make_forecast: Make
) -> None:
    fleet = make_fleet([[1.0]], maximum=2.0)
    advice = recommend(
        make_forecast([[9.5]]), make_situation(fleet, 0.1), fleet, Will.none(1, 1), RULES
    )
    assert (advice.uncapped_target.item(), advice.target.item()) == (10.0, 2.0)


def test_a_cell_that_does_not_exist_gets_no_target(
    make_fleet: Make, make_situation: Make, make_forecast: Make
) -> None:
    fleet = make_fleet([[1.0, NAN]], resources=("cpu", "gpu"), support=[[True, False]], minimum=1.0)
    advice = recommend(
        make_forecast([[0.5, 0.5]]), make_situation(fleet, 0.1), fleet, Will.none(1, 2), RULES
    )
    assert advice.target[0, 0] == 1.0
    for column in (advice.target, advice.lower_bound, advice.upper_bound, advice.uncapped_target):
        assert np.isnan(column[0, 1])
    assert advice.reason[0, 1] == Reason.NONE


def test_an_amount_that_cannot_be_is_no_target(advise: Make) -> None:
    assert np.isnan(advise(1.0, 0.5, 1.0, fleet={"minimum": np.inf})[0])


# -- plausible -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "current", "peak", "largest", "fine"),
    [
        (0.0, 1.0, 1.0, 64.0, True),
        (1.5, 1.0, 1.0, 64.0, True),
        (-0.001, 1.0, 1.0, 64.0, False),
        (NAN, 1.0, 1.0, 64.0, False),
        (np.inf, 1.0, 1.0, np.inf, False),
        (-np.inf, 1.0, 1.0, np.inf, False),
        (2e6, 1.0, 1.0, np.inf, False),
        (2e6, 1.0, 3.0, np.inf, True),
        (1e30, 1.0, 1.0, NAN, False),
        (1e30, NAN, NAN, np.inf, True),  # the first sample of all: nothing to compare with
        (1e30, NAN, NAN, 64.0, False),
        (129.0, 1.0, 1.0, 64.0, False),
        (127.0, 1.0, 1.0, 64.0, True),
        (127.0, 1.0, 1.0, 0.0, True),
    ],
)
def test_plausible(usage: float, current: float, peak: float, largest: float, fine: bool) -> None:
    cells = [np.array([[value]]) for value in (usage, current, peak, largest)]
    assert plausible(*cells).item() is fine
