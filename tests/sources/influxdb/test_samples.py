"""What comes back from a real server is what was written: values, steps, counters, gaps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from infra.testbed.influxdb import Server
from pla.sources.influxdb import Column, InfluxSource, Kind, Measure, Name
from pla.sources.trace import load

pytestmark = pytest.mark.influxdb

RECORDING_STEP_S = 300
RECORDING = Path(__file__).parents[3] / "infra" / "recorder" / "recording" / "usage.parquet"
T0 = 1_760_313_600  # a Monday, 2025-10-13T00:00:00Z
STEP_S = 60
NAN = np.nan

Source = Callable[..., InfluxSource]
Line = Callable[..., str]

KVM = (Name("kvm://{host}/{domain}"),)
CPU_S = Measure("vm", (Column("cpu_s", "cpu", Kind.COUNTER),), KVM)
USED = Measure("vm", (Column("used", "memory"),), KVM)
TAGS = {"host": "h1", "domain": "a"}
VM = ("kvm://h1/a",)


def read_cpu(source: InfluxSource, start: int, end: int) -> list[float]:
    """Steps that end in (start, end] seconds after T0."""
    values = source.read(VM, ("cpu",), T0 + start, T0 + end, STEP_S).values[:, 0, 0]
    return [float(value) for value in values]


@pytest.mark.parametrize("window_cells", [2_000_000, 5_000])
def test_the_recording_comes_back_to_float32(
    influxd: Server,
    database: str,
    source: Source,
    line: Line,
    window_cells: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Gauges bit by bit, counters to the rounding of their nanoseconds, however it is cut."""
    monkeypatch.setattr("pla.sources.influxdb.source.CELLS_PER_REQUEST", window_cells)
    trace = load([RECORDING], ("cpu", "memory"), RECORDING_STEP_S)
    trace = load([RECORDING], ("cpu", "memory"), RECORDING_STEP_S, trace.workloads[:8])
    for workload, name in enumerate(trace.workloads):
        tags = {"engine_host": "h 1", "container_name": name, "cpu": "cpu-total"}
        cpu, memory = trace.values[:, :, workload].astype(np.float64).T
        # The counter stands where each step begins, and at its end.
        counter_s = np.cumsum(np.nan_to_num(cpu) * RECORDING_STEP_S)
        lines = [line("docker_container_cpu", tags, {"usage_total": 0}, trace.start_s)]
        for step in range(len(cpu)):
            start_s = trace.start_s + step * RECORDING_STEP_S
            if not np.isnan(memory[step]):
                lines.append(line("docker_container_mem", tags, {"usage": memory[step]}, start_s))
            total = {"usage_total": round(counter_s[step] * 1e9)}
            lines.append(line("docker_container_cpu", tags, total, start_s + RECORDING_STEP_S))
        influxd.write(database, lines)
    workloads = tuple(f"docker://h 1/{name}" for name in trace.workloads)
    block = source().read(
        workloads, ("cpu", "memory", "gpu"), trace.start_s, trace.end_s, RECORDING_STEP_S
    )
    expected = trace.values
    assert block.end_s == trace.end_s
    np.testing.assert_array_equal(block.values[:, 1], expected[:, 1])
    np.testing.assert_allclose(
        block.values[:, 0], np.nan_to_num(expected[:, 0]), rtol=1e-6, atol=1e-10
    )
    assert np.isnan(block.values[:, 2]).all()
    assert np.isfinite(block.values[:, :2]).mean() > 0.9


@pytest.mark.parametrize("precision", ["s", "ns"])
def test_a_gauge_is_the_largest_sample_of_its_step(
    influxd: Server, database: str, source: Source, line: Line, precision: str
) -> None:
    """A sample right at a step's start is in it, one right at its end in the next."""
    scale = {"s": 1, "ns": 10**9}[precision]
    samples = {0: 1.0, 30: 5.0, 59: 2.0, 60: 3.0, 240: 4.0}
    influxd.write(
        database,
        [line("vm", TAGS, {"used": v}, (T0 + t) * scale) for t, v in samples.items()],
        precision,
    )
    block = source(mapping=(USED,)).read(VM, ("memory",), T0 - 60, T0 + 300, STEP_S)
    np.testing.assert_array_equal(block.values[:, 0, 0], [NAN, 5, 3, NAN, NAN, 4])


