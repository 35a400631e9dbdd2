"""Google's Autopilot, the moving-window recommenders (Rzadca et al., EuroSys'20, section 3.2).

Usage in 5-minute windows, aligned to the epoch: CPU as a histogram of its samples, memory as the
window's peak. Weights halve after 12 h (CPU) and 48 h (memory). CPU's rule serves compressible
resources, memory's the others, in the proportions of `rule_unit`. A recommendation is made when a
window closes. A step longer than 5 minutes is a window of its own; one that does not divide them
makes windows of the next whole number of steps.

The paper leaves open the bucket borders (about 400), the length N of S_max, and where the margin
falls from 15 to 10 %. Here: 400 exponential buckets over six decades from a tenth of the
resource's floor, a sample counted at its bucket's upper border; N = 24 h; 15 % throughout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.baselines.rolling import SlidingMax
from pla.core.baselines.setting import Setting, rule_unit
from pla.core.fleet import Floats
from pla.core.resources import BY_NAME, ResourceSpec, specs

WINDOW_S = 300
BUCKETS = 400
DECADES = 6.0
CPU_HALF_LIFE_S = 12 * 3600
MEMORY_HALF_LIFE_S = 48 * 3600
MAX_S = 24 * 3600
MARGIN = 0.15
HOLD_S = 3600
LARGEST_EXPONENT = 100.0


def window_s(step_s: int) -> int:
    """Length of a window in whole steps [s]: at least 5 minutes."""
    return -(-WINDOW_S // step_s) * step_s


class Statistic:
    """S_max, S_avg and S_pj of one resource, for all workloads.

    Instead of old windows' weights shrinking, those of new ones grow.
    """

    def __init__(self, spec: ResourceSpec, setting: Setting) -> None:
        self._peaks_only = not spec.compressible
        self._half_life_s = CPU_HALF_LIFE_S if spec.compressible else MEMORY_HALF_LIFE_S
        least = rule_unit(spec) * BY_NAME["cpu" if spec.compressible else "memory"].floor / 10
        self.edges: Floats = least * 10 ** (DECADES * np.arange(BUCKETS) / (BUCKETS - 1))
        self._load: Floats = np.zeros((setting.workloads, BUCKETS))
        self._sum: Floats = np.zeros(setting.workloads)
        self._weight: Floats = np.zeros(setting.workloads)
        self._reference_s: int | None = None
        width = window_s(setting.step_s)
        one = Setting((spec.name,), setting.workloads, width, setting.request[:, :1])
        self._recent = SlidingMax(one, MAX_S // width)

    def add_window(self, samples: NDArray[np.float32], end_s: int) -> None:
        """Take in a window's `samples` (step, workload) [unit]; NaN = gap."""
        peak = np.fmax.reduce(samples, axis=0)
        self._recent.push(peak[None, :])
        kept = peak[None, :] if self._peaks_only else samples
        seen = np.isfinite(kept)
        weight = self._growth(end_s)
        step, rows = np.nonzero(seen)
        bucket = self._bucket(kept[step, rows])
        # A sample weighs by its load: h[k] = b[k] sum w s[k].
        np.add.at(self._load, (rows, bucket), weight * self.edges[bucket])
        count = seen.sum(axis=0)
        mean = np.where(seen, kept, 0.0).sum(axis=0) / np.maximum(count, 1)
        self._sum += np.where(count > 0, weight * mean, 0.0)
        self._weight += np.where(count > 0, weight, 0.0)

    def average(self) -> Floats:
        """S_avg = sum w mean / sum w."""
        with np.errstate(invalid="ignore"):
            return self._sum / self._weight

    def percentile(self, share: float) -> Floats:
        """S_pj: upper border of the bucket in which the load reaches `share` of the total."""
        sums = np.cumsum(self._load, axis=1)
        reached = np.argmax(sums >= share * sums[:, -1:], axis=1)
        return np.where(self._weight > 0, self.edges[reached], np.nan)

    def maximum(self) -> Floats:
        """S_max: the highest bucket with a sample in the last N windows."""
        largest = self._recent.largest[0]
        return np.where(np.isnan(largest), np.nan, self.edges[self._bucket(largest)])

    def _bucket(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        found = np.searchsorted(self.edges, values.astype(np.float64))
        return np.minimum(found, BUCKETS - 1)

    def _growth(self, end_s: int) -> float:
        if self._reference_s is None:
            self._reference_s = end_s
        exponent = (end_s - self._reference_s) / self._half_life_s
        if exponent > LARGEST_EXPONENT:
            for sums in (self._load, self._sum, self._weight):
                sums *= 2.0**-exponent
            self._reference_s, exponent = end_s, 0.0
        return float(2.0**exponent)


class Autopilot:
    """A statistic, plus margin, then the largest recommendation of the last hour.

    `compressible` and `incompressible` choose the statistic: `p90`, `p95`, `p98`, `avg`, `max`, or
    `mid` = max(p60, 0.5 max), the paper's for memory with intermediate tolerance of kills.
    """

    def __init__(self, name: str, setting: Setting, compressible: str, incompressible: str) -> None:
        self.name = name
        chosen = specs(setting.resources)
        self._which = [compressible if s.compressible else incompressible for s in chosen]
        self._statistics = [Statistic(spec, setting) for spec in chosen]
        self._window_s = window_s(setting.step_s)
        self._open: list[NDArray[np.float32]] = []
        self._recent = SlidingMax(setting, HOLD_S // self._window_s)
        self._target: Floats = np.full((setting.workloads, len(chosen)), np.nan)

    def observe(self, values: NDArray[np.float32], end_s: int) -> None:
        """Adds the step to the open window; one that closes makes a recommendation."""
        self._open.append(values.copy())
        if end_s % self._window_s:
            return
        window = np.array(self._open)
        self._open.clear()
        recommended = []
        for row, (statistic, which) in enumerate(zip(self._statistics, self._which, strict=True)):
            statistic.add_window(window[:, row], end_s)
            recommended.append(_chosen(statistic, which) * (1 + MARGIN))
        self._recent.push(np.array(recommended, dtype=np.float32))
        largest = self._recent.largest.T.astype(np.float64)
        self._target = np.where(np.isnan(largest), self._target, largest)

    def target(self) -> Floats:
        """The largest recommendation of the last hour; without one, what was given before."""
        return self._target.copy()


def _chosen(statistic: Statistic, which: str) -> Floats:
    if which == "avg":
        return statistic.average()
    if which == "max":
        return statistic.maximum()
    if which == "mid":
        return np.fmax(statistic.percentile(0.60), 0.5 * statistic.maximum())
    return statistic.percentile(float(which.removeprefix("p")) / 100.0)
