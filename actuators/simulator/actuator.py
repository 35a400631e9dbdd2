"""`pla.ports.Actuator` for a simulated cluster in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from actuators.simulator.cluster import SimulatedCluster
from actuators.simulator.dispatch import in_portions
from actuators.simulator.listing import Inventoried, Listing
from pla.core.fleet import Tier
from pla.core.plan import Outcome, Resize
from pla.ports import Clock, FleetPart

SCHEME = "sim"


def facts_of(cluster: SimulatedCluster) -> Inventoried:
    """What never changes of `cluster`."""
    return Inventoried(
        resources=cluster.resources,
        workload_ids=cluster.workload_ids,
        tiers=cluster.inventory.tiers,
        created_s=cluster.demand.created_s(),
        request=np.ascontiguousarray(cluster.inventory.request.T),
        instance_ids=cluster.instance_ids,
        workload=cluster.replicas.workload,
        node=cluster.node,
        node_ids=cluster.node_ids,
        capacity=np.ascontiguousarray(cluster.capacity.T),
    )


class SimulatorActuator:
    """Lists and resizes `cluster`.

    With a `clock` the cluster moves on to the clock's time at every call, as a platform of its own
    would; without one, whoever holds the cluster calls `cluster.advance`.
    """

    scheme = SCHEME

    def __init__(
        self,
        cluster: SimulatedCluster,
        clock: Clock | None = None,
        tiers: Sequence[Tier] | None = None,
    ) -> None:
        """Raises ActuatorError if a workload's tier is not one of `tiers` (None = the shipped)."""
        self._cluster = cluster
        self._clock = clock
        self._monotonic_s = clock.monotonic_s if clock is not None else time.monotonic
        self._listing = Listing(facts_of(cluster), tiers)
        self.supports = frozenset(cluster.resources)
        self.enforces = frozenset(cluster.resources)

    def list(self, resources: Sequence[str]) -> FleetPart:
        """What runs now; ids are `sim://NAME`, instances `NAME-0`, `NAME-1`, ..."""
        cluster = self._follow()
        with cluster.lock:
            return self._listing.part(
                resources, cluster.current(), cluster.pending(), cluster.revisions()
            )

    def apply(self, actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        """One outcome per action, in order: APPLIED without a lead time, else ACCEPTED."""
        cluster = self._follow()
        return in_portions(actions, deadline_s, self._monotonic_s, cluster.resize)

    def restore(self, workloads: Sequence[str] | None) -> Iterator[Outcome]:
        """Put the original amounts back; one outcome per cell that had been changed."""
        for action, verdict in self._follow().restore(workloads):
            yield Outcome(action, verdict.status, verdict.amount, verdict.message)

    def _follow(self) -> SimulatedCluster:
        if self._clock is not None:
            self._cluster.advance(self._clock.now_s())
        return self._cluster
