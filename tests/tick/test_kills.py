"""Where running into a hard cap kills, PLA is more careful than the tier's promise asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MIB = 1024.0**2
MakeWorld = Callable[..., Any]


def test_memory_keeps_the_peak_of_the_day_where_its_cap_kills(make_world: MakeWorld) -> None:
    busy: list[bool] = [True]
    world = make_world(
        lambda _: [[0.5, (300 if busy else 30) * MIB]], [[1.0, 400 * MIB]], history=12
    )
    world.tick()
    busy.clear()
    world.run(60)  # five hours of calm
    assert world.platforms[0].amounts[0, 1] >= 300 * MIB
