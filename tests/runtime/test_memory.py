"""What outlives a process: calibration per model, seven-day peaks; and who may write it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pla.core.fleet import Floats
from pla.core.plan import Skip
from pla.runtime import Runtime
from pla.saved_state import PEAKS
from pla.sections import shipped_tiers
from pla.store import SqlStore

World = Any
Register = Any

pytestmark = pytest.mark.mlflow

LEARN_TICKS = 30


def forecast(runtime: Runtime) -> Floats:
    """The calibrated forecast that the next tick would act on."""
    return np.asarray(runtime.dry_run().forecast.peak, dtype=np.float64)


def learn(world: World, runtime: Runtime, ticks: int = LEARN_TICKS) -> Floats:
    for _ in range(ticks):
        world.tick(runtime)
    return forecast(runtime)


def blobs(world: World) -> dict[str, bytes | None]:
    with SqlStore(world.store_url, world.clock) as store:
        return {key: store.load_state(key) for key in (PEAKS, "champion", "calibration:1")}


@pytest.mark.parametrize("version", ["baseline", "1"])
def test_what_a_model_has_learnt_outlives_the_process(
    world: World, register: Register, version: str
) -> None:
    if version == "1":
        world.registry().promote(register(world), by="gate")
    runtime = world.open()
    untaught = forecast(runtime)
    learnt = learn(world, runtime)
    runtime.close()
    again = forecast(world.open("two"))
    np.testing.assert_allclose(again, learnt, rtol=1e-5)
    # A store without that memory forecasts otherwise: the comparison above can fail.
    world.store_url += ".other"
    assert not np.allclose(forecast(world.open("three")), learnt, rtol=1e-3)
    assert not np.allclose(untaught, learnt, rtol=1e-3)


def test_each_model_has_a_calibration_of_its_own(world: World, register: Register) -> None:
    registry = world.registry()
    first, second = register(world), register(world)
    registry.promote(first, by="gate")
    runtime = world.open()
    learn(world, runtime)
    registry.promote(second, by="gate")
    for _ in range(2):
        world.tick(runtime)
    assert runtime.model_version == second
    learn(world, runtime)
    runtime.close()
    with SqlStore(world.store_url, world.clock) as store:
        states = [store.load_state(f"calibration:{name}") for name in (first, second)]
    assert None not in states
    assert states[0] != states[1]
    second_says = forecast(world.open("two"))
    registry.promote(first, by="ada")
    third = world.open("three")
    assert third.model_version == first
    # The same boosters: what differs is what each was taught.
    assert not np.allclose(forecast(third), second_says, rtol=1e-3)


def test_only_the_leader_writes(world: World, register: Register) -> None:
    world.registry().promote(register(world), by="gate")
    leader, standby = world.open("leader"), world.open("standby")
    world.tick(leader)
    kept = blobs(world)
    assert None not in kept.values()
    for _ in range(3):
        report = world.tick(standby)
        assert not report.leader
    standby.dry_run()
    standby.close()
    assert blobs(world) == kept
    world.tick(leader)
    leader.close()
    assert blobs(world)[PEAKS] != kept[PEAKS]


def test_a_killed_leader_loses_ten_minutes_at_most(world: World, register: Register) -> None:
    world.registry().promote(register(world), by="gate")
    leader = world.open()
    world.tick(leader)
    saved = []
    for _ in range(6):  # of 300 s each
        world.tick(leader)
        saved.append(blobs(world)["calibration:1"])
    assert 2 <= len(set(saved)) <= 4


def test_peaks_find_their_resource_after_the_configuration_has_changed(world: World) -> None:
    runtime = world.open()
    world.tick(runtime)
    runtime.close()
    for resources in (("memory", "cpu"), ("memory",), ("cpu", "memory", "gpu")):
        changed = world.open("-".join(resources), resources=resources)
        report = world.tick(changed)
        assert report.errors == [], resources
        peaks = report.situation.stored_peak[:, resources.index("memory")]
        assert (peaks > 1e7).all(), "these are no bytes"
        changed.close()


@pytest.mark.parametrize("blob", [b"", b"\xff", b"[]", b"{}", b'{"end_s": 0}', b'{"end_s": "x"}'])
def test_peaks_that_nobody_can_read_cost_what_they_knew(world: World, blob: bytes) -> None:
    with SqlStore(world.store_url, world.clock) as store:
        store.save_state(PEAKS, blob)
        store.save_state("calibration:baseline:rolling-max-24h", blob)
    report = world.tick(world.open())
    assert report.errors == []
    assert report.applied > 0


def cooling(runtime: Runtime) -> int:
    """How many shrinks the next tick would leave out because of a change before."""
    return sum(skip is Skip.COOLDOWN for *_, skip in runtime.dry_run().plan.skips())


def test_changes_of_a_time_that_is_gone_delay_nothing(world: World) -> None:
    """A simulated cluster that is started anew begins at its own time again."""
    tiers = {
        name: tier.model_dump() | {"max_shrink_fraction": 0.1}
        for name, tier in shipped_tiers().items()
    }
    first = world.open(tiers=tiers)
    world.tick(first)  # which takes a tenth, and would take more
    assert cooling(first) > 0
    first.close()
    assert cooling(world.open("a successor", tiers=tiers)) > 0
    world.clock.wall_s -= 3600
    assert cooling(world.open("at a former time", tiers=tiers)) == 0
