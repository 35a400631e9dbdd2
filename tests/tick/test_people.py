"""What people want comes first: modes, pauses, overrides, and the one leader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pla.core.fleet import Mode
from pla.core.plan import Reason
from pla.ports import Override, StoreError

MIB = 2.0**20
SMALL = [[1.0, 100 * MIB]]
HUNGRY = [[4.0, 85 * MIB]]

Make = Callable[..., Any]


def cpu(world: Any) -> list[float]:
    amounts: list[float] = world.platforms[0].amounts[:, 0].tolist()
    return amounts


def override(world: Any, **amounts: float) -> Override:
    wanted = {"fix": None, "floor": None, "ceiling": None} | amounts
    until_s = world.clock.now_s() + 3600
    return Override("sim://sim-0", "cpu", until_s=until_s, why="sale", by="ann", **wanted)


# -- modes and pauses ----------------------------------------------------------------------


def test_observe_recommends_and_touches_nothing(make_world: Make) -> None:
    world = make_world(HUNGRY, SMALL, platform={"mode": Mode.OBSERVE}, history=2)
    report = world.tick()
    assert report.recommendation.target[0, 0] == 1.5
    assert cpu(world) == [1.0]
    assert world.store.begun == []


def test_changing_the_mode_stops_it_within_one_tick(make_world: Make) -> None:
    world = make_world(HUNGRY, SMALL, history=2)
    world.tick()
    world.platforms[0].mode = Mode.OBSERVE
    world.run(3)
    assert cpu(world) == [1.5]


def test_a_paused_workload_is_left_alone(make_world: Make) -> None:
    world = make_world(HUNGRY * 2, SMALL * 2, platform={"paused": [True, False]}, history=2)
    world.tick()
    assert cpu(world) == [1.0, 1.5]


def test_a_global_pause_stops_actuation_within_one_tick(make_world: Make) -> None:
    world = make_world(HUNGRY, SMALL, history=2)
    world.store.is_paused = True
    names: list[str] = []

    def note(name: str, work: Callable[[], Any]) -> Any:
        names.append(name)
        return work()

    report = world.tick(step=note)
    assert report.paused
    assert len(report.plan) == 1
    assert "actuate" not in names
    assert cpu(world) == [1.0]
    world.store.is_paused = False
    world.run()
    assert cpu(world) == [1.5]


def test_a_store_that_cannot_be_read_counts_as_paused(make_world: Make) -> None:
    world = make_world(HUNGRY, SMALL, history=2)
    world.store.broken = StoreError("store.db: disk I/O error; check the disk")
    report = world.tick()
    assert report.paused
    assert report.errors == [
        "nothing is changed while overrides and pauses are unknown: "
        "store.db: disk I/O error; check the disk"
    ]
    assert cpu(world) == [1.0]


def test_a_standby_plans_and_changes_nothing(make_world: Make) -> None:
    world = make_world(HUNGRY, SMALL, history=2)
    report = world.tick(leader=False)
    assert not report.leader
    assert len(report.plan) == 1
    assert cpu(world) == [1.0]
    assert world.store.begun == []


# -- overrides -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "reached"), [({"fix": 2.5}, 2.5), ({"floor": 3.0}, 3.0), ({"ceiling": 1.2}, 1.2)]
)
def test_an_override_is_in_force_in_the_next_tick(
    make_world: Make, wanted: dict[str, float], reached: float
) -> None:
    world = make_world(HUNGRY, SMALL, history=2)
    world.store.wanted = [override(world, **wanted)]
    report = world.tick()
    assert cpu(world) == [reached]
    assert report.recommendation.reason[0, 0] & Reason.OVERRIDE
    assert "an override set by a person" in world.store.begun[0].reason


def test_a_fix_a_little_below_what_it_has_is_in_force_in_the_next_tick(make_world: Make) -> None:
    """The deadband is against noise in forecasts: a person is none."""
    world = make_world([[0.85, 50 * MIB]], SMALL, history=2)
    world.store.wanted = [override(world, fix=0.95)]
    world.tick()
    assert cpu(world) == [0.95]
    # In the middle of the cooldown that follows from that.
    world.store.wanted = [override(world, fix=0.9)]
    world.run()
    assert cpu(world) == [0.9]


def test_a_maximum_a_little_below_what_it_has_is_in_force_in_the_next_tick(
    make_world: Make,
) -> None:
    world = make_world(HUNGRY, SMALL, platform={"maximum": [[0.9, float("nan")]]}, history=2)
    world.tick()
    assert cpu(world) == [0.9]


def test_an_override_ends_at_its_time(make_world: Make) -> None:
    world = make_world(HUNGRY, SMALL, history=2)
    world.store.wanted = [override(world, ceiling=1.0)]
    world.run(3)
    assert cpu(world) == [1.0]
    world.run(12)
    assert cpu(world)[0] >= 4.0


def test_an_override_of_one_resource_leaves_the_other(make_world: Make) -> None:
    world = make_world([[4.0, 99 * MIB]], SMALL, history=2)
    world.store.wanted = [override(world, fix=1.0)]
    world.tick()
    assert cpu(world) == [1.0]
    assert world.platforms[0].amounts[0, 1] > 100 * MIB


def test_an_override_of_something_that_is_not_there_is_no_matter(make_world: Make) -> None:
    world = make_world(HUNGRY, SMALL, history=2)
    until_s = world.clock.now_s() + 3600
    world.store.wanted = [
        Override("sim://gone", "cpu", 1.0, None, None, until_s, "", "ann"),
        Override("sim://sim-0", "gpu", 1.0, None, None, until_s, "", "ann"),
    ]
    report = world.tick()
    assert report.errors == []
    assert cpu(world) == [1.5]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_an_override_that_is_no_amount_is_reported_and_ignored(
    make_world: Make, value: float
) -> None:
    world = make_world(HUNGRY, SMALL, history=2)
    world.store.wanted = [override(world, fix=value)]
    report = world.tick()
    (error,) = report.errors
    assert error == f"override of sim://sim-0 cpu by ann: {value} is no amount; set it anew"
    assert cpu(world) == [1.5]


def test_an_override_of_zero_is_an_amount(make_world: Make) -> None:
    world = make_world([[0.1, 50 * MIB]], SMALL, history=2)
    world.store.wanted = [override(world, ceiling=0.0)]
    report = world.tick()
    assert report.recommendation.target[0, 0] == 0.01
