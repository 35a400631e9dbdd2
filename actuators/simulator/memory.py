"""Resident memory of every instance: a level that moves, and a kill when it crosses the amount.

Within a step the level moves in a straight line from where it was to the demand of the step,
which it reaches at its end: so a resize that arrives in mid-step can still come in time. A killed
instance is down for `restart_s`, starts again at `base_fraction` of its demand and ramps up to it
over `ramp_s`. At most one kill per instance and step is counted (as a back-off would).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actuators.simulator.physics import Physics
from pla.core.fleet import Bools, Floats

Rows = NDArray[np.int64]


class MemoryStep(NamedTuple):
    """One step: usage [bytes], who was killed, and how long each instance ran [s]."""

    used: Floats
    killed: Bools
    up_s: Floats


class Memory:
    """The level of each of `instances`, shape (instance,) everywhere [bytes].

    The open step runs from `start_s` to `end_s`; the path of an instance in it starts at
    `path_s` with `path_level`.
    """

    def __init__(self, instances: int, physics: Physics) -> None:
        self._physics = physics
        self.down_until_s = np.full(instances, -np.inf)
        self.level = np.zeros(instances)
        self.killed = np.zeros(instances, dtype=np.bool_)

    def open_step(self, start_s: float, end_s: float, demand: Floats) -> None:
        """Begin a step in which every instance moves towards `demand`."""
        self.start_s, self.end_s, self.demand = start_s, end_s, demand
        down = self.down_until_s > start_s
        self.path_s = np.maximum(self.down_until_s, start_s)
        self.path_level = np.where(down, self._physics.base_fraction * demand, self.level)
        self.down_s = np.minimum(self.path_s, end_s) - start_s
        self.byte_s = np.zeros(len(demand))
        self.killed[:] = False

    def level_at(self, rows: Rows, at_s: float, amount: Floats) -> Floats:
        """Levels of `rows` at `at_s` in the open step, given `amount` (row,) [bytes]."""
        start_s = self.path_s[rows]
        span_s = np.maximum(self.end_s - start_s, 1e-9)
        share = np.clip((at_s - start_s) / span_s, 0.0, 1.0)
        low = self.path_level[rows]
        level = low + (self._goal(rows) - low) * share
        level = np.where(self.killed[rows], np.minimum(level, amount), level)
        return np.where(at_s < start_s, 0.0, level)

    def check(self, rows: Rows, at_s: float, amount: Floats) -> None:
        """Kill those of `rows` whose level has crossed `amount` (row,) before `at_s`."""
        start_s, low, goal = self.path_s[rows], self.path_level[rows], self._goal(rows)
        over = (np.maximum(low, goal) > amount) & ~self.killed[rows] & (start_s < self.end_s)
        if not over.any():
            return
        rows, amount = rows[over], amount[over]
        start_s, low, goal = start_s[over], low[over], goal[over]
        rise = np.maximum(goal - low, 1e-9)
        share = np.clip((amount - low) / rise, 0.0, 1.0)
        crossed_s = start_s + share * (self.end_s - start_s)
        now = crossed_s < at_s
        self._kill(rows[now], crossed_s[now], amount[now])

    def close_step(self, amount: Floats) -> MemoryStep:
        """End the step with `amount` in force since the last check."""
        every = np.arange(len(amount))
        self.check(every, np.inf, amount)
        restarted_s = np.maximum(self.end_s - self.path_s, 0.0)
        level = np.where(restarted_s > 0, np.minimum(self._goal(every), amount), 0.0)
        step_s = self.end_s - self.start_s
        low = np.minimum(self.path_level, amount)
        mean = (self.byte_s + restarted_s * (low + level) / 2) / step_s
        # A level is read off at the end of a step, as the trace's own samples were.
        used = np.where(self.killed, mean, level * (restarted_s / step_s))
        self.level = level
        return MemoryStep(used, self.killed.copy(), step_s - self.down_s)

    def _goal(self, rows: Rows) -> Floats:
        """The level that each row would reach at the end of the open step."""
        age_s = np.maximum(self.end_s - self.down_until_s[rows], 0.0)
        base = self._physics.base_fraction
        warm = base + (1.0 - base) * np.minimum(age_s / self._physics.ramp_s, 1.0)
        return np.asarray(self.demand[rows] * warm, dtype=np.float64)

    def _kill(self, rows: Rows, at_s: Floats, amount: Floats) -> None:
        low = np.minimum(self.path_level[rows], amount)
        self.byte_s[rows] += (at_s - self.path_s[rows]) * (low + amount) / 2
        back_s = at_s + self._physics.restart_s
        self.down_s[rows] += np.minimum(back_s, self.end_s) - at_s
        self.down_until_s[rows] = back_s
        self.path_s[rows] = back_s
        self.path_level[rows] = self._physics.base_fraction * self.demand[rows]
        self.killed[rows] = True
