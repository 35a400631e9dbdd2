"""Two runtimes on one store: one acts, the other plans; and room for a deploy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pla import snapshot
from pla.ports import Override

World = Any

pytestmark = pytest.mark.mlflow


def test_one_leads_and_the_other_only_plans(world: World) -> None:
    leader, standby = world.open("leader"), world.open("standby")
    led = world.tick(leader)
    assert led.leader
    assert led.applied == len(led.plan) > 0
    on_record, in_force = len(world.decisions()), world.amounts()
    world.clock.wall_s += 6 * 3600  # other amounts are due by now
    planned = standby.tick()
    assert not planned.leader
    assert len(planned.plan) > 0
    assert planned.outcomes == []
    assert len(world.decisions()) == on_record
    np.testing.assert_array_equal(world.amounts(), in_force)
    acted = leader.tick()
    assert acted.applied > 0


def test_who_closes_gives_the_lease_up(world: World) -> None:
    first, second = world.open("first"), world.open("second")
    assert world.tick(first).leader
    assert not world.tick(second).leader
    first.close()
    report = world.tick(second)  # at once, though the lease lasts 300 s
    assert report.leader
    assert {decision.epoch for decision in world.decisions()} <= {1, 2}


def test_a_dry_run_takes_no_lease_and_leaves_no_trace(world: World) -> None:
    runtime = world.open("looks")
    world.clock.wall_s += 300
    assert len(runtime.dry_run().plan) > 0
    assert world.decisions() == []
    assert not (world.home / "snapshot.arrow").exists()
    runtime.close()
    assert world.tick(world.open("acts")).leader


def test_the_snapshot_says_what_the_tick_saw(world: World) -> None:
    report = world.tick(world.open())
    table = snapshot.read(world.home / "snapshot.arrow")
    assert table.schema.metadata[b"model_version"].decode() == report.model_version
    assert table.num_rows == int(report.fleet.workloads.support.sum())
    np.testing.assert_array_equal(
        table["target"].to_numpy().reshape(-1, 2), report.recommendation.target
    )
    assert [path.name for path in world.home.glob("*snapshot*")] == ["snapshot.arrow"]


# -- deploy --------------------------------------------------------------------------------

NAME = "sim://w03"


def test_a_deploy_gets_its_predecessors_peak_until_its_own_usage_is_known(world: World) -> None:
    runtime = world.open()
    report = runtime.deploy(NAME, "v2")
    row = report.fleet.workloads.ids.index(NAME)
    tier = report.fleet.tiers[int(report.fleet.workloads.tier[row])]
    wanted = report.situation.stored_peak[row] * (1 + tier.headroom)
    floors = world.overrides()
    assert [(o.workload, o.resource) for o in floors] == [(NAME, "cpu"), (NAME, "memory")]
    np.testing.assert_allclose([o.floor for o in floors], wanted, rtol=1e-6)
    assert {(o.by, o.fix, o.ceiling) for o in floors} == {("on-deploy", None, None)}
    assert all("version v2" in o.why for o in floors)
    assert (world.amounts()[row] >= wanted * 0.999).all()
    assert report.leader
    world.clock.wall_s += runtime.settings.policy.recent_peak_s
    assert world.overrides() == []


def test_a_deploy_of_nobody_is_refused(world: World) -> None:
    runtime = world.open()
    with pytest.raises(ValueError, match="deploy of 'sim://nobody': no platform lists such"):
        runtime.deploy("sim://nobody", "v2")
    assert world.overrides() == []


def test_a_deploy_does_not_lift_what_a_person_has_set(world: World) -> None:
    runtime = world.open()
    world.tick(runtime)
    mine = Override(NAME, "cpu", 0.5, None, None, world.clock.now_s() + 9e4, "incident", "ada")
    runtime.store.put_override(mine)
    report = runtime.deploy(NAME, "v2")
    kept, floor = world.overrides()
    assert kept == mine
    assert (floor.resource, floor.by) == ("memory", "on-deploy")
    assert f"{NAME} cpu: the override by ada (incident) stays" in report.errors[0]
    again = runtime.deploy(NAME, "v3")  # its own floors it does replace
    assert "version v3" in world.overrides()[1].why
    assert len(again.errors) == 1
