"""Properties of all recommendations: every resource, every rule at once, NaN anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pla.core.fleet import Fleet, Forecast
from pla.core.plan import Recommendation, describe
from pla.core.policy import recommend
from pla.core.resources import BY_NAME, compressible, floors, growth_only, quanta
from pla.core.situation import Rules, Situation, Will

RULES = Rules()
ALL = tuple(BY_NAME)
NAN = float("nan")

Make = Callable[..., Any]
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
