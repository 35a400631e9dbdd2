"""Every rule that turns a forecast into an amount (DESIGN 4), and properties that always hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pla.core.fleet import Fleet, Forecast, Tier
from pla.core.plan import Reason, Recommendation, describe
from pla.core.policy import at_quantile, recommend
from pla.core.resources import BY_NAME, compressible, floors, growth_only, quanta
from pla.core.situation import Rules, Situation, Will, plausible

RULES = Rules()
ALL = tuple(BY_NAME)
MIB = 2.0**20
NAN = float("nan")

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def advise(make_fleet: Make, make_situation: Make, make_forecast: Make) -> Make:
    """`advise(current, usage, forecast, resource=..., will=..., ...)` for one workload and cell.

    Returns (target, reason). `fleet` and `situation` take what those fixtures take.
    """

    def ask(
        current: float,
        usage: float,
        forecast: float,
        *,
        resource: str = "cpu",
        will: dict[str, float] | None = None,
        fleet: dict[str, Any] | None = None,
        **situation: Any,
    ) -> tuple[float, Reason]:
        table = make_fleet([[current]], resources=(resource,), **(fleet or {}))
        wishes = {name: np.full((1, 1), NAN) for name in ("fix", "floor", "ceiling")}
        wishes |= {name: np.full((1, 1), value) for name, value in (will or {}).items()}
        advice = recommend(
            make_forecast([[forecast]]),
            make_situation(table, usage, **situation),
            table,
            Will(**wishes),
            RULES,
        )
        return float(advice.target[0, 0]), Reason(int(advice.reason[0, 0]))

    return ask


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


# -- fail static, then fail safe -----------------------------------------------------------


@pytest.mark.parametrize("forecast", [0.1, 50.0, NAN])
def test_stale_data_holds_what_is_there(advise: Make, forecast: float) -> None:
    target, reason = advise(2.0, NAN, forecast, age_s=301.0, recent_peak=1.0, stored_peak=9.0)
    assert target == 2.0
    assert reason == Reason.STALE_HOLD


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


# -- properties ----------------------------------------------------------------------------

Build = tuple[Forecast, Situation, Fleet, Will]

UNIT = np.maximum(quanta(ALL) * 100, floors(ALL))
ANYTHING = (0.0, 1.0, 5.0, NAN, np.inf, -np.inf, -1.0, 1e30, 1e38, 1e-12)


class Draw:
    """Cells drawn from a seed: far faster, and shrunk far faster, than number by number."""

    def __init__(self, seed: int, workloads: int) -> None:
        self.random = np.random.default_rng(seed)
        self.shape = (workloads, len(ALL))
        self.missing = self.random.choice([0.0, 0.1, 0.5])

    def amounts(self, *more: int) -> Any:
        """Ordinary amounts, many of them equal to others, none missing [unit]."""
        shape = (*self.shape, *more)
        some = np.where(
            self.random.random(shape) < 0.3,
            self.random.choice([0.0, 0.5, 1.0, 5.0], shape),
            self.random.uniform(0, 20, shape),
        )
        return some * (UNIT[:, None] if more else UNIT)

    def maybe(self, *more: int) -> Any:
        """Amounts of which some are missing."""
        found = self.amounts(*more)
        return np.where(self.random.random(found.shape) < self.missing, NAN, found)

    def rare(self, *values: float) -> Any:
        """One of `values` in units, in one of six cells."""
        chosen = self.random.choice(values, self.shape) * UNIT
        return np.where(self.random.random(self.shape) < 1 / 6, chosen, NAN)

    def flags(self, share: float) -> Any:
        return self.random.random(self.shape) < share


def case(seed: int, make: tuple[Make, Make, Make], workloads: int = 12) -> Build:
    """A fleet of all resources in which every number is ordinary, but any can be missing."""
    make_fleet, make_situation, make_forecast = make
    draw = Draw(seed, workloads)
    fleet = make_fleet(
        np.ceil(draw.amounts() / quanta(ALL)) * quanta(ALL),
        resources=ALL,
        tier=draw.random.integers(0, 3, workloads),
        request=draw.maybe(),
        minimum=draw.rare(0.5, 3.0),
        maximum=draw.rare(2.0, 2.0007, 30.0),
        support=~draw.flags(0.1),
    )
    usage = draw.maybe()
    recent = np.fmax(usage, draw.maybe())
    situation = make_situation(
        fleet,
        usage,
        recent_peak=recent,
        stored_peak=np.fmax(recent, draw.maybe()),
        band=draw.maybe(),
        censored=draw.flags(0.3),
        killed=draw.flags(0.1),
        age_s=draw.random.choice([10.0, 10.0, 300.0, 400.0, 2000.0, np.inf], draw.shape),
    )
    peak = np.sort(draw.maybe(6), axis=2)
    will = Will(fix=draw.rare(0.0, 8.0), floor=draw.rare(1.0, 8.0), ceiling=draw.rare(1.0, 8.0))
    return make_forecast(peak), situation, fleet, will


SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def make(make_fleet: Make, make_situation: Make, make_forecast: Make) -> tuple[Make, Make, Make]:
    return make_fleet, make_situation, make_forecast


@given(SEEDS, st.floats(0.5, 0.9999), st.floats(0.5, 0.9999))
def test_the_target_is_monotone_in_the_quantile(
    make: tuple[Make, Make, Make], seed: int, one: float, other: float
) -> None:
    forecast, situation, fleet, will = case(seed, make)
    low, high = sorted((one, other))

    def at(quantile: float) -> Recommendation:
        tiers = [dataclasses.replace(tier, quantile=quantile, headroom=0.2) for tier in fleet.tiers]
        return recommend(
            forecast, situation, dataclasses.replace(fleet, tiers=tuple(tiers)), will, RULES
        )

    less, more = at(low).target, at(high).target
    np.testing.assert_array_equal(np.isnan(less), np.isnan(more))
    known = ~np.isnan(less)
    assert (more >= less - 1e-6 * quanta(ALL))[known].all()


@given(SEEDS)
def test_what_always_holds_of_a_target(make: tuple[Make, Make, Make], seed: int) -> None:
    forecast, situation, fleet, will = case(seed, make)
    advice = recommend(forecast, situation, fleet, will, RULES)
    target, quantum = advice.target, quanta(ALL)
    known, current = ~np.isnan(target), situation.current

    assert not known[~fleet.workloads.support].any()
    assert np.isfinite(target[known]).all()
    assert (target >= floors(ALL))[known].all()
    assert (advice.lower_bound <= target)[known].all()
    assert (advice.upper_bound >= target)[known].all()
    assert (advice.reason != 0)[known].all()
    for reason in np.unique(advice.reason[known]).tolist():
        assert describe(reason)
    whole = np.abs(target / quantum - np.round(target / quantum)) < 1e-6
    assert (whole | (target == current))[known].all()

    # Bounds hold, but for what must not be taken away, and for floors and fixed amounts.
    free = known & np.isnan(will.fix)
    shrinks = target < current - quantum / 2
    grows = target > current + quantum / 2
    for limit in (fleet.workloads.maximum, will.ceiling):
        above = free & (target > np.maximum(limit, floors(ALL)) + 1e-6 * quantum)
        assert not (above & grows).any()
        assert not (above & compressible(ALL) & ~np.isnan(situation.usage) & fresh(situation)).any()
    uncapped = np.isnan(fleet.workloads.maximum) & np.isnan(will.ceiling)
    for least in (fleet.workloads.minimum, will.floor):
        assert (target >= least - 1e-6 * quantum)[free & uncapped & ~np.isnan(least)].all()

    # Nothing shrinks that must not.
    blind = np.isnan(situation.usage) | ~fresh(situation)
    assert not (shrinks & known & blind).any()
    assert not (shrinks & known & growth_only(ALL)).any()
    assert not (shrinks & free & uncapped & situation.censored).any()
    memory = np.array([name == "memory" for name in ALL])
    assert not (shrinks & free & uncapped & situation.killed & memory).any()
    in_use = np.fmin(situation.recent_peak, current)
    assert not (known & ~compressible(ALL) & (target < in_use - 1e-6 * quantum)).any()
    seen = known & free & uncapped & fresh(situation) & ~compressible(ALL)
    margin = situation.recent_peak * (1 + RULES.incompressible_margin)
    assert not (seen & (target < margin - 1e-6 * quantum)).any()


def fresh(situation: Situation) -> Any:
    return situation.age_s <= RULES.stale_after_s


@given(SEEDS, st.integers(0, 11))
def test_one_bad_series_changes_no_other_workload(
    make: tuple[Make, Make, Make], seed: int, bad: int
) -> None:
    forecast, situation, fleet, will = case(seed, make)
    random = np.random.default_rng(seed)
    others = np.arange(12) != bad
    spoiled: dict[str, Any] = {}
    for field in dataclasses.fields(situation):
        column = getattr(situation, field.name).copy()
        if column.dtype == np.float64 and field.name != "current":
            column[bad] = random.choice(ANYTHING, len(ALL))
        spoiled[field.name] = column
    peak = forecast.peak.copy()
    peak[bad] = random.choice(ANYTHING, peak[bad].shape)
    good = recommend(forecast, situation, fleet, will, RULES)
    with np.errstate(all="ignore"):
        worse = recommend(
            dataclasses.replace(forecast, peak=peak), Situation(**spoiled), fleet, will, RULES
        )
    for field in dataclasses.fields(good):
        np.testing.assert_array_equal(
            getattr(good, field.name)[others], getattr(worse, field.name)[others]
        )
    assert not np.isinf(worse.target).any()


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
