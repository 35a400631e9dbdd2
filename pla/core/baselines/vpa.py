"""The Kubernetes Vertical Pod Autoscaler 1.8 (recommender and updater rule).

Exponential histograms with decaying weights: aggregations_config.go, histogram_options.go,
decaying_histogram.go, container.go, logic/estimator.go of kubernetes/autoscaler. Amounts are
integer millicores and bytes, truncated at each step as there.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pla.core.baselines.setting import Setting
from pla.core.fleet import Floats
from pla.core.resources import MIB, specs

RATIO = 1.05
EPSILON = 1e-4
HALF_LIFE_S = 24 * 3600.0
MAX_DECAY_EXPONENT = 100.0
CPU_WEIGHT = 0.1
MEMORY_WINDOW_S = 24 * 3600
PERCENTILES = {"target": 0.90, "lower": 0.50, "upper": 0.95}
MARGIN = 0.15
CPU_FLOOR_CORES = 0.025
MEMORY_FLOOR_BYTES = 250 * MIB
OOM_MIN_BUMP_BYTES = 100 * MIB
OOM_BUMP_RATIO = 1.2


def bucket_count(first: float, largest: float, ratio: float = RATIO) -> int:
    """Number of buckets: ceil(log_r(max (r - 1) / first + 1)) + 1; 176 for CPU and for memory."""
    return math.ceil(math.log(largest * (ratio - 1) / first + 1, ratio)) + 1


def bucket_start(index: NDArray[np.int64], first: float, ratio: float = RATIO) -> Floats:
    """start(n) = first (r^n - 1) / (r - 1)."""
    return np.asarray(first * (ratio ** index.astype(np.float64) - 1) / (ratio - 1))


def find_bucket(
    values: Floats, first: float, count: int, ratio: float = RATIO
) -> NDArray[np.int64]:
    """0 below `first`, else floor(log_r(v (r - 1) / first + 1)), at most the last bucket."""
    safe = np.maximum(values, 0.0)
    index = np.floor(np.log(safe * (ratio - 1) / first + 1) / math.log(ratio)).astype(np.int64)
    return np.where(values < first, 0, np.minimum(index, count - 1))


def oom_sample(request: float, peak: float) -> float:
    """Memory sample after a kill: max(used + 100 MiB, 1.2 used), used = max(request, peak)."""
    used = max(request, peak)
    return max(used + OOM_MIN_BUMP_BYTES, OOM_BUMP_RATIO * used)


class DecayingHistogram:
    """One exponential histogram per workload; a sample's weight halves every 24 h."""

    def __init__(self, workloads: int, first: float, largest: float) -> None:
        self.first = first
        self.count = bucket_count(first, largest)
        self.weights: Floats = np.zeros((workloads, self.count))
        self.reference_s: float | None = None

    def add(
        self, rows: NDArray[np.int64], values: Floats, weight: Floats, at_s: NDArray[np.int64]
    ) -> None:
        """Add `weight` x 2^((t - reference) / half-life) to the bucket of each value.

        A negative weight takes a former sample out again; a bucket never falls below 0.
        """
        if not len(rows):
            return
        if self.reference_s is None:
            self.reference_s = float(at_s.min())
        exponent = (at_s - self.reference_s) / HALF_LIFE_S
        if exponent.max() > MAX_DECAY_EXPONENT:
            shift = round((float(at_s.max()) - self.reference_s) / HALF_LIFE_S)
            self.weights *= 2.0**-shift
            self.reference_s += shift * HALF_LIFE_S
            exponent = (at_s - self.reference_s) / HALF_LIFE_S
        bucket = find_bucket(values, self.first, self.count)
        np.add.at(self.weights, (rows, bucket), weight * 2.0**exponent)
        np.maximum(self.weights, 0.0, out=self.weights)

    def percentile(self, share: float) -> Floats:
        """End of the bucket in which the weight reaches `share` of the total, shape (workload,).

        Counted from the first bucket that is not empty; the last bucket gives its start; an
        empty histogram gives 0. No interpolation.
        """
        filled = self.weights >= EPSILON
        first = np.argmax(filled, axis=1)
        counted = np.where(np.arange(self.count) >= first[:, None], self.weights, 0.0)
        total = self.weights.sum(axis=1)
        reached = np.cumsum(counted, axis=1) >= (share * total)[:, None]
        index = np.where(reached.any(axis=1), np.argmax(reached, axis=1), self.count - 1)
        end = np.where(index < self.count - 1, index + 1, index)
        return np.where(filled.any(axis=1), bucket_start(end, self.first), 0.0)


class _Cpu:
    """CPU samples: constant weight 0.1, and the age and number that make confidence."""

    def __init__(self, setting: Setting) -> None:
        self.histogram = DecayingHistogram(setting.workloads, first=0.01, largest=1000.0)
        self.first_s = np.full(setting.workloads, np.iinfo(np.int64).max)
        self.last_s = np.zeros(setting.workloads, dtype=np.int64)
        self.samples = np.zeros(setting.workloads)
        # The real one samples once a minute; a longer step stands for its minutes.
        self._minutes = setting.step_s / 60.0

    def observe(self, values: Floats, end_s: int) -> None:
        rows = np.flatnonzero(np.isfinite(values))
        at_s = np.full(len(rows), end_s)
        self.histogram.add(rows, values[rows], np.full(len(rows), CPU_WEIGHT), at_s)
        self.first_s[rows] = np.minimum(self.first_s[rows], end_s)
        self.last_s[rows] = end_s
        self.samples[rows] += self._minutes

    def confidence(self) -> Floats:
        """min(span / 24 h, samples / 1440), shape (workload,)."""
        span_s = np.where(self.samples > 0, self.last_s - self.first_s, 0)
        return np.minimum(span_s / 86_400.0, self.samples / 1440.0)


