"""Features: the same bits however samples came, no look-ahead, worked numbers, any resource."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pla.core import features as module
from pla.core.feature_names import ANCHORED, NAMES, SCALED
from pla.core.features import Features, Featuriser, target
from pla.core.fleet import UsageBlock
from pla.core.window import UsageWindow

HOUR = 3600
STEP = 900
START = 1_375_315_200  # 2013-08-01T00:00Z
RESOURCES = ("cpu", "memory")
MIB = 1024.0**2


def usage(steps: int, workloads: int = 3, seed: int = 0, gaps: float = 0.1) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    values = random.gamma(0.5, 1.0, (steps, 2, workloads)) * np.array([1.0, 1e9])[:, None]
    values[random.random(values.shape) < gaps] = np.nan
    return np.asarray(values, dtype=np.float32)


def block(values: NDArray[np.float32], end_s: int, held: bool = False) -> UsageBlock:
    censored = np.full(values.shape, held)
    killed = np.zeros((values.shape[0], values.shape[2]), dtype=np.bool_)
    return UsageBlock(values, censored, killed, end_s, STEP)


def window_of(values: NDArray[np.float32]) -> UsageWindow:
    window = UsageWindow(values.shape[2], RESOURCES, STEP, START)
    window.push(block(values, START + len(values) * STEP))
    return window


def same_bits(one: Features, other: Features) -> bool:
    pairs = [(one.columns[name], other.columns[name]) for name in RESOURCES]
    pairs += [(one.level, other.level), (one.scale, other.scale)]
    return all(
        np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes() for a, b in pairs
    )


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    steps=st.integers(1, 400),
    gaps=st.sampled_from([0.0, 0.1, 0.9]),
    cuts=st.lists(st.integers(1, 399), max_size=6),
    late=st.lists(st.tuples(st.integers(0, 399), st.integers(1, 100)), max_size=4),
)
def test_the_same_bits_however_samples_came(
    seed: int, steps: int, gaps: float, cuts: list[int], late: list[tuple[int, int]]
) -> None:
    values = usage(steps, seed=seed, gaps=gaps)
    at_once = Featuriser(0, STEP)(window_of(values))

    # Pieces of any size, some steps missing at first and handed in later, features made between.
    window = UsageWindow(values.shape[2], RESOURCES, STEP, START)
    featurise = Featuriser(0, STEP)
    missing = {
        first: values[first].copy() for first, delay in late if first + delay < min(steps, 150)
    }
    early = values.copy()
    early[list(missing)] = np.nan
    ends = sorted({cut for cut in cuts if cut < steps} | {steps})
    done = 0
    for end in ends:
        window.push(block(early[done:end], START + end * STEP))
        featurise(window)
        done = end
    for step, sample in missing.items():
        if (steps - step) * STEP <= 48 * HOUR:
            window.push(block(sample[None], START + (step + 1) * STEP))
            featurise(window)
        else:
            values[step] = np.nan
    if any((steps - step) * STEP > 48 * HOUR for step in missing):
        at_once = Featuriser(0, STEP)(window_of(values))
    assert same_bits(featurise(window), at_once)


def test_step_by_step_equals_at_once_over_hours_and_days() -> None:
    values = usage(400, seed=3)
    window = UsageWindow(3, RESOURCES, STEP, START)
    featurise = Featuriser(STEP, 2 * STEP)
    for step in range(len(values)):
        window.push(block(values[step : step + 1], START + (step + 1) * STEP))
        made = featurise(window)
        if step % 37 == 0 or step > 390:
            fresh = Featuriser(STEP, 2 * STEP)(window_of(values[: step + 1]))
            assert same_bits(made, fresh), step


def test_chunks_of_workloads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    window = window_of(usage(200, workloads=11))
    whole = Featuriser(0, STEP)(window)
    monkeypatch.setattr(module, "CHUNK", 4)
    assert same_bits(Featuriser(0, STEP)(window), whole)


def test_nothing_of_the_future_is_known() -> None:
    values = usage(300)
    changed = values.copy()
    changed[250:] = 7.0
    before = Featuriser(0, STEP)(window_of(values[:250]))
    assert same_bits(before, Featuriser(0, STEP)(window_of(changed[:250])))


def row(features: Features, name: str, resource: str = "cpu") -> float:
    return float(features.columns[resource][NAMES.index(name), 0])


def test_worked_numbers() -> None:
    # Three days of 1 core, a peak of 5 a day before the coming step, 2 cores in the newest step.
    steps = 3 * 96 + 2  # half past midnight: two steps in the open hour
    values = np.ones((steps, 2, 1), dtype=np.float32)
    values[steps - 96, 0] = 5.0  # the coming hold window, a day ago
    values[-3:, 0, 0] = (1.5, 3.0, 2.0)
    made = Featuriser(0, STEP)(window_of(values))
    scale = 5.0 + 0.01  # the week's peak, plus the floor
    assert made.level[0, 0] == 2.0
    assert made.scale[0, 0] == pytest.approx(scale)
    for name, expected in {
        "level": 2.0 / scale,
        "lag_1": (3.0 - 2.0) / scale,
        "lag_2": (1.5 - 2.0) / scale,
        "max_3": (3.0 - 2.0) / scale,
        "mean_3": (6.5 / 3 - 2.0) / scale,
        "rise_3": 1.5 / scale,
        "hourmax_3h": (3.0 - 2.0) / scale,
        "hourmax_168h": (5.0 - 2.0) / scale,
        "day_ago_max_0": (5.0 - 2.0) / scale,
        "day_ago_hourmax": (5.0 - 2.0) / scale,
        "day_ago_lag_0": (1.0 - 2.0) / scale,
        "missing_12": 0.0,
        "seen_168h": 72 / 168,
        "sin_of_hour": np.sin(2 * np.pi * 0.75),
        "cos_of_day": np.cos(2 * np.pi * 0.75 / 24),
        "log_scale": np.log10(scale / 0.01),
    }.items():
        assert row(made, name) == pytest.approx(expected, abs=1e-5), name
    last_12 = np.array([1.0] * 9 + [1.5, 3.0, 2.0])
    assert row(made, "std_12") == pytest.approx(last_12.std() / scale, rel=1e-5)
    assert np.isnan(row(made, "week_ago_hourmax"))


def test_hold_and_lead_shift_the_seasons() -> None:
    steps = 3 * 96
    values = np.ones((steps, 2, 1), dtype=np.float32)
    # Lead 2 steps, hold 3: the coming window is steps +3 ... +5, and a day ago steps -93 ... -91.
    values[steps - 96 + 2, 0] = 4.0
    inside = row(Featuriser(2 * STEP, 3 * STEP)(window_of(values)), "day_ago_max_0")
    values[steps - 96 + 2, 0] = 1.0
    values[steps - 96 + 1, 0] = 4.0
    before = row(Featuriser(2 * STEP, 3 * STEP)(window_of(values)), "day_ago_max_0")
    assert inside > 0.5
    assert before == 0.0


def test_small_changes_of_large_usage_are_kept() -> None:
    values = np.full((60, 2, 1), 8e9, dtype=np.float32)
    values[::2, 1] += 1e6  # 10 GB that breathe by 1 MB: single precision must not cancel them
    made = Featuriser(0, STEP)(window_of(values))
    assert row(made, "std_12", "memory") * float(made.scale[0, 1]) == pytest.approx(5e5, rel=0.01)


def test_scaling_usage_leaves_features_as_they_are() -> None:
    values = usage(300, gaps=0.0) + np.float32(1.0)
    larger = values * np.float32(1024.0)
    made = Featuriser(0, STEP)(window_of(values)).columns["memory"]
    other = Featuriser(0, STEP)(window_of(larger)).columns["memory"]
    usages = len(ANCHORED) + len(SCALED)
    # Only the floor in the scale differs, and memory's is small beside a gigabyte.
    np.testing.assert_allclose(made[:usages], other[:usages], atol=0.03)


def test_a_workload_without_samples_is_nan_and_disturbs_nobody() -> None:
    values = usage(100, gaps=0.0)
    alone = Featuriser(0, STEP)(window_of(values))
    values = values.copy()
    values[:, :, 1] = np.nan
    made = Featuriser(0, STEP)(window_of(values))
    assert np.isnan(made.level[1]).all()
    assert np.isnan(made.columns["cpu"][: len(ANCHORED), 1]).all()
    assert (made.scale[1] > 0).all()
    for column in (0, 2):
        np.testing.assert_array_equal(
            made.columns["cpu"][:, column], alone.columns["cpu"][:, column]
        )


def test_censored_share_is_seen() -> None:
    window = window_of(usage(50, gaps=0.0))
    window.push(block(usage(3, gaps=0.0), START + 53 * STEP, held=True))
    assert row(Featuriser(0, STEP)(window), "censored_12") == pytest.approx(0.25)


def test_target_counts_from_the_level_in_scales() -> None:
    made = Featuriser(0, STEP)(window_of(usage(50, gaps=0.0)))
    peak = made.level + 0.5 * made.scale
    np.testing.assert_allclose(target(peak, made), 0.5, rtol=1e-5)


@pytest.mark.parametrize(("lead_s", "hold_s"), [(100, STEP), (0, 100), (0, 0)])
def test_lead_and_hold_are_whole_steps(lead_s: int, hold_s: int) -> None:
    with pytest.raises(ValueError, match="whole steps of 900 s"):
        Featuriser(lead_s, hold_s)(window_of(usage(10)))


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)
