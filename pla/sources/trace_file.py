"""One Parquet file in the usage trace schema (DESIGN 7), read and checked.

What cannot be usage (negative, infinite, of the wrong type) is an error that names file and row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pla.core.resources import specs

TICKS_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class TraceError(ValueError):
    """A trace cannot be used. Names the file, the column or row, and what to do."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A file's columns; a row is a sample.

    Attributes:
        names: workload names, shape (workload,).
        workload: row of `names` per sample.
        timestamp_s: rounded down [epoch s].
        used, allocated: per resource, in its unit; NaN = gap.
    """

    names: NDArray[np.str_]
    workload: NDArray[np.int64]
    timestamp_s: NDArray[np.int64]
    used: list[NDArray[np.float32]]
    allocated: list[NDArray[np.float32]]


def read(path: Path, resources: Sequence[str]) -> Frame:
    """The samples of one file.

    Raises:
        TraceError: the file cannot be read, lacks a column, or holds what is no usage.
    """
    wanted = specs(resources)
    try:
        schema = pq.read_schema(path)
    except FileNotFoundError:
        raise TraceError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise TraceError(f"{path}: is not a readable Parquet file ({error})") from None
    present = set(schema.names)
    needed = ["workload", "timestamp", *(spec.used_column for spec in wanted)]
    twice = sorted({name for name in needed if schema.names.count(name) > 1})
    if twice:
        raise TraceError(f"{path}: has the column {twice[0]!r} more than once; remove one")
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
    return Frame(
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
    # A naive timestamp is taken as UTC, as the schema says; one with a zone is stored in UTC.
    ticks = np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
    return ticks // TICKS_PER_S[column.type.unit]


def _amounts(path: Path, table: pa.Table, name: str) -> NDArray[np.float32]:
    column = table[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise TraceError(f"{path}: column {name!r} is {column.type}, expected a number")
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    wrong = (values < 0) | (values > np.finfo(np.float32).max)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        workload = table["workload"][row].as_py()
        raise TraceError(
            f"{path}: column {name!r}, row {row} (workload {workload!r}): {values[row]} is no "
            f"amount; {int(wrong.sum())} such values. Remove them, or leave them empty as gaps"
        )
    return values.astype(np.float32)
