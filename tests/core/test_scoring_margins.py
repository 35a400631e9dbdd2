"""Excess at SLO attainment on numbers small enough to check by hand, and what must always hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pla.core import scoring
from pla.core.scoring import CONSTANTS, FACTORS, score, sweep

STEP_S = 300


def test_the_grid_is_that_of_the_headline() -> None:
    assert (FACTORS[0], FACTORS[-1]) == (0.9, 3.0)
    assert (CONSTANTS[0], CONSTANTS[-1]) == (0.0, 150.0)
    assert 1.0 in FACTORS
    assert (np.diff(FACTORS) > 0).all()
    assert (np.diff(CONSTANTS) > 0).all()


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


def test_the_sweep_equals_a_plain_loop_over_steps_and_margins() -> None:
    random = np.random.default_rng(6)
    usage = random.gamma(1.0, 1.0, (50, 4)).astype(np.float32)
    amount = random.gamma(1.0, 1.0, (50, 4)).astype(np.float32)
    usage[random.random(usage.shape) < 0.2] = np.nan
    amount[random.random(amount.shape) < 0.1] = np.nan
    found = sweep(usage, amount, 0.01)
    assert len(found.factors) == len(FACTORS) * len(CONSTANTS)
    for margin in range(0, len(found.factors), 37):
        factor, added = found.factors[margin], found.constants[margin] * 0.01
        for workload in range(4):
            pairs = [
                (float(u), (0.0 if np.isnan(a) else float(a)) * factor + added)
                for u, a in zip(usage[:, workload], amount[:, workload], strict=True)
                if not np.isnan(u)
            ]
            assert found.samples[workload] == len(pairs)
            assert found.violations[margin, workload] == sum(u > a for u, a in pairs)
            assert found.covered[margin, workload] == pytest.approx(sum(map(max, pairs)))
            assert found.used[workload] == pytest.approx(sum(u for u, _ in pairs))


def test_99_percent_of_the_workloads_cost_more_than_95() -> None:
    usage = np.ones((1000, 100))
    usage[:30, :3] = 1.5  # three of a hundred violate 3 %
    found = sweep(usage, np.ones((1000, 100)), 0.01)
    assert found.excess_at(0.01)[1:] == (1.0, 0.0)
    excess, factor, constant = found.excess_at(0.01, share=0.99)
    assert factor + constant * 0.01 >= 1.5
    assert excess > found.excess_at(0.01)[0]


def test_the_median_excess_is_of_workloads_not_of_the_fleet() -> None:
    usage = np.c_[np.ones(10), np.full(10, 2.0), np.full(10, 100.0)]
    found = sweep(usage, usage + 1.0, 0.01)
    assert found.median_excess(1.0, 0.0) == pytest.approx(0.5)  # of 1, 0.5, 0.01
    assert np.isnan(found.median_excess(1.0, 7.0))  # not in the grid


def test_a_workload_without_samples_is_left_out() -> None:
    usage = np.c_[np.ones(10), np.full(10, np.nan)]
    assert sweep(usage, np.ones((10, 2)), 0.01).excess_at(0.05)[0] == 0.0
    nobody = sweep(usage[:, 1:], np.ones((10, 1)), 0.01)
    assert nobody.excess_at(0.05)[0] == float("inf")


usages = arrays(np.float64, (40, 5), elements=st.floats(0.0, 100.0, width=32))


@given(usages, usages)
def test_the_identity_margin_of_the_sweep_is_the_plain_score(u: np.ndarray, a: np.ndarray) -> None:
    found = sweep(u, a, 0.01, np.array([1.0]), np.array([0.0]))
    plain = score(u, a, 0.01, STEP_S, None)
    assert found.violations.sum() / found.samples.sum() == pytest.approx(plain.violation_rate)
    if u.sum() > 0:
        assert found.covered.sum() / found.used.sum() == pytest.approx(plain.cost, rel=1e-5)
        assert plain.excess >= -1e-12


@given(usages, usages)
def test_a_larger_margin_never_violates_more_nor_costs_less(u: np.ndarray, a: np.ndarray) -> None:
    factors, constants = np.array([0.9, 1.0, 1.7]), np.array([0.0, 1.0, 30.0])
    found = sweep(u, a, 0.01, factors, constants)
    violations = found.violations.reshape(3, 3, 5)
    covered = found.covered.reshape(3, 3, 5)
    slack = 1e-9 * (1 + covered.max())
    for axis in (0, 1):
        assert (np.diff(violations, axis=axis) <= 0).all()
        assert (np.diff(covered, axis=axis) >= -slack).all()
    assert (covered >= found.used - slack).all()  # the excess is never negative


@given(usages, usages)
def test_a_stricter_promise_never_costs_less(u: np.ndarray, a: np.ndarray) -> None:
    found = sweep(u, a, 1.0, np.array([1.0, 3.0]), np.array([0.0, 10.0, 150.0]))
    excesses = [found.excess_at(rate)[0] for rate in scoring.RATES]
    assert excesses == sorted(excesses)
    assert found.excess_at(0.05, share=0.99)[0] >= excesses[0]


def test_the_bootstrap_interval_holds_the_ratio() -> None:
    random = np.random.default_rng(1)
    usage = random.gamma(2.0, 1.0, (600, 30))
    ours, other = sweep(usage, usage * 1.1, 0.01), sweep(usage, usage * 1.5, 0.01)
    rows = random.integers(0, 30, (100, 30))
    ratio, low, high = scoring.ratio_interval(ours, other, 0.05, rows)
    assert low <= ratio <= high < 1.0 + 1e-9


def test_a_resample_in_which_only_ours_misses_the_promise_counts() -> None:
    usage = np.ones((1000, 10))
    usage[:100, 0] = 50.0  # out of reach of the grid for ours, known to the other
    ours, other = sweep(usage, np.ones((1000, 10)), 0.01), sweep(usage, usage * 1.5, 0.01)
    without, within = np.full(10, 3), np.arange(10)
    ratio, low, high = scoring.ratio_interval(ours, other, 0.01, np.array([without, within]))
    assert ratio == float("inf")
    assert low == 0.0  # without that workload, ours needs no margin at all
    assert high == float("inf")
    ratio, low, high = scoring.ratio_interval(other, ours, 0.01, np.array([within, within]))
    assert (ratio, low, high) == (0.0, 0.0, 0.0)
    assert np.isnan(scoring.ratio_interval(ours, ours, 0.01, np.array([within]))).all()
