"""What forecasts turned out to be: the misses of those that were acted on, as they were issued.

The calibration (`pla.core.calibration`) learns from raw forecasts; what is promised is the
corrected one, with the correction it had when it was made. That is what is judged here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Bytes
from pla.core.window import UsageWindow
from pla.observation import row_map
from pla.tick import TickReport

Counts = NDArray[np.int64]
Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Issued:
    """A corrected forecast whose hold window closes at `due_s` [epoch s]."""

    due_s: int
    peak: Singles
    quantiles: tuple[float, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """Hold windows that closed, and how many of them peaked above the forecast.

    Both of shape (tier, resource).
    """

    windows: Counts
    misses: Counts


class Realised:
    """Closed hold windows and misses per quantile, tier and resource.

    A window with a gap proves nothing and is not counted; nor is one in which usage was held
    down, unless it exceeded the forecast all the same.

    Attributes:
        total: per quantile, since the process began.
        newest: per quantile, of the hold windows that closed last; empty before the first.
    """

    def __init__(self, tiers: int, resources: int) -> None:
        """Nothing has closed yet."""
        self._shape = tiers, resources
        self._issued: list[Issued] = []
        self.total: dict[float, Closed] = {}
        self.newest: dict[float, Closed] = {}

    def take(self, report: TickReport, window: UsageWindow, hold_s: int, lead_s: int) -> None:
        """Judge the forecasts whose window has closed, and remember that of `report`.

        Ticks that come faster than steps forecast the same window again: the first one counts.
        """
        forecast, fleet = report.forecast, report.fleet
        for quantile in forecast.quantiles:
            self.total.setdefault(quantile, self._nothing())
        while self._issued and self._issued[0].due_s <= window.end_s:
            self._judge(self._issued.pop(0), report, window, hold_s // window.step_s)
        due_s = window.end_s + lead_s + hold_s
        if not self._issued or self._issued[-1].due_s < due_s:
            ids = fleet.workloads.ids
            self._issued.append(Issued(due_s, forecast.peak, forecast.quantiles, ids))

    def _judge(self, due: Issued, report: TickReport, window: UsageWindow, steps: int) -> None:
        newest = (window.end_s - due.due_s) // window.step_s
        if newest + steps > window.steps:
            return  # so long was no tick that the window has forgotten it
        workloads = report.fleet.workloads
        lags = range(newest, newest + steps)
        # NaN where any step is missing.
        peak = np.max([window.lag(lag) for lag in lags], axis=0)
        held = np.any([window.censored_lag(lag) for lag in lags], axis=0)
        # Memory of a forecast is laid out (quantile, resource, workload).
        predicted, tier = due.peak.transpose(2, 1, 0), workloads.tier
        if due.ids != workloads.ids:
            rows = row_map(due.ids, workloads.ids)
            here = np.flatnonzero(rows >= 0)
            predicted = predicted[:, :, rows[here]]
            peak, held, tier = peak[:, here], held[:, here], tier[here]
        possible = np.isfinite(peak)
        for level, quantile in enumerate(due.quantiles):
            fresh = self._compare(predicted[level], peak, possible, held, tier)
            former = self.total[quantile] if quantile in self.total else self._nothing()
            self.newest[quantile] = fresh
            # Anew, not in place: a reader may hold the former one.
            self.total[quantile] = Closed(
                former.windows + fresh.windows, former.misses + fresh.misses
            )

    def _compare(
        self, predicted: Singles, peak: Singles, possible: Bools, held: Bools, tier: Bytes
    ) -> Closed:
        """Shapes (resource, workload), and (workload,) of `tier`."""
        missed = peak > predicted
        known = possible & np.isfinite(predicted) & (~held | missed)
        missed &= known
        closed = self._nothing()
        for row in range(self._shape[1]):
            for name in range(self._shape[0]):
                mine = tier == name
                closed.windows[name, row] = np.count_nonzero(known[row] & mine)
                closed.misses[name, row] = np.count_nonzero(missed[row] & mine)
        return closed

    def _nothing(self) -> Closed:
        return Closed(np.zeros(self._shape, np.int64), np.zeros(self._shape, np.int64))
