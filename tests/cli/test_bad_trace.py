"""Traces that are no good: exit code 2, file and column by name, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

Run = Any
Spoil = Any

PERIOD = ("--train-until", "2023-11-16", "--start", "2023-11-16", "--end", "2023-11-16T06:00")


def files_below(path: Path) -> set[Path]:
    return {found for found in path.rglob("*") if found.is_file()}


def column(name: str, change: Callable[[Any], Any]) -> Callable[[pa.Table], pa.Table]:
    def do(table: pa.Table) -> pa.Table:
        place = table.column_names.index(name)
        return table.set_column(place, name, change(table[name]))

    return do


def with_value(value: float) -> Callable[[Any], Any]:
    def do(values: Any) -> pa.Array:
        array = values.to_numpy().copy()
        array[400] = value
        return pa.array(array)

    return do


SPOILT: list[tuple[Callable[[pa.Table], pa.Table], str]] = [
    (column("cpu_cores_used", with_value(-0.5)), "column 'cpu_cores_used', row 400 (workload 'a')"),
    (column("memory_bytes_used", with_value(np.inf)), "column 'memory_bytes_used', row 400"),
    (
        column("memory_bytes_used", lambda values: values.cast(pa.string())),
        "column 'memory_bytes_used' is string, expected a number",
    ),
    (
        column("timestamp", lambda values: values.cast(pa.int64())),
        "column 'timestamp' is int64, expected timestamp (UTC)",
    ),
    (
        column("workload", lambda values: pa.array(np.arange(len(values)))),
        "column 'workload' is int64, expected string",
    ),
    *(
        ((lambda table, name=name: table.drop_columns([name])), f"lacks the column {name!r}")
        for name in ("workload", "timestamp", "cpu_cores_used", "memory_bytes_used")
    ),
]


@pytest.mark.parametrize(("change", "words"), SPOILT, ids=[words for _, words in SPOILT])
def test_a_spoilt_trace_is_named_and_nothing_is_written(
    run: Run, spoil: Spoil, tmp_path: Path, change: Any, words: str
) -> None:
    path = spoil(change)
    before = files_below(tmp_path)
    allocations = tmp_path / "allocations.parquet"
    result = run(
        "backtest", str(path), *PERIOD, "--policy", "max:1h", "--allocations", str(allocations)
    )
    assert result.code == 2
    assert f"{path}: {words}" in result.err
    assert result.out == ""
    assert files_below(tmp_path) == before


def test_order_and_duplicates_change_no_figure(run: Run, trace: Path, spoil: Spoil) -> None:
    def shuffled(table: pa.Table) -> pa.Table:
        rows = np.random.default_rng(1).permutation(len(table))
        return table.take(np.r_[rows, rows[:10]])

    arguments = (*PERIOD, "--policy", "max:1h,autopilot", "--json")
    clean = run("backtest", str(trace), *arguments)
    other = run("backtest", str(spoil(shuffled)), *arguments)
    assert (clean.code, other.code) == (0, 0)
    assert clean.out == other.out
    assert "10 samples stand twice in the trace: the larger counts" in other.err


def test_a_day_long_gap_is_no_error(run: Run, spoil: Spoil) -> None:
    def gap(table: pa.Table) -> pa.Table:
        at = table["timestamp"].cast(pa.int64()).to_numpy()
        day = (at - at.min()) // 86_400_000
        return table.filter(pa.array(day != 1))

    result = run("backtest", str(spoil(gap)), *PERIOD, "--policy", "max:1h,oracle")
    assert result.code == 0
    assert "oracle" in result.out


@pytest.mark.parametrize("where", ["nowhere/a.parquet", "."])
def test_allocations_that_cannot_be_written_are_named(
    run: Run, trace: Path, tmp_path: Path, where: str
) -> None:
    path = tmp_path / where
    result = run("backtest", str(trace), *PERIOD, "--policy", "max:1h", "--allocations", str(path))
    assert result.code == 2
    assert f"--allocations {path}: " in result.err
