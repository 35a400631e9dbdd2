"""Scrapes that come early and late, rarer than steps, or not at all for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pla.sources.prometheus import PrometheusOptions, PrometheusSource

pytestmark = pytest.mark.prometheus

OpenSource = Callable[..., PrometheusSource]
START_S = 1_699_999_200
LABELS = {"domain": "a", "instance": "h:1"}
CPU = "libvirt_domain_info_cpu_time_seconds_total"
MEMORY = "libvirt_domain_info_memory_usage_bytes"
STEPS = 60


def per_step(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    largest = np.full(STEPS, np.nan)
    step = np.ceil((times - START_S) / 60).astype(int) - 1
    inside = (step >= 0) & (step < STEPS)
    np.fmax.at(largest, step[inside], values[inside])
    return largest


@pytest.fixture
def read(serve: Any, open_source: OpenSource, new_series: Any) -> Callable[..., np.ndarray]:
    """`read(times, rates, memory, ...)`: what comes back, shape (step, resource)."""

    def load(
        times: np.ndarray, rates: np.ndarray, memory: np.ndarray, **options: Any
    ) -> np.ndarray:
        total = np.cumsum(np.r_[0.0, rates * np.diff(times)])
        series = [new_series(CPU, LABELS, times, total), new_series(MEMORY, LABELS, times, memory)]
        source = open_source(serve(series), **options)
        end_s = START_S + 60 * STEPS
        return source.read(["kvm://h/a"], ("cpu", "memory"), START_S, end_s, 60).values[:, :, 0]

    return load


def test_jitter(read: Any) -> None:
    random = np.random.default_rng(5)
    times = START_S - 23 + 30.0 * np.arange(121) + np.round(random.uniform(-8, 8, 121), 3)
    rates, memory = random.gamma(2.0, 0.5, 120), random.gamma(4.0, 1e8, 121)
    values = read(times, rates, memory)
    np.testing.assert_allclose(values[:, 1], per_step(times, memory), rtol=1e-6)
    # A rate may be seen a spacing later than its sample came, and none is made up.
    for step, value in enumerate(values[:, 0].tolist()):
        end_s = START_S + 60 * (step + 1)
        near = rates[(times[1:] > end_s - 90) & (times[1:] <= end_s)]
        assert np.isclose(near, value, rtol=1e-5).any(), (step, value, near)


def test_samples_on_the_borders_of_steps(read: Any) -> None:
    random = np.random.default_rng(6)
    times = START_S + 60.0 * np.arange(STEPS + 1)
    rates, memory = random.gamma(2.0, 0.5, STEPS), random.gamma(4.0, 1e8, STEPS + 1)
    values = read(times, rates, memory)
    np.testing.assert_allclose(values[:, 0], rates, rtol=1e-6)
    np.testing.assert_allclose(values[:, 1], memory[1:], rtol=1e-6)


def test_a_spike_between_two_looks_is_seen(read: Any) -> None:
    times = START_S - 8 + 15.0 * np.arange(245)
    rates, memory = np.full(244, 0.5), np.full(245, 1e8)
    rates[101], memory[102] = 7.5, 9e8
    values = read(times, rates, memory)
    step = int(np.ceil((times[102] - START_S) / 60)) - 1
    assert values[step].tolist() == pytest.approx([7.5, 9e8])
    assert values[np.arange(STEPS) != step, 0].max() == pytest.approx(0.5)


def test_a_missed_scrape_makes_no_gap_in_a_rate(read: Any) -> None:
    times = np.delete(START_S - 30 + 60.0 * np.arange(STEPS + 2), 20)
    values = read(times, np.full(STEPS, 0.5), np.full(STEPS + 1, 1e8))
    np.testing.assert_allclose(values[1:, 0], 0.5, rtol=1e-6)
    # A level that nobody read is not known.
    assert np.flatnonzero(np.isnan(values[:, 1])).tolist() == [19]


def test_scrapes_rarer_than_steps(read: Any) -> None:
    random = np.random.default_rng(7)
    times = START_S - 125 + 120.0 * np.arange(33)
    rates, memory = random.gamma(2.0, 0.5, 32), random.gamma(4.0, 1e8, 33)
    values = read(times, rates, memory)
    ends = START_S + 60 * np.arange(1, STEPS + 1)
    last = np.searchsorted(times, ends, side="right") - 1
    assert np.isfinite(values).all()
    # Either the newest sample's, or, for a fifth of a spacing, still the one before it.
    for column, told in ((0, np.r_[np.nan, rates]), (1, memory)):
        newest, former = told[last], told[last - 1]
        near = np.isclose(values[:, column], newest, rtol=1e-5)
        assert (near | np.isclose(values[:, column], former, rtol=1e-5)).all()


def test_an_outage_is_a_gap_and_no_usage_is_made_up(read: Any) -> None:
    times = START_S - 25 + 30.0 * np.arange(121)
    kept = (times < START_S + 1200) | (times > START_S + 2400)
    rates = np.full(kept.sum() - 1, 0.25)
    values = read(times[kept], rates, np.full(kept.sum(), 1e8))
    gap = np.isnan(values)
    assert gap[22:39].all() and not gap[:20].any() and not gap[41:].any()


def test_steps_that_are_too_young_are_left_out(serve: Any, new_series: Any, clock_at: Any) -> None:
    times = START_S + 60.0 * np.arange(61)
    url = serve([new_series(CPU, LABELS, times, np.arange(61.0))])
    end_s = START_S + 3600
    clock = clock_at(end_s + 10)
    source = PrometheusSource(PrometheusOptions(url, delay_s=130.0, max_clock_skew_s=1e10), clock)
    block = source.read(["kvm://h/a"], ("cpu",), end_s - 600, end_s, 60)
    assert block.end_s == end_s - 120 and block.steps == 8
    np.testing.assert_allclose(block.values[:, 0, 0], 1 / 60, rtol=1e-6)
    # Nothing is old enough yet: no steps, and an end that moves nothing back.
    young = source.read(["kvm://h/a"], ("cpu",), end_s - 60, end_s, 60)
    assert young.steps == 0 and young.end_s == end_s - 60
    source.close()
