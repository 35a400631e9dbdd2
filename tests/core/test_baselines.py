"""The policies of a single number, and what holds for every policy."""

from __future__ import annotations

import numpy as np
import pytest

from pla.core import baselines
from pla.core.baselines import make, window_s
from pla.core.baselines.rolling import SlidingMax
from pla.core.baselines.setting import GIB, Setting, rule_unit
from pla.core.resources import BY_NAME

STEP_S = 300
DAY = 86_400 // STEP_S
BOTH = ("cpu", "memory")
LEARNING = [name for name in baselines.NAMES if name not in ("request", "oracle")]


def feed(policy: baselines.Baseline, cpu: np.ndarray) -> None:
    """One workload's usage of both resources, a value a step, from time 0 on."""
    for index, value in enumerate(cpu):
        policy.observe(np.full((2, 1), value, dtype=np.float32), (index + 1) * STEP_S)


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


def test_rolling_maximum_over_gaps_only_is_the_newest_sample() -> None:
    policy = one("max:10m")
    feed(policy, np.array([9.0, 2.0, np.nan, np.nan, np.nan]))
    assert policy.target()[0, 0] == pytest.approx(2.0)


@pytest.mark.parametrize("levels", [3, 1000])  # few levels: many ties
def test_sliding_maximum_equals_the_maximum_of_the_window(levels: int) -> None:
    random = np.random.default_rng(5)
    usage = random.integers(0, levels, (300, 2, 6)).astype(np.float32)
    usage[random.random(usage.shape) < 0.2] = np.nan
    usage[100:120] = np.nan
    window = SlidingMax(Setting(BOTH, 6, STEP_S, np.ones((6, 2))), 12)
    for index, values in enumerate(usage):
        window.push(values)
        expected = np.fmax.reduce(usage[max(index - 11, 0) : index + 1], axis=0)
        np.testing.assert_array_equal(window.largest, expected)


def test_seasonal_gives_what_the_coming_step_used_a_day_ago() -> None:
    policy = one("seasonal")
    day = np.arange(DAY, dtype=np.float64)
    feed(policy, day)
    assert policy.target()[0, 0] == 0.0  # step DAY repeats step 0
    feed(policy, np.array([100.0]))
    assert policy.target()[0, 0] == 1.0


def test_seasonal_over_a_hold_is_the_maximum_of_yesterdays() -> None:
    policy = one("seasonal:15m")
    feed(policy, np.r_[3.0, np.nan, 5.0, 7.0, np.ones(DAY - 4)])
    assert policy.target()[0, 0] == 5.0  # of 3, a gap, 5
    feed(policy, np.array([1.0]))
    assert policy.target()[0, 0] == 7.0
    with pytest.raises(ValueError, match="seasonal:2d: hold of 172800 s"):
        one("seasonal:2d")


def test_request_never_moves_and_oracle_knows() -> None:
    static = one("request", request=2.5)
    feed(static, np.array([9.0, 9.0]))
    assert static.target().tolist() == [[2.5, 2.5]]
    oracle = one("oracle")
    assert isinstance(oracle, baselines.Oracle)
    oracle.reveal(np.array([[0.7, np.nan]]))
    assert oracle.target().tolist() == [[0.7, 0.0]]


# -- every policy --------------------------------------------------------------------------


@pytest.mark.parametrize("name", baselines.NAMES)
def test_every_policy_has_no_opinion_without_samples_and_survives_gaps(name: str) -> None:
    policy = make(name, BOTH, 3, STEP_S, np.full((3, 2), 1.0))
    gaps = np.full((2, 3), np.nan, dtype=np.float32)
    for index in range(DAY + 5):
        policy.observe(gaps, (index + 1) * STEP_S)
    target = policy.target()
    assert target.shape == (3, 2)
    if name == "request":
        assert (target == 1.0).all()
    elif name == "oracle":
        assert (target == 0.0).all()
    else:
        assert np.isnan(target).all()


