from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import actuators
from actuators.simulator import (
    ManualClock,
    SimulatedCluster,
    SimulatorActuator,
    SimulatorSource,
)
from actuators.simulator.dispatch import PORTION
from pla.core.fleet import Fleet, InstanceState, Mode, Tier
from pla.core.plan import Resize
from pla.ports import ActuatorError, SourceError

STEP_S = 300
START_S = 1_760_313_600
MIB = 1024.0**2

Build = Callable[..., SimulatedCluster]
FOREVER = float("inf")


def tier(name: str, mode: Mode = Mode.ENFORCE) -> Tier:
    return Tier(name, 1, 0.99, 0.1, 0.0, 0.5, mode)


@pytest.fixture
def cluster(build_cluster: Build) -> SimulatedCluster:
    used = {"cpu": [[0.5, 0.2], [0.6, 0.3], [2.0, 0.4]], "memory": [[60 * MIB] * 2] * 3}
    request = {"cpu": [1.0, 0.5], "memory": [100 * MIB] * 2}
    return build_cluster(
        used,
        request,
        replicas=2,
        nodes=2,
        node_capacity={"cpu": 4.0},
        tiers=("burstable", "critical"),
        lead_s=2.0,
    )


def test_the_list_is_a_fleet(cluster: SimulatedCluster) -> None:
    tiers = (tier("critical", Mode.OBSERVE), tier("standard"), tier("burstable", Mode.CANARY))
    part = SimulatorActuator(cluster, tiers=tiers).list(("memory", "gpu", "cpu"))
    fleet = Fleet(("memory", "gpu", "cpu"), tiers, part.workloads, part.instances, part.nodes)
    assert part.workloads.ids == ("sim://w0", "sim://w1")
    assert part.instances.ids == ("w0-0", "w0-1", "w1-0", "w1-1")
    assert part.workloads.tier.tolist() == [2, 0]
    assert part.workloads.mode.tolist() == [Mode.CANARY, Mode.OBSERVE]
    assert part.workloads.support.tolist() == [[True, False, True]] * 2
    np.testing.assert_array_equal(
        fleet.workload_current(), [[100 * MIB, np.nan, 1.0], [100 * MIB, np.nan, 0.5]]
    )
    np.testing.assert_array_equal(part.nodes.capacity, [[np.nan, np.nan, 4.0]] * 2)


def test_an_unchanged_fleet_is_listed_without_making_it_anew(cluster: SimulatedCluster) -> None:
    actuator = SimulatorActuator(cluster)
    first, second = actuator.list(("cpu",)), actuator.list(("cpu",))
    assert first.workloads is second.workloads
    assert first.instances.ids is second.instances.ids
    assert first.instances.version is second.instances.version
    with pytest.raises(ValueError, match="read-only"):
        second.workloads.tier[0] = 1


def test_state_and_version_follow_a_resize(cluster: SimulatedCluster) -> None:
    clock = ManualClock(START_S)
    actuator = SimulatorActuator(cluster, clock)
    version = actuator.list(("cpu",)).instances.version[2]
    action = Resize("w1-0", "sim://w1", "cpu", 0.5, 0.7, 0, version)
    assert [o.status.name for o in actuator.apply([action], FOREVER)] == ["ACCEPTED"]
    under_way = actuator.list(("cpu",)).instances
    assert under_way.state.tolist() == [0, 0, InstanceState.RESIZING, 0]
    assert under_way.version[2] != version and under_way.current[2, 0] == 0.5
    clock.move_to(START_S + 2)
    done = actuator.list(("cpu",)).instances
    assert done.state.tolist() == [0, 0, 0, 0] and done.current[2, 0] == pytest.approx(0.7)
    assert [o.status.name for o in actuator.restore(None)] == ["ACCEPTED"]


def test_an_unknown_tier_is_named(cluster: SimulatedCluster) -> None:
    with pytest.raises(ActuatorError, match=r"sim://w0.*'burstable'.*configured are gold"):
        SimulatorActuator(cluster, tiers=(tier("gold"), tier("critical")))


