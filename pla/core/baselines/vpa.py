"""The recommender of the Kubernetes Vertical Pod Autoscaler 1.8 (CPU weight constant at 0.1).

From the formulas of aggregations_config.go, container.go, aggregate_container_state.go and
logic/estimator.go of kubernetes/autoscaler. CPU's rule serves compressible resources, memory's
the others, in the proportions of `rule_unit`. The real one samples once a minute and recommends
once a minute: here each step is one sample, whose count towards confidence is its minutes.
One container per pod: the whole of the pod's floor is its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.baselines.histogram import DecayingHistogram, Longs
from pla.core.baselines.setting import Setting, rule_unit
from pla.core.fleet import Bools, Floats
from pla.core.resources import MIB, specs

DAY_S = 24 * 3600
CPU_WEIGHT = 0.1
MARGIN = 0.15
LARGEST = 1e14
CPU_FLOOR_MILLICORES = 25.0
MEMORY_FLOOR_BYTES = 250 * MIB
OOM_MIN_BUMP_BYTES = 100 * MIB
OOM_BUMP_RATIO = 1.2


@dataclass(frozen=True, slots=True)
class Bound:
    """One of the three estimates: a percentile, times (1 + `widening` / conf)^`exponent`."""

    share: float
    widening: float = 0.0
    exponent: float = 0.0


LOWER = Bound(0.50, 0.001, -2.0)
TARGET = Bound(0.90)
UPPER = Bound(0.95, 1.0, 1.0)


def with_margin(whole: Floats) -> Floats:
    """Base + int(0.15 base), in integer millicores or bytes."""
    return np.asarray(whole + np.trunc(MARGIN * whole))


def oom_sample(request: Floats, peak: Floats) -> Floats:
    """Memory sample after a kill: max(used + 100 MiB, 1.2 used), used = max(request, peak)."""
    used = np.fmax(request, peak)
    return np.maximum(used + OOM_MIN_BUMP_BYTES, OOM_BUMP_RATIO * used)


class CpuModel:
    """CPU samples at a constant weight of 0.1; integer millicores."""

    units = 1000.0
    floor = CPU_FLOOR_MILLICORES

    def __init__(self, workloads: int) -> None:
        self.histogram = DecayingHistogram(workloads, first=0.01, largest=1000.0)

    def observe(self, values: Floats, end_s: int) -> None:
        """Takes `values` (workload,) [core] of the step that ends at `end_s`."""
        rows = np.flatnonzero(np.isfinite(values))
        self.histogram.add(rows, values[rows], CPU_WEIGHT, np.full(len(rows), end_s))


class MemoryModel:
    """One peak per 24 h window, weight 1, stamped with the window's end; integer bytes.

    A workload's first window begins with its first sample.
    """

    units = 1.0
    floor = MEMORY_FLOOR_BYTES

    def __init__(self, workloads: int) -> None:
        self.histogram = DecayingHistogram(workloads, first=1e7, largest=1e12)
        self._window_end_s: Longs = np.zeros(workloads, dtype=np.int64)
        self._peak: Floats = np.zeros(workloads)

    def observe(self, values: Floats, end_s: int) -> None:
        """Takes `values` (workload,) [byte] of the step that ends at `end_s`."""
        rows = np.flatnonzero(np.isfinite(values))
        first = rows[self._window_end_s[rows] == 0]
        self._window_end_s[first] = end_s
        opening = end_s >= self._window_end_s[rows]
        opened = rows[opening]
        behind_s = end_s - self._window_end_s[opened]
        self._window_end_s[opened] += (behind_s // DAY_S + 1) * DAY_S
        higher = rows[~opening & (values[rows] > self._peak[rows])]
        self.histogram.subtract(higher, self._peak[higher], 1.0, self._window_end_s[higher])
        changed = np.concatenate([opened, higher])
        self._peak[changed] = values[changed]
        self.histogram.add(changed, values[changed], 1.0, self._window_end_s[changed])

    def killed(self, rows: Longs, request: Floats, end_s: int) -> None:
        """Takes out-of-memory kills of `rows`, who had `request` (row,) [byte], as samples."""
        sample = np.full(len(self._peak), np.nan)
        sample[rows] = oom_sample(request, self._peak[rows])
        self.observe(sample, end_s)


class Confidence:
    """min(span / 24 h, samples / 1440) of each workload, of CPU's samples."""

    def __init__(self, workloads: int, step_s: int) -> None:
        self._first_s: Longs = np.zeros(workloads, dtype=np.int64)
        self._last_s: Longs = np.zeros(workloads, dtype=np.int64)
        self._minutes: Floats = np.zeros(workloads)
        self._step_min = step_s / 60.0

    def observe(self, seen: Bools, end_s: int) -> None:
        """Counts a sample where `seen` (workload,)."""
        self._first_s[seen & (self._minutes == 0)] = end_s
        self._last_s[seen] = end_s
        self._minutes[seen] += self._step_min

    def value(self) -> Floats:
        """Shape (workload,); 0 up to the second sample."""
        return np.minimum((self._last_s - self._first_s) / DAY_S, self._minutes / 1440.0)


class Vpa:
    """The recommender's target, followed at once; `bounds` gives its lower and upper bound."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        chosen = specs(setting.resources)
        self._unit = [rule_unit(spec) for spec in chosen]
        self._models = [
            (CpuModel if spec.compressible else MemoryModel)(setting.workloads) for spec in chosen
        ]
        # In a fleet without CPU, the first resource's samples stand in.
        self._counted = setting.resources.index("cpu") if "cpu" in setting.resources else 0
        self._confidence = Confidence(setting.workloads, setting.step_s)

    def observe(self, values: NDArray[np.float32], end_s: int) -> None:
        """Adds the step to the histograms."""
        for row, (model, unit) in enumerate(zip(self._models, self._unit, strict=True)):
            model.observe(values[row].astype(np.float64) / unit, end_s)
        self._confidence.observe(np.isfinite(values[self._counted]), end_s)

    def target(self) -> Floats:
        """The 90th percentile with margin and floor; NaN before the first sample."""
        return np.asarray(self.estimates(TARGET)[0])

    def bounds(self) -> tuple[Floats, Floats]:
        """Lower and upper bound, widened where confidence is low: (workload, resource) each."""
        lower, upper = self.estimates(LOWER, UPPER)
        return lower, upper

    def estimates(self, *bounds: Bound) -> Floats:
        """Each bound in turn: percentile, + 15 %, confidence, floor, truncated at each step.

        Shape (bound, workload, resource) [unit]; NaN before the first sample.
        """
        with np.errstate(divide="ignore"):
            doubt = 1 / self._confidence.value()
        result = np.empty((len(bounds), len(doubt), len(self._models)))
        for column, (model, unit) in enumerate(zip(self._models, self._unit, strict=True)):
            percentiles = model.histogram.percentiles([bound.share for bound in bounds])
            for row, bound in enumerate(bounds):
                amount = with_margin(np.trunc(percentiles[row] * model.units))
                if bound.widening:
                    factor = (1 + bound.widening * doubt) ** bound.exponent
                    amount = np.trunc(np.minimum(amount * factor, LARGEST))
                result[row, :, column] = np.maximum(amount, model.floor) / model.units * unit
        return result
