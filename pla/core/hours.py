"""Hourly mean and maximum of usage, as a ring of 14 days. Hours are counted from the epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]

HOUR_S = 3600
HOURS = 14 * 24


class HourRing:
    """Aggregates of closed clock hours; the newest one is named by the caller, who has the time.

    Attributes:
        version: counts changes, so that what is derived from the hours can be kept until then.
    """

    def __init__(self, resources: int, workloads: int) -> None:
        """All gaps."""
        shape = (HOURS, resources, workloads)
        self._mean: Singles = np.full(shape, np.nan, dtype=np.float32)
        self._max: Singles = np.full(shape, np.nan, dtype=np.float32)
        self._peaks: dict[int, tuple[int, Singles]] = {}
        self.version = 0

    def mean(self, newest: int, hours_ago: int) -> Singles:
        """Mean of the hour `hours_ago` before `newest`, shape (resource, workload): a view."""
        view: Singles = self._mean[_row(newest, hours_ago)]
        return view

    def max(self, newest: int, hours_ago: int) -> Singles:
        """Maximum of the hour `hours_ago` before `newest`, shape (resource, workload): a view."""
        view: Singles = self._max[_row(newest, hours_ago)]
        return view

    def peak(self, newest: int, hours: int) -> Singles:
        """Largest usage of the `hours` hours up to `newest`, shape (resource, workload).

        Kept until an hour changes: not to be written to.
        """
        version, peak = self._peaks.get(hours, (-1, None))
        if peak is None or version != self.version:
            peak = np.full_like(self._max[0], np.nan)
            for ago in range(hours):
                np.fmax(peak, self.max(newest, ago), out=peak)
            self._peaks[hours] = (self.version, peak)
        return peak

    def empty(self, first: int, last: int) -> None:
        """Make the hours `[first, last)` gaps; they take over the rows of the oldest ones."""
        rows = np.arange(max(first, last - HOURS), last) % HOURS
        self._mean[rows] = np.nan
        self._max[rows] = np.nan
        self.version += 1

    def close(self, hour: int, mean: Singles, peak: Singles, whole: bool) -> None:
        """Set `hour`; if it is not aggregated from all its steps, what was known is not lost."""
        row = hour % HOURS
        if not whole:
            mean = np.where(np.isnan(self._mean[row]), mean, self._mean[row])
            peak = np.fmax(peak, self._max[row])
        self._mean[row] = mean
        self._max[row] = peak
        self.version += 1

    def fill(self, mean: Singles, peak: Singles, last: int, newest: int) -> None:
        """Fill gaps from `mean` and `peak`, shape (hour, resource, workload), that end at `last`.

        Hours that the ring ending at `newest` does not hold are left out.
        """
        for index in range(mean.shape[0]):
            hour = last - (mean.shape[0] - 1 - index)
            if not newest - HOURS < hour <= newest:
                continue
            row = hour % HOURS
            gap = np.isnan(self._max[row])
            self._mean[row][gap] = mean[index][gap]
            self._max[row][gap] = peak[index][gap]
        self.version += 1

    def reindexed(self, rows: NDArray[np.int64]) -> HourRing:
        """The same hours for other workloads: row i continues row `rows[i]`, -1 = all gaps."""
        other = HourRing(self._max.shape[1], len(rows))
        known = rows >= 0
        other._mean[:, :, known] = self._mean[:, :, rows[known]]
        other._max[:, :, known] = self._max[:, :, rows[known]]
        other.version = self.version + 1
        return other


def _row(newest: int, hours_ago: int) -> int:
    if not 0 <= hours_ago < HOURS:
        raise ValueError(f"{hours_ago} hours ago: the window keeps {HOURS} hours")
    return (newest - hours_ago) % HOURS
