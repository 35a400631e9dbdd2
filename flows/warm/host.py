"""What a warm process shares with the flows it runs: the runtime, and when it ticked last.

A flow that runs elsewhere (an ordinary process worker, a test, `python -c`) finds no warm
runtime, and opens one for its own duration.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from flows.environment import settings_in_force
from pla.clock import SystemClock
from pla.ports import Clock
from pla.settings import Settings
from pla.tick import StepWrapper, TickReport, run_step


class Runtime(Protocol):
    """What the flows use of `pla.runtime.Runtime`."""

    def tick(self, step: StepWrapper = ...) -> TickReport:
        """One cycle."""

    def deploy(self, workload: str, version: str, step: StepWrapper = ...) -> TickReport:
        """Size a new version of `workload` before its usage is known, and tick."""

    def close(self) -> None:
        """Keep what was learnt, and let go of everything."""


class Host:
    """A runtime, and the book of its ticks that keeps one from being made twice."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self.runtime = runtime
        self._clock = clock
        self._turn = threading.Lock()
        self._began_s = -math.inf

    @property
    def last_tick_s(self) -> float:
        """When the newest tick began [epoch s]; -inf before the first."""
        # A clock that was set back must not make every tick of the next hour look done.
        return self._began_s if self._began_s <= self._clock.now_s() else -math.inf

    def tick(self, step: StepWrapper = run_step, due_s: float | None = None) -> TickReport | None:
        """One tick; None if `due_s` is given and a tick began then or later: it is done already.

        Waits for a tick or a deploy that is under way.
        """
        with self._turn:
            if due_s is not None and self.last_tick_s >= due_s:
                return None
            self._began_s = self._clock.now_s()
            return self.runtime.tick(step)

    def deploy(self, workload: str, version: str, step: StepWrapper = run_step) -> TickReport:
        """Size a new version of `workload` at once; waits only for a tick that is under way."""
        with self._turn:
            return self.runtime.deploy(workload, version, step)


_warm: Host | None = None


def bind(host: Host | None) -> None:
    """Make `host` what `current` yields in this process; None unbinds."""
    global _warm
    _warm = host


@contextmanager
def current() -> Iterator[Host]:
    """The process's warm host; where there is none, one opened for the duration."""
    if _warm is not None:
        yield _warm
        return
    host = Host(open_runtime(settings_in_force()), SystemClock())
    try:
        yield host
    finally:
        host.runtime.close()


def open_runtime(settings: Settings) -> Runtime:
    """The real runtime, connected to everything that `settings` names.

    Raises:
        StoreError, ActuatorError: the store or the platform cannot be reached at all.
    """
    # Here, because declaring a deployment must not need databases and models.
    from pla.runtime import Runtime as RealRuntime

    return RealRuntime.open(settings)


def open_exposed(settings: Settings) -> Runtime:
    """As `open_runtime`, for a process that ticks for long: its series can be scraped."""
    from pla.runtime import Runtime as RealRuntime

    runtime = RealRuntime.open(settings)
    runtime.expose()
    return runtime