@pytest.mark.parametrize("name", LEARNING)
def test_workloads_do_not_disturb_each_other(name: str) -> None:
    random = np.random.default_rng(7)
    usage = random.gamma(2.0, 0.2, (2 * DAY, 2, 4)).astype(np.float32)
    usage[:, 1] *= np.float32(1e9)
    usage[:, :, 3] = np.nan  # never seen
    usage[: DAY + 7, :, 1] = np.nan  # seen late
    together = make(name, BOTH, 4, STEP_S, np.full((4, 2), 1.0))
    alone = make(name, BOTH, 1, STEP_S, np.full((1, 2), 1.0))
    for index, values in enumerate(usage):
        together.observe(values, (index + 1) * STEP_S)
        alone.observe(values[:, 2:3], (index + 1) * STEP_S)
    np.testing.assert_array_equal(together.target()[2:3], alone.target())
    assert np.isnan(together.target()[3]).all()
    assert np.isfinite(together.target()[1]).all()


@pytest.mark.parametrize("name", LEARNING)
def test_asking_twice_changes_nothing(name: str) -> None:
    usage = np.random.default_rng(2).gamma(2.0, 0.2, (DAY, 2, 3)).astype(np.float32)
    asked, silent = (make(name, BOTH, 3, STEP_S, np.full((3, 2), 1.0)) for _ in range(2))
    for index, values in enumerate(usage):
        asked.observe(values, (index + 1) * STEP_S)
        silent.observe(values, (index + 1) * STEP_S)
        asked.target()[:] = -1.0  # and a caller may write into what it was given
    np.testing.assert_array_equal(asked.target(), silent.target())


@pytest.mark.parametrize("name", LEARNING)
def test_a_caller_may_reuse_the_array_of_a_step(name: str) -> None:
    usage = np.random.default_rng(4).gamma(2.0, 0.2, (DAY, 2, 3)).astype(np.float32)
    fresh, reused = (make(name, BOTH, 3, STEP_S, np.full((3, 2), 1.0)) for _ in range(2))
    buffer = np.empty((2, 3), dtype=np.float32)
    for index, values in enumerate(usage):
        fresh.observe(values, (index + 1) * STEP_S)
        buffer[:] = values
        reused.observe(buffer, (index + 1) * STEP_S)
        buffer[:] = 1e6
    np.testing.assert_array_equal(fresh.target(), reused.target())


@pytest.mark.parametrize("step_s", [60, 600, 3600])
@pytest.mark.parametrize("name", LEARNING)
def test_every_policy_runs_on_any_step_that_divides_an_hour(name: str, step_s: int) -> None:
    policy = make(name, BOTH, 1, step_s, np.full((1, 2), 1.0))
    for index in range(86_400 // step_s):
        policy.observe(np.array([[0.4], [4e8]], dtype=np.float32), (index + 1) * step_s)
    cpu, memory = policy.target()[0]
    assert 0.39999 < cpu < 0.6  # Crane: 0.5 x 1.15
    assert 3.9999e8 < memory < 5.5e8


@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize(("resource", "unit"), [("network_rx", 1e6), ("storage", 1.0)])
def test_other_resources_follow_the_rule_of_their_kind(
    name: str, resource: str, unit: float
) -> None:
    twin = "cpu" if BY_NAME[resource].compressible else "memory"
    usage = np.random.default_rng(9).gamma(2.0, 0.25, (DAY, 1, 2)).astype(np.float32)
    usage = usage if twin == "cpu" else usage * np.float32(1e9)
    known = make(name, (twin,), 2, STEP_S, np.full((2, 1), 0.5))
    other = make(name, (resource,), 2, STEP_S, np.full((2, 1), 0.5 * unit))
    for index, values in enumerate(usage):
        known.observe(values, (index + 1) * STEP_S)
        other.observe(values * np.float32(unit), (index + 1) * STEP_S)
    np.testing.assert_allclose(other.target(), known.target() * unit, rtol=1e-6)


def test_one_device_stands_for_a_gibibyte() -> None:
    assert rule_unit(BY_NAME["gpu"]) * GIB == 1.0
    policy = make("krr", ("gpu",), 1, STEP_S, np.ones((1, 1)))
    for index in range(DAY):
        policy.observe(np.array([[2.0]], dtype=np.float32), (index + 1) * STEP_S)
    assert policy.target()[0, 0] == pytest.approx(2.3, abs=1e-3)


def test_unknown_names_and_windows_are_named() -> None:
    with pytest.raises(ValueError, match="no policy 'magic': there are persistence"):
        make("magic", BOTH, 1, STEP_S, np.ones((1, 2)))
    with pytest.raises(ValueError, match="'fortnight' is no duration"):
        make("max:fortnight", BOTH, 1, STEP_S, np.ones((1, 2)))
    assert window_s("90s") == 90
    assert window_s("7d") == 604_800
