"""The metrics on numbers small enough to check by hand, and what must hold for any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pla.core import scoring
from pla.core.scoring import score

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


def test_a_rise_is_ten_percent_and_two_floors() -> None:
    flat = [1.0] * 12
    found = [
        bool(scoring.rises(column(*flat, value), STEP_S, floor)[12, 0])
        for value, floor in ((1.099, 0.0), (1.1001, 0.0), (1.1001, 0.06), (1.1201, 0.06))
    ]
    assert found == [False, True, False, True]
    idle = [0.0] * 12
    assert not scoring.rises(column(*idle, 0.0), STEP_S).any()
    assert not scoring.rises(column(*idle, 0.019), STEP_S, 0.01).any()
    assert scoring.rises(column(*idle, 0.02), STEP_S, 0.01).any()


def test_rises_look_back_an_hour_whatever_the_step() -> None:
    # 2 at the start: within the hour before the last step only when that is 60 minutes or less.
    usage = column(2.0, 1.0, 1.0, 2.0)
    assert not scoring.rises(usage, 1200)[3, 0]
    assert scoring.rises(usage, 1800)[3, 0]


def test_a_rise_after_a_gap_is_not_counted() -> None:
    usage = column(*[1.0] * 6, np.nan, *[1.0] * 5, 2.0)
    assert not scoring.rises(usage, STEP_S).any()


def test_the_worst_workloads_show_in_the_95th_percentile() -> None:
    usage = np.ones((100, 21))
    usage[:50, 0] = 3.0
    usage[:10, 1] = 3.0
    result = score(usage, np.full((100, 21), 2.0), 0.1, STEP_S, None)
    assert result.violation_rate == pytest.approx(60 / 2100)
    assert result.violation_p95 == pytest.approx(0.1)  # rates 0.5, 0.1, 0 ... 0
    assert result.attainment == pytest.approx(20 / 21)
    assert result.median_excess == pytest.approx(1.0)


usages = arrays(np.float64, (40, 5), elements=st.floats(0.0, 100.0, width=32))


@given(usages, usages, st.floats(0.0, 10.0))
def test_more_never_violates_more(u: np.ndarray, a: np.ndarray, extra: float) -> None:
    less, more = (score(u, x, 0.01, STEP_S, None) for x in (a, a + extra))
    assert more.violation_rate <= less.violation_rate
    assert more.severity <= less.severity or np.isnan(less.severity)


def test_a_workload_without_samples_is_left_out() -> None:
    usage = np.c_[np.ones(10), np.full(10, np.nan)]
    result = score(usage, np.ones((10, 2)), 0.0, STEP_S, None)
    assert result.attainment == 1.0


def test_coverage_and_quantile_loss_by_hand() -> None:
    peak = np.array([1.0, 2.0, 3.0, np.nan])
    forecasts = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    assert scoring.coverage(peak, forecasts) == pytest.approx([1 / 3, 2 / 3])
    # tau .5: errors 0, 1, 2 -> 1.5; tau .9: errors -1, 0, 1 -> .1 + 0 + .9 = 1.0; sum |y| = 6.
    loss = scoring.weighted_quantile_loss(peak, forecasts, (0.5, 0.9))
    assert loss == pytest.approx(np.mean([2 * 1.5 / 6, 2 * 1.0 / 6]))


def test_pinball_by_hand_leaves_incomplete_windows_out() -> None:
    peak = np.array([[1.0, 2.0], [3.0, 9.0]])
    forecasts = np.array([[[1.0, 2.0], [1.0, 2.0]], [[1.0, 2.0], [1.0, np.nan]]])
    assert scoring.pinball(peak, forecasts, (0.5, 0.9)) == pytest.approx([1.5, 1.0])
    nothing = np.zeros((2, 1))
    assert np.isnan(scoring.weighted_quantile_loss(np.zeros(2), nothing, (0.5,)))


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
    assert scoring.daily_strata(usage, STEP_S).tolist() == [1, 0, 1]


def test_strata_of_what_cannot_be_told() -> None:
    usage = np.c_[np.full(600, np.nan), np.ones(600)]
    assert scoring.utilisation_strata(usage)[0] == -1
    assert scoring.daily_strata(usage, STEP_S).tolist() == [-1, -1]  # never seen; constant
    assert scoring.daily_strata(np.ones((288, 1)), STEP_S).tolist() == [-1]  # a day only
