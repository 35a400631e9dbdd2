"""The contract that every actuator passes, whatever its platform.

Each module or package in `actuators` needs a fixture `NAME_platform`, here or in a conftest, that
returns an object with

- `actuator`: a `pla.ports.Actuator` of a platform that runs at least one workload, whose first
  instance has a CPU amount with room to grow by a tenth;
- `settle()`: waits (or moves time on) until accepted resizes are in force.

It skips, and says why, on a machine that does not have the platform.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest

import actuators
from actuators.simulator import ManualClock
from pla.core.fleet import Fleet, InstanceState, Tier
from pla.core.plan import Outcome, OutcomeStatus, Resize
from pla.core.resources import BY_NAME, CATALOGUE

ALL = tuple(spec.name for spec in CATALOGUE)
TIERS = tuple(Tier(name, 1, 0.99, 0.1, 0.0, 0.5) for name in ("critical", "standard", "burstable"))
DONE = (OutcomeStatus.APPLIED, OutcomeStatus.ACCEPTED)


class SimulatorPlatform:
    """An embedded cluster with a lead time, whose clock is moved by hand."""

    def __init__(self, cluster: Any) -> None:
        self._clock = ManualClock(cluster.start_s)
        self.actuator = actuators.load("simulator", cluster=cluster, clock=self._clock, tiers=TIERS)

    def settle(self) -> None:
        self._clock.move_to(self._clock.now_s() + 10.0)


@pytest.fixture
def simulator_platform() -> SimulatorPlatform:
    from actuators.simulator import ClusterOptions, Demand, SimulatedCluster, inventory

    start_s, step_s, mib = 1_760_313_600, 300, 1024.0**2
    steps = np.linspace(0.2, 0.4, 12)[:, None]
    used = np.stack([steps * [1.0, 0.5], steps * [200 * mib, 400 * mib]], axis=1)
    demand = Demand.from_arrays(
        ("shop", "mail"), ("cpu", "memory"), used, start_s=start_s, step_s=step_s
    )
    live_s = start_s + 6 * step_s
    facts = inventory(demand, live_s, replicas=2)
    return SimulatorPlatform(SimulatedCluster(demand, facts, live_s, ClusterOptions(lead_s=2.0)))


@pytest.fixture(params=actuators.names())
def platform(request: pytest.FixtureRequest) -> Any:
    try:
        return request.getfixturevalue(f"{request.param}_platform")
    except pytest.FixtureLookupError:
        pytest.fail(f"actuators.{request.param} needs a fixture `{request.param}_platform`")


def growth(platform: Any, version: str | None = None) -> Resize:
    """A tenth more CPU for the first instance, under its present version."""
    part = platform.actuator.list(("cpu",))
    current = float(part.instances.current[0, 0])
    return Resize(
        instance=part.instances.ids[0],
        workload=part.workloads.ids[int(part.instances.workload[0])],
        resource="cpu",
        current=current,
        target=math.ceil(current * 1100) / 1000,
        reason=0,
        version=part.instances.version[0] if version is None else version,
    )


def apply(platform: Any, *actions: Resize) -> list[Outcome]:
    return list(platform.actuator.apply(actions, time.monotonic() + 30))


def cpu_of(platform: Any, instance: str) -> float:
    table = platform.actuator.list(("cpu",)).instances
    return float(table.current[table.ids.index(instance), 0])


def changed(action: Resize, **values: Any) -> Resize:
    fields = {name: getattr(action, name) for name in action.__dataclass_fields__}
    return Resize(**{**fields, **values})


def test_what_it_says_of_itself(platform: Any) -> None:
    actuator = platform.actuator
    assert actuator.scheme.isalnum()
    assert actuator.supports and actuator.supports <= set(BY_NAME)
    assert actuator.enforces <= set(BY_NAME)


def test_the_list_is_part_of_a_fleet(platform: Any) -> None:
    part = platform.actuator.list(ALL)
    fleet = Fleet(ALL, TIERS, part.workloads, part.instances, part.nodes)  # checks every shape
    workloads, instances = part.workloads, part.instances
    assert len(workloads) and len(instances)
    assert all(name.startswith(f"{platform.actuator.scheme}://") for name in workloads.ids)
    assert len(set(workloads.ids)) == len(workloads)
    assert len(set(instances.ids)) == len(instances) == len(instances.version)
    assert set(instances.workload.tolist()) <= set(range(len(workloads)))
    assert set(instances.node.tolist()) <= {-1, *range(len(part.nodes))}
    assert set(instances.state.tolist()) <= {int(state) for state in InstanceState}
    assert set(workloads.tier.tolist()) <= set(range(len(TIERS)))
    current = instances.current
    assert (current[~np.isnan(current)] >= 0).all()
    assert np.isnan(current[~workloads.support[instances.workload]]).all()
    assert np.isnan(workloads.request[~workloads.support]).all()
    assert not np.isnan(fleet.workload_current()).all()


def test_the_resource_axis_is_the_one_asked_for(platform: Any) -> None:
    both = platform.actuator.list(("memory", "cpu")).instances.current
    np.testing.assert_array_equal(both[:, 1:], platform.actuator.list(("cpu",)).instances.current)
    with pytest.raises(ValueError, match="'cpus'"):
        platform.actuator.list(("cpus",))


def test_a_resize_takes_effect_and_doing_it_again_changes_nothing(platform: Any) -> None:
    action = growth(platform)
    (first,) = apply(platform, action)
    assert first.status in DONE and first.action is action
    platform.settle()
    assert cpu_of(platform, action.instance) == pytest.approx(action.target)
    version = platform.actuator.list(("cpu",)).instances.version[0]
    (again,) = apply(platform, action)
    assert again.status is OutcomeStatus.APPLIED
    assert again.amount == pytest.approx(action.target)
    assert platform.actuator.list(("cpu",)).instances.version[0] == version


@pytest.mark.parametrize(
    "values",
    [{"target": math.nan}, {"target": math.inf}, {"target": -1.0}, {"target": 0.0}],
    ids=str,
)
def test_what_is_no_amount_fails_in_words(platform: Any, values: dict[str, Any]) -> None:
    action = growth(platform)
    (outcome,) = apply(platform, changed(action, **values))
    assert outcome.status is OutcomeStatus.FAILED and outcome.message
    platform.settle()
    assert cpu_of(platform, action.instance) == pytest.approx(action.current)


def test_refusals_are_outcomes_and_do_not_stop_the_others(platform: Any) -> None:
    good = growth(platform)
    unsupported = [name for name in (*ALL, "cpus") if name not in platform.actuator.supports]
    outcomes = apply(
        platform,
        changed(good, instance="nobody", version=""),
        changed(good, resource=unsupported[-1], version=""),
        good,
    )
    assert [o.status for o in outcomes[:2]] == [OutcomeStatus.FAILED, OutcomeStatus.UNSUPPORTED]
    assert outcomes[2].status in DONE
    assert all(outcome.message for outcome in outcomes[:2])


def test_a_plan_made_before_someone_elses_change_is_a_conflict(platform: Any) -> None:
    stale = growth(platform)
    assert apply(platform, changed(stale, version=""))[0].status in DONE
    platform.settle()
    larger = changed(stale, target=math.ceil(stale.target * 1010) / 1000)
    (outcome,) = apply(platform, larger)
    assert outcome.status is OutcomeStatus.CONFLICT
    platform.settle()
    assert cpu_of(platform, stale.instance) == pytest.approx(stale.target)


def test_more_than_the_platform_can_ever_give_is_infeasible(platform: Any) -> None:
    part = platform.actuator.list(("cpu",))
    if not len(part.nodes) or np.isnan(part.nodes.capacity[:, 0]).any():
        pytest.skip("this platform does not say how much its nodes have")
    action = growth(platform)
    huge = float(part.nodes.capacity[:, 0].max()) * 2
    (outcome,) = apply(platform, changed(action, target=huge))
    assert outcome.status is OutcomeStatus.INFEASIBLE and outcome.message


def test_nothing_happens_after_the_deadline(platform: Any) -> None:
    action = growth(platform)
    outcomes = list(platform.actuator.apply([action], -math.inf))
    assert [o.status for o in outcomes] == [OutcomeStatus.FAILED]
    platform.settle()
    assert cpu_of(platform, action.instance) == pytest.approx(action.current)


def test_no_action_is_no_outcome(platform: Any) -> None:
    assert apply(platform) == []


def test_restore_puts_back_what_was_there_before_the_first_change(platform: Any) -> None:
    action = growth(platform)
    assert apply(platform, action)[0].status in DONE
    platform.settle()
    again = changed(growth(platform), target=math.ceil(action.target * 1010) / 1000)
    assert apply(platform, again)[0].status in DONE
    platform.settle()
    outcomes = list(platform.actuator.restore([action.workload]))
    assert outcomes and all(outcome.status in DONE for outcome in outcomes)
    platform.settle()
    assert cpu_of(platform, action.instance) == pytest.approx(action.current)
    assert list(platform.actuator.restore(None)) == []
