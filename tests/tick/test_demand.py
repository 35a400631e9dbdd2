"""Demand is not usage: held-down workloads, surges and kills, on a toy platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pla.core.plan import Reason
from pla.ports import Override

MIB = 2.0**20
STEP_S = 300

MakeWorld = Callable[..., Any]


def amounts(world: Any) -> Any:
    return world.platforms[0].amounts


# -- demand is not usage -------------------------------------------------------------------


@pytest.mark.parametrize("forecast", [None, (0.1, 10 * MIB)])
@pytest.mark.parametrize("share", [0.5, 0.25])
def test_a_starved_workload_reaches_its_full_size_within_a_few_ticks(
    make_world: MakeWorld, forecast: Any, share: float
) -> None:
    need = np.array([[4.0, 400 * MIB], [1.0, 80 * MIB]])
    world = make_world(need, need * share, forecast=forecast, history=12)
    ticks = 0
    while (amounts(world) < need).any():
        world.run()
        ticks += 1
    assert ticks <= (2 if share == 0.5 else 4)
    report = world.run(3)
    # It has what it needs and does not count as held down any more.
    assert not report.situation.censored.any()
    assert not report.situation.killed[:, 1].any()
    if forecast is None:
        assert (amounts(world) <= 2.0 * need).all()


def test_a_starving_period_is_on_record_as_held_down(make_world: MakeWorld) -> None:
    world = make_world([[4.0, 50 * MIB]], [[1.0, 100 * MIB]], history=2)
    world.run(6)
    held = world.state.window.recent_censored(6)[:, 0, 0]
    # Steps at 1, 1.5, 2.25 and 3.4 cores; re-reading them later does not make them plain usage.
    assert held[:3].all()
    assert not held[-1]


def test_a_held_down_step_raises_once_however_often_one_ticks(make_world: MakeWorld) -> None:
    world = make_world([[9.0, 50 * MIB]], [[1.0, 100 * MIB]], interval_s=10, history=2)
    world.tick()
    assert amounts(world)[0, 0] == 1.5
    for _ in range(20):
        world.pass_s(10)
        # Nor is it taken back before a step has shown whether it is enough.
        assert world.tick().recommendation.target[0, 0] == 1.5
    assert amounts(world)[0, 0] == 1.5
    world.clock.wall_s = np.ceil(world.clock.wall_s / STEP_S) * STEP_S - STEP_S
    world.run()
    assert 2.25 <= amounts(world)[0, 0] < 3.0


def test_a_step_before_a_shrink_is_not_held_down_by_what_is_left(make_world: MakeWorld) -> None:
    world = make_world([[0.5, 85 * MIB]], [[0.7, 100 * MIB]], interval_s=10, history=2)
    until_s = world.clock.now_s() + 3600
    world.store.wanted = [Override("sim://sim-0", "cpu", 0.5, None, None, until_s, "", "ann")]
    world.tick()
    assert amounts(world)[0, 0] == 0.5
    world.pass_s(10)
    world.tick()
    assert not world.state.window.recent_censored(2).any()


def test_a_held_down_step_raises_once_while_the_source_is_down(
    make_world: MakeWorld, source_error: Exception
) -> None:
    world = make_world([[9.0, 50 * MIB]], [[1.0, 100 * MIB]], history=2)
    world.tick()
    world.source.broken = source_error
    world.run(2)
    assert amounts(world)[0, 0] == 1.5


def test_what_cannot_be_raised_yet_is_not_counted_twice(make_world: MakeWorld) -> None:
    world = make_world([[9.0, 50 * MIB]], [[1.0, 100 * MIB]], platform={"mode": 0}, history=2)
    targets = [float(world.run().recommendation.target[0, 0]) for _ in range(4)]
    assert targets == [1.5] * 4


def test_usage_above_a_request_that_is_no_cap_is_not_held_down(make_world: MakeWorld) -> None:
    world = make_world([[0.99, 50 * MIB]], [[1.0, 100 * MIB]], platform={"tier": 0}, history=2)
    report = world.tick()  # critical: CPU requests only
    assert not report.situation.censored[0, 0]


# -- surges and kills ----------------------------------------------------------------------


def test_a_surge_acts_in_the_same_tick(make_world: MakeWorld) -> None:
    loud: list[bool] = []
    world = make_world(
        lambda _: [[1.8 if loud else 0.5, 50 * MIB]],
        [[2.0, 100 * MIB]],
        forecast=(1.65, 50 * MIB),
        history=2,
    )
    world.run()
    loud.append(True)
    report = world.run()
    assert amounts(world)[0, 0] == pytest.approx(1.8 * 1.2)
    assert report.recommendation.reason[0, 0] & Reason.REACTIVE


def test_a_surge_is_one_in_every_tick_until_the_next_step(make_world: MakeWorld) -> None:
    loud: list[bool] = []
    world = make_world(
        lambda _: [[1.8 if loud else 1.0, 50 * MIB]], [[3.0, 100 * MIB]], interval_s=10, history=6
    )
    world.tick()
    loud.append(True)
    world.live()
    first = world.tick()
    assert first.situation.usage[0, 0] > first.situation.band[0, 0]
    for _ in range(3):
        world.pass_s(10)
        np.testing.assert_array_equal(world.tick().situation.band, first.situation.band)
    world.pass_s(-30)
    assert world.run().situation.band[0, 0] > first.situation.band[0, 0]


def test_an_out_of_memory_kill_raises_in_the_same_tick_and_once(make_world: MakeWorld) -> None:
    hungry: list[bool] = []
    world = make_world(
        lambda _: [[0.9, (130 if hungry else 90) * MIB]], [[1.0, 100 * MIB]], history=12
    )
    world.tick()
    hungry.append(True)
    report = world.run()
    assert amounts(world)[0, 1] == 150 * MIB
    assert report.recommendation.reason[0, 1] & Reason.OOM_KILL
    assert "killed for lack of memory" in world.store.begun[-1].reason
    report = world.run(6)
    assert amounts(world)[0, 1] >= 130 * 1.1 * MIB
    assert amounts(world)[0, 1] < 225 * MIB
    assert not report.situation.killed[0, 1]


def test_a_kill_that_could_not_be_answered_is_still_news_in_the_next_tick(
    make_world: MakeWorld,
) -> None:
    world = make_world([[0.9, 130 * MIB]], [[1.0, 100 * MIB]], platform={"mode": 0}, history=1)
    assert world.run().recommendation.target[0, 1] == 150 * MIB
    world.platforms[0].demand = lambda _: [[0.9, 10 * MIB]]
    world.run(3)
    world.platforms[0].mode = 2
    world.run()
    assert amounts(world)[0, 1] == 150 * MIB


def test_a_kill_whose_samples_are_missing_raises_all_the_same(make_world: MakeWorld) -> None:
    world = make_world([[0.1, 130 * MIB]], [[1.0, 200 * MIB]], history=6)
    world.tick()
    amounts(world)[:] = [[1.0, 100 * MIB]]  # someone made it smaller

    def blank(block: Any) -> Any:
        block.values[-4:] = np.nan
        return block

    world.source.spoil = blank
    world.live()
    world.tick()
    assert amounts(world)[0, 1] == 150 * MIB


def test_a_kill_of_yesterday_is_no_news_after_a_restart(make_world: MakeWorld) -> None:
    hungry: list[bool] = [True]
    world = make_world(
        lambda _: [[0.1, (130 if hungry else 50) * MIB]], [[1.0, 100 * MIB]], history=1
    )
    world.run()
    hungry.clear()
    world.run(20)
    grown = amounts(world)[0, 1]
    world.restart()
    world.run()
    assert amounts(world)[0, 1] <= grown


def test_a_kill_that_was_answered_is_not_answered_again_by_a_new_process(
    make_world: MakeWorld,
) -> None:
    world = make_world([[0.1, 130 * MIB]], [[1.0, 100 * MIB]], history=1)
    world.run()
    assert amounts(world)[0, 1] == 150 * MIB
    changed = {(d.instance, d.resource): d.at_s for d in world.store.begun}
    world.restart()
    world.state.remembered = changed
    world.pass_s(10)
    world.tick()
    assert amounts(world)[0, 1] == 150 * MIB
