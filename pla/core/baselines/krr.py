"""Robusta KRR's strategies `simple` and `simple_limit`.

CPU = the 95th percentile of usage (the limit of `simple_limit`: the 96th), linearly interpolated;
memory = 1.15 x the maximum; over 336 h, where there are at least 3 h of samples (KRR's other
condition, 100 points 75 s apart, is then met). Rounded up to 1 millicore and 1 MiB, floors 10
millicores and 100 MiB. CPU's rule serves compressible resources, memory's the others, in the
proportions of `rule_unit`.

KRR is a report that people run, not a loop: here it is run and followed at once every midnight
(UTC); a workload that has no report yet gets its first on the hour.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.baselines.rolling import Ring
from pla.core.baselines.setting import Setting, rule_unit
from pla.core.fleet import Bools, Floats
from pla.core.resources import MIB, multiples, specs

HISTORY_S = 336 * 3600
REPORT_S = 24 * 3600
FIRST_REPORT_S = 3600
MIN_SPAN_S = 3 * 3600
MEMORY_BUFFER = 1.15
CPU_QUANTUM_CORES, CPU_FLOOR_CORES = 0.001, 0.010
MEMORY_QUANTUM_BYTES, MEMORY_FLOOR_BYTES = MIB, 100 * MIB


class Krr:
    """The recommendation of the newest daily report."""

    def __init__(self, name: str, setting: Setting, cpu_percentile: float) -> None:
        self.name = name
        self._share = cpu_percentile / 100.0
        self._specs = specs(setting.resources)
        self._ring = Ring(setting, HISTORY_S // setting.step_s)
        self._count = np.zeros((len(self._specs), setting.workloads), dtype=np.int64)
        self._least = max(MIN_SPAN_S // setting.step_s, 1)
        self._report: Floats = np.full((len(self._specs), setting.workloads), np.nan)

    def observe(self, values: NDArray[np.float32], end_s: int) -> None:
        """Adds the step to the history; makes the report that is due."""
        self._count -= np.isfinite(self._ring.push(values))
        self._count += np.isfinite(values)
        if end_s % REPORT_S == 0:
            self._run(self._count >= self._least)
        elif end_s % FIRST_REPORT_S == 0:
            self._run((self._count >= self._least) & np.isnan(self._report))

    def target(self) -> Floats:
        """The report in force; NaN before the first."""
        return self._report.T.copy()

    def _run(self, due: Bools) -> None:
        """A new report for the cells `due` (resource, workload)."""
        for row, spec in enumerate(self._specs):
            cells = np.flatnonzero(due[row])
            if not len(cells):
                continue
            history = self._ring.values[:, row, cells]
            unit = rule_unit(spec)
            if spec.compressible:
                amount = _quantile(history, self._share) / unit
                rounded = _rounded_up(amount, CPU_QUANTUM_CORES, CPU_FLOOR_CORES)
            else:
                peak = np.fmax.reduce(history, axis=0).astype(np.float64)
                amount = MEMORY_BUFFER * peak / unit
                rounded = _rounded_up(amount, MEMORY_QUANTUM_BYTES, MEMORY_FLOOR_BYTES)
            self._report[row, cells] = rounded * unit


def _quantile(history: NDArray[np.float32], share: float) -> Floats:
    """Linearly interpolated quantile of each column of `history` (step, n), gaps left out."""
    ordered = np.sort(np.ascontiguousarray(history.T), axis=1)  # NaN comes last
    rows = np.arange(len(ordered))
    rank = share * (np.isfinite(ordered).sum(axis=1) - 1)
    low = np.floor(rank).astype(np.int64)
    below = ordered[rows, low].astype(np.float64)
    above = ordered[rows, np.ceil(rank).astype(np.int64)].astype(np.float64)
    return np.asarray(below + (above - below) * (rank - low))


def _rounded_up(amount: Floats, quantum: float, floor: float) -> Floats:
    up = multiples(np.ceil(amount / quantum - 1e-9), np.array(quantum))
    return np.maximum(up, floor)
