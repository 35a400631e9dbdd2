"""Resizes under way, as the embedded simulator and the served one list them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from actuators.simulator import ManualClock, SimulatedCluster, SimulatorActuator, SimulatorClient
from actuators.simulator.server import SimulatorServer
from pla.core.fleet import InstanceState
from pla.core.plan import Resize

START_S = 1_760_313_600
MIB = 1024.0**2
FOREVER = float("inf")
NAN = float("nan")

Build = Callable[..., SimulatedCluster]


@pytest.fixture(params=["embedded", "served"])
def platform(request: Any, build_cluster: Build) -> Iterator[tuple[Any, Callable[[float], None]]]:
    """An actuator of a cluster with a lead of ten seconds, and what moves its time."""
    cluster = build_cluster(
        {"cpu": [[0.2, 0.2]] * 3, "memory": [[30 * MIB] * 2] * 3},
        {"cpu": [1.0, 1.0], "memory": [100 * MIB] * 2},
        lead_s=10.0,
    )
    clock = ManualClock(START_S)
    if request.param == "embedded":
        yield SimulatorActuator(cluster, clock), clock.move_to
        return
    server = SimulatorServer(cluster, clock)
    thread = threading.Thread(target=server.serve)
    thread.start()
    client = SimulatorClient(server.url)
    yield client, client.advance
    client.close()
    server.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_what_was_accepted_is_listed_until_it_is_in_force(platform: Any) -> None:
    actuator, move_to = platform
    asked = [
        Resize("w0-0", "sim://w0", "cpu", 1.0, 2.0, 0),
        Resize("w1-0", "sim://w1", "memory", 100 * MIB, 60 * MIB, 0),
    ]
    assert [o.status.name for o in actuator.apply(asked, FOREVER)] == ["ACCEPTED"] * 2
    table = actuator.list(("memory", "gpu", "cpu")).instances
    np.testing.assert_array_equal(table.pending, [[NAN, NAN, 2.0], [60 * MIB, NAN, NAN]])
    np.testing.assert_array_equal(table.current[:, [0, 2]], [[100 * MIB, 1.0]] * 2)
    # The whole instance is at work, whichever of its resources somebody asks for.
    only_cpu = actuator.list(("cpu",)).instances
    assert only_cpu.state.tolist() == [InstanceState.RESIZING] * 2
    np.testing.assert_array_equal(only_cpu.pending, [[2.0], [NAN]])
    move_to(START_S + 10)
    done = actuator.list(("cpu", "memory")).instances
    assert np.isnan(done.pending).all()
    assert done.current.tolist() == [[2.0, 100 * MIB], [1.0, 60 * MIB]]
    assert done.state.tolist() == [InstanceState.RUNNING] * 2


def test_a_change_under_way_is_called_off_by_asking_for_what_is_in_force(platform: Any) -> None:
    actuator, move_to = platform
    shrink = Resize("w0-0", "sim://w0", "cpu", 1.0, 0.5, 0)
    back = Resize("w0-0", "sim://w0", "cpu", 1.0, 1.0, 0)
    assert [o.status.name for o in actuator.apply([shrink], FOREVER)] == ["ACCEPTED"]
    assert [o.status.name for o in actuator.apply([back], FOREVER)] == ["ACCEPTED"]
    assert actuator.list(("cpu",)).instances.pending[0, 0] == 1.0
    for later_s in (10, 30):
        move_to(START_S + later_s)
        assert actuator.list(("cpu",)).instances.current[0, 0] == 1.0
    assert np.isnan(actuator.list(("cpu",)).instances.pending).all()
