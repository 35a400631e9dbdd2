"""The embedded default platform: a simulated cluster with real limits.

A *closed loop*: workloads demand what a usage trace says, and use at most what they were given.
Too little CPU throttles and queues, too little memory kills, a full disk fails, a full node
refuses. The cluster lives in this process (`SimulatorActuator`, `SimulatorSource`) or in one of
its own (`python -m actuators.simulator serve`, `SimulatorClient`), with the same behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence

from actuators.simulator.actuator import SimulatorActuator
from actuators.simulator.admission import Faults
from actuators.simulator.assembly import default_start_s, open_cluster
from actuators.simulator.client import SimulatorClient
from actuators.simulator.clock import ManualClock, SimulatedClock
from actuators.simulator.cluster import SimulatedCluster
from actuators.simulator.demand import Demand
from actuators.simulator.experiment import run, static_request
from actuators.simulator.inventory import Inventory, inventory
from actuators.simulator.ledger import ClusterStats
from actuators.simulator.options import ClusterOptions
from actuators.simulator.physics import Physics
from actuators.simulator.source import SimulatorSource
from pla.core.fleet import Tier
from pla.ports import Actuator, ActuatorError, Clock

__all__ = [
    "ClusterOptions",
    "ClusterStats",
    "Demand",
    "Faults",
    "Inventory",
    "ManualClock",
    "Physics",
    "SimulatedClock",
    "SimulatedCluster",
    "SimulatorActuator",
    "SimulatorClient",
    "SimulatorSource",
    "build",
    "default_start_s",
    "inventory",
    "open_cluster",
    "run",
    "static_request",
]


def build(
    url: str | None = None,
    cluster: SimulatedCluster | None = None,
    *,
    clock: Clock | None = None,
    tiers: Sequence[Tier] | None = None,
    timeout_s: float = 10.0,
) -> Actuator:
    """The simulator that serves at `url`, or the one that `cluster` is.

    Args:
        url: what `python -m actuators.simulator serve` printed.
        cluster: an embedded cluster instead; moved on to `clock`'s time at every call.
        clock: for `cluster` only.
        tiers: the configured tiers, in row order; None = the shipped ones.
        timeout_s: how long one request to `url` may take [s].

    Raises:
        ActuatorError: neither or both are given, or nobody answers at `url`.
    """
    if (url is None) == (cluster is None):
        raise ActuatorError("simulator: give either the url of a running one or a cluster")
    if cluster is not None:
        return SimulatorActuator(cluster, clock, tiers)
    assert url is not None
    return SimulatorClient(url, tiers, timeout_s)
