"""Bad input from outside: the exit code, the file, key or host by name, and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pla.cli import command_names
from pla.clock import SystemClock
from pla.store import SqlStore, machine_timeline

Run = Any

PERIOD = ("--train-until", "2023-11-16", "--start", "2023-11-16", "--end", "2023-11-16T06:00")
ARGUMENTS = {
    ("backtest",): ("nowhere.parquet", *PERIOD),
    ("restore",): ("--all",),
    ("models", "promote"): ("1",),
    ("up",): ("--no-browser", "--ticks", "1"),
}
"""What a command needs to be called at all."""

WITHOUT_CONFIG = {("models",), ("config",), ("config", "schema"), ("assess",)}
CALLS = [(*words, *ARGUMENTS.get(words, ())) for words in sorted(command_names() - WITHOUT_CONFIG)]


def files_below(path: Path) -> set[Path]:
    return {found for found in path.rglob("*") if found.is_file()}


# -- configuration -------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tick: {intervall_s: 5}", "tick.intervall_s: unknown key"),
        ("tick: {interval_s: soon}", "tick.interval_s: Input should be a valid number"),
        ("tick: {step_s: 600}", "tick.stale_after_s: 300 s is less than step_s (600 s)"),
    ],
)
def test_every_command_refuses_a_bad_config(
    run: Run, tmp_path: Path, call: tuple[str, ...], text: str, words: str
) -> None:
    path = tmp_path / "pla.yaml"
    path.write_text(text, encoding="utf-8")
    result = run(*call, "--config", str(path))
    assert result.code == 2
    assert f"{path}: {words}" in result.err
    assert result.out == ""
    assert files_below(tmp_path) == {path}


@pytest.mark.parametrize("call", [("plan",), ("tick",), ("up", "--no-browser"), ("config", "show")])
def test_a_bad_variable_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PLA_TICK__STEP_S", "7")
    result = run(*call)
    assert result.code == 2
    assert "environment variable PLA_TICK__STEP_S: tick.step_s: 7 s does not divide" in result.err
    assert files_below(tmp_path) == set()


def test_a_config_that_is_not_there_or_no_file(run: Run, tmp_path: Path) -> None:
    result = run("plan", "--config", str(tmp_path / "nowhere.yaml"))
    assert (result.code, "nowhere.yaml: no such file; check --config" in result.err) == (2, True)
    result = run("plan", "--config", str(tmp_path))
    assert (result.code, f"{tmp_path}: cannot be read" in result.err) == (2, True)


@pytest.mark.parametrize("module", ["pla.cli", "flows.worker", "flows.retrain_worker"])
def test_the_programs_themselves(tmp_path: Path, module: str) -> None:
    """As a shell sees it: exit code, standard error, no traceback."""
    path = tmp_path / "pla.yaml"
    path.write_text("policy: {shrink_deadband: 1.5}", encoding="utf-8")
    arguments = {
        "pla.cli": ["tick", "--config", str(path)],
        "flows.worker": ["--config", str(path)],
    }
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments.get(module, [])],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PLA_HOME": str(tmp_path / "home"), "PLA_CONFIG": str(path)},
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"{path}: policy.shrink_deadband: " in done.stderr
    assert "less than 1" in done.stderr
    assert "Traceback" not in done.stderr
    assert files_below(tmp_path) == {path}


# -- stores, homes, registries -------------------------------------------------------------


def test_a_store_that_is_none_is_named(run: Run, config: Path, tmp_path: Path) -> None:
    store = tmp_path / "home" / "store.db"
    store.parent.mkdir()
    store.write_text("# notes\n" * 1000)
    for command in ("tick", "plan", "decisions"):
        result = run(command, "--config", str(config))
        assert result.code == 1
        assert f"{store}: the file is not an SQLite database; move it" in result.err
    assert store.read_text().startswith("# notes")


@pytest.mark.parametrize("command", ["tick", "plan"])
def test_a_home_that_cannot_be_made_is_named(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("PLA_HOME", "/proc/nowhere")
    result = run(command, "--config", str(config))
    assert result.code == 1
    assert "/proc/nowhere: cannot be made" in result.err
    assert "correct PLA_HOME or `home`" in result.err


def test_a_plan_and_a_tick_without_mlflow_go_on_and_say_so(run: Run, config: Path) -> None:
    result = run("plan", "--config", str(config))
    assert result.code == 0
    assert "model baseline:rolling-max-24h" in result.out
    said = "still on model baseline:rolling-max-24h: MLflow at http://127.0.0.1:9 does not answer"
    assert said in result.err
    result = run("tick", "--config", str(config))
    assert result.code == 1
    assert said in result.err
    made = json.loads(run("decisions", "--config", str(config), "--json").out)
    assert {row["status"] for row in made} == {"accepted"}  # the resizes take two seconds


def test_a_tick_beside_the_leader_says_that_it_changed_nothing(
    run: Run, config: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with SqlStore(f"sqlite:///{home / 'store.db'}", SystemClock(), machine_timeline()) as store:
        assert store.acquire("tick", "another", 300.0) is not None
        result = run("tick", "--config", str(config))
    assert "nothing was changed: this process does not lead" in result.err


def test_training_without_mlflow_is_1_and_names_it(run: Run, config: Path) -> None:
    result = run("train", "--config", str(config))
    assert result.code == 1
    assert "MLflow at http://127.0.0.1:9 does not answer" in result.err


@pytest.mark.mlflow
def test_training_on_too_little_history_is_1_and_says_what_is_needed(
    run: Run, config: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLA_MLFLOW__TRACKING_URI", f"sqlite:///{migrated_database}")
    monkeypatch.setenv("PLA_RETRAIN__MINIMUM_HISTORY_HOURS", "100")
    result = run("train", "--config", str(config))
    assert result.code == 1
    assert "48.0 h of usage are on record, a model needs 100 h" in result.err
    assert "until then the baseline acts" in result.err


def test_an_error_with_brackets_in_it_is_shown_whole(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "[bold]pla[/x].yaml"
    path.parent.mkdir(exist_ok=True)
    result = run("plan", "--config", str(path))
    assert result.code == 2
    assert f"{path}: no such file" in result.err


def test_help_loads_none_of_the_heavy_parts() -> None:
    code = (
        "import sys; import pla.cli; "
        "print([m for m in ('xgboost', 'mlflow', 'prefect', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


def test_restore_needs_no_metrics_source(run: Run, config: Path) -> None:
    source = '[{"url": "http://127.0.0.1:9", "ca_file": "/nowhere.pem", "packs": ["no-such"]}]'
    config.write_text(f"{config.read_text(encoding='utf-8')}\nsources: {source}\n")
    assert run("plan", "--config", str(config)).code == 1
    assert run("restore", "--all", "--config", str(config)).code == 0