def test_dense_samples_are_reduced_by_the_server_to_the_same_values(
    influxd: Server, database: str, source: Source, line: Line
) -> None:
    """The second read asks for maxima, for the first has seen six samples per step."""
    rng = np.random.default_rng(3)
    values = rng.random(360)
    influxd.write(
        database, [line("vm", TAGS, {"used": v}, T0 + 10 * k) for k, v in enumerate(values)]
    )
    reader = source(mapping=(USED,))
    blocks = [reader.read(VM, ("memory",), T0, T0 + 3600, STEP_S).values for _ in range(2)]
    assert reader._kinds[0].dense
    np.testing.assert_array_equal(blocks[0][:, 0, 0], values.reshape(60, 6).max(1).astype("f4"))
    np.testing.assert_array_equal(blocks[0], blocks[1])


def test_a_counter_gives_the_mean_rate_of_the_step_that_its_sample_closes(
    influxd: Server, database: str, source: Source, line: Line
) -> None:
    """Scrape jitter does not change a constant rate; the first sample has none yet."""
    times = [0, 13, 21, 35, 60, 66, 87, 119, 120, 141, 180]
    influxd.write(database, [line("vm", TAGS, {"cpu_s": 1.5 * t + 7}, T0 + t) for t in times])
    np.testing.assert_allclose(
        read_cpu(source(mapping=(CPU_S,)), -60, 240), [NAN, 1.5, 1.5, 1.5, NAN], rtol=1e-6
    )


def test_a_counters_reset_counts_from_zero(
    influxd: Server, database: str, source: Source, line: Line
) -> None:
    """Restarted at 120 s: 60 more from zero on. A small step back is a correction: unknown."""
    counter = {0: 600, 60: 660, 120: 720, 180: 60, 240: 90, 300: 85, 360: 145}
    influxd.write(database, [line("vm", TAGS, {"cpu_s": v}, T0 + t) for t, v in counter.items()])
    np.testing.assert_allclose(
        read_cpu(source(mapping=(CPU_S,)), 0, 360), [1, 1, 1, 0.5, NAN, 1], rtol=1e-6
    )


def test_a_gap_stays_a_gap(influxd: Server, database: str, source: Source, line: Line) -> None:
    """A counter's rate over minutes says nothing of each; one missed scrape is bridged."""
    times = [0, 60, 180, 480, 540]
    influxd.write(database, [line("vm", TAGS, {"cpu_s": t}, T0 + t) for t in times])
    expected = [1, NAN, 1, NAN, NAN, NAN, NAN, NAN, 1]
    np.testing.assert_allclose(read_cpu(source(mapping=(CPU_S,)), 0, 540), expected)


def test_a_counter_is_not_counted_from_another_workloads(
    influxd: Server, database: str, source: Source, line: Line
) -> None:
    """The second starts within a scrape of where the first ended."""
    lines = [line("vm", {"host": "h1", "domain": "a"}, {"cpu_s": t}, T0 + t) for t in (0, 60)]
    lines += [line("vm", {"host": "h1", "domain": "b"}, {"cpu_s": t}, T0 + t) for t in (120, 180)]
    influxd.write(database, lines)
    workloads = ("kvm://h1/a", "kvm://h1/b")
    block = source(mapping=(CPU_S,)).read(workloads, ("cpu",), T0, T0 + 180, STEP_S)
    np.testing.assert_allclose(block.values[:, 0], [[1, NAN], [NAN, NAN], [NAN, 1]])


