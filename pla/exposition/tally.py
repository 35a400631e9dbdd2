"""What is counted over the life of a process: ticks, errors, outcomes, skips, seconds.

Only the tick's thread writes. Readers get a copy, made when a tick is over.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pla.core.plan import OutcomeStatus, Plan, Skip
from pla.tick import TickReport

Counts = NDArray[np.int64]

BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0)
"""Upper bounds of the duration histograms [s]: a step of ten workloads, and of 100,000."""


@dataclass
class Durations:
    """A histogram of durations, with Prometheus' meaning of a bucket: seconds <= bound."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration [s]."""
        self.counts[bisect.bisect_left(BUCKETS_S, seconds)] += 1
        self.sum_s += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, how many were at most so long), ascending, as the text format wants it."""
        bounds = [*(repr(bound) for bound in BUCKETS_S), "+Inf"]
        counted = (float(count) for count in itertools.accumulate(self.counts))
        return list(zip(bounds, counted, strict=True))


class Tally:
    """Counters since the process began.

    Attributes:
        resources: names of the resource axis.
        ticks, ticks_with_errors, error_lines: ticks made, those that had something to say, and
            how many lines that was.
        store_failures: calls of a tick that the store answered with an error.
        outcomes: what became of changes, shape (outcome status, resource).
        skipped: wanted changes that were not made, shape (why, resource).
        steps: seconds per step of the tick; `tick` of the whole, with the lease and the snapshot.
    """

    def __init__(self, resources: Sequence[str]) -> None:
        """All zero, for every combination there can be: a rate needs a first value to rise from."""
        self.resources = tuple(resources)
        self.ticks = 0
        self.ticks_with_errors = 0
        self.error_lines = 0
        self.store_failures = 0
        self.outcomes: Counts = np.zeros((len(OutcomeStatus), len(self.resources)), dtype=np.int64)
        self.skipped: Counts = np.zeros((len(Skip), len(self.resources)), dtype=np.int64)
        self.steps: dict[str, Durations] = {}
        self.tick = Durations()

    def count(self, report: TickReport, seconds: float) -> None:
        """Count one tick, which took `seconds`."""
        self.ticks += 1
        self.ticks_with_errors += bool(report.errors)
        self.error_lines += len(report.errors)
        self.tick.add(seconds)
        self.skipped += _skipped(report.plan, len(self.resources))
        row = {status: index for index, status in enumerate(OutcomeStatus)}
        column = {name: index for index, name in enumerate(self.resources)}
        for outcome in report.outcomes:
            self.outcomes[row[outcome.status], column[outcome.action.resource]] += 1

    def count_step(self, name: str, seconds: float) -> None:
        """Count one run of the step `name`."""
        self.steps.setdefault(name, Durations()).add(seconds)


def _skipped(plan: Plan, resources: int) -> Counts:
    """Skips of one plan, shape (why, resource)."""
    cell = plan.skipped_why.astype(np.int64) * resources + plan.skipped_resource
    counted = np.bincount(cell, minlength=len(Skip) * resources)
    return counted.reshape(len(Skip), resources)
