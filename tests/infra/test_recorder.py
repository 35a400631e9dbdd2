"""The recorder: its seeded generator, its command line, and a short real recording."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from infra.recorder.__main__ import main
from infra.recorder.catalogue import workloads
from infra.recorder.cgroups import ProcessTrees
from infra.recorder.executables import RecorderError, check_programs, program
from infra.recorder.rates import BINS_PER_DAY, Cron, Profile, RatesError, generate, load_rates
from infra.recorder.recording import finalise, usage_table

REPO = Path(__file__).resolve().parents[2]
WEEK = 7 * BINS_PER_DAY
SHORT = ("audit-log", "constant-poller", "leaky-adapter", "log-compressor", "metrics-rollup")


def test_generator_depends_on_seed_and_name_only() -> None:
    profile = Profile(5.0, "office", 0.8, noise=0.3, bursts_per_day=3)
    first, again = (generate(profile, "a", 7, WEEK) for _ in range(2))
    assert np.array_equal(first.rate, again.rate)
    assert not np.array_equal(first.rate, generate(profile, "a", 8, WEEK).rate)
    assert not np.array_equal(first.rate, generate(profile, "b", 7, WEEK).rate)


def test_daily_and_weekly_cycles_are_in_trace_time() -> None:
    profile = Profile(10.0, "office", 0.9, weekend=0.2, noise=0.05)
    rate = generate(profile, "a", 1, WEEK).rate.reshape(7, 24, 60).mean(axis=2)
    assert rate[2, 10] > 4 * rate[2, 3]
    assert rate[5:, 10].max() < 0.4 * rate[:5, 10].min()


def test_level_shifts_and_crons_come_when_declared() -> None:
    profile = Profile(2.0, noise=0.0, steps=((3.0, 5.0),), crons=(Cron(24, 2.0, count=4),))
    demand = generate(profile, "a", 1, WEEK)
    assert demand.rate[: 3 * BINS_PER_DAY] == pytest.approx(2.0)
    assert demand.rate[3 * BINS_PER_DAY :] == pytest.approx(10.0)
    assert np.flatnonzero(demand.launches).tolist() == [d * BINS_PER_DAY + 120 for d in range(7)]
    assert set(demand.launches[demand.launches > 0]) == {4}


def test_rates_file_holds_each_rate_until_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("trace_s,a,b\n0,1,2\n120,3,0\n")
    demands = load_rates(path, ["a", "b", "c"], 4)
    assert demands["a"].rate.tolist() == [1, 1, 3, 3]
    assert demands["b"].rate.tolist() == [2, 2, 0, 0]
    assert set(demands) == {"a", "b"}


BAD_RATES = {
    "empty": ("", "line 1"),
    "header": ("time,status-page\n", "trace_s,WORKLOAD"),
    "unknown": ("trace_s,nobody\n0,1\n", "unknown workload 'nobody'"),
    "columns": ("trace_s,status-page\n0,1,2\n", "line 2: has 3 columns"),
    "number": ("trace_s,status-page\n0,1\n60,many\n", "line 3: every cell must be a number"),
    "negative": ("trace_s,status-page\n0,-1\n", "line 2: rates must be in 0..1e6"),
    "nan": ("trace_s,status-page\n0,nan\n", "line 2: rates must be in 0..1e6"),
    "order": ("trace_s,status-page\n60,1\n60,1\n", "line 3: times must be"),
}


@pytest.mark.parametrize(("text", "message"), BAD_RATES.values(), ids=BAD_RATES)
def test_bad_rates_file_is_a_clear_usage_error(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "rates.csv", tmp_path / "out"
    path.write_text(text)
    assert main(["--out", str(out), "--rates", str(path)]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert message in error
    assert not out.exists()


def test_missing_rates_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(RatesError, match="cannot be read"):
        load_rates(tmp_path / "none.csv", [], 1)
    assert main(["--out", str(tmp_path / "o"), "--rates", str(tmp_path / "none.csv")]) == 2


@pytest.mark.parametrize(
    "arguments",
    [["--stretch", "0"], ["--sample-s", "-1"], ["--duration-s", "0"], ["--only", "nobody"]],
    ids=lambda value: value[0],
)
def test_bad_arguments_are_usage_errors(arguments: list[str], tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "out"), *arguments]) == 2


def test_an_earlier_recording_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "usage.parquet").write_text("precious")
    assert main(["--out", str(tmp_path)]) == 2
    assert (tmp_path / "usage.parquet").read_text() == "precious"


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(RecorderError, match=r"xz: `apt-get install .* xz-utils`"):
        program("xz")
    with pytest.raises(RecorderError, match=r"nginx-light.*redis-server"):
        check_programs(workloads())


def test_catalogue_is_large_and_mostly_sensible() -> None:
    chosen = workloads()
    assert len({w.name for w in chosen}) == len(chosen) >= 60
    assert sum(w.kind != "service" for w in chosen) >= 20
    assert {w.tier for w in chosen} == {"critical", "standard", "burstable"}
    assert all(w.cpu_request_cores > 0 and w.memory_request_mib > 0 for w in chosen)


def test_a_missed_sample_leaves_no_row() -> None:
    workload = {"name": "a", "cpu_request_cores": 1.0, "memory_request_mib": 1}
    clock = {"sample_s": 2.0, "stretch": 150.0}
    line: dict[str, Any] = {"cpu_cores": [0.5], "memory_bytes": [10], "storage_bytes": {}}
    lines = [{"k": 1, **line}, {"k": 2, "missed": True}, {"k": 3, **line}]
    table = usage_table(lines, {("a", 3): (10, 20)}, {"clock": clock, "workloads": [workload]})
    stamps = [stamp.strftime("%H:%M") for stamp in table["timestamp"].to_pylist()]
    assert stamps == ["00:05", "00:15"]
    assert table["net_tx_bytes_per_s"].to_pylist() == [None, 10.0]


def test_process_trees_count_children_that_have_ended() -> None:
    groups = ProcessTrees()
    groups.create("w")
    burn = "for _ in range(3): __import__('subprocess').run(['python3', '-c', 'sum(range(10**7))'])"
    command = groups.wrap("w", [sys.executable, "-c", f"{burn}\nimport time; time.sleep(60)"])
    with subprocess.Popen(command) as process:
        groups.started("w", process.pid)
        deadline, readings = time.monotonic() + 30, [groups.read("w")]
        while readings[-1].cpu_s < 0.3 and time.monotonic() < deadline:
            time.sleep(0.1)
            readings.append(groups.read("w"))
        process.kill()
        process.wait()
    ended = groups.read("w")
    assert readings[-1].cpu_s >= 0.3
    assert readings[-1].memory_bytes > 2**20
    assert (ended.cpu_s, ended.memory_bytes) == (readings[-1].cpu_s, 0.0)


def _record(out: Path, only: tuple[str, ...], *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "infra.recorder", "--out", str(out), "--only", ",".join(only)]
    with (out.parent / f"{out.name}.log").open("wb") as log:
        return subprocess.Popen([*command, *more], cwd=REPO, stdout=log, stderr=subprocess.STDOUT)


def _samples(out: Path) -> int:
    path = out / "spool" / "samples.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real recording of a few programs that SIGTERM ended after six samples of half a second."""
    out = tmp_path_factory.mktemp("recorder") / "out"
    process = _record(out, SHORT, "--sample-s", "0.5", "--stretch", "600", "--seed", "3")
    (out.parent / "pid").write_text(str(process.pid))
    try:
        deadline = time.monotonic() + 60
        while _samples(out) < 6 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (out.parent / "out.log").read_text()
    finally:
        process.kill()
        process.wait()
    yield out


