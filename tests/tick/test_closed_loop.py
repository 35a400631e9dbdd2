"""Whole cycles on a toy platform: contention, restarts, a random day."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pla.core.plan import Outcome, Resize, Skip
from pla.ports import ActuatorError, Lease

MIB = 2.0**20
STEP_S = 300

MakeWorld = Callable[..., Any]


def amounts(world: Any) -> Any:
    return world.platforms[0].amounts


# -- the seven steps -----------------------------------------------------------------------


def test_a_tick_is_seven_steps_in_order(make_world: MakeWorld) -> None:
    names: list[str] = []

    def note(name: str, work: Callable[[], Any]) -> Any:
        names.append(name)
        return work()

    world = make_world([[0.5, 50 * MIB]], [[1.0, 100 * MIB]], history=2)
    world.tick(step=note)
    assert names == [
        "observe", "collect", "featurise", "forecast", "recommend", "plan", "actuate",
    ]  # fmt: skip


def test_a_tick_with_nothing_to_do_writes_nothing(make_world: MakeWorld) -> None:
    world = make_world([[0.9, 80 * MIB]], [[1.0, 100 * MIB]], history=12)
    report = world.tick()
    assert len(report.plan) == 0
    assert report.outcomes == []
    assert world.store.begun == []
    assert report.errors == []


def test_ticking_again_right_away_changes_nothing(make_world: MakeWorld) -> None:
    world = make_world([[4.0, 400 * MIB], [0.1, 20 * MIB]], [[1.0, 500 * MIB]] * 2, history=3)
    assert world.tick().applied > 0
    before = amounts(world).copy()
    assert len(world.tick().plan) == 0
    np.testing.assert_array_equal(amounts(world), before)


def test_a_report_explains_every_decision(make_world: MakeWorld) -> None:
    world = make_world([[4.0, 50 * MIB]], [[1.0, 100 * MIB]], history=3)
    report = world.tick()
    assert report.leader
    assert report.cutoff_s == world.clock.now_s()
    (decision,) = [d for d in world.store.begun if d.resource == "cpu"]
    assert "usage was held down by the limit" in decision.reason
    assert decision.model_version == report.model_version == "baseline:rolling-max-1h"
    assert set(world.store.settled.values()) == {"applied"}


# -- contention and restarts ---------------------------------------------------------------


def test_a_short_node_serves_the_higher_tier_and_says_who_lacks(make_world: MakeWorld) -> None:
    world = make_world(
        [[4.0, 50 * MIB]] * 2,
        [[1.0, 100 * MIB]] * 2,
        platform={"tier": [2, 1], "capacity": [[2.4, 1000 * MIB]]},
        history=3,
    )
    report = world.tick()
    assert amounts(world)[:, 0].tolist() == pytest.approx([1.0, 1.4])
    assert (0, 0, Skip.NODE_FULL) in [(i, r, why) for i, r, _, why in report.plan.skips()]
    assert report.plan.unmet[0, 0] > 0


def test_after_a_crash_between_two_actions_the_next_tick_does_the_rest(
    make_world: MakeWorld,
) -> None:
    world = make_world([[4.0, 50 * MIB]] * 3, [[1.0, 100 * MIB]] * 3, history=3)
    toy = world.platforms[0]

    def crash(actions: Sequence[Resize]) -> Iterator[Outcome]:
        yield toy.resize(actions[0])
        raise SystemError("power cut")

    toy.applies = crash
    report = world.tick()
    assert [o.status.value for o in report.outcomes][:2] == ["applied", "failed"]
    toy.applies = None
    world.restart()
    world.pass_s(5)
    world.tick()
    # The first one's held-down step came before its change, which a new process has to be told.
    assert amounts(world)[1:, 0].tolist() == [1.5, 1.5]
    assert len({name for name, _, _ in toy.done}) == 3


def test_a_platform_that_refuses_is_asked_again_and_starts_no_cooldown(
    make_world: MakeWorld,
) -> None:
    world = make_world([[0.1, 50 * MIB]], [[4.0, 100 * MIB]], forecast=(0.1, 50 * MIB), history=2)
    toy = world.platforms[0]

    def down(actions: Sequence[Resize]) -> Iterator[Outcome]:
        raise ActuatorError("host is down; check it")

    toy.applies = down
    report = world.tick()
    assert report.errors == ["sim: host is down; check it"]
    assert np.isneginf(world.state.changed_s).all()
    toy.applies = None
    world.run()
    assert amounts(world)[0, 0] == 2.0  # half, the most that the tier takes back at once


def test_cooldowns_outlive_a_restart(make_world: MakeWorld) -> None:
    world = make_world([[0.1, 50 * MIB]], [[4.0, 100 * MIB]], forecast=(0.1, 50 * MIB), history=2)
    world.restart()
    cooldown_s = world.settings.tiers["standard"].cooldown_s
    changed_s = world.clock.now_s() + 5 - cooldown_s
    world.state.remembered = {("sim://sim-0/0", "cpu"): changed_s}
    world.tick()
    assert amounts(world)[0, 0] == 4.0
    world.pass_s(5)
    world.tick()
    assert amounts(world)[0, 0] == 2.0


def test_without_the_lease_in_time_nothing_is_changed(make_world: MakeWorld) -> None:
    world = make_world([[4.0, 50 * MIB]], [[1.0, 100 * MIB]], history=3)
    world.lease = Lease("me", 1, expires_s=world.clock.monotonic_s() - 1)
    report = world.tick()
    assert len(report.plan) > 0
    assert report.applied == 0
    assert world.platforms[0].done == []


# -- always --------------------------------------------------------------------------------


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1))
def test_over_a_random_day_nothing_breaks_the_rules(make_world: MakeWorld, seed: int) -> None:
    random = np.random.default_rng(seed)
    workloads = 6
    base = random.uniform(0.2, 2.0, (workloads, 1)) * np.array([1.0, 100 * MIB])

    def demand(end_s: int) -> Any:
        hour = np.random.default_rng((seed, end_s // 3600))
        step = np.random.default_rng((seed, end_s))
        level = hour.choice([0.1, 0.5, 1.0, 2.0], (workloads, 1))
        return base * level * step.uniform(0.7, 1.3, (workloads, 2))

    capacity = [[14.0, 1500 * MIB]]
    tier = random.integers(0, 3, workloads)
    world = make_world(demand, base * 0.5, platform={"capacity": capacity, "tier": tier})
    recent = int(world.settings.policy.recent_peak_s) // STEP_S
    for _ in range(48):
        before = amounts(world).copy()
        report = world.run()
        after = amounts(world)
        assert report.errors == []
        assert (after.sum(axis=0) <= np.array(capacity[0]) * (1 + 1e-9)).all()
        shrunk = after < before
        assert not (shrunk & report.situation.censored).any()
        peak = world.state.window.recent_max(recent).T
        assert (after[:, 1] >= peak[:, 1] - 1)[shrunk[:, 1]].all()
        assert (after[shrunk] < 0.8 * before[shrunk]).all()
        assert len(world.tick().plan) == 0
