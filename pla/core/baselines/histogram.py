"""The Vertical Pod Autoscaler's decaying histogram, for many workloads at once.

Exponential buckets, ratio 1.05: histogram_options.go, histogram.go and decaying_histogram.go of
kubernetes/autoscaler (VPA 1.8), from their formulas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Floats

Longs = NDArray[np.int64]

RATIO = 1.05
EPSILON = 1e-4
HALF_LIFE_S = 24 * 3600
MAX_DECAY_EXPONENT = 100.0


def bucket_count(first: float, largest: float) -> int:
    """Number of buckets: ceil(log_r(max (r - 1) / first + 1)) + 1; 176 for CPU and for memory."""
    return math.ceil(math.log(largest * (RATIO - 1) / first + 1, RATIO)) + 1


def bucket_start(index: Longs, first: float) -> Floats:
    """start(n) = first (r^n - 1) / (r - 1)."""
    return np.asarray(first * (RATIO ** index.astype(np.float64) - 1) / (RATIO - 1))


def find_bucket(values: Floats, first: float, count: int) -> Longs:
    """0 below `first`, else floor(log_r(v (r - 1) / first + 1)), at most the last bucket."""
    safe = np.maximum(values, 0.0)
    index = np.floor(np.log(safe * (RATIO - 1) / first + 1) / math.log(RATIO)).astype(np.int64)
    return np.where(values < first, 0, np.minimum(index, count - 1))


class DecayingHistogram:
    """One exponential histogram per workload; a sample's weight halves every 24 h.

    Instead of old weights shrinking, new ones grow by 2^((t - reference) / half-life). When that
    exponent passes 100, the reference moves to the nearest multiple of the half-life. It is the
    same for all workloads: a common factor that no percentile depends on.
    """

    def __init__(self, workloads: int, first: float, largest: float) -> None:
        self.first = first
        self.count = bucket_count(first, largest)
        self.weights: Floats = np.zeros((workloads, self.count))
        self._total: Floats = np.zeros(workloads)
        self._reference_s: int | None = None
        # The last bucket has no end: its start stands in.
        self._end = bucket_start(np.minimum(np.arange(self.count) + 1, self.count - 1), first)

    def add(self, rows: Longs, values: Floats, weight: float, at_s: Longs) -> None:
        """Add a sample of `weight`, taken at `at_s` [epoch s], for each of `rows`."""
        if not len(rows):
            return
        grown = weight * self._growth(at_s)
        bucket = find_bucket(values, self.first, self.count)
        np.add.at(self.weights, (rows, bucket), grown)
        np.add.at(self._total, rows, grown)

    def subtract(self, rows: Longs, values: Floats, weight: float, at_s: Longs) -> None:
        """Take samples out again; `rows` are distinct. What is left below epsilon is nothing."""
        if not len(rows):
            return
        grown = weight * self._growth(at_s)
        bucket = find_bucket(values, self.first, self.count)
        self.weights[rows, bucket] = _without(self.weights[rows, bucket], grown)
        self._total[rows] = _without(self._total[rows], grown)

    def percentiles(self, shares: Sequence[float]) -> Floats:
        """End of the bucket in which the weight reaches each share, (share, workload).

        Counted from the first bucket that is not empty (a weight of epsilon or more) to the last
        such; no interpolation. The last bucket of all gives its start. NaN for a histogram
        without a sample.
        """
        filled = self.weights >= EPSILON
        rows = np.arange(len(filled))
        first = np.argmax(filled, axis=1)
        last = self.count - 1 - np.argmax(filled[:, ::-1], axis=1)
        sums = np.cumsum(self.weights, axis=1)
        before = sums[rows, first] - self.weights[rows, first]
        sums[rows, last] = np.inf  # the walk ends there, whatever rounding has left
        empty = ~filled[rows, first]
        ends = np.empty((len(shares), len(rows)))
        for index, share in enumerate(shares):
            wanted = share * self._total + before
            reached = np.argmax(sums >= wanted[:, None], axis=1)
            ends[index] = self._end[np.maximum(reached, first)]
        ends[:, empty] = np.nan
        return ends

    def _growth(self, at_s: Longs) -> Floats:
        latest = int(at_s.max())
        if self._reference_s is None:
            self._reference_s = _nearest_multiple(latest)
        if (latest - self._reference_s) / HALF_LIFE_S > MAX_DECAY_EXPONENT:
            moved = _nearest_multiple(latest)
            shrunk = 2.0 ** ((self._reference_s - moved) // HALF_LIFE_S)
            self.weights *= shrunk
            self._total *= shrunk
            self._reference_s = moved
        return np.asarray(2.0 ** ((at_s - self._reference_s) / HALF_LIFE_S))


def _nearest_multiple(at_s: int) -> int:
    """The multiple of the half-life nearest to `at_s`; halfway goes up."""
    return (2 * at_s + HALF_LIFE_S) // (2 * HALF_LIFE_S) * HALF_LIFE_S


def _without(weight: Floats, part: Floats) -> Floats:
    left = weight - part
    return np.where(left < EPSILON, 0.0, left)
