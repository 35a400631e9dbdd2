"""The machine's own clock: the one place of live code that reads the time."""

from __future__ import annotations

import time


class SystemClock:
    """`pla.ports.Clock` of this machine."""

    def now_s(self) -> float:
        """Wall time [epoch s]."""
        return time.time()  # noqa: TID251  # this is the Clock that everything else is told to take

    def monotonic_s(self) -> float:
        """Monotonic time [s]; goes on while the process is stopped."""
        return time.monotonic()
