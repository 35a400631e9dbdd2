"""How a simulated platform is built and behaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from actuators.simulator.admission import Faults
from actuators.simulator.demand import DAY_S
from actuators.simulator.physics import Physics
from pla.core.fleet import Floats


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """How the platform is built and behaves.

    Attributes:
        nodes: how many nodes; each has `node_headroom` x its share of all requests, unless
            `node_capacity` names amounts (a resource that it omits is unlimited).
        lead_s: from an accepted resize to its effect, one number or per resource [s].
        initial_fraction: amounts at the start, as a share of the request.
        replica_skew: how much less than the busiest the idlest replica demands.
        history_s: how much metered usage is kept [s].
        physics, faults: see there.
    """

    nodes: int = 4
    node_headroom: float = 1.5
    node_capacity: Mapping[str, float] | None = None
    lead_s: float | Mapping[str, float] = 2.0
    initial_fraction: float = 1.0
    replica_skew: float = 0.2
    history_s: int = 14 * DAY_S
    physics: Physics = field(default_factory=Physics)
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        wrong = {
            "nodes": self.nodes < 1,
            "node_headroom": not 1 <= self.node_headroom < np.inf,
            "initial_fraction": not 0 < self.initial_fraction < np.inf,
            "replica_skew": not 0 <= self.replica_skew <= 1,
            "history_s": self.history_s < 0,
        }
        for name in (name for name, is_wrong in wrong.items() if is_wrong):
            raise ValueError(
                f"simulator: {name} is {getattr(self, name)}: nodes must be at least 1, "
                f"node_headroom from 1, initial_fraction above 0, replica_skew within 0..1"
            )

    def leads(self, resources: Sequence[str]) -> Floats:
        """Lead per resource, shape (resource,) [s]."""
        lead = self.lead_s
        named = lead if isinstance(lead, Mapping) else dict.fromkeys(resources, lead)
        leads = np.array([float(named.get(name, 0.0)) for name in resources])
        if not (leads >= 0).all():
            raise ValueError(f"simulator: lead_s is {lead}, expected seconds from 0")
        return leads
