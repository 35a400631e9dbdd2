"""A simulated cluster in a process of its own, and processes that tick against it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
STEP_S = 300
TTL_S = 2.0
PATIENCE_S = 180.0
"""A process that says nothing for so long hangs, and is killed: the test fails then."""


def _write_trace(path: Path) -> None:
    """Twenty workloads, three days, restless: every step asks for other amounts."""
    random = np.random.default_rng(5)
    steps, names = 3 * 288, [f"w{row:02d}" for row in range(20)]
    time_s = 1_700_006_400 // 86_400 * 86_400 + STEP_S * np.arange(steps)
    tables = []
    for name in names:
        level = random.gamma(2.0, 0.2)
        wave = 1.3 + np.sin(2 * np.pi * np.arange(steps) / 48 + random.uniform(0, 6))
        noise = random.gamma(8.0, 1 / 8, steps)
        tables.append(
            pa.table(
                {
                    "workload": pa.array([name] * steps),
                    "timestamp": pa.array(time_s * 1000, pa.timestamp("ms", tz="UTC")),
                    "cpu_cores_used": pa.array(level * wave * noise),
                    "memory_bytes_used": pa.array(2e8 * level * wave),
                    "cpu_cores_allocated": pa.array(np.full(steps, level * 4)),
                    "memory_bytes_allocated": pa.array(np.full(steps, 2e8 * level * 4)),
                }
            )
        )
    pq.write_table(pa.concat_tables(tables), path)


@dataclass
class World:
    """The platform, seen from outside of PLA.

    Attributes:
        folder: everything of this test.
        url: of the simulated cluster.
        config: pla.yaml for processes that tick against it.
    """

    folder: Path
    url: str
    config: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def journal(self) -> list[dict[str, Any]]:
        """Every resize that the platform has applied, in order."""
        path = self.folder / "journal" / "resizes.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def decisions(self) -> list[dict[str, Any]]:
        """Every decision row, read from the database file by SQLite itself."""
        uri = f"file:{self.folder / 'home' / 'store.db'}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute("select * from decisions order by id")]
        finally:
            connection.close()

    def ticker(self, interval_s: float = 0.5) -> subprocess.Popen[str]:
        """A process that ticks; its lines are read with `line_of`."""
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("ticker.py")),
             str(self.config), str(interval_s)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
            stderr=(self.folder / "ticker.err").open("a"),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[str]) -> None:
        """SIGSTOP `process` at a moment in which it holds no lock on the store's file.

        A process that is stopped inside a transaction of SQLite holds its lock: then nobody writes
        anything until it continues or dies, which is safe, and not what these tests are about.
        """
        for _ in range(50):
            process.send_signal(signal.SIGSTOP)
            connection = sqlite3.connect(self.folder / "home" / "store.db", timeout=0.5)
            try:
                connection.execute("begin immediate")
                connection.rollback()
                return
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
                time.sleep(0.1)
            finally:
                connection.close()
        raise AssertionError("the process holds the store's lock all the time")


def wait_for_line(process: subprocess.Popen[str], accept: Callable[[str], bool]) -> str:
    """The next line that `accept` takes; fails when the process ends, or is silent for long."""
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if accept(line):
                return line
    finally:
        watchdog.cancel()
    raise AssertionError(f"the process ended with {process.wait()} before the awaited line")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A fresh platform at 600 x real time: every half second is a new step."""
    trace = tmp_path / "trace.parquet"
    _write_trace(trace)
    server = subprocess.Popen(
        [sys.executable, "-m", "actuators.simulator", "serve", "--trace", str(trace),
         "--step", str(STEP_S), "--speed", "600", "--lead", "0",
         "--journal", str(tmp_path / "journal")],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    line = wait_for_line(server, lambda text: "listening on" in text)
    config = tmp_path / "pla.yaml"
    made = World(tmp_path, line.split()[-1], config)
    config.write_text(
        json.dumps(
            {
                "home": str(tmp_path / "home"),
                "tick": {
                    "interval_s": 0.5,
                    "step_s": STEP_S,
                    "stale_after_s": 3600,
                    "deadline_s": 1.5,
                    "lease_ttl_s": TTL_S,
                },
                "simulator": {"enabled": True, "url": made.url, "speed": 600},
                "mlflow": {"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"},
            }
        ),
        encoding="utf-8",
    )
    try:
        yield made
    finally:
        for process in [*made.processes, server]:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(30)


@pytest.fixture
def line_of() -> Callable[[subprocess.Popen[str], Callable[[str], bool]], str]:
    """`line_of(process, accept)`: the process's next line that is accepted."""
    return wait_for_line


@pytest.fixture
def pause_s() -> Callable[[float], None]:
    """Waits in real time: the platform of these tests is a process of its own."""
    return time.sleep
