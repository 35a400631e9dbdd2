"""A real Prefect server on a private SQLite database, and real worker processes beside it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import yaml

from flows import environment
from flows.local.ports import free_port
from pla.settings import Settings, load

STANDIN = Path(__file__).with_name("standin_worker.py")
PATIENCE_S = 180.0
T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], seconds: float = PATIENCE_S) -> T:
    """What `look` returns once that is true; fails, naming `what`, if it never is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    pytest.fail(f"after {seconds:.0f} s still not: {what}")


def end(process: subprocess.Popen[bytes], number: int, seconds: float = 30.0) -> int:
    """Send a signal and wait; returns the exit status."""
    if process.poll() is None:
        process.send_signal(number)
    return process.wait(seconds)


class PrefectServer:
    """Prefect's own server program, as `pla up` configures it."""

    wait_for = staticmethod(wait_for)

    def __init__(self, home: Path) -> None:
        self.port = free_port("127.0.0.1")
        self.settings = Settings(home=home)
        self.api_url = f"http://127.0.0.1:{self.port}/api"
        self.database = environment.prefect_home(self.settings) / "prefect.db"
        self._log = home / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on the same port and database as before, and wait until it answers."""
        self.database.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "prefect", "server", "start"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        variables = environment.server_variables(self.settings, self.port)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=os.environ | variables, stdout=log, stderr=log
            )
        wait_for(f"Prefect's server answers (see {self._log})", self._answers)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            end(self._process, signal.SIGKILL)

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self._log.read_text()
        try:
            return httpx.get(f"{self.api_url}/health").status_code == 200
        except httpx.TransportError:
            return False

    def call(self, method: str, path: str, **body: Any) -> Any:
        """What a request to the API answers, as the UI would make it."""

        def ask() -> httpx.Response | None:
            answer = httpx.request(method, f"{self.api_url}/{path}", json=body or None, timeout=120)
            return None if answer.status_code == 503 else answer  # "database is locked"

        answer = wait_for(f"{method} {path} does not meet a locked database", ask)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of Prefect's own database."""
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30) as connection:
            return connection.execute(sql, values).fetchall()

    def runs(self, flow: str = "predict-and-actuate") -> list[dict[str, Any]]:
        """Every flow run of `flow` that its schedule or somebody made, oldest first."""
        columns = (
            "id, name, state_type, auto_scheduled, expected_start_time, start_time, end_time, "
            "parameters, run_count"
        )
        names = columns.split(", ")
        rows = self.query(
            f"select {', '.join('r.' + name for name in names)}, s.message from flow_run r "
            "join flow f on f.id = r.flow_id left join flow_run_state s on s.id = r.state_id "
            "where f.name = ? order by r.expected_start_time",
            flow,
        )
        return [dict(zip([*names, "message"], row, strict=True)) for row in rows]

    def states(self, state: str, flow: str = "predict-and-actuate") -> list[dict[str, Any]]:
        """Those of `runs` whose state is of type `state`."""
        return [run for run in self.runs(flow) if run["state_type"] == state]

    def forget(self) -> None:
        """Back to an empty server: no deployment, no run, nothing remembered."""
        for deployment in self.call("POST", "deployments/filter"):
            self.call("DELETE", f"deployments/{deployment['id']}")
        while self.call("POST", "flow_runs/bulk_delete", limit=50)["deleted"]:
            pass
        for variable in self.call("POST", "variables/filter"):
            self.call("DELETE", f"variables/{variable['id']}")
        for automation in self.call("POST", "automations/filter"):
            self.call("DELETE", f"automations/{automation['id']}")


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    server = PrefectServer(tmp_path_factory.mktemp("prefect"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(shared_server: PrefectServer) -> PrefectServer:
    """The session's server, emptied."""
    shared_server.forget()
    return shared_server


class WorkerBench:
    """A home, its pla.yaml, and worker processes around a stand-in runtime."""

    wait_for = staticmethod(wait_for)
    end = staticmethod(end)

    def __init__(self, home: Path, server: PrefectServer) -> None:
        self.home = home
        self.server = server
        self.config = home / "pla.yaml"
        self._log = home / "worker.log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.configure(interval_s=3)

    def configure(self, interval_s: float) -> Settings:
        """Write pla.yaml."""
        tree = {
            "home": str(self.home),
            "tick": {"interval_s": interval_s},
            "prefect": {"api_url": self.server.api_url},
        }
        self.config.write_text(yaml.safe_dump(tree))
        return load(self.config, {})

    def ticks_last(self, seconds: float) -> None:
        """From the next tick on."""
        (self.home / "tick-seconds").write_text(str(seconds))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a worker; returns at once."""
        command = [sys.executable, str(STANDIN), "--config", str(self.config), *arguments]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def stop_all(self) -> None:
        for process in self._processes:
            end(process, signal.SIGKILL)

    def log(self) -> str:
        """What the workers wrote to their log."""
        return self._log.read_text()

    def journal(self, kind: str = "tick") -> list[dict[str, Any]]:
        """What the stand-in runtime did, in order."""
        path = self.home / "journal.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in map(json.loads, lines) if line["kind"] == kind]

    def wait_for_ticks(self, count: int) -> None:
        """Until so many ticks were made."""
        wait_for(f"{count} ticks (see {self._log})", lambda: len(self.journal()) >= count)

    def deployment(self, name: str = "predict-and-actuate/tick") -> Any:
        """The deployment as the API shows it."""
        return self.server.call("GET", f"deployments/name/{name}")


@pytest.fixture
def bench(tmp_path: Path, server: PrefectServer) -> Iterator[WorkerBench]:
    bench = WorkerBench(tmp_path, server)
    yield bench
    bench.stop_all()