class _Memory:
    """One peak per 24 h window, weight 1, stamped with the window's end."""

    def __init__(self, setting: Setting) -> None:
        self.histogram = DecayingHistogram(setting.workloads, first=1e7, largest=1e12)
        self._window_end_s = np.zeros(setting.workloads, dtype=np.int64)
        self._peak = np.zeros(setting.workloads)

    def observe(self, values: Floats, end_s: int) -> None:
        rows = np.flatnonzero(np.isfinite(values))
        fresh = rows[self._window_end_s[rows] == 0]
        self._window_end_s[fresh] = end_s
        # A sample at or after the window's end opens a new window.
        late = rows[end_s >= self._window_end_s[rows]]
        behind = end_s - self._window_end_s[late]
        self._window_end_s[late] += (behind // MEMORY_WINDOW_S + 1) * MEMORY_WINDOW_S
        self._peak[late] = 0.0
        higher = rows[values[rows] > self._peak[rows]]
        had = higher[self._peak[higher] > 0]
        self.histogram.add(had, self._peak[had], np.full(len(had), -1.0), self._window_end_s[had])
        self._peak[higher] = values[higher]
        self.histogram.add(
            higher, values[higher], np.full(len(higher), 1.0), self._window_end_s[higher]
        )


def with_margin(base: Floats, units: float) -> Floats:
    """Base + int(0.15 base), in integer `units` per unit (1000 for millicores, 1 for bytes)."""
    whole = np.trunc(base * units)
    return np.asarray((whole + np.trunc(MARGIN * whole)) / units)


class Vpa:
    """The recommender's target, followed at once; `bounds` gives its lower and upper bound.

    Memory's rule serves incompressible resources, CPU's rule compressible ones.
    """

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        self._specs = specs(setting.resources)
        self._models: list[_Cpu | _Memory] = [
            _Cpu(setting) if spec.compressible else _Memory(setting) for spec in self._specs
        ]
        # Confidence comes from CPU samples only; without CPU, from a count of any samples.
        self._confidence = next((m for m in self._models if isinstance(m, _Cpu)), _Cpu(setting))
        self._foreign = self._confidence not in self._models
        self._workloads = setting.workloads

    def observe(self, values: NDArray[np.float32], end_s: int) -> None:
        """Adds the step to the histograms."""
        for row, model in enumerate(self._models):
            model.observe(values[row].astype(np.float64), end_s)
        if self._foreign:
            self._confidence.observe(values[0].astype(np.float64), end_s)

    def target(self) -> Floats:
        """The 90th percentile with margin and floor; NaN before the first sample."""
        return self._estimate("target")

    def bounds(self) -> tuple[Floats, Floats]:
        """Lower and upper bound, widened where confidence is low: (workload, resource) each.

        Upper x (1 + 1 / conf), lower x (1 + 0.001 / conf)^-2.
        """
        return self._estimate("lower"), self._estimate("upper")

    def _estimate(self, which: str) -> Floats:
        columns = []
        confidence = np.maximum(self._confidence.confidence(), 1e-12)
        for spec, model in zip(self._specs, self._models, strict=True):
            base = model.histogram.percentile(PERCENTILES[which])
            units = 1000.0 if spec.compressible else 1.0
            amount = with_margin(base, units)
            if which == "upper":
                amount = amount * (1 + 1 / confidence)
            elif which == "lower":
                amount = amount * (1 + 0.001 / confidence) ** -2.0
            amount = np.trunc(np.minimum(amount * units, 1e14)) / units
            least = CPU_FLOOR_CORES if spec.compressible else MEMORY_FLOOR_BYTES
            columns.append(np.where(base > 0, np.maximum(amount, least), np.nan))
        return np.array(columns).T


class VpaUpdater:
    """The target behind the updater's rule: what is in force changes only when it must.

    It acts when the amount is outside [lower, upper] in any resource, or after 12 h when the
    summed relative difference is at least 0.1.
    """

    MIN_AGE_S = 12 * 3600
    MIN_DIFFERENCE = 0.1

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        self._recommender = Vpa(name, setting)
        self._current: Floats = np.full((setting.workloads, len(setting.resources)), np.nan)
        self._since_s = np.zeros(setting.workloads)
        self._now_s = 0

    def observe(self, values: NDArray[np.float32], end_s: int) -> None:
        """Adds the step to the recommender."""
        self._recommender.observe(values, end_s)
        self._now_s = end_s

    def target(self) -> Floats:
        """What is in force after the updater has looked."""
        target = self._recommender.target()
        lower, upper = self._recommender.bounds()
        with np.errstate(invalid="ignore"):
            outside = ((self._current < lower) | (self._current > upper)).any(axis=1)
            change = np.nansum(np.abs(self._current - target) / self._current, axis=1)
        old = self._now_s - self._since_s >= self.MIN_AGE_S
        acts = outside | (old & (change >= self.MIN_DIFFERENCE))
        acts |= np.isnan(self._current).all(axis=1)
        acts &= ~np.isnan(target).all(axis=1)
        self._current[acts] = target[acts]
        self._since_s[acts] = self._now_s
        return self._current.copy()
