"""The Vertical Pod Autoscaler against the worked numbers of its own source."""

from __future__ import annotations

import numpy as np
import pytest

from pla.core.baselines import make
from pla.core.baselines.histogram import DecayingHistogram, bucket_count, bucket_start, find_bucket
from pla.core.baselines.setting import Setting
from pla.core.baselines.vpa import MemoryModel, Vpa, oom_sample, with_margin
from pla.core.resources import MIB

STEP_S = 300
DAY = 86_400 // STEP_S
DAY_S = 86_400


def of_cpu(step_s: int, steps: int) -> Vpa:
    """After `steps` samples of one core."""
    policy = Vpa("vpa", Setting(("cpu",), 1, step_s, np.ones((1, 1))))
    for index in range(steps):
        policy.observe(np.array([[1.0]], dtype=np.float32), index * step_s)
    return policy


def of_both(cpu: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """Target (resource,) after that usage."""
    policy = make("vpa", ("cpu", "memory"), 1, STEP_S, np.ones((1, 2)))
    for index, pair in enumerate(zip(cpu, memory, strict=True)):
        policy.observe(np.array(pair, dtype=np.float32)[:, None], (index + 1) * STEP_S)
    target: np.ndarray = policy.target()[0]
    return target


def bucket_end(value: float, first: float) -> float:
    return float(bucket_start(find_bucket(np.array([value]), first, 176) + 1, first)[0])


def add(histogram: DecayingHistogram, value: float, at_s: int, weight: float = 0.1) -> None:
    row, at = np.zeros(1, dtype=np.int64), np.array([at_s])
    histogram.add(row, np.array([value]), weight, at)


# -- histogram -----------------------------------------------------------------------------


def test_176_buckets_for_cpu_and_for_memory() -> None:
    assert bucket_count(0.01, 1000.0) == 176
    assert bucket_count(1e7, 1e12) == 176


def test_buckets_start_and_find_are_inverse() -> None:
    assert bucket_start(np.array([0, 1, 2]), 0.01) == pytest.approx([0.0, 0.01, 0.0205])
    values = np.array([0.0, 0.0099, 0.0101, 0.0204, 0.0206, 1e9])
    assert find_bucket(values, 0.01, 176).tolist() == [0, 0, 1, 1, 2, 175]


def test_percentile_is_a_buckets_end_without_interpolation() -> None:
    histogram = DecayingHistogram(1, 0.01, 1000.0)
    for value in [0.015] * 9 + [0.5]:
        add(histogram, value, 0)
    assert histogram.percentiles([0.89, 0.95])[:, 0] == pytest.approx(
        [0.0205, bucket_end(0.5, 0.01)]
    )


def test_the_last_bucket_gives_its_start() -> None:
    histogram = DecayingHistogram(1, 0.01, 1000.0)
    add(histogram, 1e6, 0)
    assert histogram.percentiles([0.5])[0] == bucket_start(np.array([175]), 0.01)


def test_weights_halve_in_a_day_and_survive_a_rebase() -> None:
    histogram = DecayingHistogram(1, 0.01, 1000.0)
    add(histogram, 0.5, 0)
    add(histogram, 0.015, DAY_S)
    assert histogram.weights[0, 1] / histogram.weights[0].sum() == pytest.approx(2 / 3)
    add(histogram, 0.7, 102 * DAY_S)
    # Re-based: the newest weighs 0.1 again, and what came before is below epsilon.
    assert histogram.weights.max() == pytest.approx(0.1)
    assert histogram.percentiles([0.0001])[0] == pytest.approx(bucket_end(0.7, 0.01))


def test_the_reference_is_a_multiple_of_the_half_life() -> None:
    histogram = DecayingHistogram(1, 0.01, 1000.0)
    add(histogram, 0.5, 5 * DAY_S + DAY_S // 4)
    assert histogram.weights.sum() == pytest.approx(0.1 * 2**0.25)


def test_what_is_taken_out_is_gone() -> None:
    histogram = DecayingHistogram(1, 1e7, 1e12)
    row, at = np.zeros(1, dtype=np.int64), np.array([DAY_S])
    histogram.add(row, np.array([3e9]), 1.0, at)
    histogram.subtract(row, np.array([3e9]), 1.0, at)
    assert histogram.weights.sum() == 0.0
    assert np.isnan(histogram.percentiles([0.9])).all()


# -- estimates -----------------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "upper"), [(12, 3.0), (24, 2.0), (168, 1 + 1 / 7)])
def test_the_upper_bound_narrows_with_confidence(hours: int, upper: float) -> None:
    policy = of_cpu(60, hours * 60 + 1)
    # Same bucket for p90 and p95 of a constant: what differs is the confidence alone.
    ratio = policy.bounds()[1][0, 0] / policy.target()[0, 0]
    assert ratio == pytest.approx(upper, rel=1e-3)


def test_the_lower_bound_is_0_6_of_the_estimate_after_five_minutes() -> None:
    # conf = 5 min / 24 h with five one-minute samples: (1 + 0.001 / 0.00347)^-2 = 0.6.
    policy = of_cpu(60, 6)
    ratio = policy.bounds()[0][0, 0] / policy.target()[0, 0]
    assert ratio == pytest.approx(0.6, abs=0.01)


def test_a_five_minute_step_counts_for_its_minutes() -> None:
    ratio = [
        p.bounds()[1] / p.target() for p in (of_cpu(60, 24 * 60 + 1), of_cpu(300, 24 * 12 + 1))
    ]
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-3)


def test_without_confidence_the_bounds_allow_anything() -> None:
    lower, upper = of_cpu(60, 1).bounds()
    assert lower[0, 0] == 0.025  # the floor
    assert upper[0, 0] == 1e14 / 1000


def test_the_margin_truncates_to_integer_units() -> None:
    assert with_margin(np.array([20.0, 100.0, 7.0])).tolist() == [23.0, 115.0, 8.0]


def test_every_target_is_whole_millicores_and_bytes() -> None:
    random = np.random.default_rng(8)
    for usage in random.gamma(1.0, 1.0, 50):
        cpu, memory = of_both(np.array([usage]), np.array([usage * 1e9]))
        whole = np.trunc(bucket_end(float(np.float32(usage)), 0.01) * 1000)
        assert cpu == max(whole + np.trunc(0.15 * whole), 25) / 1000
        assert memory == np.trunc(memory)


def test_floors_are_25_millicores_and_250_mib() -> None:
    target = of_both(np.full(20, 0.001), np.full(20, 1.0 * MIB))
    assert target.tolist() == [0.025, 250 * MIB]


# -- memory --------------------------------------------------------------------------------


def test_memory_counts_one_peak_per_day() -> None:
    day = np.full(DAY, 1e9)
    day[100] = 3e9
    target = of_both(np.full(DAY, 0.1), day)
    assert target[1] == pytest.approx(bucket_end(3e9, 1e7) * 1.15, rel=1e-6)


def test_memory_windows_weigh_by_age() -> None:
    # Peaks 3e9, then 1e9 for three days: weights 1, 2, 4, 8. p90 is in the newest ones.
    memory = np.r_[np.full(DAY, 3e9), np.full(3 * DAY, 1e9)]
    assert of_both(np.full(4 * DAY, 0.1), memory)[1] == pytest.approx(
        bucket_end(1e9, 1e7) * 1.15, rel=1e-6
    )
    # One day after the peak its weight is a third: p90 is still the peak.
    assert of_both(np.full(2 * DAY, 0.1), memory[: 2 * DAY])[1] == pytest.approx(
        bucket_end(3e9, 1e7) * 1.15, rel=1e-6
    )


def test_memory_that_is_never_used_has_an_opinion_too() -> None:
    assert of_both(np.full(DAY, 0.1), np.zeros(DAY))[1] == 250 * MIB


def test_a_kill_takes_the_larger_bump() -> None:
    request, peak = np.array([200.0, 1000.0]) * MIB, np.array([150.0, 1200.0]) * MIB
    assert oom_sample(request, peak) == pytest.approx(np.array([300.0, 1440.0]) * MIB)
    model = MemoryModel(2)
    model.observe(peak, STEP_S)
    model.killed(np.array([1]), np.array([1000 * MIB]), 2 * STEP_S)
    assert model.histogram.percentiles([0.9])[0] == pytest.approx(
        [bucket_end(150 * MIB, 1e7), bucket_end(1440 * MIB, 1e7)]
    )


# -- updater -------------------------------------------------------------------------------


def updated(usage: np.ndarray, request: float) -> np.ndarray:
    """What the updater leaves in force after each step, (step,) [core]."""
    policy = make("vpa-updater", ("cpu",), 1, STEP_S, np.full((1, 1), request))
    amounts = []
    for index, value in enumerate(usage):
        policy.observe(np.full((1, 1), value, dtype=np.float32), (index + 1) * STEP_S)
        amounts.append(policy.target()[0, 0])
    return np.array(amounts)


def test_the_updater_leaves_an_amount_within_bounds_for_twelve_hours() -> None:
    # Usage 1 core: target 1.18 or so; upper is above 3 x up to 12 h.
    amounts = updated(np.full(DAY, 1.0), request=2.0)
    changed = np.flatnonzero(np.diff(amounts)) + 1
    assert changed.tolist() == [DAY // 2]
    assert amounts[-1] == of_cpu(STEP_S, 10).target()[0, 0]


def test_the_updater_leaves_a_difference_below_a_tenth() -> None:
    target = of_cpu(STEP_S, 10).target()[0, 0]
    assert (updated(np.full(2 * DAY, 1.0), request=target * 1.09) == target * 1.09).all()


def test_the_updater_acts_at_once_outside_the_bounds() -> None:
    amounts = updated(np.full(DAY, 1.0), request=0.1)
    # lower = 1.18 / (1 + 0.001 / conf)^2 > 0.1 with the second sample.
    assert amounts[0] == 0.1
    assert amounts[1] == of_cpu(STEP_S, 10).target()[0, 0]


def test_the_updater_without_a_request_starts_with_the_target() -> None:
    assert (updated(np.full(20, 1.0), request=np.nan) == of_cpu(STEP_S, 10).target()[0, 0]).all()


def test_the_updater_changes_less_often_than_the_target() -> None:
    usage = np.random.default_rng(3).gamma(4.0, 0.1, 3 * DAY)
    policy = make("vpa", ("cpu",), 1, STEP_S, np.ones((1, 1)))
    followed = []
    for index, value in enumerate(usage):
        policy.observe(np.full((1, 1), value, dtype=np.float32), (index + 1) * STEP_S)
        followed.append(policy.target()[0, 0])
    assert 0 < np.count_nonzero(np.diff(updated(usage, 5.0))) < np.count_nonzero(np.diff(followed))
