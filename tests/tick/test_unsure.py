"""Changes whose fate nobody knows, another leader's changes, and a clock that is set back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pla.core.plan import Outcome, Resize

MIB = 2.0**20
STEP_S = 300

MakeWorld = Callable[..., Any]


def test_a_change_whose_answer_is_late_is_not_made_again_on_top(make_world: MakeWorld) -> None:
    world = make_world(
        [[0.1, 50 * MIB]],
        [[4.0, 100 * MIB]],
        forecast=(0.1, 50 * MIB),
        history=2,
        interval_s=60,
        stale_after_s=900.0,
    )
    toy = world.platforms[0]

    def silent(actions: Sequence[Resize]) -> Iterator[Outcome]:
        for action in actions:
            toy.resize(action)
            world.clock.elapsed_s += 1000  # past every deadline: the answer comes too late
            yield toy.resize(action)

    toy.applies = silent
    cores, errors = [], []
    for _ in range(4):
        errors += world.tick().errors
        cores.append(toy.amounts[0, 0])
        world.pass_s(60)
    assert errors == ["sim: the deadline had passed"]
    # One step of at most half, then the cooldown of 300 s; not half in every tick.
    assert cores == [2.0, 2.0, 2.0, 2.0]


def test_a_clock_that_is_set_back_makes_nobody_blind(make_world: MakeWorld) -> None:
    demand = [[0.2, 50 * MIB]]
    world = make_world(lambda _: demand, [[1.0, 200 * MIB]], history=12)
    world.run(6)
    toy, before_s = world.platforms[0], world.clock.wall_s
    world.clock.wall_s -= 4 * 3600
    toy.usage.clear()
    toy.kills.clear()
    demand[0] = [2.0, 400 * MIB]
    world.live()
    report = world.tick()
    assert any("the clock went back by" in words for words in report.errors)
    for _ in range(8):
        world.live()
        report = world.tick()
    assert world.clock.wall_s < before_s
    assert report.errors == []
    assert toy.amounts[0, 0] >= 2.0
    assert toy.amounts[0, 1] >= 400 * MIB
