"""Usage traces: what is normal gives the right values, what is wrong names file, column, row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pla.sources.trace import Trace, TraceError, TraceSource, load

T0 = 1_760_313_600  # a Monday, 2025-10-13T00:00:00Z
STEP_S = 60
NAN = float("nan")

Row = tuple[Any, ...]  # workload, seconds after T0, cpu [, memory]
Write = Callable[..., Path]


def timestamps(seconds: Sequence[float | None], unit: str = "us", zone: str | None = "UTC") -> Any:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    ticks = [None if s is None else round((T0 + s) * per_second) for s in seconds]
    return pa.array(ticks, type=pa.timestamp(unit, tz=zone))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(rows, name=..., column=array)`: a trace of `rows`; a column of None is left out."""

    def build(rows: Sequence[Row], name: str = "usage.parquet", **columns: Any) -> Path:
        table: dict[str, Any] = {
            "workload": pa.array([row[0] for row in rows], type=pa.string()),
            "timestamp": timestamps([row[1] for row in rows]),
            "cpu_cores_used": pa.array([row[2] for row in rows], type=pa.float64()),
        }
        if rows and len(rows[0]) > 3:
            table["memory_bytes_used"] = pa.array([row[3] for row in rows], type=pa.float64())
        table |= columns
        path = tmp_path / name
        arrays = {name: array for name, array in table.items() if array is not None}
        pq.write_table(pa.table(arrays), path, row_group_size=max(len(rows) // 2, 1))
        return path

    return build


def cpu(trace: Trace) -> list[list[float]]:
    """Values (step, workload) of the first resource, gaps as -1."""
    steps: list[list[float]] = np.nan_to_num(trace.values[:, 0, :], nan=-1.0).tolist()
    return steps


def read(path: Path, *more: Path, resources: Sequence[str] = ("cpu",), **options: Any) -> Trace:
    return load([path, *more], resources, STEP_S, **options)


# -- what is normal ------------------------------------------------------------------------


def test_samples_are_binned_to_the_step_that_holds_their_time(write: Write) -> None:
    trace = read(write([("a", 0, 1.0), ("a", 59.9, 2.0), ("a", 60, 3.0), ("b", 125, 4.0)]))
    assert trace.workloads == ("a", "b")
    assert (trace.start_s, trace.end_s) == (T0, T0 + 180)
    assert cpu(trace) == [[2, -1], [3, -1], [-1, 4]]


def test_a_bin_holds_its_largest_sample(write: Write) -> None:
    assert cpu(read(write([("a", 1, 5.0), ("a", 2, 9.0), ("a", 3, 1.0)]))) == [[9]]


def test_order_does_not_matter(write: Write) -> None:
    rows = [("b", 130, 1.0), ("a", 0, 2.0), ("a", 200, 3.0), ("b", 5, 4.0), ("a", 61, 5.0)]
    one = read(write(rows, "one.parquet"))
    other = read(write(sorted(rows, key=lambda row: (row[1], row[0])), "other.parquet"))
    np.testing.assert_array_equal(one.values, other.values)


def test_gaps_are_gaps_and_so_are_empty_values(write: Write) -> None:
    trace = read(write([("a", 0, 1.0), ("a", 60, None), ("a", 120, NAN), ("a", 300, 2.0)]))
    assert cpu(trace) == [[1], [-1], [-1], [-1], [-1], [2]]


def test_duplicates_are_counted_and_the_larger_stands(write: Write) -> None:
    trace = read(write([("a", 0, 1.0), ("a", 0, 3.0), ("a", 0, 2.0), ("b", 0, 7.0)]))
    assert cpu(trace) == [[3, 7]]
    assert trace.duplicates == 2


def test_a_duplicate_that_is_empty_takes_nothing_away(write: Write) -> None:
    assert cpu(read(write([("a", 0, NAN), ("a", 0, 3.0), ("a", 0, None)]))) == [[3]]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "+05:30"])
def test_any_unit_and_zone_is_the_same_instant(write: Write, unit: str, zone: str | None) -> None:
    stamps = timestamps([0, 60], unit, zone)
    trace = read(write([("a", 0, 1.0), ("a", 60, 2.0)], timestamp=stamps))
    assert trace.start_s == T0
    assert cpu(trace) == [[1], [2]]


@pytest.mark.parametrize(
    "kind", [pa.float32(), pa.int64(), pa.int8(), pa.uint64(), pa.float16(), pa.float64()]
)
def test_any_number_will_do(write: Write, kind: pa.DataType) -> None:
    values = pa.array(np.array([3, 4], dtype=kind.to_pandas_dtype()), type=kind)
    assert cpu(read(write([("a", 0, 1.0), ("b", 0, 1.0)], cpu_cores_used=values))) == [[3, 4]]


def test_an_integer_beyond_exact_floats_is_near_enough(write: Write) -> None:
    values = pa.array([2**53 + 1, None], type=pa.int64())
    assert read(write([("a", 0, 0), ("a", 60, 0)], cpu_cores_used=values)).values[0] == 2.0**53


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_names_may_be_encoded(write: Write, kind: pa.DataType) -> None:
    names = pa.array(["b", "a", "b"]).cast(kind)
    trace = read(write([("x", 0, 1.0), ("x", 0, 2.0), ("x", 60, 3.0)], workload=names))
    assert trace.workloads == ("a", "b")
    assert cpu(trace) == [[2, 1], [-1, 3]]


