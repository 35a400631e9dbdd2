"""Robusta KRR's strategies `simple` and `simple_limit`.

CPU = the 95th percentile of usage (the limit of `simple_limit`: the 96th), linearly interpolated;
memory = 1.15 x the maximum; over 336 h, at least 100 points and 3 h. Rounded up to 1 millicore
and 1 MiB, floors 10 millicores and 100 MiB. It is a report, not a loop: here it is followed once
a day.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.baselines.rolling import Ring
from pla.core.baselines.setting import Setting
from pla.core.fleet import Floats
from pla.core.resources import MIB, multiples, specs

HISTORY_S = 336 * 3600
REFRESH_S = 24 * 3600
MIN_POINTS = 100
MIN_SPAN_S = 3 * 3600
MEMORY_BUFFER = 1.15
CPU_FLOOR_CORES = 0.010
MEMORY_FLOOR_BYTES = 100 * MIB


class Krr:
    """The recommendation of the newest daily report."""

    def __init__(self, name: str, setting: Setting, cpu_percentile: float) -> None:
        self.name = name
        self._percentile = cpu_percentile
        self._specs = specs(setting.resources)
        self._ring = Ring(setting, HISTORY_S // setting.step_s)
        self._report: Floats = np.full((setting.workloads, len(setting.resources)), np.nan)
        self._reported_s = -REFRESH_S
        self._now_s = 0
        # The tool samples every 75 s; a longer step stands for the points it covers.
        self._points_per_step = setting.step_s / 75.0
        self._min_steps = max(MIN_SPAN_S // setting.step_s, 1)

    def observe(self, values: NDArray[np.float32], end_s: int) -> None:
        """Adds the step to the history."""
        self._ring.push(values)
        self._now_s = end_s

    def target(self) -> Floats:
        """The report in force; a new one when a day has passed, or while some have none."""
        due = self._now_s - self._reported_s >= REFRESH_S
        if due or (np.isnan(self._report).any() and self._now_s % 3600 == 0):
            self._report = self._fresh()
            self._reported_s = self._now_s if due else self._reported_s
        return self._report

    def _fresh(self) -> Floats:
        columns = []
        for row, spec in enumerate(self._specs):
            history = self._ring.values[:, row].astype(np.float64)
            counts = np.isfinite(history).sum(axis=0)
            enough = (counts * self._points_per_step >= MIN_POINTS) & (counts >= self._min_steps)
            amount = np.full(history.shape[1], np.nan)
            for column in np.flatnonzero(enough).tolist():
                seen = history[np.isfinite(history[:, column]), column]
                amount[column] = (
                    np.percentile(seen, self._percentile)
                    if spec.compressible
                    else MEMORY_BUFFER * seen.max()
                )
            columns.append(_rounded(amount, spec.compressible))
        return np.array(columns).T


def _rounded(amount: Floats, compressible: bool) -> Floats:
    """Up to 1 millicore or 1 MiB, at least the floor."""
    quantum, floor = (0.001, CPU_FLOOR_CORES) if compressible else (MIB, MEMORY_FLOOR_BYTES)
    up = multiples(np.ceil(amount / quantum - 1e-9), np.array(quantum))
    return np.where(np.isnan(amount), np.nan, np.maximum(up, floor))
