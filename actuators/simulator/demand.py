"""What the simulated workloads want: a usage trace, repeated for ever.

The demand is one array per *series*; workloads point to a series and scale it, so that 100,000
workloads need no more memory than the traces they are made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pla.core.fleet import Bools, Floats
from pla.core.resources import CATALOGUE, specs
from pla.sources import trace as usage_trace

DAY_S = 86_400
WEEK_S = 7 * DAY_S

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Demand:
    """Demand of `names` x `resources` on a grid of steps.

    A workload's row is the demand of its busiest replica [unit of the resource].

    Attributes:
        names: the workloads, shape (workload,).
        resources: names of the resource axis.
        start_s: start of step 0 [epoch s], a multiple of `step_s`.
        step_s: width of a step [s].
        values: gaps filled forward, 0 before the first sample, shape (step, resource, series).
        gaps: where the trace had no sample, packed along the series; None = nowhere.
        support: which cells have any sample, shape (resource, series).
        request: amounts that the trace itself states, shape (resource, series); NaN = none.
        series: series of each workload, shape (workload,).
        scale: what each workload multiplies its series with, shape (workload,).
    """

    names: tuple[str, ...]
    resources: tuple[str, ...]
    start_s: int
    step_s: int
    values: Singles
    gaps: NDArray[np.uint8] | None
    support: Bools
    request: Floats
    series: NDArray[np.int64]
    scale: Singles

    @classmethod
    def from_arrays(
        cls,
        names: Sequence[str],
        resources: Sequence[str],
        values: NDArray[np.floating],
        *,
        start_s: int,
        step_s: int,
        request: NDArray[np.floating] | None = None,
    ) -> Demand:
        """Demand from `values` (step, resource, workload), NaN = gap.

        `request` (resource, workload) are amounts that owners wrote down; NaN or None = none.

        Raises:
            ValueError: shapes do not fit, there is no step, the start is off the grid, a name
                stands twice, or a value is negative or infinite.
        """
        specs(resources)
        shape = (len(resources), len(names))
        _check(names, values, shape, start_s, step_s)
        raw = np.asarray(values, dtype=np.float32)
        missing = np.isnan(raw)
        return cls(
            names=tuple(names),
            resources=tuple(resources),
            start_s=start_s,
            step_s=step_s,
            values=_filled_forward(raw, missing),
            gaps=np.packbits(missing, axis=-1) if missing.any() else None,
            support=np.asarray(~missing.all(axis=0), dtype=np.bool_),
            request=np.full(shape, np.nan) if request is None else request.astype(np.float64),
            series=np.arange(len(names)),
            scale=np.ones(len(names), dtype=np.float32),
        )

    @classmethod
    def from_trace(
        cls, paths: Sequence[Path], step_s: int, resources: Sequence[str] | None = None
    ) -> Demand:
        """Demand from usage traces (Parquet, DESIGN 7) on a grid of `step_s`.

        `resources` None means all of the catalogue that every file has a column for. A workload's
        request is the first amount that the trace's allocation columns state.

        Raises:
            pla.sources.trace.TraceError: a file cannot be read or holds what is no usage.
        """
        chosen = tuple(resources) if resources is not None else _resources_in(paths)
        trace = usage_trace.load(paths, chosen, step_s)
        return cls.from_arrays(
            trace.workloads,
            trace.resources,
            trace.values,
            start_s=trace.start_s,
            step_s=step_s,
            request=None if trace.allocated is None else _first_sample(trace.allocated),
        )

    def tiled(self, workloads: int, seed: int = 0) -> Demand:
        """`workloads` workloads that repeat these, each scaled by 0.5 to 2 (log-uniform)."""
        row = np.arange(workloads) % len(self.names)
        spread = np.random.default_rng(seed).uniform(-1.0, 1.0, workloads)
        return Demand(
            names=tuple(f"{self.names[i]}-{n:06d}" for n, i in enumerate(row.tolist())),
            resources=self.resources,
            start_s=self.start_s,
            step_s=self.step_s,
            values=self.values,
            gaps=self.gaps,
            support=self.support,
            request=self.request,
            series=self.series[row],
            scale=self.scale[row] * np.exp2(spread).astype(np.float32),
        )

    def paced(self, step_s: int, step: int, at_s: int) -> Demand:
        """The same steps, each `step_s` wide, and number `step` of them beginning at `at_s`.

        Raises:
            ValueError: a day does not consist of such steps, or `at_s` is off their grid.
        """
        paced = replace(self, step_s=step_s, start_s=at_s - step * step_s)
        shape = len(self.resources), self.values.shape[2]
        _check((), paced.values, shape, paced.start_s, step_s)
        return paced

    @property
    def steps(self) -> int:
        """How many steps the trace holds before it repeats."""
        return len(self.values)

    @property
    def end_s(self) -> int:
        """End of the trace [epoch s]."""
        return self.start_s + self.steps * self.step_s

    def at(self, step: int) -> Floats:
        """Demand in `step`, shape (resource, workload) [unit]; 0 where the cell does not exist."""
        row = self.values[self._wrapped(step)]
        return np.asarray(row[:, self.series] * self.scale, dtype=np.float64)

    def recorded(self, step: int) -> Singles:
        """What the trace holds for `step`, shape (resource, workload); NaN = gap or outside."""
        if not 0 <= step < self.steps:
            shape = (len(self.resources), len(self.names))
            return np.full(shape, np.nan, dtype=np.float32)
        row = self.values[step]
        if self.gaps is not None:
            gap = np.unpackbits(self.gaps[step], axis=-1, count=row.shape[1]).view(np.bool_)
            row = np.where(gap, np.float32(np.nan), row)
        return np.asarray(row[:, self.series] * self.scale, dtype=np.float32)

    def peak(self, first: int, last: int, quantile: float) -> Floats:
        """Quantile of the demand in steps `[first, last)`, shape (resource, workload) [unit]."""
        window = self.values[max(first, 0) : max(last, first + 1, 1)]
        level = np.quantile(window, quantile, axis=0)
        return np.asarray(level[:, self.series] * self.scale, dtype=np.float64)

    def created_s(self) -> Floats:
        """Start of each workload's first step with a sample [epoch s], shape (workload,)."""
        first = np.zeros(self.values.shape[2], dtype=np.int64)
        if self.gaps is not None:
            gap = np.unpackbits(self.gaps, axis=-1, count=self.values.shape[2]).view(np.bool_)
            first = np.argmax(~gap.all(axis=1), axis=0)
        return np.asarray(self.start_s + first[self.series] * self.step_s, dtype=np.float64)

    def _wrapped(self, step: int) -> int:
        """The step that stands in for `step`: after the end the last seven days repeat.

        A trace of less than a week repeats its whole days, and one of less than a day itself.
        """
        if step < self.steps:
            return max(step, 0)
        span = self.steps * self.step_s
        period_s = WEEK_S if span >= WEEK_S else span // DAY_S * DAY_S
        period = period_s // self.step_s or self.steps
        return self.steps - period + (step - self.steps) % period


