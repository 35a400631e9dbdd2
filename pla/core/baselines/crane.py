"""Crane's percentile recommender (gocrane/crane, pkg/prediction/percentile).

VPA's library with linear buckets (0.1 core up to 100 cores, 100 MiB up to 1,000 of them), samples
weighted by their value (at least 1e-5), no decay, over 168 h: the end of the bucket that holds the
99th percentile, + 15 %. CPU's rule serves compressible resources, memory's the others, in the
proportions of `rule_unit`. It follows each step; kills are not part of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.baselines.rolling import Ring
from pla.core.baselines.setting import Setting, rule_unit
from pla.core.fleet import Floats
from pla.core.resources import MIB, specs

HISTORY_S = 168 * 3600
CPU_BUCKET_CORES = 0.1
MEMORY_BUCKET_BYTES = 100 * MIB
BUCKETS = 1000
BLOCK = 40
"""Buckets are also summed in blocks, so that a percentile need not walk over all of them."""
MIN_WEIGHT = 1e-5
SHARE = 0.99
MARGIN = 0.15


class CranePercentile:
    """Bucket-end p99 x 1.15 over a week."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        chosen = specs(setting.resources)
        self._unit = [rule_unit(spec) for spec in chosen]
        self._width = [
            CPU_BUCKET_CORES if spec.compressible else MEMORY_BUCKET_BYTES for spec in chosen
        ]
        shape = (len(chosen), setting.workloads, BUCKETS // BLOCK, BLOCK)
        self._weights: Floats = np.zeros(shape)
        self._samples = np.zeros(shape, dtype=np.int32)
        self._blocks: Floats = np.zeros(shape[:3])
        self._ring = Ring(setting, HISTORY_S // setting.step_s)

    def observe(self, values: NDArray[np.float32], end_s: int) -> None:
        """Adds the step, and takes the one of a week ago out."""
        former = self._ring.push(values)
        for row in range(len(self._width)):
            self._count(row, former[row], -1)
            self._count(row, values[row], 1)

    def _count(self, row: int, values: NDArray[np.float32], sign: int) -> None:
        seen = np.flatnonzero(np.isfinite(values))
        sample = values[seen].astype(np.float64) / self._unit[row]
        bucket = np.clip((sample / self._width[row]).astype(np.int64), 0, BUCKETS - 1)
        block = bucket // BLOCK
        at = row, seen, block, bucket % BLOCK
        self._samples[at] += sign
        weight = self._weights[at] + sign * np.maximum(sample, MIN_WEIGHT)
        # What was added and taken out again leaves rounding errors of the size of small samples.
        self._weights[at] = np.where(self._samples[at] > 0, np.maximum(weight, MIN_WEIGHT), 0.0)
        self._blocks[row, seen, block] = self._weights[row, seen, block].sum(axis=1)

    def target(self) -> Floats:
        """NaN before the first sample, and after a week without one."""
        return np.array([self._percentile(row) for row in range(len(self._width))]).T

    def _percentile(self, row: int) -> Floats:
        rows = np.arange(self._blocks.shape[1])
        sums = np.cumsum(self._blocks[row], axis=1)
        total = sums[:, -1]
        block = np.argmax(sums >= SHARE * total[:, None], axis=1)
        within = np.cumsum(self._weights[row, rows, block], axis=1)
        missing = SHARE * total - (sums[rows, block] - self._blocks[row, rows, block])
        within[:, -1] = np.inf  # the block holds it, whatever rounding has left
        bucket = block * BLOCK + np.argmax(within >= missing[:, None], axis=1)
        end = (bucket + 1) * self._width[row]
        return np.where(total > 0, end * (1 + MARGIN) * self._unit[row], np.nan)
