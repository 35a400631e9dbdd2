"""Partial data are lower bounds: a fall may be an instance that is missing, a rise is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from pla.core.fleet import UsageBlock

MIB = 2.0**20

MakeWorld = Callable[..., Any]


def without_the_busiest(block: UsageBlock) -> UsageBlock:
    values = block.values * np.float32(0.1)
    return replace(block, values=values, partial=True, warnings=("p:9090: store-2 is missing",))


def test_a_fall_in_partial_data_shrinks_nothing(make_world: MakeWorld) -> None:
    world = make_world([[3.0, 300 * MIB]], [[4.0, 400 * MIB]], history=12)
    world.run()
    before = world.platforms[0].amounts.copy()
    world.source.spoil = without_the_busiest
    for _ in range(30):
        report = world.run()
        assert report.errors == ["p:9090: store-2 is missing"]
    assert (world.platforms[0].amounts >= before).all()
    world.source.spoil = None
    assert world.run().errors == []


def test_a_rise_in_partial_data_counts(make_world: MakeWorld) -> None:
    needs = [0.5]
    world = make_world(lambda _: [[needs[0], 50 * MIB]], [[4.0, 400 * MIB]], history=12)
    world.run(3)
    needs[0] = 3.9
    world.source.spoil = lambda block: replace(block, partial=True)
    before = world.platforms[0].amounts[0, 0]
    world.run(3)
    # What is throttled shows its cap: it grows by half again and again.
    assert world.platforms[0].amounts[0, 0] > 3 * before
