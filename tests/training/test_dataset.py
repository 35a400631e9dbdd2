"""Training rows: targets exactly, held-down steps never taught, the very features of a tick."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pla.core.feature_names import NAMES
from pla.core.features import Featuriser
from pla.core.fleet import UsageBlock
from pla.core.window import UsageWindow
from pla.training.dataset import WARM_UP_S, Dataset, build

STEP = 900
WARM_UP = WARM_UP_S // STEP
START = 1_375_315_200
RESOURCES = ("cpu", "memory")


def history(steps: int = 120, workloads: int = 3, seed: int = 0) -> UsageBlock:
    random = np.random.default_rng(seed)
    values = random.gamma(1.0, 1.0, (steps, 2, workloads)).astype(np.float32)
    values[:, 1] *= 1e9
    none = np.zeros(values.shape, dtype=np.bool_)
    return UsageBlock(values, none, none[:, 0].copy(), START + steps * STEP, STEP)


def cutoff_steps(dataset: Dataset, resource: str, workload: int) -> NDArray[np.int64]:
    rows = dataset.rows[resource]
    ends = rows.cutoff_s[rows.workload == workload]
    return np.asarray((ends - START) // STEP - 1, dtype=np.int64)


def test_targets_are_the_peaks_of_lead_and_hold() -> None:
    block = history()
    dataset = build(block, RESOURCES, lead_s=2 * STEP, hold_s=3 * STEP)
    for column, name in enumerate(RESOURCES):
        rows = dataset.rows[name]
        assert len(rows) == 3 * (120 - WARM_UP - 5)
        for index in range(0, len(rows), 17):
            step = (int(rows.cutoff_s[index]) - START) // STEP - 1
            window = block.values[step + 3 : step + 6, column, rows.workload[index]]
            assert rows.peak[index] == window.max()
            level = block.values[step, column, rows.workload[index]]
            expected = (window.max() - level) / rows.scale[index]
            assert rows.target[index] == pytest.approx(expected, rel=1e-5)


def test_features_are_those_of_a_tick_at_the_same_cutoff() -> None:
    block = history()
    rows = build(block, RESOURCES, 0, STEP).rows["memory"]
    for step in (WARM_UP, 77, 118):
        window = UsageWindow(3, RESOURCES, STEP, START)
        window.push(
            UsageBlock(
                block.values[: step + 1],
                block.censored[: step + 1],
                block.killed[: step + 1],
                START + (step + 1) * STEP,
                STEP,
            )
        )
        live = Featuriser(0, STEP)(window)
        taught = rows.features[rows.cutoff_s == window.end_s]
        np.testing.assert_array_equal(taught, live.columns["memory"].T)


def test_a_held_down_workload_never_teaches_its_limit() -> None:
    block = history()
    block.values[60:70, 0, 1] = 0.5  # at its limit
    block.censored[60:70, 0, 1] = True
    dataset = build(block, RESOURCES, 0, 2 * STEP)
    # The hold windows of cutoffs 58 ... 68 touch steps 60 ... 69.
    assert not np.isin(np.arange(58, 69), cutoff_steps(dataset, "cpu", 1)).any()
    assert np.isin([57, 69], cutoff_steps(dataset, "cpu", 1)).all()
    assert np.isin(np.arange(58, 69), cutoff_steps(dataset, "cpu", 0)).all()
    assert np.isin(np.arange(58, 69), cutoff_steps(dataset, "memory", 1)).all()
    seen = dataset.rows["cpu"].features[:, NAMES.index("censored_12")]
    assert seen.max() > 0.5  # that it was held down is a feature of later rows


def test_a_kill_spoils_the_window_for_every_resource() -> None:
    block = history()
    block.killed[80, 2] = True
    dataset = build(block, RESOURCES, 0, STEP)
    for name in RESOURCES:
        assert 79 not in cutoff_steps(dataset, name, 2)
        assert np.isin([78, 80], cutoff_steps(dataset, name, 2)).all()


def test_a_gap_in_the_hold_window_is_no_target() -> None:
    block = history()
    block.values[90, 0, 0] = np.nan
    dataset = build(block, RESOURCES, 0, 2 * STEP)
    assert not np.isin([88, 89], cutoff_steps(dataset, "cpu", 0)).any()
    assert np.isin([87, 90], cutoff_steps(dataset, "cpu", 0)).all()


def test_rows_are_drawn_evenly_and_by_seed() -> None:
    block = history(steps=600)
    parts = [
        build(block, RESOURCES, 0, STEP, max_rows=300, seed=seed).rows["cpu"] for seed in (1, 1)
    ]
    np.testing.assert_array_equal(parts[0].features, parts[1].features)
    assert 230 < len(parts[0]) < 370
    assert (np.diff(parts[0].cutoff_s) >= 0).all()
    middle = np.median((parts[0].cutoff_s - START) / STEP)
    assert 250 < middle < 400
    other = build(block, RESOURCES, 0, STEP, max_rows=300, seed=2).rows["cpu"]
    assert not np.array_equal(other.cutoff_s, parts[0].cutoff_s)


def test_a_single_resource_of_two() -> None:
    block = history()
    only = UsageBlock(
        block.values[:, 1:], block.censored[:, 1:], block.killed, block.end_s, block.step_s
    )
    both = build(block, RESOURCES, 0, STEP).rows["memory"]
    alone = build(only, ("memory",), 0, STEP).rows["memory"]
    np.testing.assert_array_equal(both.features, alone.features)
    np.testing.assert_array_equal(both.target, alone.target)


def test_it_says_what_it_was_made_of() -> None:
    block = history()
    dataset = build(block, RESOURCES, STEP, 2 * STEP)
    assert (dataset.start_s, dataset.end_s) == (START, START + 120 * STEP)
    assert (dataset.step_s, dataset.lead_s, dataset.hold_s) == (STEP, STEP, 2 * STEP)
    assert dataset.names == NAMES
    assert build(history(), RESOURCES, 0, STEP).checksum == dataset.checksum
    block.values[5, 0, 0] += 1
    assert build(block, RESOURCES, 0, STEP).checksum != dataset.checksum


def test_too_short_a_history_says_what_is_needed() -> None:
    with pytest.raises(ValueError, match=r"48 steps of 900 s is too short .* more than 12.2 h"):
        build(history(steps=48), RESOURCES, 0, STEP)


def test_lead_and_hold_are_whole_steps() -> None:
    with pytest.raises(ValueError, match="whole steps of 900 s"):
        build(history(), RESOURCES, 100, STEP)