def test_a_stopped_recording_is_finalised_and_measured(stopped: Path) -> None:
    host = json.loads((stopped / "host.json").read_text())
    usage = pq.read_table(stopped / "usage.parquet")
    assert host["samples_taken"] >= 4
    assert usage.num_rows == host["samples_taken"] * len(SHORT)
    assert sorted(set(usage["workload"].to_pylist())) == sorted(SHORT)
    frame = usage.to_pandas().groupby("workload")
    assert (frame["cpu_cores_used"].mean() < 2).all()
    assert (frame["memory_bytes_used"].max() > 0).all()
    assert frame["cpu_cores_used"].mean()["constant-poller"] > 0.001
    assert frame["memory_bytes_used"].min()["constant-poller"] > 2 * 2**20


def test_a_stopped_recording_leaves_nothing_behind(stopped: Path) -> None:
    log = (stopped / "commands.log").read_text()
    assert "recorder end" in log
    assert str(REPO) not in log
    assert sys.executable not in log
    spec = str(stopped).encode()
    left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if spec in _read(p)]
    assert not left
    pid = (stopped.parent / "pid").read_text()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/**/pla-recorder-{pid}"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_killed_recording_is_finalised_from_its_spool(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped / "spool", tmp_path / "spool")
    spool = tmp_path / "spool" / "samples.jsonl"
    text = spool.read_text()
    spool.write_text(text[: len(text) - 40])  # the last line was being written
    assert main(["--finalise", str(tmp_path)]) == 0
    before = json.loads((stopped / "host.json").read_text())["samples_taken"]
    assert json.loads((tmp_path / "host.json").read_text())["samples_taken"] == before - 1
    sums = {line.split()[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()}
    assert {"usage.parquet", "arrivals.parquet", "host.json", "workloads.json"} <= sums


def test_finalise_is_repeatable(stopped: Path) -> None:
    before = (stopped / "SHA256SUMS").read_text()
    finalise(stopped)
    assert (stopped / "SHA256SUMS").read_text() == before


def test_nothing_to_finalise_is_an_error(tmp_path: Path) -> None:
    assert main(["--finalise", str(tmp_path)]) == 1


@pytest.mark.slow
@pytest.mark.postgres
def test_a_database_is_loaded_by_pgbench_and_redeployed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--duration-s", "16", "--sample-s", "1", "--stretch", "60000"]
    process = _record(out, ("orders-db", "checkout-db"), *arguments)
    try:
        assert process.wait(120) == 0, (tmp_path / "out.log").read_text()
    finally:
        process.kill()
        process.wait()
    frame = pq.read_table(out / "usage.parquet").to_pandas().groupby("workload")
    assert (frame["cpu_cores_used"].mean() > 0.002).all()
    assert (frame["storage_bytes_used"].max() > 20 * 2**20).all()
    assert "checkout-db restart" in (out / "commands.log").read_text()
    assert str(tmp_path) not in (out / "commands.log").read_text()
