"""Google's Autopilot, the moving-window recommenders (Rzadca et al., EuroSys'20, section 3.2).

Usage in 5-minute windows: CPU as a histogram of its samples, memory as the window's peak. Weights
halve after 12 h (CPU) and 48 h (memory). The paper leaves open the bucket borders (about 400) and
the length N of S_max; here 400 exponential buckets over six decades above the resource's floor
/ 10, and N = 24 h of windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.baselines.rolling import Ring
from pla.core.baselines.setting import Setting
from pla.core.fleet import Floats
from pla.core.resources import ResourceSpec, specs

WINDOW_S = 300
BUCKETS = 400
DECADES = 6.0
CPU_HALF_LIFE_S = 12 * 3600.0
MEMORY_HALF_LIFE_S = 48 * 3600.0
MAX_WINDOWS = 24 * 3600 // WINDOW_S
MARGIN = 0.15
HOLD_S = 3600


class _Statistic:
    """S_max, S_avg and S_pj of one resource, for all workloads."""

    def __init__(self, spec: ResourceSpec, setting: Setting) -> None:
        half_life_s = CPU_HALF_LIFE_S if spec.compressible else MEMORY_HALF_LIFE_S
        self._decay = 2.0 ** (-setting.step_s / half_life_s)
        self._edges = spec.floor / 10 * 10 ** (DECADES * np.arange(BUCKETS) / (BUCKETS - 1))
        self._histogram: Floats = np.zeros((setting.workloads, BUCKETS))
        self._weighted: Floats = np.zeros(setting.workloads)
        self._weight: Floats = np.zeros(setting.workloads)
        one = Setting((spec.name,), setting.workloads, setting.step_s, setting.request[:, :1])
        self._ring = Ring(one, MAX_WINDOWS * WINDOW_S // setting.step_s)

    def observe(self, values: Floats) -> None:
        self._histogram *= self._decay
        self._weighted *= self._decay
        self._weight *= self._decay
        rows = np.flatnonzero(np.isfinite(values))
        bucket = np.minimum(np.searchsorted(self._edges, values[rows]), BUCKETS - 1)
        self._histogram[rows, bucket] += 1.0
        self._weighted[rows] += values[rows]
        self._weight[rows] += 1.0
        self._ring.push(values[None, :].astype(np.float32))

    def average(self) -> Floats:
        """S_avg: decayed mean."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self._weight > 0, self._weighted / self._weight, np.nan)

    def percentile(self, share: float) -> Floats:
        """S_pj of the load-adjusted histogram: a sample weighs by its load b[k]."""
        load = self._histogram * self._edges
        total = load.sum(axis=1)
        reached = np.cumsum(load, axis=1) >= (share * total)[:, None]
        value = self._edges[np.argmax(reached, axis=1)]
        return np.where(self._weight > 0, value, np.nan)

    def maximum(self) -> Floats:
        """S_max: the highest bucket with a sample in the last N windows."""
        largest = self._ring.largest()[0].astype(np.float64)
        bucket = np.minimum(np.searchsorted(self._edges, largest), BUCKETS - 1)
        return np.where(np.isnan(largest), np.nan, self._edges[bucket])


class Autopilot:
    """A statistic, plus margin, then the largest recommendation of the last hour.

    `compressible` and `incompressible` choose the statistic: `p90`, `p95`, `p98`, `avg`, `max`, or
    `mid` = max(p60, 0.5 max), the paper's for memory with intermediate tolerance of kills.
    """

    def __init__(self, name: str, setting: Setting, compressible: str, incompressible: str) -> None:
        self.name = name
        chosen = specs(setting.resources)
        self._which = [compressible if s.compressible else incompressible for s in chosen]
        self._statistics = [_Statistic(spec, setting) for spec in chosen]
        self._recent = Ring(setting, HOLD_S // setting.step_s)

    def observe(self, values: NDArray[np.float32], end_s: int) -> None:
        """Adds the window, and makes the recommendation of this step."""
        rows = []
        for row, statistic in enumerate(self._statistics):
            statistic.observe(values[row].astype(np.float64))
            rows.append(_chosen(statistic, self._which[row]) * (1 + MARGIN))
        self._recent.push(np.array(rows, dtype=np.float32))

    def target(self) -> Floats:
        """The largest recommendation of the last hour."""
        return self._recent.largest().T.astype(np.float64)


def _chosen(statistic: _Statistic, which: str) -> Floats:
    if which == "avg":
        return statistic.average()
    if which == "max":
        return statistic.maximum()
    if which == "mid":
        return np.fmax(statistic.percentile(0.60), 0.5 * statistic.maximum())
    return statistic.percentile(float(which.removeprefix("p")) / 100.0)
