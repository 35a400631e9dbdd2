"""Crane's percentile recommender (gocrane/crane, pkg/prediction/percentile).

VPA's library with linear buckets (0.1 core up to 100 cores, 100 MiB up to 1,000 of them), samples
weighted by their value (at least 1e-5), no decay, over 168 h: the end of the bucket that holds the
99th percentile, + 15 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.baselines.rolling import Ring
from pla.core.baselines.setting import Setting
from pla.core.fleet import Floats
from pla.core.resources import MIB, specs

HISTORY_S = 168 * 3600
CPU_BUCKET_CORES = 0.1
MEMORY_BUCKET_BYTES = 100 * MIB
BUCKETS = 1000
MIN_WEIGHT = 1e-5
SHARE = 0.99
MARGIN = 0.15


class CranePercentile:
    """Bucket-end p99 x 1.15 over a week. Memory's buckets serve incompressible resources."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        self._width = [
            CPU_BUCKET_CORES if spec.compressible else MEMORY_BUCKET_BYTES
            for spec in specs(setting.resources)
        ]
        shape = (len(setting.resources), setting.workloads, BUCKETS)
        self._weights: Floats = np.zeros(shape)
        self._ring = Ring(setting, HISTORY_S // setting.step_s)

    def observe(self, values: NDArray[np.float32], end_s: int) -> None:
        """Adds the step, and takes the one of a week ago out."""
        self._add(self._ring.push(values), -1.0)
        self._add(values, 1.0)

    def _add(self, values: NDArray[np.float32], sign: float) -> None:
        for row, width in enumerate(self._width):
            seen = np.flatnonzero(np.isfinite(values[row]))
            sample = values[row, seen].astype(np.float64)
            bucket = np.minimum((sample / width).astype(np.int64), BUCKETS - 1)
            self._weights[row, seen, bucket] += sign * np.maximum(sample, MIN_WEIGHT)

    def target(self) -> Floats:
        """NaN before the first sample."""
        columns = []
        for row, width in enumerate(self._width):
            # What was added and taken out again leaves rounding errors of its own size.
            weights = np.maximum(self._weights[row], 0.0)
            total = weights.sum(axis=1)
            reached = np.cumsum(weights, axis=1) >= (SHARE * total)[:, None]
            end = (np.argmax(reached, axis=1) + 1) * width
            columns.append(np.where(total > MIN_WEIGHT / 2, end * (1 + MARGIN), np.nan))
        return np.array(columns).T
