"""The peers' policies against the worked numbers of their own sources, and against slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pla.core import baselines
from pla.core.baselines import make, window_s
from pla.core.baselines.autopilot import Autopilot
from pla.core.baselines.setting import Setting
from pla.core.baselines.vpa import (
    DecayingHistogram,
    Vpa,
    bucket_count,
    bucket_start,
    find_bucket,
    oom_sample,
    with_margin,
)
from pla.core.resources import MIB

STEP_S = 300
DAY = 86_400 // STEP_S
BOTH = ("cpu", "memory")


def feed(policy: baselines.Baseline, cpu: np.ndarray, memory: np.ndarray | None = None) -> None:
    """One workload's usage, a value a step, from time 0 on."""
    memory = cpu if memory is None else memory
    for index, pair in enumerate(zip(cpu, memory, strict=True)):
        values = np.array(pair, dtype=np.float32)[:, None]
        policy.observe(values, (index + 1) * STEP_S)


def one(name: str, request: float = 1.0) -> baselines.Baseline:
    return make(name, BOTH, 1, STEP_S, np.full((1, 2), request))


# -- simple policies -----------------------------------------------------------------------


def test_persistence_keeps_the_last_sample_over_a_gap() -> None:
    policy = one("persistence")
    feed(policy, np.array([0.1, 0.4, np.nan]))
    assert policy.target()[0, 0] == pytest.approx(0.4)


def test_rolling_maximum_forgets_what_has_left_its_window() -> None:
    policy = one("max:30m")
    feed(policy, np.array([9.0, *[1.0] * 5]))
    assert policy.target()[0, 0] == pytest.approx(9.0)
    feed(policy, np.array([1.0]))
    assert policy.target()[0, 0] == pytest.approx(1.0)


def test_seasonal_gives_what_the_coming_step_used_a_day_ago() -> None:
    policy = one("seasonal")
    day = np.arange(DAY, dtype=np.float64)
    feed(policy, day)
    assert policy.target()[0, 0] == 0.0  # step DAY repeats step 0
    feed(policy, np.array([100.0]))
    assert policy.target()[0, 0] == 1.0


def test_request_never_moves_and_oracle_knows() -> None:
    static = one("request", request=2.5)
    feed(static, np.array([9.0, 9.0]))
    assert static.target().tolist() == [[2.5, 2.5]]
    oracle = one("oracle")
    assert isinstance(oracle, baselines.Oracle)
    oracle.reveal(np.array([[0.7, np.nan]]))
    assert oracle.target().tolist() == [[0.7, 0.0]]


@pytest.mark.parametrize("name", baselines.NAMES)
def test_every_policy_has_no_opinion_without_samples_and_survives_gaps(name: str) -> None:
    policy = make(name, BOTH, 3, STEP_S, np.full((3, 2), 1.0))
    gaps = np.full((2, 3), np.nan, dtype=np.float32)
    for index in range(5):
        policy.observe(gaps, (index + 1) * STEP_S)
    target = policy.target()
    assert target.shape == (3, 2)
    if name == "request":
        assert (target == 1.0).all()
    elif name == "oracle":
        assert (target == 0.0).all()
    else:
        assert np.isnan(target).all()


@pytest.mark.parametrize("name", [n for n in baselines.NAMES if n not in ("request", "oracle")])
def test_workloads_do_not_disturb_each_other(name: str) -> None:
    random = np.random.default_rng(7)
    usage = random.gamma(2.0, 0.2, (2 * DAY, 2, 4)).astype(np.float32)
    usage[:, 1] *= np.float32(1e9)
    together = make(name, BOTH, 4, STEP_S, np.full((4, 2), 1.0))
    alone = make(name, BOTH, 1, STEP_S, np.full((1, 2), 1.0))
    for index, values in enumerate(usage):
        together.observe(values, (index + 1) * STEP_S)
        alone.observe(values[:, 2:3], (index + 1) * STEP_S)
    np.testing.assert_array_equal(together.target()[2:3], alone.target())


def test_unknown_names_and_windows_are_named() -> None:
    with pytest.raises(ValueError, match="no baseline 'magic': there are persistence"):
        make("magic", BOTH, 1, STEP_S, np.ones((1, 2)))
    with pytest.raises(ValueError, match="'fortnight' is no duration"):
        make("max:fortnight", BOTH, 1, STEP_S, np.ones((1, 2)))
    assert window_s("90s") == 90
    assert window_s("7d") == 604_800


# -- VPA -----------------------------------------------------------------------------------


