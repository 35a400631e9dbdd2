"""One step of every instance: demand and amounts in, usage and damage out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from actuators.simulator.memory import Memory, MemoryStep, Rows
from actuators.simulator.physics import (
    Behaviour,
    Physics,
    behaviour,
    fill_step,
    held_down,
    queue_step,
)
from pla.core.fleet import Bools, Floats
from pla.core.resources import ResourceSpec


class StepResult(NamedTuple):
    """What a step came to; arrays (resource, instance), `killed` (instance,).

    `used` [unit]; `censored`: usage was held down; `violated`: demand exceeded the amount;
    `throttled_s` [s]; `lost` [unit x s], for a filling resource [unit].
    """

    used: Floats
    censored: Bools
    violated: Bools
    throttled_s: Floats
    lost: Floats
    killed: Bools


class Instances:
    """What instances carry from step to step: queues, memory levels, what is still unwritten.

    Attributes:
        demand: of the open step, shape (resource, instance) [unit].
        backlog: work that waits, shape (resource, instance) [unit x s].
        short: what a filling resource could not hold, shape (resource, instance) [unit].
        memory: the memory levels, None if no resource kills.
    """

    def __init__(self, specs: Sequence[ResourceSpec], instances: int, physics: Physics) -> None:
        behaviours = [behaviour(spec) for spec in specs]
        self._queues = [row for row, kind in enumerate(behaviours) if kind is Behaviour.QUEUES]
        self._fills = [row for row, kind in enumerate(behaviours) if kind is Behaviour.FILLS]
        kills = [row for row, kind in enumerate(behaviours) if kind is Behaviour.KILLS]
        if len(kills) > 1:
            raise ValueError("simulator: only one resource type can be memory")
        self.memory_row = kills[0] if kills else -1
        self._whole = np.array([spec.whole for spec in specs], dtype=np.bool_)
        self._bound_s = np.array([[physics.backlog_s.get(s.name, 0.0)] for s in specs])
        self.demand: Floats = np.zeros((len(specs), instances))
        self.backlog: Floats = np.zeros((len(specs), instances))
        self.short: Floats = np.zeros((len(specs), instances))
        self.memory = Memory(instances, physics) if kills else None

    def open_step(self, start_s: float, end_s: float, demand: Floats) -> None:
        """Begin a step that demands `demand` (resource, instance)."""
        self.demand = demand
        if self.memory is not None:
            self.memory.open_step(start_s, end_s, demand[self.memory_row])

    def change_memory(self, rows: Rows, at_s: float, amount: Floats) -> None:
        """Kill those of `rows` that crossed their old `amount` (row,) before `at_s`."""
        if self.memory is not None:
            self.memory.check(rows, at_s, amount)

    def held(self, resource: Rows, instance: Rows, at_s: float, amount: Floats) -> Floats:
        """What cannot be taken back at `at_s`: resident memory, devices in use, shape (cell,)."""
        level = np.zeros(len(resource))
        if self.memory is not None:
            mine = resource == self.memory_row
            level[mine] = self.memory.level_at(instance[mine], at_s, amount[mine])
        whole = self._whole[resource]
        wanted = np.ceil(self.demand[resource[whole], instance[whole]])
        level[whole] = np.minimum(wanted, amount[whole])
        return level

    def close_step(self, amount: Floats, mean_amount: Floats, step_s: float) -> StepResult:
        """End the step: `amount` is in force now, `mean_amount` was over the step's time."""
        shape = self.demand.shape
        used, lost, throttled_s = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        violated = np.asarray(self.demand > mean_amount, dtype=np.bool_)
        censored = np.zeros(shape, dtype=np.bool_)
        step = self._close_memory(amount, step_s)
        for row in self._queues:
            queue = queue_step(
                self.demand[row],
                mean_amount[row] * step.up_s,
                self.backlog[row],
                self._bound_s[row],
                step_s,
            )
            used[row], self.backlog[row], lost[row], throttled_s[row] = queue
            censored[row] = held_down(used[row], mean_amount[row], throttled_s[row] / step_s)
        for row in self._fills:
            fill = fill_step(self.demand[row], amount[row], self.short[row])
            used[row], self.short[row], lost[row] = fill
            violated[row] = fill.short > 0
            censored[row] = held_down(used[row], amount[row], violated[row].astype(np.float64))
        if self.memory is not None:
            row = self.memory_row
            used[row] = step.used
            violated[row] = step.killed | (self.demand[row] > amount[row])
            censored[row] = held_down(used[row], amount[row], violated[row].astype(np.float64))
        return StepResult(used, censored, violated, throttled_s, lost, step.killed)

    def _close_memory(self, amount: Floats, step_s: float) -> MemoryStep:
        """The memory's step; without memory nobody is ever killed."""
        if self.memory is not None:
            return self.memory.close_step(amount[self.memory_row])
        instances = amount.shape[1]
        never = np.zeros(instances, dtype=np.bool_)
        return MemoryStep(np.zeros(instances), never, np.full(instances, step_s))
