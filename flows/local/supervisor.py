"""Starts the programs of `pla up`, keeps them running, and stops every one of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from flows.local.children import Child, Program, describe_exit
from flows.local.screen import Screen
from pla.ports import Clock

START_WITHIN_S = 300.0
LOOK_S = 0.25


class StartFailed(Exception):
    """A program did not come up. Names it, its log, and the end of that."""


class Stopped(Exception):
    """Somebody asked `pla up` to stop."""


class Supervisor:
    """The children of one `pla up`."""

    def __init__(self, screen: Screen, clock: Clock) -> None:
        self._screen = screen
        self._clock = clock
        self._children: list[Child] = []
        self._stop = threading.Event()
        self._hurry = threading.Event()

    def ask_to_stop(self) -> None:
        """From a signal handler: stop; a second time: at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def start(self, programs: Sequence[Program]) -> list[Child]:
        """Start `programs`, all at the same time; returns at once."""
        children = [Child(program, self._clock) for program in programs]
        for child in children:
            self._children.append(child)
            child.start()
        return children

    def await_ready(self, children: Sequence[Child]) -> None:
        """Wait until all of `children` serve.

        Raises:
            StartFailed: one of them ended, or did not answer within `START_WITHIN_S`.
            Stopped: somebody asked to stop meanwhile.
        """
        waiting = [child for child in children if child.program.ready is not None]
        deadline_s = self._clock.monotonic_s() + START_WITHIN_S
        while waiting:
            names = " and ".join(child.program.name for child in waiting)
            self._screen.wait(f"waiting for {names}")
            self.pause()
            for child in list(waiting):
                if child.exit_code is not None:
                    raise StartFailed(_why(child, describe_exit(child.exit_code)))
                if child.program.ready is not None and child.program.ready():
                    waiting.remove(child)
                    self._screen.say(f"{child.program.name} answers at {child.program.url}")
            if waiting and self._clock.monotonic_s() > deadline_s:
                raise StartFailed(_why(waiting[0], f"no answer within {START_WITHIN_S:.0f} s"))

    def pause(self, seconds: float = LOOK_S) -> None:
        """Wait; raises Stopped as soon as somebody asks to stop."""
        if self._stop.wait(seconds):
            raise Stopped

    def keep_alive(self) -> None:
        """Start again, with growing pauses, what has ended; says so."""
        for child in self._children:
            line = child.revive()
            if line is not None:
                self._screen.say(f"[yellow]{line}[/]")

    def stop(self) -> None:
        """Stop every child: workers first, while the servers they talk to still answer."""
        for group in (self._of(workers=True), self._of(workers=False)):
            for child in group:
                child.ask_to_stop()
            while left := [child for child in group if not child.gone()]:
                self._screen.wait("stopping " + ", ".join(child.program.name for child in left))
                if self._hurry.wait(0.05):
                    for child in left:
                        child.kill()
        self._screen.quiet()

    def _of(self, workers: bool) -> list[Child]:
        return [child for child in self._children if (child.program.ready is None) == workers]


def _why(child: Child, what: str) -> str:
    return (
        f"{child.program.name} did not come up: {what}. Its log is {child.program.log}; it ends "
        f"with:\n{child.last_words()}"
    )
