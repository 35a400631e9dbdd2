"""Counts on the way through: seconds of the tick's steps, failures of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pla.exposition.tally import Tally
from pla.ports import Clock, Decision, Lease, Override, StoreError, TickStore
from pla.tick import StepWrapper

T = TypeVar("T")


class TimedSteps:
    """Runs steps as `inner` does, and counts the seconds of the work alone.

    What a task around the step costs is in the duration of the whole tick.
    """

    def __init__(self, inner: StepWrapper, tally: Tally, clock: Clock) -> None:
        self._inner = inner
        self._tally = tally
        self._clock = clock

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """What `work` returns."""
        return self._inner(name, lambda: self._timed(name, work))

    def _timed(self, name: str, work: Callable[[], T]) -> T:
        began_s = self._clock.monotonic_s()
        try:
            return work()
        finally:
            self._tally.count_step(name, self._clock.monotonic_s() - began_s)


class CountedStore:
    """The store that a tick sees, whose errors are counted and passed on."""

    def __init__(self, inner: TickStore, tally: Tally) -> None:
        self._inner = inner
        self._tally = tally

    def begin(self, name: str, lease: Lease, decisions: Sequence[Decision]) -> list[int]:
        """As `TickStore.begin`."""
        with self._counted():
            return self._inner.begin(name, lease, decisions)

    def settle(self, results: Sequence[tuple[int, str, float, str]]) -> None:
        """As `TickStore.settle`."""
        with self._counted():
            self._inner.settle(results)

    def paused(self) -> bool:
        """As `TickStore.paused`."""
        with self._counted():
            return self._inner.paused()

    def overrides(self, now_s: float) -> list[Override]:
        """As `TickStore.overrides`."""
        with self._counted():
            return self._inner.overrides(now_s)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            self._tally.store_failures += 1
            raise