def test_a_plan_of_several_portions_meets_its_own_versions_only(build_cluster: Build) -> None:
    count = PORTION // 2 + 100
    cluster = build_cluster(
        {"cpu": [[0.1] * count] * 2, "memory": [[20 * MIB] * count] * 2},
        {"cpu": [1.0] * count, "memory": [100 * MIB] * count},
    )
    actuator = SimulatorActuator(cluster)
    part = actuator.list(("cpu", "memory"))
    plan = [
        Resize(instance, "", resource, 0.0, target, 0, version)
        for resource, target in (("cpu", 0.5), ("memory", 200 * MIB))
        for instance, version in zip(part.instances.ids, part.instances.version, strict=True)
    ]
    outcomes = list(actuator.apply(plan, FOREVER))
    assert {o.status.name for o in outcomes} == {"APPLIED"}
    assert [o.action for o in outcomes] == plan
    # Somebody else's change in between is met as a conflict.
    cluster.resize([Resize("w5-0", "", "cpu", 0.0, 0.9, 0)])
    stale = actuator.apply([Resize("w5-0", "", "cpu", 0.5, 0.4, 0, plan[5].version)], FOREVER)
    assert [o.status.name for o in stale] == ["CONFLICT"]


def test_somebody_elses_change_that_happens_to_be_ours_too_renews_nothing(
    build_cluster: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actuators.simulator.dispatch.PORTION", 1)
    cluster = build_cluster(
        {"cpu": [[0.1]] * 2, "memory": [[20 * MIB]] * 2}, {"cpu": [1.0], "memory": [100 * MIB]}
    )
    cluster.resize([Resize("w0-0", "", "cpu", 1.0, 0.5, 0)])
    stale = [
        Resize("w0-0", "", "cpu", 1.0, 0.5, 0, "0"),
        Resize("w0-0", "", "memory", 100 * MIB, 50 * MIB, 0, "0"),
    ]
    outcomes = SimulatorActuator(cluster).apply(stale, FOREVER)
    assert [o.status.name for o in outcomes] == ["APPLIED", "CONFLICT"]


def test_after_the_deadline_nothing_is_done(cluster: SimulatedCluster) -> None:
    actuator = SimulatorActuator(cluster)
    before = cluster.current()
    outcomes = list(actuator.apply([Resize("w0-0", "", "cpu", 1.0, 2.0, 0)], deadline_s=0.0))
    assert outcomes[0].status.name == "FAILED" and "deadline" in outcomes[0].message
    np.testing.assert_array_equal(cluster.current(), before)


def test_usage_is_the_record_before_the_start_and_what_was_used_after_it(
    cluster: SimulatedCluster,
) -> None:
    clock = ManualClock(START_S + 2 * STEP_S)
    source = SimulatorSource(cluster, clock)
    asked = ("sim://w1", "sim://nobody", "sim://w0")
    block = source.read(asked, ("memory", "cpu"), START_S - STEP_S, START_S + 900, STEP_S)
    assert (block.end_s, block.steps) == (START_S + 2 * STEP_S, 3)  # the newest is not closed
    cpu = block.values[:, 1]
    np.testing.assert_array_equal(cpu[0], np.array([0.2, np.nan, 0.5], dtype=np.float32))
    np.testing.assert_allclose(cpu[1:, 2], [0.6, 1.0])
    assert block.censored[:, 1, 2].tolist() == [False, False, True]
    assert not block.killed.any()
    whole = source.read(cluster.workload_ids, ("cpu", "memory"), START_S, START_S + 600, STEP_S)
    np.testing.assert_array_equal(whole.values[:, 0, 0], cpu[1:, 2])


def test_nothing_closed_yet_is_an_empty_block(cluster: SimulatedCluster) -> None:
    block = SimulatorSource(cluster).read(
        cluster.workload_ids, ("cpu",), START_S, START_S + STEP_S, STEP_S
    )
    assert (block.steps, block.end_s) == (0, START_S)


def test_coarser_steps_keep_the_largest_usage(cluster: SimulatedCluster) -> None:
    cluster.advance(START_S + 2 * STEP_S)
    source = SimulatorSource(cluster)
    block = source.read(cluster.workload_ids, ("cpu",), START_S, START_S + 600, 600)
    np.testing.assert_allclose(block.values[0, 0], [1.0, 0.4])
    assert block.censored[0, 0].tolist() == [True, False]
    assert (block.end_s, block.step_s) == (START_S + 600, 600)
    with pytest.raises(SourceError, match=r"60 s.*steps of 300 s.*tick\.step_s"):
        source.read(cluster.workload_ids, ("cpu",), START_S, START_S + 600, 60)


def test_loading_by_name(cluster: SimulatedCluster) -> None:
    actuator = actuators.load("simulator", cluster=cluster)
    assert actuator.scheme == "sim" and actuator.supports == {"cpu", "memory"}
    with pytest.raises(ActuatorError, match=r"unknown platform 'mainframe': known are .*simulator"):
        actuators.load("mainframe")
    with pytest.raises(ActuatorError, match="either the url"):
        actuators.load("simulator")
