"""The usage window: gaps, late samples, jumps, hours, reindexing, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pla.core.fleet import UsageBlock
from pla.core.window import HOUR_S, HOURS, STEP_SPAN_S, UsageWindow

RESOURCES = ("cpu", "memory")
WORKLOADS = 2
STEP_S = 900
START_S = 500_000 * HOUR_S


def block_of(
    values: NDArray[np.float32],
    end_s: int,
    censored: NDArray[np.bool_] | None = None,
    killed: NDArray[np.bool_] | None = None,
    step_s: int = STEP_S,
) -> UsageBlock:
    shape = (len(values), len(RESOURCES), WORKLOADS)
    values = np.broadcast_to(np.asarray(values, dtype=np.float32), shape).copy()
    return UsageBlock(
        values=values,
        censored=np.zeros(shape, dtype=np.bool_) if censored is None else censored,
        killed=np.zeros(shape[::2], dtype=np.bool_) if killed is None else killed,
        end_s=end_s,
        step_s=step_s,
    )


def column(*values: float) -> NDArray[np.float32]:
    """Steps that have the same value in every cell."""
    return np.array(values, dtype=np.float32)[:, None, None]


def test_a_block_longer_than_the_ring_still_fills_the_hours_that_left_it() -> None:
    steps = 60 * HOUR_S // STEP_S
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    window.push(block_of(column(*range(steps)), START_S + steps * STEP_S))
    assert window.hour_max(59)[0, 0] == 3
    assert window.hour_mean(59)[0, 0] == 1.5


def test_an_hour_that_no_block_finishes_closes_with_what_it_had() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    window.push(block_of(column(1, 5), START_S + 2 * STEP_S))
    window.push(block_of(column(2), START_S + 9 * STEP_S))
    assert window.hour_max(1)[0, 0] == 5
    assert window.hour_mean(1)[0, 0] == 3
    assert np.isnan(window.hour_max(0)).all()


@pytest.mark.parametrize("days", [3, 13, 15, 40])
def test_the_open_hour_is_not_lost_in_a_jump_longer_than_the_ring(days: int) -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    window.push(block_of(column(1, 5), START_S + 2 * STEP_S))
    window.push(block_of(column(2), START_S + days * 24 * HOUR_S + STEP_S))
    assert window.lag(0)[0, 0] == 2
    assert np.isnan(window.recent(window.steps)[:-1]).all()
    hours = [window.hour_max(ago)[0, 0] for ago in range(HOURS)]
    found = [ago for ago, value in enumerate(hours) if not np.isnan(value)]
    assert found == ([days * 24 - 1] if days < 14 else [])


def test_a_late_sample_fills_its_hour_and_the_peak() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    window.push(block_of(column(1, 1, np.nan, 1, 1), START_S + 5 * STEP_S))
    assert window.peak(24)[0, 0] == 1
    window.push(block_of(column(9), START_S + 3 * STEP_S))
    assert window.hour_max(0)[0, 0] == 9
    assert window.hour_mean(0)[0, 0] == 3
    assert window.peak(24)[0, 0] == 9
    assert window.last_seen_s[0, 0] == START_S + 5 * STEP_S


def test_a_late_sample_of_an_hour_that_is_leaving_the_ring_takes_nothing_away() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    window.push(block_of(column(8, 2, 2, np.nan), START_S + 4 * STEP_S))
    window.push(block_of(column(1), START_S + STEP_SPAN_S + 2 * STEP_S))
    window.push(block_of(column(3), START_S + 4 * STEP_S))
    assert window.hour_max(47)[0, 0] == 8
    assert window.hour_mean(47)[0, 0] == 4


def test_a_sample_that_has_just_left_the_ring_does_not_land_on_the_newest_step() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    window.push(block_of(column(1), START_S + STEP_SPAN_S))
    window.push(block_of(column(7), START_S))
    assert window.lag(0)[0, 0] == 1
    window.push(block_of(column(8), START_S + STEP_S))
    assert window.lag(window.steps - 1)[0, 0] == 8


def test_a_correction_replaces_but_a_gap_does_not() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    end_s = START_S + STEP_S
    window.push(block_of(column(5), end_s))
    window.push(block_of(column(3), end_s))
    window.push(block_of(column(np.nan), end_s))
    window.push(block_of(column(np.inf), end_s))
    assert (window.lag(0) == 3).all()


def test_held_down_stays_held_down_when_the_step_is_read_again() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    held = np.ones((1, 2, 2), dtype=np.bool_)
    window.push(block_of(column(5), START_S + STEP_S, censored=held))
    window.push(block_of(column(5, 6), START_S + 2 * STEP_S))
    assert window.censored_lag(1).all()
    assert not window.censored_lag(0).any()


def test_a_row_that_is_taken_over_forgets_that_it_was_held_down() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    held = np.ones((1, 2, 2), dtype=np.bool_)
    window.push(block_of(column(5), START_S + STEP_S, censored=held))
    window.push(block_of(column(1), START_S + STEP_S + STEP_SPAN_S))
    assert not window.recent_censored(window.steps).any()


def test_re_reading_the_same_samples_leaves_the_hourly_version() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    window.push(block_of(column(1, 2, 3, 4), START_S + 4 * STEP_S))
    version = window.hour_version
    window.push(block_of(column(3, 4, 5), START_S + 5 * STEP_S))
    assert window.hour_version == version
    window.push(block_of(column(3.5), START_S + 3 * STEP_S))
    assert window.hour_version > version


def test_the_peak_is_that_of_the_open_and_the_asked_hours_only() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    hours = column(*np.repeat([9, 3, 5], HOUR_S // STEP_S), 2)
    window.push(block_of(hours, START_S + len(hours) * STEP_S))
    assert [window.peak(n)[0, 0] for n in (0, 1, 2, 3)] == [2, 5, 5, 9]
    assert window.recent_max(2)[0, 0] == 5


def test_the_peak_is_not_changed_by_who_writes_to_it() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    window.push(block_of(column(1, 2, 3, 4), START_S + 4 * STEP_S))
    window.peak(24)[:] = 99
    assert (window.peak(24) == 4).all()


def test_an_empty_window_knows_nothing() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    assert np.isnan(window.peak(HOURS)).all()
    assert np.isnan(window.values).all()
    assert not window.last_seen_s.any()


def test_load_hours_fills_gaps_only_and_reaches_as_far_as_the_ring() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    window.push(block_of(column(1, 1, 1, 1), START_S + HOUR_S))
    peak = np.repeat(np.arange(HOURS + 5, dtype=np.float32), 4).reshape(-1, 2, 2)
    window.load_hours(peak / np.float32(2), peak, START_S + HOUR_S)
    newest = HOURS + 4
    assert window.hour_max(0)[0, 0] == 1
    assert window.hour_max(1)[0, 0] == newest - 1
    assert window.hour_mean(HOURS - 1)[0, 0] == 5 / 2
    assert window.peak(0)[0, 0] == 1
    assert window.peak(2)[0, 0] == newest - 1
    empty = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S + HOUR_S)
    empty.load_hours(peak / np.float32(2), peak, START_S + HOUR_S)
    assert empty.hour_max(0)[0, 0] == newest


def test_loaded_hours_survive_a_back_fill_that_knows_only_a_part_of_them() -> None:
    start_s = START_S + 2 * STEP_S
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, start_s)
    loaded = np.full((60, 2, 2), 7, dtype=np.float32)
    window.load_hours(loaded, loaded, start_s // HOUR_S * HOUR_S)
    window.push(block_of(np.ones((window.steps, 2, 2), dtype=np.float32), start_s))
    # The ring begins in the middle of hour 48: what is known of its first half stays.
    assert window.hour_max(47)[0, 0] == 7
    assert window.hour_max(46)[0, 0] == 1


def test_reindexed_continues_what_stays_and_is_blank_for_what_is_new() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    values = np.arange(40, dtype=np.float32).reshape(10, 2, 2)
    killed = np.zeros((10, 2), dtype=np.bool_)
    killed[3, 1] = True
    held = values > 20
    window.push(block_of(values, START_S + 10 * STEP_S, censored=held, killed=killed))
    other = window.reindexed(np.array([1, -1, 0]))
    assert other.workloads == 3
    assert other.end_s == window.end_s
    assert other.hour_version != window.hour_version
    for lag in range(10):
        np.testing.assert_array_equal(other.lag(lag)[:, [2, 0]], window.lag(lag))
        np.testing.assert_array_equal(other.censored_lag(lag)[:, [2, 0]], window.censored_lag(lag))
        assert np.isnan(other.lag(lag)[:, 1]).all()
    np.testing.assert_array_equal(other.peak(24)[:, [2, 0]], window.peak(24))
    np.testing.assert_array_equal(other.hour_mean(0)[:, [2, 0]], window.hour_mean(0))
    assert other.killed_s.tolist() == [START_S + 4 * STEP_S, 0, 0]
    assert (other.last_seen_s[:, 1] == 0).all()
    assert (window.last_seen_s == START_S + 10 * STEP_S).all()


def test_a_window_without_workloads_moves_on() -> None:
    window = UsageWindow(0, RESOURCES, STEP_S, START_S)
    block = UsageBlock(
        values=np.empty((5, 2, 0), dtype=np.float32),
        censored=np.empty((5, 2, 0), dtype=np.bool_),
        killed=np.empty((5, 0), dtype=np.bool_),
        end_s=START_S + 5 * STEP_S,
        step_s=STEP_S,
    )
    window.push(block)
    assert window.end_s == block.end_s
    assert window.reindexed(np.array([-1])).lag(0).shape == (2, 1)


@pytest.mark.parametrize("step_s", [0, -60, 7, 7200])
def test_a_step_must_divide_an_hour(step_s: int) -> None:
    with pytest.raises(ValueError, match="divide an hour"):
        UsageWindow(WORKLOADS, RESOURCES, step_s, 0)


def test_a_window_ends_on_the_step_grid() -> None:
    with pytest.raises(ValueError, match="not a multiple of the step"):
        UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S + 1)


def test_a_block_that_does_not_fit_is_refused_whole() -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    with pytest.raises(ValueError, match="does not fit"):
        window.push(block_of(column(1), START_S + STEP_S, step_s=60))
    with pytest.raises(ValueError, match="not a multiple"):
        window.push(block_of(column(1), START_S + 1))
    three = np.ones((1, 2, 3), dtype=np.float32)
    wide = UsageBlock(three, three > 1, np.zeros((1, 3), np.bool_), START_S + STEP_S, STEP_S)
    with pytest.raises(ValueError, match="does not fit"):
        window.push(wide)
    assert window.end_s == START_S


@pytest.mark.parametrize("lag", [-1, 48 * HOUR_S // STEP_S])
def test_it_reaches_only_as_far_as_it_reaches(lag: int) -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    with pytest.raises(ValueError, match="the window keeps"):
        window.lag(lag)
    with pytest.raises(ValueError, match="the window keeps"):
        window.hour_max(HOURS)
