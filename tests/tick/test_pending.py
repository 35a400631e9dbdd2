"""A platform that accepts a resize and puts it in force later: nothing is asked or given twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from pla.core.fleet import InstanceState
from pla.core.plan import Outcome, OutcomeStatus, Resize, Skip
from pla.ports import FleetPart

MIB = 2.0**20
RESOURCES = ("cpu", "memory")

Make = Callable[..., Any]


class Slow:
    """Makes a toy platform accept resizes and apply them only when told to."""

    def __init__(self, platform: Any) -> None:
        self.platform = platform
        self.pending = np.full(platform.amounts.shape, np.nan)
        platform.applies, platform.lists = self.accept, self.show

    def accept(self, actions: Sequence[Resize]) -> Iterator[Outcome]:
        for action in actions:
            row = self.platform.ids.index(action.workload)
            self.pending[row, RESOURCES.index(action.resource)] = action.target
            yield Outcome(action, OutcomeStatus.ACCEPTED, action.current)

    def show(self, part: FleetPart) -> FleetPart:
        busy = ~np.isnan(self.pending).all(axis=1)
        state = np.where(busy, InstanceState.RESIZING, InstanceState.RUNNING).astype(np.int8)
        table = dataclasses.replace(part.instances, pending=self.pending.copy(), state=state)
        return dataclasses.replace(part, instances=table)

    def finish(self) -> None:
        """All that was accepted is in force now."""
        done = ~np.isnan(self.pending)
        self.platform.amounts[done] = self.pending[done]
        self.pending[:] = np.nan


def test_what_was_accepted_is_planned_once(make_world: Make) -> None:
    world = make_world([[4.0, 85 * MIB]], [[1.0, 100 * MIB]], history=2)
    slow = Slow(world.platforms[0])
    assert len(world.tick().plan) == 1
    assert slow.pending[0, 0] == 1.5
    for _ in range(3):
        report = world.run()
        # It is held down as before, at the same amount: no second raise on top of the first.
        assert report.plan.instance.tolist() == []
    assert len(world.store.begun) == 1
    slow.finish()
    world.run()
    assert slow.pending[0, 0] >= 2.25


def test_a_node_is_not_promised_twice_while_it_is_under_way(make_world: Make) -> None:
    platform = {"capacity": [[3.2, np.nan]], "tier": [2, 0]}
    calm, hungry = [0.5, 85 * MIB], [4.0, 85 * MIB]
    wants = [hungry, calm]
    world = make_world(lambda _: wants, [[1.0, 100 * MIB]] * 2, platform=platform, history=2)
    slow = Slow(world.platforms[0])
    world.tick()
    assert slow.pending[:, 0].tolist()[0] == 1.5
    wants[:] = [hungry, hungry]
    total = []
    for _ in range(6):
        report = world.run()
        both = np.fmax(world.platforms[0].amounts[:, 0], slow.pending[:, 0])
        total.append(both.sum())
    assert max(total) <= 3.2 + 1e-9
    # The critical one came second: it gets what was left, and nothing that was accepted before.
    assert both.tolist() == pytest.approx([1.5, 1.7])
    slow.finish()
    report = world.run()
    assert len(report.plan) == 0
    assert [why for *_, why in report.plan.skips()].count(Skip.NODE_FULL) == 2


def test_a_shrink_under_way_is_called_off_on_a_surge(make_world: Make) -> None:
    wants = [[0.2, 85 * MIB]]
    world = make_world(lambda _: wants, [[4.0, 100 * MIB]], forecast=(0.2, 85 * MIB), history=3)
    slow = Slow(world.platforms[0])
    world.tick()
    assert slow.pending[0, 0] == 2.0
    wants[:] = [[3.5, 85 * MIB]]
    world.run()
    assert slow.pending[0, 0] >= 3.5


def test_several_platforms_amounts_under_way_come_together(
    make_world: Make, make_platform: Make
) -> None:
    world = make_world([[4.0, 85 * MIB]], [[1.0, 100 * MIB]], history=2)
    other = make_platform(world.clock, [[4.0, 85 * MIB]], [[1.0, 100 * MIB]], name="other")
    world.platforms.append(other)
    world.live(2)
    first, second = Slow(world.platforms[0]), Slow(other)
    world.tick()
    first.pending[0, 0], second.pending[0, 0] = 1.5, 1.6
    fleet = world.run().fleet
    assert fleet.instances.pending[:, 0].tolist() == [1.5, 1.6]
    assert np.isnan(fleet.instances.pending[:, 1]).all()
