"""A registry that is down, silent, restarted or defective: ticks go on, and say so."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from pla.registry import MlflowRegistry

World = Any
Register = Any

pytestmark = [pytest.mark.mlflow, pytest.mark.faults]

BASELINE = "baseline:rolling-max-24h"


def test_down_from_the_start_without_a_cache(world: World) -> None:
    world.mlflow_uri = "http://127.0.0.1:9"
    report = world.tick(world.open())
    assert report.model_version == BASELINE
    assert report.applied > 0
    assert len(report.errors) == 1
    assert report.errors[0].startswith(f"still on model {BASELINE}: MLflow at http://127.0.0.1:9 ")
    assert "does not answer" in report.errors[0]
    assert "check that it runs, and mlflow.tracking_uri" in report.errors[0]


def test_down_at_a_restart_the_former_champion_comes_from_the_cache(
    world: World, register: Register
) -> None:
    registry = world.registry()
    registry.promote(register(world), by="gate")
    runtime = world.open()
    world.tick(runtime)
    registry.promote(register(world), by="gate")
    for _ in range(2):
        world.tick(runtime)
    # Killed right after it took version 2: nothing is kept at an orderly end.
    world.mlflow_uri = "http://127.0.0.1:9"
    world.clock.wall_s += 300
    restarted = world.open("two")
    report = world.tick(restarted)
    assert report.model_version == "2"
    assert report.errors[-1].startswith("still on model 2: MLflow at http://127.0.0.1:9 does not")


def test_a_registry_that_is_silent_does_not_hold_up_the_start(
    world: World, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.registry().promote(register(world), by="gate")
    runtime = world.open()
    world.tick(runtime)
    runtime.close()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        world.mlflow_uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        restarted = world.open("two", wait_s=0.2)
        report = world.tick(restarted)
    assert report.model_version == "1"
    assert "still on model 1: " in report.errors[-1]


def test_stopped_and_started_again_while_ticking(
    world: World, server: Any, register: Register
) -> None:
    world.mlflow_uri = server.uri
    registry = world.registry()
    registry.promote(register(world), by="gate")
    second = register(world)
    runtime = world.open()
    assert world.tick(runtime).errors == []
    server.kill()
    for _ in range(3):
        report = world.tick(runtime)
        assert report.model_version == "1"
        assert report.leader
    assert report.errors[0].startswith(f"still on model 1: MLflow at {server.uri} does not answer")
    server.start()
    registry.promote(second, by="gate")
    for _ in range(3):
        report = world.tick(runtime)
    assert (report.model_version, report.errors) == (second, [])


def test_a_defect_of_the_registry_is_said_and_does_not_end_the_watch(
    world: World, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.registry().promote(register(world), by="gate")
    runtime = world.open()

    def defective(self: object) -> str:
        raise KeyError("version")

    with monkeypatch.context() as patched:
        patched.setattr(MlflowRegistry, "champion_version", defective)
        for _ in range(2):
            report = world.tick(runtime)
        assert report.errors == ["still on model 1: model registry: KeyError: 'version'"]
    for _ in range(2):
        report = world.tick(runtime)
    assert report.errors == []
