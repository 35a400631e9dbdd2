"""Child processes of `pla up`: started in sessions of their own, watched, restarted, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.local.leash import leash
from pla.ports import Clock

LARGEST_LOG = 10 * 1024 * 1024
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 30.0
STEADY_AFTER_S = 60.0
"""A child that lived so long starts over with the shortest back-off."""


@dataclass(frozen=True)
class Program:
    """A program that `pla up` keeps running.

    Attributes:
        name: what people read.
        command: program and arguments.
        variables: its environment, on top of this process's.
        log: where its output goes.
        ready: whether it serves by now; None where being alive is enough.
        url: where people or programs find it.
        grace_s: what it gets to stop by itself.
        nice: added to its niceness: it works with what the others leave.
    """

    name: str
    command: Sequence[str]
    log: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    url: str | None = None
    grace_s: float = 8.0
    nice: int = 0


class Child:
    """A program while it runs, and through its restarts."""

    def __init__(self, program: Program, clock: Clock) -> None:
        self.program = program
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._backoff_s = FIRST_BACKOFF_S
        self._restart_s: float | None = None
        self._killed_s: float | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, also that of its process group; None before the first start."""
        return None if self._process is None else self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it. Call from a thread that lives as long as this process (see `leash`)."""
        _rotate(self.program.log)
        with self.program.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.program.command,
                env=os.environ | dict(self.program.variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=leash(os.getpid(), self.program.nice),
            )
        self._started_s = self._clock.monotonic_s()
        self._restart_s = None

    def revive(self) -> str | None:
        """Start it again if it ended and its back-off is over; returns a line when that changes."""
        now_s = self._clock.monotonic_s()
        code = self.exit_code
        if self._process is None or code is None:
            return None
        if self._restart_s is None:
            if now_s - self._started_s > STEADY_AFTER_S:
                self._backoff_s = FIRST_BACKOFF_S
            self._restart_s = now_s + self._backoff_s
            self._backoff_s = min(self._backoff_s * 2, LONGEST_BACKOFF_S)
            wait_s = self._restart_s - now_s
            return (
                f"{self.program.name} ended ({describe_exit(code)}); it is started again in "
                f"{wait_s:.0f} s; its log: {self.program.log}"
            )
        if now_s >= self._restart_s:
            self.start()
            return f"{self.program.name} is started again (pid {self.pid})"
        return None

    def ask_to_stop(self) -> None:
        """SIGTERM to its process group."""
        self._signal(signal.SIGTERM)
        self._killed_s = self._clock.monotonic_s() + self.program.grace_s

    def kill(self) -> None:
        """SIGKILL to its process group, also where only grandchildren are left of it."""
        self._signal(signal.SIGKILL)

    def gone(self) -> bool:
        """Whether it has stopped; kills it once its grace is over."""
        if self._process is None:
            return True
        if self._process.poll() is None:
            if self._killed_s is not None and self._clock.monotonic_s() >= self._killed_s:
                self.kill()
            return False
        self.kill()
        return True

    def last_words(self, lines: int = 12) -> str:
        """The end of its log."""
        text = self.program.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):  # nobody is left in the group
                os.killpg(self._process.pid, number)


def describe_exit(code: int) -> str:
    """`exit code 1`, or the name of the signal that ended it."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _rotate(log: Path) -> None:
    """Keep one former log, and no log above `LARGEST_LOG` for longer than one run."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