def test_vpa_has_176_buckets_for_cpu_and_for_memory() -> None:
    assert bucket_count(0.01, 1000.0) == 176
    assert bucket_count(1e7, 1e12) == 176


def test_vpa_buckets_start_and_find_are_inverse() -> None:
    assert bucket_start(np.array([0, 1, 2]), 0.01) == pytest.approx([0.0, 0.01, 0.0205])
    found = find_bucket(np.array([0.0, 0.0099, 0.0101, 0.0204, 0.0206, 1e9]), 0.01, 176)
    assert found.tolist() == [0, 0, 1, 1, 2, 175]


def test_vpa_percentile_is_a_buckets_end_without_interpolation() -> None:
    histogram = DecayingHistogram(1, 0.01, 1000.0)
    rows = np.zeros(10, dtype=np.int64)
    values = np.array([0.015] * 9 + [0.5])
    histogram.add(rows, values, np.full(10, 0.1), np.zeros(10, dtype=np.int64))
    assert histogram.percentile(0.9) == pytest.approx([0.0205])  # end of bucket 1
    half = int(find_bucket(np.array([0.5]), 0.01, 176)[0])
    assert histogram.percentile(0.95) == pytest.approx(bucket_start(np.array([half + 1]), 0.01))


def test_vpa_weights_halve_in_a_day_and_survive_a_rebase() -> None:
    histogram = DecayingHistogram(1, 0.01, 1000.0)
    row, weight = np.zeros(1, dtype=np.int64), np.array([0.1])
    histogram.add(row, np.array([0.5]), weight, np.array([0]))
    histogram.add(row, np.array([0.015]), weight, np.array([86_400]))
    ratio = histogram.weights[0, 1] / histogram.weights[0].sum()
    assert ratio == pytest.approx(2 / 3)
    histogram.add(row, np.array([0.015]), weight, np.array([102 * 86_400]))
    assert histogram.weights.max() < 2.0**3  # re-based: exponents stay small


@pytest.mark.parametrize(
    ("hours", "upper", "lower"), [(12, 3.0, None), (24, 2.0, None), (168, 1.143, None)]
)
def test_vpa_bounds_widen_by_confidence(hours: int, upper: float, lower: float | None) -> None:
    policy = Vpa("vpa", Setting(("cpu",), 1, STEP_S, np.ones((1, 1))))
    steps = hours * 12 + 1
    for index in range(steps):
        policy.observe(np.array([[1.0]], dtype=np.float32), index * STEP_S)
    target = policy.target()[0, 0]
    high = policy.bounds()[1][0, 0]
    # Same bucket for p90 and p95 of a constant: what differs is the confidence alone.
    assert high / target == pytest.approx(upper, rel=2e-3)
    assert lower is None or policy.bounds()[0][0, 0] / target == pytest.approx(lower, rel=1e-2)


def test_vpa_lower_bound_is_0_6_of_the_estimate_after_five_minutes() -> None:
    # conf = 5 min / 24 h with five one-minute samples: (1 + 0.001 / 0.00347)^-2 = 0.6.
    confidence = 5 / 1440
    assert (1 + 0.001 / confidence) ** -2 == pytest.approx(0.6, abs=0.01)
    policy = Vpa("vpa", Setting(("cpu",), 1, 60, np.ones((1, 1))))
    for index in range(6):
        policy.observe(np.array([[1.0]], dtype=np.float32), index * 60)
    ratio = policy.bounds()[0][0, 0] / policy.target()[0, 0]
    assert ratio == pytest.approx((1 + 0.001 / confidence) ** -2, abs=0.01)


def test_vpa_margin_truncates_to_integer_units() -> None:
    assert with_margin(np.array([0.0209]), 1000.0)[0] == pytest.approx(0.023)  # 20 + int(3.0)
    assert with_margin(np.array([100.0]), 1.0)[0] == 115


def test_vpa_floors_are_25_millicores_and_250_mib() -> None:
    policy = one("vpa")
    feed(policy, np.full(20, 0.001), np.full(20, 1.0 * MIB))
    assert policy.target()[0] == pytest.approx([0.025, 250 * MIB])


def test_vpa_memory_counts_one_peak_per_day() -> None:
    policy = one("vpa")
    day = np.full(DAY, 1e9)
    day[100] = 3e9
    feed(policy, np.full(DAY, 0.1), day)
    end = bucket_start(find_bucket(np.array([3e9]), 1e7, 176) + 1, 1e7)[0]
    assert policy.target()[0, 1] == pytest.approx(end * 1.15, rel=1e-6)


