"""Misses of forecasts, against counting them one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from pla.core.fleet import Fleet, UsageBlock
from pla.core.window import UsageWindow
from pla.exposition.realised import Realised
from pla.tick import TickReport

STEP_S = 300
START_S = 1_800_000_000
QUANTILES = (0.5, 0.9)
RESOURCES = ("cpu", "memory")
Singles = NDArray[np.float32]


class Replay:
    """Steps of usage and forecasts, and what should be counted of them."""

    def __init__(self, make_fleet: Callable[..., Fleet], workloads: int, hold: int) -> None:
        self.random = np.random.default_rng(11)
        tiers = np.arange(workloads) % 3
        self.fleet = make_fleet(np.ones((workloads, 2)), resources=RESOURCES, tier=tiers)
        self.window = UsageWindow(workloads, RESOURCES, STEP_S, START_S)
        self.realised = Realised(3, 2)
        self.hold = hold
        self.usage: list[Singles] = []
        self.held: list[NDArray[np.bool_]] = []
        self.forecasts: list[Singles] = []

    def step(self) -> None:
        workloads = len(self.fleet.workloads)
        values = self.random.gamma(2.0, 1.0, (2, workloads)).astype(np.float32)
        values[self.random.random(values.shape) < 0.1] = np.nan
        held = (self.random.random(values.shape) < 0.2) & ~np.isnan(values)
        end_s = START_S + (len(self.usage) + 1) * STEP_S
        none = np.zeros((1, workloads), np.bool_)
        self.window.push(UsageBlock(values[None], held[None], none, end_s, STEP_S))
        self.usage.append(values)
        self.held.append(held)

    def tick(self) -> None:
        peak = self.random.gamma(3.0, 1.0, (len(self.fleet.workloads), 2, 2)).astype(np.float32)
        peak.sort(axis=2)
        peak[self.random.random(peak.shape[:2]) < 0.05] = np.nan
        self.forecasts.append(peak)
        forecast = SimpleNamespace(peak=peak, quantiles=QUANTILES)
        # Of a report, forecast and fleet are all that is looked at.
        report = cast(TickReport, SimpleNamespace(forecast=forecast, fleet=self.fleet))
        self.realised.take(report, self.window, self.hold * STEP_S, lead_s=0)

    def by_hand(self, level: int) -> tuple[Any, Any]:
        windows, misses = np.zeros((3, 2), int), np.zeros((3, 2), int)
        for made, peaks in enumerate(self.forecasts):
            # Forecast number `made` follows step number `made`.
            span = range(made + 1, made + 1 + self.hold)
            if span[-1] >= len(self.usage):
                continue
            for row in range(len(self.fleet.workloads)):
                for column in range(2):
                    seen = [float(self.usage[step][column, row]) for step in span]
                    held = any(self.held[step][column, row] for step in span)
                    quantile = float(peaks[row, column, level])
                    if any(np.isnan(seen)) or np.isnan(quantile):
                        continue
                    missed = max(seen) > quantile
                    if held and not missed:
                        continue
                    tier = int(self.fleet.workloads.tier[row])
                    windows[tier, column] += 1
                    misses[tier, column] += missed
        return windows, misses


@pytest.mark.parametrize("hold", [1, 3])
def test_every_closed_window_counts_once(make_fleet: Callable[..., Fleet], hold: int) -> None:
    replay = Replay(make_fleet, workloads=30, hold=hold)
    for _ in range(12):
        replay.step()
        replay.tick()
    for level, quantile in enumerate(QUANTILES):
        windows, misses = replay.by_hand(level)
        closed = replay.realised.total[quantile]
        assert misses.sum() > 0
        np.testing.assert_array_equal(closed.windows, windows)
        np.testing.assert_array_equal(closed.misses, misses)


def test_ticks_between_two_steps_judge_the_first_forecast_only(
    make_fleet: Callable[..., Fleet],
) -> None:
    replay = Replay(make_fleet, workloads=30, hold=1)
    for _ in range(5):
        replay.step()
        replay.tick()
        replay.tick()
    replay.forecasts = replay.forecasts[::2]
    windows, misses = replay.by_hand(0)
    np.testing.assert_array_equal(replay.realised.total[0.5].windows, windows)
    np.testing.assert_array_equal(replay.realised.total[0.5].misses, misses)


def test_a_fleet_that_changes_is_judged_by_name(make_fleet: Callable[..., Fleet]) -> None:
    replay = Replay(make_fleet, workloads=4, hold=1)
    replay.step()
    replay.tick()
    forecast = replay.forecasts[0]
    # The first workload is gone, and another one has come.
    rows = np.array([3, 1, 2, -1])
    ids = ("sim://w3", "sim://w1", "sim://w2", "sim://new")
    table = replace(replay.fleet.workloads, ids=ids, tier=np.array([0, 1, 1, 2], dtype=np.int8))
    replay.fleet = replace(replay.fleet, workloads=table)
    replay.window = replay.window.reindexed(rows)
    replay.step()
    replay.tick()
    usage, held = replay.usage[1], replay.held[1]
    windows = np.zeros((3, 2), int)
    for row, former in enumerate((3, 1, 2)):
        for column in range(2):
            seen, quantile = usage[column, row], forecast[former, column, 1]
            if (
                np.isfinite(seen)
                and np.isfinite(quantile)
                and (not held[column, row] or seen > quantile)
            ):
                windows[table.tier[row], column] += 1
    np.testing.assert_array_equal(replay.realised.total[0.9].windows, windows)
    assert windows.sum() > 0


def test_a_reader_keeps_what_it_was_given(make_fleet: Callable[..., Fleet]) -> None:
    replay = Replay(make_fleet, workloads=30, hold=1)
    for _ in range(3):
        replay.step()
        replay.tick()
    given = dict(replay.realised.total)
    before = given[0.5].windows.copy()
    replay.step()
    replay.tick()
    np.testing.assert_array_equal(given[0.5].windows, before)
    assert replay.realised.total[0.5].windows.sum() > before.sum()
