"""Samples onto the grid of steps and workloads; what is no usage stays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pla.sources.prometheus.decoding import Answer


@dataclass(frozen=True, slots=True)
class Grid:
    """Consecutive steps: the first ends at `first_s`, each is `step_s` wide [s]."""

    first_s: int
    step_s: int
    steps: int

    @property
    def last_s(self) -> int:
        """End of the last step [epoch s]."""
        return self.first_s + (self.steps - 1) * self.step_s

    def part(self, first: int, steps: int) -> Grid:
        """`steps` of these steps from step number `first` on."""
        return Grid(self.first_s + first * self.step_s, self.step_s, steps)


def put_amounts(
    answer: Answer, rows: NDArray[np.int64], grid: Grid, to: NDArray[np.float32]
) -> None:
    """The larger of what is there and what `answer` tells, into `to` (step, workload).

    NaN, infinities and negative values are no amounts. Where several series are of one workload
    (exporters that run twice), the largest counts, and none is added up.
    """
    for step, row, values in _cells(answer, rows, grid):
        good = np.isfinite(values) & (values >= 0)
        np.fmax.at(to, (step[good], row[good]), values[good].astype(np.float32))


def put_flags(answer: Answer, rows: NDArray[np.int64], grid: Grid, to: NDArray[np.bool_]) -> None:
    """True into `to` (step, workload) wherever `answer` has a finite sample above zero."""
    for step, row, values in _cells(answer, rows, grid):
        good = np.isfinite(values) & (values > 0)
        to[step[good], row[good]] = True


def _cells(answer: Answer, rows: NDArray[np.int64], grid: Grid) -> Any:
    """(step, row, value) of the samples that lie on the grid and belong to somebody."""
    for samples in answer.samples():
        row = rows[samples.series]
        position = (samples.times - grid.first_s) / grid.step_s
        step = np.rint(position).astype(np.int64)
        # Asked for exactly these times: a server that answers others is not believed.
        mine = (row >= 0) & (step >= 0) & (step < grid.steps)
        mine &= np.abs(position - step) * grid.step_s < 0.002
        yield step[mine], row[mine], samples.values[mine]
