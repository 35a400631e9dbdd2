"""`pla up` as a program: real Prefect, MLflow, simulated cluster, worker and retraining."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

pytestmark = [pytest.mark.prefect, pytest.mark.mlflow]

STEP_S = 300
WORKLOADS, DAYS = 16, 8


def write_trace(path: Path) -> None:
    """Eight days of sixteen workloads with a daily wave each."""
    times = pd.date_range("2026-10-01", periods=DAYS * 86400 // STEP_S, freq=f"{STEP_S}s", tz="UTC")
    phase = np.arange(len(times)) * 2 * np.pi * STEP_S / 86400
    noise = np.random.default_rng(5).normal(0, 0.02, (WORKLOADS, len(times)))
    frames = [
        pd.DataFrame(
            {
                "workload": f"sim://app-{index}",
                "timestamp": times,
                "cpu_cores_used": (index + 1) * (0.3 + 0.2 * np.sin(phase) + noise[index]),
                "memory_bytes_used": 2e8 * (index + 1) * (1 + 0.1 * np.sin(phase)),
            }
        )
        for index in range(WORKLOADS)
    ]
    pd.concat(frames).to_parquet(path)


class Up:
    """A home and its `pla up`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = home / "pla.yaml"
        self.output = home / "up.out"
        trace = home / "trace.parquet"
        write_trace(trace)
        self.tree: dict[str, Any] = {
            "home": str(home),
            "tick": {"interval_s": 5, "step_s": STEP_S, "stale_after_s": 900, "lease_ttl_s": 15},
            "retrain": {"rounds": 10, "max_rows": 20_000, "holdout_days": 0.5, "threads": 1},
            "simulator": {"enabled": True, "speed": 60, "trace": str(trace)},
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        self.config.write_text(yaml.safe_dump(self.tree))
        command = [str(Path(sys.executable).with_name("pla")), "up", "--no-browser"]
        command += ["--config", str(self.config), *arguments]
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                env=os.environ | {"PLA_HOME": str(self.home)},
            )
        self.processes.append(process)
        return process

    def said(self) -> str:
        return self.output.read_text()

    def family(self) -> dict[int, str]:
        """Every process that bears this home in its environment, with its command line."""
        mark = f"PLA_HOME={self.home}\0".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and mark in (folder / "environ").read_bytes():
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if command:  # a zombie has none
                        found[int(folder.name)] = command
            except (OSError, PermissionError):
                continue
        return found

    def member(self, words: str) -> int | None:
        """The process id of the child whose command line has `words`."""
        return next((pid for pid, command in self.family().items() if words in command), None)

    def wait(self, what: str, look: Callable[[], Any], seconds: float = 300.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < deadline, f"not yet: {what}\n{self.said()}"
            time.sleep(0.25)
        return found

    def prefect(self, sql: str) -> list[tuple[Any, ...]]:
        database = self.home / "prefect" / "prefect.db"
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path)
    yield up
    for process in up.processes:
        process.kill()
        process.wait()
    up.wait("all children are gone", lambda: not up.family(), 60)


COMPLETED = (
    "select count(*) from flow_run r join flow f on f.id = r.flow_id "
    "where f.name = '{}' and r.state_type = 'COMPLETED'"
)


def test_ends_by_itself_after_its_ticks_and_the_first_retraining(up: Up) -> None:
    running = up.start("--ticks", "3")
    up.wait("the first tick", lambda: "tick 1:" in up.said())
    second = up.start()
    assert second.wait(60) == 1
    assert f"pid {running.pid}" in up.said()
    worker = up.wait("the worker", lambda: up.member("flows.worker"))
    os.kill(worker, signal.SIGKILL)
    assert running.wait(600) == 0, up.said()
    assert "worker ended (SIGKILL); it is started again" in up.said()
    assert "no champion model yet: a baseline acts" in up.said()
    assert "the first retraining ended completed" in up.said()
    assert up.prefect(COMPLETED.format("predict-and-actuate") + " and r.auto_scheduled")[0][0] >= 3
    assert up.prefect(COMPLETED.format("retrain"))[0][0] >= 1
    with sqlite3.connect(up.home / "mlflow.db") as mlflow:
        assert mlflow.execute("select count(*) from model_versions").fetchone()[0] >= 1
    assert up.family() == {}
    assert not (up.home / "up.json").exists()


def test_ctrl_c_leaves_no_process(up: Up) -> None:
    running = up.start()
    up.wait("servers and worker", lambda: up.member("flows.worker") and up.member("prefect"))
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 0, up.said()
    assert up.family() == {}
    assert "everything is stopped" in up.said()


def test_kill_9_leaves_no_process(up: Up) -> None:
    running = up.start()
    up.wait("servers and worker", lambda: up.member("flows.worker") and up.member("prefect"))
    running.kill()
    running.wait()
    up.wait("all children are gone", lambda: not up.family(), 60)


def test_a_server_that_does_not_come_up_is_named_with_its_log(up: Up) -> None:
    up.tree["simulator"]["trace"] = str(up.home / "nowhere.parquet")
    assert up.start().wait(120) == 1
    said = " ".join(up.said().split())
    assert "simulated cluster did not come up: exit code 2" in said
    assert "simulated-cluster.log" in said
    assert "nowhere.parquet" in said
    assert up.family() == {}


def test_a_fixed_port_that_is_taken_is_named(up: Up) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        up.tree["mlflow"] = {"port": port}
        assert up.start().wait(60) == 1
    assert f"mlflow.port: port {port}" in up.said()