def _check(
    names: Sequence[str],
    values: NDArray[np.floating],
    shape: tuple[int, int],
    start_s: int,
    step_s: int,
) -> None:
    if values.ndim != 3 or values.shape[1:] != shape or not len(values):
        raise ValueError(
            f"demand has shape {values.shape}, expected (step, resource, workload) = (>0, *{shape})"
        )
    if DAY_S % step_s or start_s % step_s:
        raise ValueError(
            f"demand: a step of {step_s} s must divide a day, and the start ({start_s}) must be "
            f"a multiple of it"
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise ValueError(f"demand: the workload {twice!r} stands twice")
    if np.isinf(values).any() or (values < 0).any():
        raise ValueError("demand: a value is negative or infinite; leave it NaN if it is a gap")


def _filled_forward(raw: Singles, missing: Bools) -> Singles:
    if not missing.any():
        return raw
    step = np.arange(len(raw), dtype=np.int32)[:, None, None]
    last = np.maximum.accumulate(np.where(missing, np.int32(0), step), axis=0)
    return np.nan_to_num(np.take_along_axis(raw, last, axis=0), nan=0.0)


def _first_sample(values: Singles) -> Floats:
    """The first sample of each cell, shape (resource, workload); NaN where there is none."""
    first = np.argmax(~np.isnan(values), axis=0)
    return np.asarray(np.take_along_axis(values, first[None], axis=0)[0], dtype=np.float64)


def _resources_in(paths: Sequence[Path]) -> tuple[str, ...]:
    """Resources of the catalogue whose usage column all `paths` have; at least CPU."""
    try:
        columns = [set(pq.read_schema(path).names) for path in paths]
    except (OSError, pa.ArrowInvalid):
        return (CATALOGUE[0].name,)  # reading the file itself says what is wrong with it
    found = [spec.name for spec in CATALOGUE if all(spec.used_column in has for has in columns)]
    return tuple(found) or (CATALOGUE[0].name,)
