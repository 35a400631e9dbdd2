"""A usage trace in a Parquet file (DESIGN 7) as a metrics source.

Irregular times, gaps and any order are normal: samples are binned to the epoch-aligned step that
holds their timestamp, and a bin's value is its largest sample, which is what an amount must cover.
What cannot be usage (negative, infinite, of the wrong type) is an error that names file and row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pla.core.fleet import UsageBlock
from pla.core.resources import specs


class TraceError(ValueError):
    """A trace cannot be used. Names the file, the column or row, and what to do."""


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
    _rows: dict[tuple[str, ...], NDArray[np.int64]] = field(default_factory=dict)

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
        rows = self._rows.setdefault(key, self._find(key))
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
        resources: which resources to read; a trace may lack all but the first's column.
        step_s: width of a step [s].
        workloads: only these (None = all).

    Raises:
        TraceError: a file cannot be read, lacks a column, or holds values that are no usage.
    """
    frames = [_read(path, resources) for path in paths]
    names = np.unique(np.concatenate([frame.names for frame in frames]))
    if workloads is not None:
        names = np.intersect1d(names, np.array(list(workloads)))
    if not len(names):
        raise TraceError(f"{', '.join(map(str, paths))}: no workload left to read")
    bins = [frame.timestamp_s // step_s for frame in frames]
    first = min(int(b.min()) for b in bins)
    last = max(int(b.max()) for b in bins)
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


@dataclass(frozen=True, slots=True)
class _Frame:
    names: NDArray[np.str_]
    workload: NDArray[np.int64]
    timestamp_s: NDArray[np.int64]
    used: list[NDArray[np.float32]]
    allocated: list[NDArray[np.float32]]


def _read(path: Path, resources: Sequence[str]) -> _Frame:
    wanted = specs(resources)
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError:
        raise TraceError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise TraceError(f"{path}: is not a readable Parquet file ({error})") from None
    present = set(schema.names)
    needed = ["workload", "timestamp", *(spec.used_column for spec in wanted)]
    missing = [name for name in needed if name not in present]
    if missing:
        raise TraceError(
            f"{path}: lacks the column {missing[0]!r}; it has {', '.join(sorted(present))}"
        )
    optional = [s.allocated_column for s in wanted if s.allocated_column in present]
    try:
        table = pq.read_table(path, columns=needed + optional)
    except (pa.ArrowException, OSError) as error:
        raise TraceError(f"{path}: is damaged ({error}); fetch or record it again") from None
    if not table.num_rows:
        raise TraceError(f"{path}: holds no rows")
    encoded = _names_column(path, table)
    used = [_amounts(path, table, spec.used_column) for spec in wanted]
    blank = np.full(table.num_rows, np.nan, dtype=np.float32)
    return _Frame(
        names=np.array(encoded.dictionary.to_pylist(), dtype=np.str_),
        workload=encoded.indices.to_numpy().astype(np.int64),
        timestamp_s=_seconds(path, table),
        used=used,
        allocated=[
            _amounts(path, table, spec.allocated_column)
            if spec.allocated_column in present
            else blank
            for spec in wanted
        ],
    )


def _names_column(path: Path, table: pa.Table) -> pa.DictionaryArray:
    column = table["workload"].combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise TraceError(f"{path}: column 'workload' is {column.type}, expected string")
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise TraceError(f"{path}: row {row} names no workload")
    return column.dictionary_encode()


def _seconds(path: Path, table: pa.Table) -> NDArray[np.int64]:
    column = table["timestamp"]
    if not pa.types.is_timestamp(column.type):
        raise TraceError(f"{path}: column 'timestamp' is {column.type}, expected timestamp (UTC)")
    if column.null_count:
        row = int(np.flatnonzero(pc.is_null(column).to_numpy())[0])
        raise TraceError(f"{path}: row {row} has no timestamp")
    # A naive timestamp is taken as UTC, as the schema says.
    seconds = pc.floor_temporal(column, unit="second").cast(pa.timestamp("s", tz=column.type.tz))
    return np.asarray(seconds.cast(pa.int64()).to_numpy(), dtype=np.int64)


def _amounts(path: Path, table: pa.Table, name: str) -> NDArray[np.float32]:
    column = table[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise TraceError(f"{path}: column {name!r} is {column.type}, expected a number")
    values: NDArray[np.float32] = column.cast(pa.float64()).to_numpy().astype(np.float32)
    wrong = np.isinf(values) | (values < 0)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        workload = table["workload"][row].as_py()
        raise TraceError(
            f"{path}: column {name!r}, row {row} (workload {workload!r}): {values[row]} is no "
            f"amount; {int(wrong.sum())} such values. Remove them, or leave them empty as gaps"
        )
    return values


def _duplicates(frame: _Frame) -> int:
    key = frame.workload * (2**40) + frame.timestamp_s
    return len(key) - len(np.unique(key))
