"""Autopilot, KRR and Crane on numbers that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pla.core.baselines import Baseline, make
from pla.core.baselines.autopilot import Autopilot, window_s
from pla.core.baselines.setting import Setting
from pla.core.resources import MIB

STEP_S = 300
DAY = 86_400 // STEP_S
BUCKET = 10 ** (6 / 399)
"""Ratio of Autopilot's buckets."""


def one(name: str) -> Baseline:
    return make(name, ("cpu", "memory"), 1, STEP_S, np.ones((1, 2)))


def feed(policy: Baseline, cpu: np.ndarray, memory: np.ndarray, start: int = 0) -> None:
    """One workload's usage, a value a step, from step `start` on."""
    for index, pair in enumerate(zip(cpu, memory, strict=True)):
        values = np.array(pair, dtype=np.float32)[:, None]
        policy.observe(values, (start + index + 1) * STEP_S)


# -- Autopilot -----------------------------------------------------------------------------


def test_autopilot_average_decays_with_a_half_life_of_12_hours() -> None:
    policy = Autopilot("x", Setting(("cpu",), 1, STEP_S, np.ones((1, 1))), "avg", "max")
    usage = np.r_[np.full(DAY // 2, 1.0), np.zeros(DAY // 2)]
    for index, value in enumerate(usage):
        policy.observe(np.array([[value]], dtype=np.float32), (index + 1) * STEP_S)
    # Half the weight lies 12 h back: a third of the total in the limit of many samples.
    weights = 2.0 ** (-np.arange(DAY)[::-1] * STEP_S / 43_200)
    expected = (weights * usage).sum() / weights.sum()
    assert expected == pytest.approx(1 / 3, abs=0.01)
    # The largest recommendation of the last hour is the one of eleven steps ago.
    earlier = (weights[:-11] * usage[:-11]).sum() / weights[:-11].sum()
    assert policy.target()[0, 0] == pytest.approx(earlier * 1.15, rel=1e-6)


def test_autopilot_percentile_weighs_samples_by_load() -> None:
    policy = one("autopilot")
    # 1 of 100 samples is 100 times larger: by load it is half of everything.
    usage = np.full(DAY, 0.1)
    usage[50::100] = 10.0
    feed(policy, usage, usage * 1e9)
    target = policy.target()[0] / 1.15
    assert (target >= np.array([10.0, 1e10])).all()
    assert (target <= np.array([10.0, 1e10]) * BUCKET * (1 + 1e-6)).all()


def test_autopilot_maximum_forgets_after_a_day_and_holds_for_an_hour_more() -> None:
    policy = one("autopilot-max")
    feed(policy, np.r_[4.0, np.full(DAY + 10, 0.5)], np.full(DAY + 11, 1e9))
    assert policy.target()[0, 0] >= 4.0 * 1.15
    feed(policy, np.array([0.5]), np.array([1e9]), start=DAY + 11)
    assert 0.5 * 1.15 <= policy.target()[0, 0] <= 0.5 * 1.15 * BUCKET * (1 + 1e-6)


def test_autopilot_memory_with_intermediate_tolerance_takes_half_the_maximum_at_least() -> None:
    policy = one("autopilot-avg")
    memory = np.full(DAY, 1e8)
    memory[10] = 8e9
    feed(policy, np.full(DAY, 0.1), memory)
    assert policy.target()[0, 1] == pytest.approx(4e9 * 1.15, rel=BUCKET - 1)


def test_autopilot_remembers_what_it_gave_before_a_day_long_gap() -> None:
    policy = one("autopilot-max")
    gap = np.full(2 * DAY, np.nan)
    feed(policy, np.full(DAY, 0.5), np.full(DAY, 1e9))
    before = policy.target()
    feed(policy, gap, gap, start=DAY)
    np.testing.assert_array_equal(policy.target(), before)


def test_autopilot_recommends_once_in_five_minutes() -> None:
    assert [window_s(step_s) for step_s in (10, 60, 90, 300, 600, 3600)] == [
        300, 300, 360, 300, 600, 3600,
    ]  # fmt: skip
    policy = make("autopilot-max", ("cpu",), 1, 60, np.ones((1, 1)))
    for minute, value in enumerate([1.0, 3.0, 1.0, 1.0, 1.0, 9.0], start=1):
        policy.observe(np.array([[value]], dtype=np.float32), minute * 60)
        assert np.isnan(policy.target()[0, 0]) == (minute < 5)
    assert policy.target()[0, 0] == pytest.approx(3.0 * 1.15, rel=BUCKET - 1)


def test_autopilot_counts_memory_once_a_window_and_cpu_every_sample() -> None:
    # Every 25 minutes one minute of 10, else 1: 240 of 816 by load over the samples (29 %), 240 of
    # 336 over the windows' peaks (71 %).
    usage = np.ones(600)
    usage[::25] = 10.0
    targets = {}
    for resource, unit in (("cpu", 1.0), ("memory", 1e9)):
        setting = Setting((resource,), 1, 60, np.ones((1, 1)))
        policy = Autopilot("x", setting, "p60", "p60")
        for index, value in enumerate(usage):
            policy.observe(np.full((1, 1), value * unit, dtype=np.float32), (index + 1) * 60)
        targets[resource] = policy.target()[0, 0] / unit
    assert targets["cpu"] == pytest.approx(1.15, rel=BUCKET - 1)
    assert targets["memory"] == pytest.approx(11.5, rel=BUCKET - 1)


# -- KRR -----------------------------------------------------------------------------------


def test_krr_is_the_95th_percentile_and_115_percent_of_the_peak() -> None:
    random = np.random.default_rng(0)
    cpu = random.gamma(2.0, 0.3, 2 * DAY).astype(np.float32)
    memory = (random.gamma(50.0, 1.0, 2 * DAY) * 1e7).astype(np.float32)
    want_memory = math.ceil(1.15 * float(memory.max()) / MIB) * MIB
    for name, percent in (("krr", 95), ("krr-limit", 96)):
        policy = one(name)
        feed(policy, cpu, memory)
        want_cpu = math.ceil(np.percentile(cpu.astype(np.float64), percent) * 1000) / 1000
        assert policy.target()[0].tolist() == [want_cpu, want_memory]


def test_krr_floors_and_its_need_of_three_hours() -> None:
    policy = one("krr")
    feed(policy, np.full(35, 1e-4), np.full(35, 1.0))
    assert np.isnan(policy.target()).all()
    feed(policy, np.full(1, 1e-4), np.full(1, 1.0), start=35)
    assert policy.target()[0].tolist() == [0.010, 100 * MIB]


def test_krr_reports_at_midnight_only() -> None:
    policy = one("krr")
    feed(policy, np.full(DAY, 0.5), np.full(DAY, 1e9))
    feed(policy, np.full(DAY - 1, 2.0), np.full(DAY - 1, 4e9), start=DAY)
    assert policy.target()[0, 0] == 0.5
    feed(policy, np.full(1, 2.0), np.full(1, 4e9), start=2 * DAY - 1)
    assert policy.target()[0, 0] == 2.0


def test_krr_forgets_after_two_weeks() -> None:
    policy = one("krr")
    feed(policy, np.full(DAY, 0.5), np.full(DAY, 9e9))
    feed(policy, np.full(14 * DAY, 0.5), np.full(14 * DAY, 1e9), start=DAY)
    assert policy.target()[0, 1] == math.ceil(1.15e9 / MIB) * MIB


# -- Crane ---------------------------------------------------------------------------------


def test_crane_is_the_end_of_the_p99_bucket_plus_15_percent() -> None:
    policy = one("crane")
    feed(policy, np.full(200, 0.25), np.full(200, 150 * MIB))
    assert policy.target()[0] == pytest.approx([0.3 * 1.15, 200 * MIB * 1.15])


def test_crane_weighs_samples_by_their_value() -> None:
    # 1 of 200 samples: half a percent of the samples, half of the load.
    policy = one("crane")
    usage = np.full(200, 0.05)
    usage[7] = 10.05
    feed(policy, usage, usage * 1e9)
    assert policy.target()[0, 0] == pytest.approx(10.1 * 1.15)


def test_crane_forgets_after_a_week_even_what_was_huge() -> None:
    policy = one("crane")
    feed(policy, np.full(50, 5.03), np.random.default_rng(1).gamma(9.0, 1e9, 50))
    feed(policy, np.zeros(7 * DAY), np.zeros(7 * DAY), start=50)
    assert policy.target()[0] == pytest.approx([0.1 * 1.15, 100 * MIB * 1.15])
    gap = np.full(7 * DAY, np.nan)
    feed(policy, gap, gap, start=50 + 7 * DAY)
    assert np.isnan(policy.target()).all()
