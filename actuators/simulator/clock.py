"""Clocks of a simulation (`pla.ports.Clock`): faster than real time, or moved by hand."""

from __future__ import annotations

import time


class SimulatedClock:
    """Runs `speed` simulated seconds per real second from `start_s` on.

    Only the wall time is simulated: deadlines and leases are the real process's business, so
    `monotonic_s` is the real one. `anchor_s` is the monotonic time at which `start_s` was; as the
    monotonic clock is one per machine, another process that has the three numbers has the clock.
    """

    def __init__(self, start_s: float, speed: float, anchor_s: float | None = None) -> None:
        if not speed > 0:
            raise ValueError(f"clock: a speed of {speed} does not move; use a ManualClock")
        self.start_s = start_s
        self.speed = speed
        self.anchor_s = time.monotonic() if anchor_s is None else anchor_s

    def now_s(self) -> float:
        """Simulated wall time [epoch s]."""
        return self.start_s + (time.monotonic() - self.anchor_s) * self.speed

    def monotonic_s(self) -> float:
        """Real monotonic time [s]."""
        return time.monotonic()


class ManualClock:
    """Stands still until it is moved; both of its times move together."""

    def __init__(self, start_s: float) -> None:
        self._start_s = self._now_s = start_s

    def now_s(self) -> float:
        """The time it was moved to [epoch s]."""
        return self._now_s

    def monotonic_s(self) -> float:
        """Time since it was made [s]."""
        return self._now_s - self._start_s

    def move_to(self, now_s: float) -> None:
        """Set the time; never back (ValueError)."""
        if now_s < self._now_s:
            raise ValueError(f"clock: cannot go back from {self._now_s} to {now_s}")
        self._now_s = now_s
