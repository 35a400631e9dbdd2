"""A private MLflow server for tests: a SQLite database, a loopback port, artifacts in a folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

START_TIMEOUT_S = 120.0


class MlflowServer:
    """`mlflow server` on a free loopback port; the port stays the same over restarts.

    Attributes:
        uri: where it listens.
    """

    def __init__(self, database: Path, directory: Path) -> None:
        """A server of the migrated `database`; artifacts and its log go to `directory`."""
        self._database = database
        self._directory = directory
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port: int = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def artifacts(self) -> Path:
        """Where it keeps what is logged."""
        return self._directory / "artifacts"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time; holds the end of its log.
        """
        arguments = [
            *("--backend-store-uri", f"sqlite:///{self._database}"),
            *("--artifacts-destination", str(self.artifacts)),
            *("--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"),
        ]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *arguments],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env=os.environ | quiet,
                start_new_session=True,  # it starts workers: they end with their group
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                said = (self._directory / "log").read_text()[-2000:]
                raise RuntimeError(f"mlflow server does not start: {said}")
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill it, without warning, and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
