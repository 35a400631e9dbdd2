"""Recommendations out of absurd numbers, anywhere: no target, or one that keeps every promise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pla.core.fleet import Fleet, Forecast
from pla.core.plan import Recommendation, describe, imposed
from pla.core.policy import recommend
from pla.core.resources import BY_NAME, compressible, floors, growth_only, quanta
from pla.core.situation import Rules, Situation, Will

RULES = Rules()
ALL = tuple(BY_NAME)
COUNT = 12
SHAPE = (COUNT, len(ALL))
UNIT = np.maximum(quanta(ALL) * 100, floors(ALL))
NAN = float("nan")
ABSURD = (0.0, -1.0, 1e-300, 1e-12, 1e30, 3e38, 1e300, 1.7e308, np.inf, -np.inf, NAN)

Make = Callable[..., Any]
Case = tuple[Forecast, Situation, Fleet, Will]


def case(seed: int, share: float, make: tuple[Make, Make, Make]) -> Case:
    """Ordinary numbers with a `share` of absurd ones, in everything that is an amount or a time."""
    make_fleet, make_situation, make_forecast = make
    random = np.random.default_rng(seed)

    def cells(sparse: bool = False) -> Any:
        sane = random.choice([0.5, 1.0, 5.0], SHAPE) * random.uniform(0.5, 2, SHAPE) * UNIT
        sane = np.where(random.random(SHAPE) < (0.7 if sparse else 0.0), NAN, sane)
        absurd = random.choice(ABSURD, SHAPE)
        return np.where(random.random(SHAPE) < share, absurd, sane)

    fleet = make_fleet(
        cells(),
        resources=ALL,
        tier=random.integers(0, 3, COUNT),
        request=cells(sparse=True),
        minimum=cells(sparse=True),
        maximum=cells(sparse=True),
        support=random.random(SHAPE) < 0.9,
    )
    situation = make_situation(
        fleet,
        cells(),
        recent_peak=cells(),
        stored_peak=cells(),
        band=cells(),
        censored=random.random(SHAPE) < 0.2,
        killed=random.random(SHAPE) < 0.1,
        age_s=random.choice([10.0, 10.0, 400.0, 2000.0, np.inf, NAN, -5.0], SHAPE),
        capped=random.random(SHAPE) < 0.7,
    )
    with np.errstate(over="ignore"):
        peak = np.sort(np.stack([cells() for _ in range(6)], axis=2), axis=2).astype(np.float32)
    will = Will(cells(sparse=True), cells(sparse=True), cells(sparse=True))
    return make_forecast(peak), situation, fleet, will


SEEDS = st.integers(0, 2**32 - 1)
SHARES = st.sampled_from([0.02, 0.2, 1.0])


@given(SEEDS, SHARES)
def test_a_target_is_an_amount_that_keeps_its_promises_or_there_is_none(
    make_fleet: Make, make_situation: Make, make_forecast: Make, seed: int, share: float
) -> None:
    forecast, situation, fleet, will = case(
        seed, share, (make_fleet, make_situation, make_forecast)
    )
    advice = recommend(forecast, situation, fleet, will, RULES)
    target, current, known = advice.target, situation.current, ~np.isnan(advice.target)
    assert np.isfinite(target[known]).all()
    assert (target >= floors(ALL))[known].all()
    assert not np.signbit(target[known]).any()
    assert (advice.lower_bound <= target)[known].all()
    assert (advice.upper_bound >= target)[known].all()
    assert not known[~fleet.workloads.support].any()
    assert all(describe(reason) for reason in np.unique(advice.reason[known]).tolist())

    near = 1e-6 * quanta(ALL) + 1e-12 * np.abs(np.nan_to_num(current))
    shrinks = known & (target < current - near)
    blind = np.isnan(situation.usage) | ~(situation.age_s <= RULES.stale_after_s)
    assert not (shrinks & blind).any()
    assert not (shrinks & growth_only(ALL)).any()
    in_use = np.fmin(np.fmax(situation.recent_peak, situation.usage), current)
    assert not (shrinks & ~compressible(ALL) & (target < in_use - near)).any()
    held_down = situation.censored & ~imposed(advice.reason)
    assert not (shrinks & held_down).any()


@given(SEEDS, st.integers(0, COUNT - 1))
def test_a_workload_of_nothing_but_absurd_numbers_changes_no_other(
    make_fleet: Make, make_situation: Make, make_forecast: Make, seed: int, bad: int
) -> None:
    make = make_fleet, make_situation, make_forecast
    forecast, situation, fleet, will = case(seed, 0.0, make)
    other_forecast, other_situation, other_fleet, other_will = case(seed + 1, 1.0, make)
    row = np.arange(COUNT) == bad

    def mixed(one: Any, other: Any, *names: str) -> Any:
        parts = {n: getattr(one, n).copy() for n in names}
        for name, part in parts.items():
            part[row] = getattr(other, name)[row]
        return dataclasses.replace(one, **parts)

    good = recommend(forecast, situation, fleet, will, RULES)
    table = mixed(fleet.workloads, other_fleet.workloads, "request", "minimum", "maximum")
    worse = recommend(
        mixed(forecast, other_forecast, "peak"),
        mixed(situation, other_situation, *[f.name for f in dataclasses.fields(situation)]),
        dataclasses.replace(fleet, workloads=table),
        mixed(will, other_will, "fix", "floor", "ceiling"),
        RULES,
    )
    for field in dataclasses.fields(Recommendation):
        np.testing.assert_array_equal(
            getattr(good, field.name)[~row], getattr(worse, field.name)[~row]
        )
