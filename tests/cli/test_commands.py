"""The command line: exit codes, and errors that name the file, key or host and the cure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pla.cli import command_names
from pla.cli.console import amount

PERIOD = ("--train-until", "2023-11-16", "--start", "2023-11-16", "--end", "2023-11-16T06:00")

Run = Any
Spoil = Any


def test_help_explains_every_command(run: Run) -> None:
    result = run("--help")
    assert result.code == 0
    for words in command_names():
        assert words[0] in result.out
        assert run(*words, "--help").code == 0


def test_a_backtest_of_baselines_prints_a_row_each_and_json(run: Run, trace: Path) -> None:
    result = run("backtest", str(trace), *PERIOD, "--policy", "max:1h,oracle")
    assert result.code == 0
    assert "max:1h" in result.out
    result = run("backtest", str(trace), *PERIOD, "--policy", "max:1h,oracle", "--json")
    found = json.loads(result.out)["results"]
    assert {(r["policy"], r["resource"]) for r in found} == {
        (policy, resource) for policy in ("max:1h", "oracle") for resource in ("cpu", "memory")
    }
    oracle = next(r for r in found if r["policy"] == "oracle")
    assert oracle["as_shipped"]["violation_rate"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--policy", "magic"), "--policy: no policy 'magic': there are persistence, max:10m"),
        (("--resource", "cpu,magic"), "unknown resource 'magic'"),
        (("--tier", "gold"), "unknown tier 'gold': configured are critical, standard, burstable"),
        (("--tick", "7m"), "must divide an hour"),
        (("--hold", "soon"), "--hold 'soon': write 30s, 5m"),
        (("--start", "yesterday"), "--start 'yesterday': write 2013-08-11"),
        (("--start", "2023-11-10"), "--train-until <= --start < --end"),
        (("--workloads", "/nonexistent"), "/nonexistent"),
    ],
)
def test_bad_usage_of_backtest_is_2_and_named(
    run: Run, trace: Path, arguments: tuple[str, str], words: str
) -> None:
    result = run("backtest", str(trace), *PERIOD, *arguments)
    assert result.code == 2
    assert words in result.err


def test_a_spoilt_trace_is_2_and_names_file_column_and_row(
    run: Run, trace: Path, spoil: Spoil, tmp_path: Path
) -> None:
    def negative(table: pa.Table) -> pa.Table:
        values = table["cpu_cores_used"].to_numpy().copy()
        values[7] = -1.0
        return table.set_column(2, "cpu_cores_used", pa.array(values))

    def text(table: pa.Table) -> pa.Table:
        return table.set_column(2, "cpu_cores_used", table["workload"])

    cases: list[tuple[Callable[[pa.Table], pa.Table], str]] = [
        (negative, "'cpu_cores_used', row 7 (workload 'a'): -1.0 is no amount"),
        (text, "column 'cpu_cores_used' is string, expected a number"),
        (lambda t: t.drop_columns(["timestamp"]), "lacks the column 'timestamp'"),
        (lambda t: t.slice(0, 0), "holds no rows"),
    ]
    for change, words in cases:
        path = spoil(change)
        result = run("backtest", str(path), *PERIOD, "--policy", "max:1h")
        assert result.code == 2, words
        assert words in result.err
        assert str(path) in result.err
    path = tmp_path / "cut.parquet"
    path.write_bytes(trace.read_bytes()[:1000])
    result = run("backtest", str(path), *PERIOD, "--policy", "max:1h")
    assert result.code == 2
    assert "is not a readable Parquet file" in result.err


def test_gaps_duplicates_and_disorder_are_normal(run: Run, spoil: Spoil) -> None:
    def shuffled(table: pa.Table) -> pa.Table:
        random = np.random.default_rng(1)
        rows = random.permutation(len(table))
        kept = rows[random.random(len(rows)) > 0.05]
        return table.take(np.r_[kept, kept[:10]])

    path = spoil(shuffled)
    result = run("backtest", str(path), *PERIOD, "--policy", "max:1h")
    assert result.code == 0
    assert "10 samples stand twice" in result.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tick: {interval_s: soon}", "tick.interval_s: Input should be a valid number"),
        ("tick: {interval: 5}", "tick.interval: unknown key"),
        ("home: [", "is not YAML"),
        ("resources: [cpu, wings]", "unknown resource 'wings'"),
        (
            "tiers: {a: {priority: 1, quantile: 0.99, headroom: 0, cooldown_s: 0, "
            "max_shrink_fraction: 1}, b: {priority: 2, quantile: 0.9, headroom: 0, cooldown_s: 0, "
            "max_shrink_fraction: 1}}\ndefault_tier: a",
            "tiers.b.quantile: 0.9 is below 0.99 of a",
        ),
    ],
)
def test_a_bad_config_is_2_and_names_file_and_key(
    run: Run, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "pla.yaml"
    path.write_text(text, encoding="utf-8")
    result = run("plan", "--config", str(path))
    assert result.code == 2
    assert words in result.err
    assert str(path) in result.err


def test_what_is_not_running_is_1_and_says_how_to_start_it(run: Run) -> None:
    for command in (("plan",), ("tick",), ("restore", "--all")):
        result = run(*command)
        assert result.code == 1
        assert "start it with `pla up`" in result.err
    result = run("doctor")
    assert result.code == 1
    assert "store:" in result.out + result.err


def test_restore_wants_names_or_all(run: Run) -> None:
    assert run("restore").code == 2


def test_a_registry_that_is_down_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLA_MLFLOW__TRACKING_URI", "http://127.0.0.1:9")
    result = run("models", "list")
    assert result.code == 1
    assert "127.0.0.1:9" in result.err


def test_a_store_on_a_bad_path_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLA_STORE__URL", "sqlite:////proc/nowhere/store.db")
    result = run("decisions")
    assert result.code == 1
    assert "/proc/nowhere" in result.err


def test_config_show_and_schema_are_json(run: Run) -> None:
    shown = json.loads(run("config", "show").out)
    assert shown["tiers"]["critical"]["quantile"] == 0.999
    schema = json.loads(run("config", "schema").out)
    assert "tick" in schema["properties"]


@pytest.mark.parametrize(
    ("value", "resource", "text"),
    [
        (0.25, "cpu", "0.250"),
        (16.0, "cpu", "16.0"),
        (1.5 * 2**30, "memory", "1.5 GiB"),
        (300 * 2**20, "memory", "300 MiB"),
        (2.5e6, "network_tx", "2.5 MB/s"),
        (float("nan"), "cpu", "-"),
    ],
)
def test_amounts_read_well(value: float, resource: str, text: str) -> None:
    assert amount(value, resource) == text
