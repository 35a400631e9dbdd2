"""From forecast to amount: quantile, surge, held-down usage, memory (DESIGN 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pla.core.fleet import Forecast, Tier
from pla.core.plan import Reason, describe
from pla.core.policy import at_quantile, recommend
from pla.core.resources import BY_NAME
from pla.core.situation import Rules, Will

RULES = Rules()
ALL = tuple(BY_NAME)
MIB = 2.0**20
NAN = float("nan")

Make = Callable[..., Any]


# -- the forecast --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantile", "peak"), [(0.3, 1.0), (0.5, 1.0), (0.9, 2.0), (0.99, 4.0), (0.9999, 8.0)]
)
def test_a_forecast_quantile_is_taken_as_it_is(quantile: float, peak: float) -> None:
    forecast = Forecast(
        np.array([[[1, 2, 4, 8]]], np.float32),
        (0.5, 0.9, 0.99, 0.999),
        np.ones((1, 1), np.float32),
        "7",
    )
    assert at_quantile(forecast, np.array([quantile]))[0, 0] == peak


def test_between_quantiles_an_exponential_tail_is_exact(make_forecast: Make) -> None:
    # The peak of Exp(1) at quantile q is -log(1 - q).
    levels = (0.5, 0.9, 0.99)
    peak = -np.log1p(-np.array(levels))
    forecast = make_forecast(peak[None, None, :], quantiles=levels)
    found = at_quantile(forecast, np.array([0.97]))[0, 0]
    assert found == pytest.approx(-np.log(0.03), rel=1e-6)


def test_a_single_quantile_serves_all(make_forecast: Make) -> None:
    forecast = make_forecast([[[3.0]]], quantiles=(0.9,))
    assert at_quantile(forecast, np.array([0.99])).item() == 3.0


@pytest.mark.parametrize("bad", [NAN, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_is_no_forecast(make_forecast: Make, bad: float) -> None:
    with np.errstate(over="ignore"):
        peak = np.array([[[1, 2, bad], [1, 2, 3]]], dtype=np.float32)
    found = at_quantile(make_forecast(peak, quantiles=(0.5, 0.9, 0.99)), np.array([0.95]))
    assert np.isnan(found[0, 0])
    assert 2 < found[0, 1] < 3


def test_the_target_leaves_room_below_what_counts_as_held_down(advise: Make) -> None:
    target, reason = advise(4.0, 1.0, 1.9)
    assert target == 2.0  # 1.9 / 0.95
    assert reason == Reason.FORECAST
    assert target * RULES.censored_ratio >= 1.9


def test_a_baseline_says_that_it_is_one(make_fleet: Make, make_situation: Make) -> None:
    fleet = make_fleet([[4.0]])
    forecast = Forecast(
        np.full((1, 1, 1), 2, np.float32), (0.99,), np.ones((1, 1), np.float32), "baseline:vpa"
    )
    advice = recommend(forecast, make_situation(fleet, 1.0), fleet, Will.none(1, 1), RULES)
    assert advice.reason[0, 0] == Reason.BASELINE
    assert "no champion model yet" in describe(int(advice.reason[0, 0]))


def test_without_history_a_workload_starts_from_its_request(advise: Make) -> None:
    target, reason = advise(1.0, 0.2, NAN, fleet={"request": 2.0})
    assert (target, reason) == (2.0, Reason.REQUEST)


def test_without_a_forecast_nothing_is_taken_back(advise: Make) -> None:
    assert advise(4.0, 0.2, NAN, fleet={"request": 2.0})[0] == 4.0
    assert advise(4.0, 0.2, NAN)[0] == 4.0
    assert advise(1.0, 3.0, NAN)[0] == 3.0


# -- surge ---------------------------------------------------------------------------------


def test_a_surge_acts_in_the_same_tick(advise: Make) -> None:
    target, reason = advise(2.0, 3.0, 1.0, band=2.5, recent_peak=3.5)
    assert target == pytest.approx(3.5 * 1.2)  # headroom of the tier "standard"
    assert reason & Reason.REACTIVE


def test_usage_within_the_band_is_no_surge(advise: Make) -> None:
    target, reason = advise(4.0, 2.4, 1.9, band=2.5, recent_peak=3.5)
    assert (target, reason) == (2.0, Reason.FORECAST)


def test_a_surge_never_lowers_the_forecast(advise: Make) -> None:
    target, reason = advise(2.0, 3.0, 9.5, band=2.5, recent_peak=3.0)
    assert (target, reason) == (10.0, Reason.FORECAST)


def test_in_the_first_tick_usage_above_the_whole_forecast_is_a_surge(advise: Make) -> None:
    target, reason = advise(2.0, 3.0, 1.0, band=NAN, recent_peak=3.0)
    assert target == pytest.approx(3.6)
    assert reason & Reason.REACTIVE


def test_in_the_first_tick_usage_now_is_covered_in_any_case(
    make_fleet: Make, make_situation: Make, make_forecast: Make
) -> None:
    # The tier asks for the 0.99 quantile (2); usage (2.5) is between that and the highest (3).
    fleet = make_fleet([[2.0]])
    forecast = make_forecast([[[1, 2, 3]]], quantiles=(0.5, 0.99, 0.999))
    situation = make_situation(fleet, 2.5, band=NAN)
    advice = recommend(forecast, situation, fleet, Will.none(1, 1), RULES)
    assert advice.target[0, 0] == 2.5


# -- demand is not usage -------------------------------------------------------------------


def test_what_is_held_down_gets_half_as_much_again(advise: Make) -> None:
    target, reason = advise(2.0, 2.0, 1.0, censored=True)
    assert target == 3.0
    assert reason & Reason.CENSORED


def test_held_down_never_lowers_a_forecast_that_asks_for_more(advise: Make) -> None:
    assert advise(2.0, 2.0, 9.5, censored=True)[0] == 10.0


def test_whole_devices_grow_by_whole_devices(advise: Make) -> None:
    assert advise(1.0, 1.0, 0.5, resource="gpu", censored=True)[0] == 2.0


@pytest.mark.parametrize("age_s", [30.0, 400.0, 1e6, np.inf])
@pytest.mark.parametrize("usage", [50 * MIB, NAN])
def test_an_out_of_memory_kill_raises_at_once_whatever_the_samples(
    advise: Make, age_s: float, usage: float
) -> None:
    target, reason = advise(100 * MIB, usage, 20 * MIB, resource="memory", killed=True, age_s=age_s)
    assert target == 150 * MIB
    assert reason & Reason.OOM_KILL


@pytest.mark.parametrize("resource", [name for name in ALL if name != "memory"])
def test_a_kill_raises_nothing_but_memory(advise: Make, resource: str) -> None:
    one = max(BY_NAME[resource].quantum * 100, BY_NAME[resource].floor)
    killed = advise(one, one / 4, one / 2, resource=resource, killed=True)
    spared = advise(one, one / 4, one / 2, resource=resource)
    assert killed == spared


def test_a_kill_of_a_workload_that_has_no_instance_any_more_breaks_nothing(advise: Make) -> None:
    target, _ = advise(NAN, 50 * MIB, 19 * MIB, resource="memory", killed=True)
    assert target == pytest.approx(55 * MIB)


# -- memory is incompressible --------------------------------------------------------------


def test_memory_never_goes_below_the_recent_peak_plus_margin(advise: Make) -> None:
    target, reason = advise(200 * MIB, 20 * MIB, 20 * MIB, resource="memory", recent_peak=100 * MIB)
    assert target == 110 * MIB
    assert reason & Reason.RECENT_PEAK


@pytest.mark.parametrize("resource", ["memory", "gpu"])
@pytest.mark.parametrize("bound", ["fix", "ceiling"])
def test_what_is_used_now_is_part_of_the_recent_peak(
    advise: Make, resource: str, bound: str
) -> None:
    one = 20 * MIB if resource == "memory" else 1.0
    case = {"resource": resource, "recent_peak": NAN, "will": {bound: one}}
    target, reason = advise(8 * one, 6 * one, 7 * one, **case)
    assert target == 6 * one
    assert reason & Reason.RECENT_PEAK


def test_no_devices_are_zero_devices_and_not_minus_zero(advise: Make) -> None:
    target, _ = advise(1.0, 0.0, 1e-12, resource="gpu", recent_peak=0.0)
    assert str(target) == "0.0"


def test_cpu_may_go_below_the_recent_peak(advise: Make) -> None:
    assert advise(4.0, 0.5, 0.95, recent_peak=3.0)[0] == 1.0


def test_a_volume_never_shrinks(advise: Make) -> None:
    target, reason = advise(200 * MIB, 20 * MIB, 20 * MIB, resource="storage")
    assert target == 200 * MIB
    assert reason & Reason.GROWTH_ONLY


@pytest.mark.parametrize("bound", ["maximum", "ceiling", "fix"])
def test_no_bound_shrinks_a_volume(advise: Make, bound: str) -> None:
    will, fleet = {bound: 50 * MIB}, {}
    if bound == "maximum":
        will, fleet = {}, {"maximum": 50 * MIB}
    target, reason = advise(
        200 * MIB, 20 * MIB, 20 * MIB, resource="storage", will=will, fleet=fleet
    )
    assert target == 200 * MIB
    assert reason & Reason.GROWTH_ONLY


# -- tiers ---------------------------------------------------------------------------------


def test_a_higher_tier_is_never_treated_worse(
    make_fleet: Make, make_situation: Make, make_forecast: Make
) -> None:
    random = np.random.default_rng(3)
    fleet = make_fleet(np.full((300, 1), 2.0), tier=np.repeat([0, 1, 2], 100))
    usage = np.tile(random.gamma(1.0, 1.0, 100), 3)[:, None]
    peak = np.sort(random.gamma(1.0, 1.0, (100, 1, 6)), axis=2)
    advice = recommend(
        make_forecast(np.tile(peak, (3, 1, 1))),
        make_situation(fleet, usage, band=np.nan),
        fleet,
        Will.none(300, 1),
        RULES,
    )
    critical, standard, burstable = advice.target.reshape(3, 100)
    assert (critical >= standard).all()
    assert (standard >= burstable).all()
    assert (critical > burstable).any()


def test_tiers_are_looked_up_by_row(make_fleet: Make, make_situation: Make) -> None:
    levels = (0.5, 0.99)
    tiers = tuple(Tier(f"t{i}", i, q, 0, 0, 1) for i, q in enumerate(levels))
    fleet = make_fleet([[1.0], [1.0]], tiers=tiers, tier=[1, 0])
    forecast = Forecast(
        np.tile(np.array([0.95, 1.9], np.float32), (2, 1, 1)),
        levels,
        np.ones((2, 1), np.float32),
        "7",
    )
    advice = recommend(forecast, make_situation(fleet, 0.1), fleet, Will.none(2, 1), RULES)
    assert advice.target[:, 0].tolist() == [2.0, 1.0]


def test_an_empty_fleet_gets_an_empty_recommendation(
    make_fleet: Make, make_situation: Make, make_forecast: Make
) -> None:
    fleet = make_fleet(np.empty((0, 2)), resources=("cpu", "memory"))
    advice = recommend(
        make_forecast(np.empty((0, 2, 6))),
        make_situation(fleet, np.empty((0, 2))),
        fleet,
        Will.none(0, 2),
        RULES,
    )
    assert advice.target.shape == (0, 2)
