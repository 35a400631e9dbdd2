"""The champion alias in a running process: followed, refused where it does not fit, survived."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from pla.core.feature_names import NAMES
from pla.ports import Forecaster
from pla.registry import MlflowRegistry

World = Any
Register = Any
Artifacts = Any

pytestmark = pytest.mark.mlflow

BASELINE = "baseline:rolling-max-24h"


def test_without_a_champion_the_baseline_acts_and_says_so(world: World) -> None:
    runtime = world.open()
    report = world.tick(runtime)
    assert (report.model_version, runtime.model_version) == (BASELINE, BASELINE)
    assert report.errors == []
    assert report.applied > 0
    assert {decision.model_version for decision in world.decisions()} == {BASELINE}


def test_a_first_champion_and_a_moved_alias_are_in_force_within_two_ticks(
    world: World, register: Register
) -> None:
    from mlflow import MlflowClient

    runtime = world.open()
    world.tick(runtime)
    first, second = register(world), register(world)
    world.registry().promote(first, by="gate")
    assert [world.tick(runtime).model_version for _ in range(2)][-1] == first
    # Moved by other people's tools, behind PLA's back.
    client = MlflowClient(world.mlflow_uri, world.mlflow_uri)
    client.set_registered_model_alias("pla-forecaster", "champion", second)
    reports = [world.tick(runtime) for _ in range(2)]
    assert reports[-1].model_version == second
    assert reports[-1].errors == []
    world.registry().promote(first, by="ada")
    assert [world.tick(runtime).model_version for _ in range(2)][-1] == first


def test_a_champion_is_in_force_from_the_first_tick_on(world: World, register: Register) -> None:
    world.registry().promote(register(world), by="gate")
    assert world.tick(world.open()).model_version == "1"


def test_a_model_for_another_step_is_refused_with_its_cure_and_the_old_stays(
    world: World, register: Register
) -> None:
    registry = world.registry()
    registry.promote(register(world), by="gate")
    runtime = world.open()
    registry.promote(register(world, hold_s=600), by="ada")
    for _ in range(3):
        report = world.tick(runtime)
    assert report.model_version == "1"
    assert len(report.errors) == 1
    assert report.errors[0].startswith("still on model 1: model 2 was trained for (step, lead, ")
    assert "hold) = (300, 0, 600) s, the configuration asks for (300, 0, 300)" in report.errors[0]
    assert "retrain (`pla train`)" in report.errors[0]
    assert runtime.dry_run().errors == report.errors
    registry.rollback(by="ada")
    for _ in range(2):
        report = world.tick(runtime)
    assert (report.model_version, report.errors) == ("1", [])


def test_what_was_refused_is_not_loaded_again(
    world: World, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = MlflowRegistry.load

    def counted(self: MlflowRegistry, version: str) -> Forecaster:
        loaded.append(version)
        return load(self, version)

    monkeypatch.setattr(MlflowRegistry, "load", counted)
    world.registry().promote(register(world, step_s=60), by="gate")
    runtime = world.open()
    reports = [world.tick(runtime) for _ in range(4)]
    assert loaded == ["1"]
    assert all(len(report.errors) == 1 for report in reports)
    assert reports[-1].model_version == BASELINE


# -- a model that is no good ---------------------------------------------------------------


def other_features(folder: Path) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["feature_names"][0] = "moon_phase"
    (folder / "bundle.json").write_text(json.dumps(manifest))


def with_model(folder: Path, content: bytes) -> None:
    """Put `content` in the place of the CPU's model, with a checksum that fits."""
    manifest = json.loads((folder / "bundle.json").read_text())
    (folder / "cpu.ubj").write_bytes(content)
    manifest["files"]["cpu.ubj"] = hashlib.sha256(content).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(manifest))


def broken_model(folder: Path) -> None:
    with_model(folder, b"{L" + bytes(range(256)))


def trained_on(features: int, outputs: int) -> Any:
    """A model of other inputs and outputs than its manifest says."""

    def spoil(folder: Path) -> None:
        rows = np.random.default_rng(0).random((50, features)).astype(np.float32)
        target = np.repeat(rows[:, :1], outputs, axis=1)
        data = xgb.QuantileDMatrix(rows, target)
        booster = xgb.train({"objective": "reg:squarederror", "nthread": 1}, data, 2)
        with_model(folder, bytes(booster.save_raw("ubj")))

    return spoil


@pytest.mark.faults
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (other_features, f"number 1 is 'moon_phase' in the model, expected {NAMES[0]!r}; retrain"),
        (broken_model, "cpu.ubj: XGBoost cannot read it"),
        (trained_on(3, 3), f"cannot forecast from {len(NAMES)} features"),
        (trained_on(len(NAMES), 2), "cpu.ubj: a row is answered with an array of (1, 2), expected"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "bundle.json: is not JSON"),
        (lambda folder: (folder / "memory.ubj").unlink(), "memory.ubj: cannot be read"),
    ],
)
def test_a_champion_that_cannot_be_used_leaves_the_one_in_memory_in_force(
    world: World, register: Register, spoil: Any, words: str
) -> None:
    registry = world.registry()
    registry.promote(register(world), by="gate")
    runtime = world.open()
    registry.promote(register(world, spoil=spoil), by="ada")
    for _ in range(2):
        report = world.tick(runtime)
    assert report.model_version == "1"
    assert len(report.errors) == 1
    assert report.errors[0].startswith("still on model 1: ")
    assert words in report.errors[0]
    registry.rollback(by="ada")
    for _ in range(2):
        report = world.tick(runtime)
    assert (report.model_version, report.errors) == ("1", [])


@pytest.mark.faults
def test_artifacts_damaged_on_disk(world: World, register: Register, artifacts: Artifacts) -> None:
    registry = world.registry()
    registry.promote(register(world), by="gate")
    runtime = world.open()
    world.tick(runtime)
    second = register(world)
    damaged = artifacts(world, second) / "cpu.ubj"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    registry.promote(second, by="gate")
    for _ in range(2):
        report = world.tick(runtime)
    words = f"still on model 1: model version {second} of pla-forecaster arrived damaged"
    assert report.model_version == "1"
    assert report.errors[0].startswith(words)
    # A new process: the former champion comes from the cache, and it says the same.
    runtime.close()
    reopened = world.open("two")
    report = world.tick(reopened)
    assert report.model_version == "1"
    assert report.errors[0].startswith(words)
    reopened.close()
    # Nothing usable is left anywhere: the baseline acts, and says why.
    shutil.rmtree(world.home / "models")
    shutil.rmtree(artifacts(world, "1"))
    report = world.tick(world.open("three"))
    assert report.model_version == BASELINE
    assert f"still on model {BASELINE}: model version {second}" in report.errors[0]
