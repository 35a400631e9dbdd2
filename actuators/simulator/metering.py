"""What the platform's own meters show of every instance, as an exporter would tell it."""

from __future__ import annotations

import numpy as np

from actuators.simulator.step import StepResult
from pla.core.fleet import Floats


class Metering:
    """The newest closed step, and counters since the start.

    Attributes:
        end_s: end of the newest step; None = none has been closed [epoch s].
        used: mean use in that step (of memory and storage: the level at its end), shape
            (resource, instance) [unit].
        throttled_s: time in which work had to wait, same shape [s].
        kills: out-of-memory kills, shape (instance,).
    """

    def __init__(self, resources: int, instances: int) -> None:
        self.end_s: int | None = None
        self.used: Floats = np.zeros((resources, instances))
        self.throttled_s: Floats = np.zeros((resources, instances))
        self.kills = np.zeros(instances, dtype=np.int64)

    def add(self, step: StepResult, end_s: int) -> None:
        """Take in a closed step."""
        self.end_s, self.used = end_s, step.used
        self.throttled_s += step.throttled_s
        self.kills += step.killed
