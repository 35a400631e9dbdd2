"""Stretched time: one real second is `stretch` trace seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

TRACE_START = datetime(2026, 10, 5, tzinfo=UTC)  # a Monday; a multiple of 300 s since the epoch
DAY_S = 86_400.0


@dataclass(frozen=True)
class Clock:
    """`t0_s` is the monotonic time of trace start; `sample_s` and `duration_s` are real seconds."""

    t0_s: float
    stretch: float
    sample_s: float
    duration_s: float

    @property
    def samples(self) -> int:
        """How many sample intervals the recording has."""
        return round(self.duration_s / self.sample_s)

    def real_s(self, day: float) -> float:
        """Real seconds after t0 of a trace day."""
        return day * DAY_S / self.stretch

    def trace_time(self, real_s: float) -> str:
        """The trace time of a real second after t0, as an ISO string."""
        return (TRACE_START + timedelta(seconds=round(real_s * self.stretch))).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        )
