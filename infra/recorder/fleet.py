"""The recorded programs: starts, deploys, restarts and stops them by pid; logs every command."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from infra.recorder.catalogue import Event, Workload
from infra.recorder.cgroups import Groups
from infra.recorder.clock import Clock
from infra.recorder.executables import program
from infra.recorder.servers import REPO, command
from infra.recorder.sites import Site

NICE = "-5"
STOP_S = 8.0


class CommandLog:
    """One line per start, deploy, restart and end.

    Trace time, real second, workload, what, and the command line without machine paths.
    """

    def __init__(self, file: TextIO, clock: Clock, run: Path, out: Path) -> None:
        self._file, self._clock, self._lock = file, clock, threading.Lock()
        places = ((run, "$RUN"), (out, "$OUT"), (sys.executable, "python"), (REPO, "$REPO"))
        self._words = [(str(place), word) for place, word in places]

    def write(self, workload: str, what: str, detail: Sequence[str] | str = "") -> None:
        """Appends a line."""
        text = detail if isinstance(detail, str) else shlex.join(detail)
        for path, word in self._words:
            text = text.replace(path, word)
        real_s = time.monotonic() - self._clock.t0_s
        with self._lock:
            self._file.write(
                f"{self._clock.trace_time(real_s)} {real_s:+.1f}s {workload} {what} {text}".rstrip()
                + "\n"
            )
            self._file.flush()


class Fleet:
    """All running programs of a recording."""

    def __init__(
        self,
        groups: Groups,
        sites: Mapping[str, Site],
        specs: Mapping[str, dict[str, Any]],
        log: CommandLog,
        output: Path,
    ) -> None:
        self._output = output
        self._groups, self.sites, self._specs, self._log = groups, sites, specs, log
        self._options: dict[str, dict[str, Any]] = {
            name: dict(site.workload.options) for name, site in sites.items()
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._starts: dict[str, int] = {}
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(REPO),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "LC_ALL": "C",
            "PYTHONDONTWRITEBYTECODE": "1",
            "MALLOC_ARENA_MAX": "2",
        }

    def spawn(self, group: str, argv: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
        """Starts a program in its group, in a session of its own, favoured where we may."""
        nice = [program("nice"), "-n", NICE] if os.geteuid() == 0 else []
        with (self._output / f"{group}.out").open("ab") as file:
            process = subprocess.Popen(
                self._groups.wrap(group, [*nice, *argv]),
                cwd=folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._groups.started(group, process.pid)
        return process

    def start(self, name: str, why: str = "start") -> None:
        """Starts a workload with its present options."""
        site = self.sites[name]
        self._starts[name] = self._starts.get(name, 0) + 1
        argv = command(
            site, self._options[name], {**self._specs[name], "start": self._starts[name]}
        )
        self._log.write(name, why, argv)
        folder = site.folder if site.workload.kind == "postgres" else site.data
        process = self.spawn(name, argv, folder)
        if site.workload.kind == "job" and process.stdin:
            os.set_blocking(process.stdin.fileno(), False)
        self._processes[name] = process

    def stop(self, name: str) -> None:
        """Ends a workload: its own stop signal, then SIGKILL to what is left of its session."""
        process = self._processes.pop(name, None)
        if process is None:
            return
        if process.stdin:
            process.stdin.close()
        stop_process(process, self.sites[name].stop_signal)

    def apply(self, name: str, event: Event) -> None:
        """Carries out a deploy or restart."""
        self._options[name].update(event.change)
        changes = " ".join(f"{key}={value}" for key, value in event.change.items())
        self._log.write(name, event.kind, changes)
        script = self.sites[name].folder / "script"
        if "script" in event.change:
            script.write_text(str(event.change["script"]))
        self.stop(name)
        self.start(name, f"{event.kind}-start")

    def revive(self) -> None:
        """Restarts whatever ended by itself, as any supervisor would."""
        for name, process in list(self._processes.items()):
            status = process.poll()
            if status is not None:
                self._log.write(name, "ended", f"status {status}")
                self._processes.pop(name)
                self.start(name, "restart-start")

    def launch(self, workload: Workload, line: str) -> bool:
        """Hands a command to a job's agent; False if its queue is full or it is restarting."""
        process = self._processes.get(workload.name)
        if process is None or process.stdin is None:
            return False
        try:
            os.write(process.stdin.fileno(), line.encode() + b"\n")
        except (OSError, ValueError):
            return False
        return True

    def options(self, name: str) -> Mapping[str, Any]:
        """The options in force."""
        return self._options[name]

    def stop_all(self) -> None:
        """Ends everything: first all signals, then the waiting."""
        for name, process in self._processes.items():
            if process.poll() is None:
                process.send_signal(self.sites[name].stop_signal)
        for name in list(self._processes):
            self.stop(name)


def stop_process(process: subprocess.Popen[bytes], stop_signal: int = signal.SIGTERM) -> None:
    """Stops one process started in a session of its own, and then the rest of that session."""
    if process.poll() is None:
        process.send_signal(stop_signal)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