def test_several_resources_and_their_amounts_in_force(write: Write) -> None:
    path = write(
        [("a", 0, 1.0, 5e9), ("a", 60, 2.0, 6e9)],
        memory_bytes_allocated=pa.array([8e9, None]),
    )
    trace = read(path, resources=("memory", "cpu"))
    assert trace.values[:, :, 0].tolist() == [[5e9, 1.0], [6e9, 2.0]]
    assert trace.allocated is not None
    np.testing.assert_array_equal(trace.allocated[:, :, 0], [[8e9, NAN], [NAN, NAN]])
    assert read(write([("a", 0, 1.0)], "plain.parquet")).allocated is None


def test_several_files_share_one_grid(write: Write) -> None:
    first = write([("a", 60, 1.0), ("b", 60, 2.0)], "one.parquet")
    second = write([("b", 60, 5.0), ("c", 180, 3.0)], "two.parquet")
    trace = read(first, second)
    assert trace.workloads == ("a", "b", "c")
    assert cpu(trace) == [[1, 5, -1], [-1, -1, -1], [-1, -1, 3]]


def test_only_some_workloads(write: Write) -> None:
    path = write([("a", 0, 1.0), ("b", 0, 2.0), ("c", 0, 3.0)])
    assert cpu(read(path, workloads=["c", "a", "unknown"])) == [[1, 3]]


def test_a_trace_before_the_epoch_is_as_good(write: Write) -> None:
    trace = read(write([("a", -T0 - 1, 1.0), ("a", -T0, 2.0)]))
    assert trace.start_s == -60
    assert cpu(trace) == [[1], [2]]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.integers(0, 600),
            st.one_of(st.none(), st.floats(0, 1e6, width=32)),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_it_agrees_with_a_plain_loop(write: Write, rows: list[Row]) -> None:
    trace = read(write(rows))
    expected: dict[tuple[str, int], float] = {}
    for name, second, value in rows:
        if value is not None:
            key = name, (T0 + second) // STEP_S * STEP_S
            expected[key] = max(expected.get(key, 0.0), value)
    found = {
        (name, trace.start_s + step * STEP_S): float(trace.values[step, 0, row])
        for row, name in enumerate(trace.workloads)
        for step in range(len(trace.values))
        if not np.isnan(trace.values[step, 0, row])
    }
    assert found == expected
    assert set(trace.workloads) == {row[0] for row in rows}


# -- as a source ---------------------------------------------------------------------------


def test_a_source_answers_in_the_order_that_is_asked_for(write: Write) -> None:
    source = TraceSource(read(write([("a", 0, 1.0), ("b", 0, 2.0), ("b", 60, 3.0)])))
    block = source.read(("sim://b", "sim://new", "sim://a"), ("cpu",), T0, T0 + 120, STEP_S)
    assert np.nan_to_num(block.values[:, 0], nan=-1).tolist() == [[2, -1, 1], [3, -1, -1]]
    assert (block.end_s, block.step_s, block.steps) == (T0 + 120, STEP_S, 2)
    assert not block.censored.any()
    assert block.killed.shape == (2, 3)
    again = source.read(("sim://a", "sim://b"), ("cpu",), T0, T0 + 60, STEP_S)
    assert again.values[:, 0].tolist() == [[1, 2]]


def test_outside_of_the_trace_there_are_gaps(write: Write) -> None:
    source = TraceSource(read(write([("a", 0, 1.0), ("a", 60, 2.0)])))
    block = source.read(("a",), ("cpu",), T0 - 120, T0 + 240, STEP_S)
    assert np.nan_to_num(block.values[:, 0, 0], nan=-1).tolist() == [-1, -1, 1, 2, -1, -1]
    far = source.read(("a",), ("cpu",), T0 + 9000, T0 + 9060, STEP_S)
    assert np.isnan(far.values).all()
    assert source.read(("a",), ("cpu",), T0 + 60, T0, STEP_S).steps == 0


def test_who_changes_an_answer_does_not_change_the_trace(write: Write) -> None:
    source = TraceSource(read(write([("a", 0, 1.0)])))
    source.read(("a",), ("cpu",), T0, T0 + 60, STEP_S).values[:] = 9
    assert source.read(("a",), ("cpu",), T0, T0 + 60, STEP_S).values[0, 0, 0] == 1


def test_another_grid_than_the_loaded_one_is_refused(write: Write) -> None:
    source = TraceSource(read(write([("a", 0, 1.0)])))
    with pytest.raises(ValueError, match="asked for 300 s steps"):
        source.read(("a",), ("cpu",), T0, T0 + 300, 300)
    with pytest.raises(ValueError, match="memory"):
        source.read(("a",), ("memory",), T0, T0 + 60, STEP_S)


# -- what is wrong -------------------------------------------------------------------------