def test_vpa_after_a_kill_takes_the_larger_bump() -> None:
    assert oom_sample(request=200 * MIB, peak=150 * MIB) == 300 * MIB
    assert oom_sample(request=1000 * MIB, peak=1200 * MIB) == pytest.approx(1440 * MIB)


def test_vpa_updater_leaves_an_amount_that_is_within_bounds() -> None:
    policy, follower = one("vpa-updater"), one("vpa")
    random = np.random.default_rng(3)
    changes = followed = 0
    before = before_followed = None
    for index in range(2 * DAY):
        values = np.array([[random.gamma(4.0, 0.1)], [1e9]], dtype=np.float32)
        policy.observe(values, (index + 1) * STEP_S)
        follower.observe(values, (index + 1) * STEP_S)
        now, now_followed = policy.target()[0, 0], follower.target()[0, 0]
        changes += before is not None and now != before
        followed += before_followed is not None and now_followed != before_followed
        before, before_followed = now, now_followed
    assert changes < followed


# -- Autopilot, KRR, Crane -----------------------------------------------------------------


def test_autopilot_average_decays_with_a_half_life_of_12_hours() -> None:
    policy = Autopilot("x", Setting(("cpu",), 1, STEP_S, np.ones((1, 1))), "avg", "max")
    half_day = DAY // 2
    usage = np.r_[np.full(half_day, 1.0), np.zeros(half_day)]
    for index, value in enumerate(usage):
        policy.observe(np.array([[value]], dtype=np.float32), (index + 1) * STEP_S)
    # Half the weight lies 12 h back: a third of the total in the limit of many samples.
    weights = 2.0 ** (-np.arange(DAY)[::-1] * STEP_S / 43_200)
    expected = (weights * usage).sum() / weights.sum()
    assert expected == pytest.approx(1 / 3, abs=0.01)
    # The largest recommendation of the last hour is the one of eleven steps ago.
    earlier = (weights[:-11] * usage[:-11]).sum() / weights[:-11].sum()
    assert policy.target()[0, 0] == pytest.approx(earlier * 1.15, rel=1e-3)


def test_autopilot_percentile_weighs_samples_by_load() -> None:
    policy = one("autopilot")
    # 1 of 100 samples is 100 times larger: by load it is half of everything.
    usage = np.full(DAY, 0.1)
    usage[50::100] = 10.0
    feed(policy, usage)
    assert policy.target()[0, 0] > 10.0


def test_autopilot_memory_with_intermediate_tolerance_takes_half_the_maximum_at_least() -> None:
    policy = one("autopilot-avg")
    memory = np.full(DAY, 1e8)
    memory[10] = 8e9
    feed(policy, np.full(DAY, 0.1), memory)
    assert policy.target()[0, 1] >= 0.5 * 8e9 * 1.15 * 0.95


def test_krr_is_the_95th_percentile_and_115_percent_of_the_peak() -> None:
    policy = one("krr")
    random = np.random.default_rng(0)
    cpu = random.gamma(2.0, 0.3, 2 * DAY).astype(np.float32)
    memory = (random.gamma(50.0, 1.0, 2 * DAY) * 1e7).astype(np.float32)
    feed(policy, cpu, memory)
    want_cpu = math.ceil(np.percentile(cpu.astype(np.float64), 95) * 1000) / 1000
    want_memory = math.ceil(1.15 * float(memory.max()) / MIB) * MIB
    assert policy.target()[0] == pytest.approx([want_cpu, want_memory])


def test_krr_floors_and_its_need_of_history() -> None:
    policy = one("krr")
    feed(policy, np.full(20, 1e-4), np.full(20, 1.0))
    assert np.isnan(policy.target()).all()  # 20 x 4 points of 75 s: fewer than 100
    feed(policy, np.full(DAY, 1e-4), np.full(DAY, 1.0))
    assert policy.target()[0] == pytest.approx([0.010, 100 * MIB])


def test_crane_is_the_end_of_the_p99_bucket_plus_15_percent() -> None:
    policy = one("crane")
    feed(policy, np.full(200, 0.25), np.full(200, 150 * MIB))
    assert policy.target()[0] == pytest.approx([0.3 * 1.15, 200 * MIB * 1.15])


def test_crane_forgets_after_a_week() -> None:
    policy = one("crane")
    feed(policy, np.r_[np.full(10, 5.0), np.full(7 * DAY, 0.05)])
    assert policy.target()[0, 0] == pytest.approx(0.1 * 1.15)
