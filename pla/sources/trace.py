"""A usage trace in a Parquet file (DESIGN 7) as a metrics source.

Irregular times, gaps and any order are normal: samples are binned to the epoch-aligned step that
holds their timestamp, and a bin's value is its largest sample, which is what an amount must cover.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import UsageBlock
from pla.sources.trace_file import Frame, TraceError, read

__all__ = ["Trace", "TraceError", "TraceSource", "load"]


DAY_S = 86_400
LONGEST_S = 1100 * DAY_S
"""A longer trace is one with wrong timestamps, and its grid would not fit into memory."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One or several trace files on a common step grid.

    Attributes:
        workloads: names, sorted.
        resources: names of the resource axis.
        values: largest usage per step, NaN = gap, shape (step, resource, workload), float32.
        allocated: amount in force per step where the trace has it, else None, same shape.
        start_s: start of the first step [epoch s]; step k covers
            `[start_s + k * step_s, start_s + (k + 1) * step_s)`.
        step_s: width of a step [s].
        duplicates: samples whose workload and timestamp stood there twice (the larger counts).
    """

    workloads: tuple[str, ...]
    resources: tuple[str, ...]
    values: NDArray[np.float32]
    allocated: NDArray[np.float32] | None
    start_s: int
    step_s: int
    duplicates: int

    @property
    def end_s(self) -> int:
        """End of the last step [epoch s]."""
        return self.start_s + len(self.values) * self.step_s

    def block(self, start_s: int, end_s: int) -> UsageBlock:
        """The steps that end in `(start_s, end_s]`, gaps where the trace does not reach."""
        steps = max((end_s - start_s) // self.step_s, 0)
        values = np.full((steps, *self.values.shape[1:]), np.nan, dtype=np.float32)
        first = (start_s - self.start_s) // self.step_s
        low, high = max(first, 0), min(first + steps, len(self.values))
        if low < high:
            values[low - first : high - first] = self.values[low:high]
        return UsageBlock(
            values=values,
            censored=np.zeros(values.shape, dtype=np.bool_),
            killed=np.zeros((steps, len(self.workloads)), dtype=np.bool_),
            end_s=start_s + steps * self.step_s,
            step_s=self.step_s,
        )


@dataclass
class TraceSource:
    """`pla.ports.MetricsSource` over a loaded trace; workload URIs end in the trace's names."""

    trace: Trace
    _asked: tuple[str, ...] = ()
    _rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def read(
        self,
        workloads: Sequence[str],
        resources: Sequence[str],
        start_s: int,
        end_s: int,
        step_s: int,
    ) -> UsageBlock:
        """Closed steps of the trace; raises ValueError for a step that is not the trace's."""
        if step_s != self.trace.step_s or tuple(resources) != self.trace.resources:
            raise ValueError(
                f"trace loaded with {self.trace.step_s} s steps of {self.trace.resources}, "
                f"asked for {step_s} s steps of {tuple(resources)}"
            )
        block = self.trace.block(start_s, end_s)
        key = tuple(workloads)
        if key == self.trace.workloads:
            return block
        if key != self._asked:
            self._asked, self._rows = key, self._find(key)
        rows = self._rows
        known = rows >= 0
        values = np.full((block.steps, len(resources), len(key)), np.nan, dtype=np.float32)
        values[:, :, known] = block.values[:, :, rows[known]]
        return UsageBlock(
            values=values,
            censored=np.zeros(values.shape, dtype=np.bool_),
            killed=np.zeros((block.steps, len(key)), dtype=np.bool_),
            end_s=block.end_s,
            step_s=step_s,
        )

    def _find(self, workloads: tuple[str, ...]) -> NDArray[np.int64]:
        known = {name: row for row, name in enumerate(self.trace.workloads)}
        names = (uri.split("://", 1)[-1] for uri in workloads)
        return np.array([known.get(name, -1) for name in names], dtype=np.int64)


def load(
    paths: Sequence[Path],
    resources: Sequence[str],
    step_s: int,
    workloads: Sequence[str] | None = None,
) -> Trace:
    """The trace in `paths` together, on a grid of `step_s`.

    Args:
        paths: Parquet files in the usage trace schema.
        resources: which resources to read; each file must have the column of each.
        step_s: width of a step [s].
        workloads: only these (None = all).

    Raises:
        TraceError: a file cannot be read, lacks a column, or holds values that are no usage.
    """
    if not paths:
        raise TraceError("no trace file given; name at least one")
    frames = [read(path, resources) for path in paths]
    names = np.unique(np.concatenate([frame.names for frame in frames]))
    if workloads is not None:
        names = np.intersect1d(names, np.array(list(workloads)))
    if not len(names):
        raise TraceError(f"{', '.join(map(str, paths))}: no workload left to read")
    bins = [frame.timestamp_s // step_s for frame in frames]
    first = min(int(b.min()) for b in bins)
    last = max(int(b.max()) for b in bins)
    if (last - first) * step_s > LONGEST_S:
        raise TraceError(
            f"{', '.join(map(str, paths))}: samples from {_utc(first * step_s)} to "
            f"{_utc(last * step_s)}: more than {LONGEST_S // DAY_S} days in one trace; "
            "remove the rows whose timestamp is wrong"
        )
    shape = (last - first + 1, len(resources), len(names))
    values = np.full(shape, np.nan, dtype=np.float32)
    allocated = np.full(shape, np.nan, dtype=np.float32)
    duplicates = 0
    for frame, frame_bins in zip(frames, bins, strict=True):
        row = np.searchsorted(names, frame.names)
        row = np.where(names[np.minimum(row, len(names) - 1)] == frame.names, row, -1)
        keep = row[frame.workload] >= 0
        cell = (frame_bins - first)[keep] * len(names) + row[frame.workload][keep]
        order = np.argsort(cell, kind="stable")
        cells, starts = np.unique(cell[order], return_index=True)
        if not len(cells):
            continue
        at = np.divmod(cells, len(names))
        for column in range(len(resources)):
            for grid, samples in ((values, frame.used), (allocated, frame.allocated)):
                largest = np.fmax.reduceat(samples[column][keep][order], starts)
                grid[at[0], column, at[1]] = np.fmax(grid[at[0], column, at[1]], largest)
        duplicates += _duplicates(frame)
    return Trace(
        workloads=tuple(names.tolist()),
        resources=tuple(resources),
        values=values,
        allocated=None if np.isnan(allocated).all() else allocated,
        start_s=first * step_s,
        step_s=step_s,
        duplicates=duplicates,
    )


def _utc(epoch_s: int) -> np.datetime64:
    return np.datetime64(epoch_s, "s")


def _duplicates(frame: Frame) -> int:
    # Sorted files are the usual case, and sort in no time.
    key = np.sort(frame.workload * 2**40 + frame.timestamp_s, kind="stable")
    return int((np.diff(key) == 0).sum())
