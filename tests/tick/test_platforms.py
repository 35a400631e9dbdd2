"""Several platforms, some of them down, defective, new or gone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pla.ports import ActuatorError, FleetPart

MIB = 2.0**20
SMALL = [[1.0, 100 * MIB]]
HUNGRY = [[4.0, 85 * MIB]]

Make = Callable[..., Any]


def fail(error: Exception) -> Callable[[FleetPart], FleetPart]:
    def lists(part: FleetPart) -> FleetPart:
        raise error

    return lists


def test_actions_go_to_the_platform_that_owns_the_workload(
    make_world: Make, make_platform: Make
) -> None:
    world = make_world(HUNGRY, SMALL)
    other = make_platform(world.clock, HUNGRY, [[2.0, 100 * MIB]], scheme="kvm", name="host")
    world.platforms.append(other)
    world.live(2)
    report = world.tick()
    assert world.platforms[0].done == [("sim://sim-0", "cpu", 1.5)]
    assert other.done == [("kvm://host-0", "cpu", 3.0)]
    assert report.applied == 2


def test_two_platforms_of_one_scheme_are_two_platforms(
    make_world: Make, make_platform: Make
) -> None:
    world = make_world(HUNGRY, SMALL, platform={"scheme": "k8s", "name": "a"})
    other = make_platform(world.clock, HUNGRY, [[2.0, 100 * MIB]], scheme="k8s", name="b")
    world.platforms.append(other)
    world.live(2)
    world.tick()
    assert (world.platforms[0].amounts[0, 0], other.amounts[0, 0]) == (1.5, 3.0)
    world.platforms[0].lists = fail(ActuatorError("cluster a is down; check it"))
    world.live()
    report = world.tick()
    # Cluster a keeps its own last list, not that of cluster b.
    assert [name for name, _ in zip(report.fleet.workloads.ids, "ab", strict=True)] == [
        "k8s://a-0",
        "k8s://b-0",
    ]
    assert report.fleet.workload_current()[:, 0].tolist() == [1.0, 3.0]
    assert (world.platforms[0].amounts[0, 0], other.amounts[0, 0]) == (
        1.5,
        pytest.approx(4.5, abs=0.5),
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ActuatorError("host-7 is down; check it"), "sim: host-7 is down; check it"),
        (KeyError("spec"), "sim: KeyError: 'spec'"),
    ],
)
def test_a_platform_that_does_not_answer_is_held_and_stops_no_other(
    make_world: Make, make_platform: Make, error: Exception, words: str
) -> None:
    world = make_world(HUNGRY, SMALL)
    other = make_platform(world.clock, HUNGRY, SMALL, scheme="kvm", name="host")
    world.platforms.append(other)
    world.live(2)
    world.tick()
    before = world.platforms[0].amounts.copy()
    world.platforms[0].lists = fail(error)
    report = world.run()
    assert report.errors == [words]
    assert len(report.fleet.workloads) == 2
    np.testing.assert_array_equal(world.platforms[0].amounts, before)
    assert other.amounts[0, 0] > 1.5


def test_a_platform_that_never_answered_is_not_there(make_world: Make, make_platform: Make) -> None:
    world = make_world(HUNGRY, SMALL, platform={"lists": fail(ActuatorError("down; check it"))})
    other = make_platform(world.clock, HUNGRY, SMALL, scheme="kvm", name="host")
    world.platforms.append(other)
    world.live(2)
    report = world.tick()
    assert report.fleet.workloads.ids == ("kvm://host-0",)
    assert other.amounts[0, 0] == 1.5


def test_no_platform_at_all_is_an_empty_tick(make_world: Make) -> None:
    world = make_world(HUNGRY, SMALL, platform={"lists": fail(ActuatorError("down; check it"))})
    report = world.run()
    assert report.errors == ["sim: down; check it"]
    assert len(report.fleet.workloads) == len(report.plan) == 0
    world.platforms[0].lists = None
    assert world.run().applied == 1


def short(part: FleetPart) -> FleetPart:
    instances = dataclasses.replace(part.instances, current=np.ones((5, 2)))
    return dataclasses.replace(part, instances=instances)


def off(part: FleetPart) -> FleetPart:
    instances = dataclasses.replace(part.instances, workload=np.array([9], dtype=np.int32))
    return dataclasses.replace(part, instances=instances)


def unknown_tier(part: FleetPart) -> FleetPart:
    workloads = dataclasses.replace(part.workloads, tier=np.array([7], dtype=np.int8))
    return dataclasses.replace(part, workloads=workloads)


@pytest.mark.parametrize("lists", [short, off, unknown_tier])
def test_tables_that_make_no_sense_are_not_used_and_stop_no_other(
    make_world: Make, make_platform: Make, lists: Callable[[FleetPart], FleetPart]
) -> None:
    world = make_world(HUNGRY, SMALL)
    other = make_platform(world.clock, HUNGRY, SMALL, scheme="kvm", name="host")
    world.platforms.append(other)
    world.live(2)
    world.platforms[0].lists = lists
    report = world.tick()
    (error,) = report.errors
    assert error.startswith("sim: ValueError: fleet: ")
    assert other.amounts[0, 0] == 1.5


def test_what_a_platform_cannot_resize_is_only_recommended(make_world: Make) -> None:
    only_memory = {"supports": frozenset({"memory"})}
    world = make_world([[4.0, 99 * MIB]], SMALL, platform=only_memory, history=2)
    report = world.tick()
    assert {resource for _, resource, _ in world.platforms[0].done} == {"memory"}
    assert report.recommendation.target[0, 0] == 1.5


def test_memory_follows_a_workload_through_a_changing_fleet(
    make_world: Make, make_platform: Make
) -> None:
    world = make_world([[0.5, 50 * MIB]], [[4.0, 400 * MIB]], history=6)
    world.tick()
    peak, changed = world.state.stored_peak().copy(), world.state.changed_s.copy()
    world.platforms.insert(
        0, make_platform(world.clock, HUNGRY * 2, SMALL * 2, scheme="kvm", name="host")
    )
    world.run()
    assert world.state.ids == ("kvm://host-0", "kvm://host-1", "sim://sim-0")
    np.testing.assert_array_equal(world.state.window.peak(168).T[2], peak[0])
    assert (world.state.changed_s[2] >= changed[0]).all()
    assert np.isfinite(world.state.window.lag(3).T[2]).all()
    del world.platforms[0]
    world.run()
    assert world.state.ids == ("sim://sim-0",)
    assert np.isfinite(world.state.window.lag(4)).all()