def complaint(*paths: Path, **options: Any) -> str:
    with pytest.raises(TraceError) as caught:
        load(list(paths), options.pop("resources", ("cpu",)), STEP_S, **options)
    return str(caught.value)


@pytest.mark.parametrize("value", [-0.5, np.inf, -np.inf, 1e300, -1e300])
def test_what_cannot_be_usage_is_named_with_its_row(write: Write, value: float) -> None:
    said = complaint(write([("a", 0, 1.0), ("b", 60, value), ("c", 60, value)]))
    assert "usage.parquet: column 'cpu_cores_used', row 1 (workload 'b')" in said
    assert f"{value} is no amount" in said
    assert "2 such values" in said


def test_an_amount_in_force_is_checked_as_well(write: Write) -> None:
    path = write([("a", 0, 1.0)], cpu_cores_allocated=pa.array([-1.0]))
    assert "column 'cpu_cores_allocated', row 0" in complaint(path)


@pytest.mark.parametrize("column", ["workload", "timestamp", "cpu_cores_used"])
def test_a_missing_column_is_named_with_those_there_are(write: Write, column: str) -> None:
    said = complaint(write([("a", 0, 1.0)], **{column: None}))
    assert f"usage.parquet: lacks the column {column!r}; it has " in said


def test_each_resource_needs_its_column(write: Write) -> None:
    said = complaint(write([("a", 0, 1.0)]), resources=("cpu", "memory"))
    assert "lacks the column 'memory_bytes_used'" in said


@pytest.mark.parametrize(
    ("column", "array", "words"),
    [
        ("cpu_cores_used", pa.array(["1.0"]), "'cpu_cores_used' is string, expected a number"),
        ("cpu_cores_used", pa.array([True]), "'cpu_cores_used' is bool, expected a number"),
        ("timestamp", pa.array([T0]), "'timestamp' is int64, expected timestamp"),
        ("timestamp", pa.array(["2025-10-13"]), "'timestamp' is string, expected timestamp"),
        ("workload", pa.array([7]), "'workload' is int64, expected string"),
        ("workload", pa.array([[7]]), "'workload' is list<element: int64>, expected string"),
        ("workload", pa.array([None], pa.string()), "row 0 names no workload"),
        ("timestamp", timestamps([None]), "row 0 has no timestamp"),
    ],
)
def test_a_wrong_type_is_named_with_what_is_expected(
    write: Write, column: str, array: Any, words: str
) -> None:
    said = complaint(write([("a", 0, 1.0)], **{column: array}))
    assert said.startswith(str(said.split("usage.parquet")[0]) + "usage.parquet: ")
    assert words in said


def test_a_null_is_named_with_its_own_row(write: Write) -> None:
    names = pa.array(["a", "b", None, None])
    rows: list[Row] = [("x", second, 1.0) for second in range(4)]
    assert "row 2 names no workload" in complaint(write(rows, workload=names))
    assert "row 3 has no timestamp" in complaint(write(rows, timestamp=timestamps([0, 1, 2, None])))


def test_a_column_that_stands_there_twice(tmp_path: Path) -> None:
    arrays = [pa.array(["a"]), timestamps([0]), pa.array([1.0]), pa.array([2.0])]
    names = ["workload", "timestamp", "cpu_cores_used", "cpu_cores_used"]
    pq.write_table(pa.Table.from_arrays(arrays, names=names), tmp_path / "twice.parquet")
    assert "'cpu_cores_used' more than once" in complaint(tmp_path / "twice.parquet")


def test_a_timestamp_of_another_century_does_not_fill_the_memory(write: Write) -> None:
    said = complaint(write([("a", 0, 1.0), ("a", -T0, 1.0)]))
    assert "samples from 1970-01-01T00:00:00 to 2025-10-13T00:00:00" in said
    assert "remove the rows whose timestamp is wrong" in said


def test_an_empty_file_and_an_empty_choice(write: Write) -> None:
    assert "holds no rows" in complaint(write([]))
    assert "no workload left to read" in complaint(write([("a", 0, 1.0)]), workloads=["b"])
    assert "no trace file given" in complaint()


def test_a_file_that_is_no_parquet_file(tmp_path: Path) -> None:
    assert "nowhere.parquet: no such file" in complaint(tmp_path / "nowhere.parquet")
    assert "is not a readable Parquet file" in complaint(tmp_path)
    for name, content in (("text.parquet", b"workload,timestamp\n"), ("zero.parquet", b"")):
        (tmp_path / name).write_bytes(content)
        assert f"{name}: is not a readable Parquet file" in complaint(tmp_path / name)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file(write: Write, share: float) -> None:
    path = write([("a", second, 1.0) for second in range(500)])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "usage.parquet: is not a readable Parquet file" in complaint(path)


def test_a_file_damaged_inside(write: Write) -> None:
    path = write([("a", second, float(second)) for second in range(5000)])
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(bytes(content))
    assert "usage.parquet: is damaged" in complaint(path)


def test_an_unknown_resource_is_named(write: Write) -> None:
    with pytest.raises(ValueError, match="unknown resource 'ram'"):
        read(write([("a", 0, 1.0)]), resources=("ram",))