@pytest.mark.parametrize("cells", [0, 10**9])
def test_an_answer_in_chunks_and_in_one_line_is_the_same(
    influxd: Server,
    database: str,
    source: Source,
    line: Line,
    cells: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Names that look like the answer's own marks, and more rows than a chunk holds."""
    monkeypatch.setattr("pla.sources.influxdb.source.CELLS_PER_LINE", cells)
    odd = ('a"},{"name":"b', 'c","values":[[1,2]]', "d]]", "plain")
    for row, name in enumerate(odd):
        tags = {"host": "h1", "domain": name}
        influxd.write(
            database,
            [line("vm", tags, {"used": row + t / 2}, T0 * 1000 + 500 * t) for t in range(12_000)],
            "ms",
        )
    workloads = tuple(f"kvm://h1/{name}" for name in odd)
    block = source(mapping=(USED,)).read(workloads, ("memory",), T0, T0 + 6000, STEP_S)
    expected = np.arange(59.5, 6000, 60)[:, None] + np.arange(4)
    np.testing.assert_array_equal(block.values[:, 0], expected)


def test_any_cut_of_time_gives_the_same_steps(
    influxd: Server, database: str, source: Source, line: Line
) -> None:
    """A live tick's few steps equal those of the history that is read at once."""
    rng = np.random.default_rng(5)
    times = np.flatnonzero(rng.random(3600) < 0.03)
    counter = np.cumsum(rng.random(len(times)))
    influxd.write(
        database,
        [line("vm", TAGS, {"cpu_s": v}, T0 + int(t)) for t, v in zip(times, counter, strict=True)],
    )
    reader = source(mapping=(CPU_S,))
    whole = read_cpu(reader, 0, 3600)
    pieces = [v for start in range(0, 3600, 180) for v in read_cpu(reader, start, start + 180)]
    np.testing.assert_array_equal(whole, pieces)
    assert np.isfinite(whole).sum() > 40


def test_unaligned_times_give_the_steps_between_them(
    influxd: Server, database: str, source: Source, line: Line
) -> None:
    """Steps lie on the epoch's grid, and end in (start, end]."""
    influxd.write(database, [line("vm", TAGS, {"used": t}, T0 + t) for t in (0, 60, 120)])
    reader = source(mapping=(USED,))
    block = reader.read(VM, ("memory",), T0 - 5, T0 + 125, STEP_S)
    assert block.end_s == T0 + 120
    np.testing.assert_array_equal(block.values[:, 0, 0], [NAN, 0, 60])
    assert reader.read(VM, ("memory",), T0, T0 + 59, STEP_S).steps == 0


def test_late_and_rewritten_points_are_taken_in(
    influxd: Server, database: str, source: Source, line: Line
) -> None:
    """The database keeps one point per series and time, the last one written."""
    reader = source(mapping=(USED,))
    influxd.write(database, [line("vm", TAGS, {"used": v}, T0 + t) for t, v in ((0, 9), (120, 3))])
    first = reader.read(VM, ("memory",), T0, T0 + 180, STEP_S).values[:, 0, 0]
    influxd.write(database, [line("vm", TAGS, {"used": v}, T0 + t) for t, v in ((60, 2), (0, 1))])
    later = reader.read(VM, ("memory",), T0, T0 + 180, STEP_S).values[:, 0, 0]
    np.testing.assert_array_equal(first, [9, NAN, 3])
    np.testing.assert_array_equal(later, [1, 2, 3])


def test_one_request_per_kind_of_query_whatever_the_number_of_workloads(
    influxd: Server, database: str, source: Source, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are those asked for, in their order; strangers in the database are left out."""
    lines = [
        line("vm", {"host": "h1", "domain": f"d{k}"}, {"used": k, "cpu_s": k * t}, T0 + t)
        for k in range(500)
        for t in (0, 60, 120)
    ]
    influxd.write(database, lines)
    reader = source(mapping=(USED, CPU_S))
    asked: list[str] = []
    ask = reader._connection.ask
    monkeypatch.setattr(
        reader._connection,
        "ask",
        lambda q, *rest, **more: (asked.append(q), ask(q, *rest, **more))[1],
    )
    workloads = ("kvm://h1/d7", "kvm://h1/none", *(f"kvm://h1/d{k}" for k in range(499, 9, -1)))
    block = reader.read(workloads, ("memory", "cpu"), T0, T0 + 120, STEP_S)
    assert len(asked) == 3  # which fields there are, memory, CPU
    expected = [7, NAN, *range(499, 9, -1)]
    np.testing.assert_array_equal(block.values[0, 0], expected)
    np.testing.assert_array_equal(block.values[1, 1], expected)
    reader.read(workloads[::-1], ("memory", "cpu"), T0, T0 + 120, STEP_S)
    assert len(asked) == 5
