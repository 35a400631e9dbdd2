"""The metrics on numbers small enough to check by hand, and what must hold for any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pla.core import scoring
from pla.core.scoring import score, sweep

STEP_S = 300


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def test_violations_cost_and_severity_by_hand() -> None:
    usage, amount = column(1.0, 2.0, 3.0, np.nan), column(2.0, 2.0, 2.0, 2.0)
    result = score(usage, amount, 0.01, STEP_S, None)
    assert result.violation_rate == pytest.approx(1 / 3)  # the gap is not scored
    assert result.cost == pytest.approx((2 + 2 + 3) / 6)  # what was not covered still counts
    assert result.excess == pytest.approx(1 / 6)
    assert result.severity == pytest.approx(1 / 6)
    assert result.attainment == 0.0


def test_an_amount_equal_to_usage_is_no_violation() -> None:
    assert score(column(1.0), column(1.0), 0.0, STEP_S, None).attainment == 1.0


def test_no_amount_at_all_counts_as_nothing_given() -> None:
    result = score(column(1.0), column(np.nan), 0.5, STEP_S, None)
    assert result.violation_rate == 1.0
    assert result.cost == 1.0


def test_relative_slack_is_per_workload_day() -> None:
    usage = np.full((2 * 288, 1), 1.0)
    amount = np.r_[np.full((288, 1), 2.0), np.full((288, 1), 4.0)]
    assert scoring.relative_slack(usage, amount, STEP_S) == pytest.approx([0.5, 0.75])


def test_churn_counts_resizes_per_workload_day() -> None:
    amount = np.ones((576, 2))
    amount[100:, 0] = 2.0
    amount[200:, 0] = 3.0
    result = score(np.ones((576, 2)), amount, 0.5, STEP_S, None)
    assert result.churn_p50 == pytest.approx(0.5)  # 2 resizes in 2 days, and none: 1 and 0


def test_a_rise_is_proactive_only_if_the_amount_was_there() -> None:
    flat = [1.0] * 12
    usage = column(*flat, 2.0, *flat, 2.0)
    amount = column(*flat, 1.5, *flat, 2.5)
    rising = scoring.rises(usage, STEP_S)[:, 0]
    assert np.flatnonzero(rising).tolist() == [12, 25]
    assert scoring.proactive(usage, amount, STEP_S) == pytest.approx(0.5)


def test_a_rise_after_a_gap_is_not_counted() -> None:
    usage = column(*[1.0] * 6, np.nan, *[1.0] * 5, 2.0)
    assert not scoring.rises(usage, STEP_S).any()


def test_the_sweep_finds_the_least_margin_that_keeps_the_promise() -> None:
    # 100 steps: usage 1, but 2 in one step. Amount 1: rate 1 %; factor 2 covers all.
    usage = np.ones((100, 20))
    usage[3] = 2.0
    found = sweep(usage, np.ones((100, 20)), floor=0.01)
    excess, factor, constant = found.excess_at(0.02)
    assert (factor, constant) == (1.0, 0.0)
    assert excess == pytest.approx((99 + 2) / (99 + 2) - 1)
    excess, factor, constant = found.excess_at(0.005)
    assert factor + constant * 0.01 >= 2.0
    least = min(
        (99 * a + max(a, 2)) / 101 - 1
        for f in scoring.FACTORS
        for c in scoring.CONSTANTS
        if (a := f + 0.01 * c) >= 2.0
    )
    assert excess == pytest.approx(least)


def test_the_sweep_wants_95_percent_of_the_workloads_and_caps_the_rest() -> None:
    usage = np.ones((1000, 40))
    usage[:30, :2] = 5.0  # two of forty workloads violate 3 %
    found = sweep(usage, np.ones((1000, 40)), 0.01, np.array([1.0, 5.0]), np.array([0.0]))
    assert found.excess_at(0.01)[1] == 1.0  # 95 % keep 1 %, the others stay below 5 %
    usage[:60, :2] = 5.0
    found = sweep(usage, np.ones((1000, 40)), 0.01, np.array([1.0, 5.0]), np.array([0.0]))
    assert found.excess_at(0.01)[1] == 5.0  # 6 % is more than five times the rate
    few = sweep(usage[:400], np.ones((400, 40)), 0.01, np.array([1.0, 5.0]), np.array([0.0]))
    assert few.excess_at(0.01)[1] == 1.0  # with fewer than 500 samples the cap is not asked


def test_the_excess_is_infinite_where_no_margin_of_the_sweep_suffices() -> None:
    found = sweep(np.full((600, 2), 9.0), np.ones((600, 2)), 0.01)
    assert found.excess_at(0.05)[0] == float("inf")


usages = arrays(np.float64, (40, 5), elements=st.floats(0.0, 100.0, width=32))


@given(usages, usages)
def test_the_identity_margin_of_the_sweep_is_the_plain_score(u: np.ndarray, a: np.ndarray) -> None:
    found = sweep(u, a, 0.01, np.array([1.0]), np.array([0.0]))
    plain = score(u, a, 0.01, STEP_S, None)
    assert found.violations.sum() / found.samples.sum() == pytest.approx(plain.violation_rate)
    if u.sum() > 0:
        assert found.covered.sum() / found.used.sum() == pytest.approx(plain.cost, rel=1e-5)
        assert plain.excess >= -1e-12


@given(usages, usages, st.floats(0.0, 10.0))
def test_more_never_violates_more(u: np.ndarray, a: np.ndarray, extra: float) -> None:
    less, more = (score(u, x, 0.01, STEP_S, None) for x in (a, a + extra))
    assert more.violation_rate <= less.violation_rate
    assert more.severity <= less.severity or np.isnan(less.severity)


def test_a_workload_without_samples_is_left_out() -> None:
    usage = np.c_[np.ones(10), np.full(10, np.nan)]
    result = score(usage, np.ones((10, 2)), 0.0, STEP_S, None)
    assert result.attainment == 1.0
    assert sweep(usage, np.ones((10, 2)), 0.01).excess_at(0.05)[0] == 0.0


def test_coverage_and_quantile_loss_by_hand() -> None:
    peak = np.array([1.0, 2.0, 3.0, np.nan])
    forecasts = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    assert scoring.coverage(peak, forecasts) == pytest.approx([1 / 3, 2 / 3])
    # tau .5: errors 0, 1, 2 -> 1.5; tau .9: errors -1, 0, 1 -> .1 + 0 + .9 = 1.0; sum |y| = 6.
    loss = scoring.weighted_quantile_loss(peak, forecasts, (0.5, 0.9))
    assert loss == pytest.approx(np.mean([2 * 1.5 / 6, 2 * 1.0 / 6]))


def test_mase_is_relative_to_the_naive_forecast() -> None:
    peak, forecast, naive = np.array([1.0, 2.0]), np.array([1.5, 2.0]), np.array([0.0, 3.0])
    assert scoring.mase(peak, forecast, naive) == pytest.approx(0.25)


def test_daily_autocorrelation_and_strata() -> None:
    time = np.arange(3 * 288)
    wave = 1 + np.sin(2 * np.pi * time / 288)
    noise = np.random.default_rng(0).random(len(time))
    usage = np.c_[wave, noise, 10 * wave]
    correlation = scoring.daily_autocorrelation(usage, STEP_S)
    assert correlation[0] == pytest.approx(1.0)
    assert abs(correlation[1]) < 0.2
    assert scoring.utilisation_strata(usage).tolist() == [1, 0, 2]


def test_the_bootstrap_interval_holds_the_ratio() -> None:
    random = np.random.default_rng(1)
    usage = random.gamma(2.0, 1.0, (600, 30))
    ours, other = sweep(usage, usage * 1.1, 0.01), sweep(usage, usage * 1.5, 0.01)
    rows = random.integers(0, 30, (100, 30))
    ratio, low, high = scoring.ratio_interval(ours, other, 0.05, rows)
    assert low <= ratio <= high < 1.0 + 1e-9
