"""Running a simulated cluster under a policy, for closed-loop comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actuators.simulator.cluster import SimulatedCluster
from actuators.simulator.ledger import ClusterStats
from pla.core.plan import Resize

Policy = Callable[[SimulatedCluster, float], Sequence[Resize]]
"""What to resize, given the cluster and its time [epoch s]."""


def static_request(cluster: SimulatedCluster, now_s: float) -> Sequence[Resize]:
    """The policy that leaves every amount as its owner wrote it down."""
    return ()


def run(
    cluster: SimulatedCluster,
    until_s: float,
    policy: Policy = static_request,
    tick_s: float | None = None,
) -> ClusterStats:
    """Run `cluster` until `until_s`, with `policy` acting every `tick_s` (None = every step).

    The policy acts first at the cluster's present time. Returns what happened meanwhile.
    """
    before = cluster.stats()
    interval_s = float(tick_s if tick_s is not None else cluster.step_s)
    now_s = cluster.now_s
    while now_s < until_s:
        actions = policy(cluster, now_s)
        if actions:
            cluster.resize(actions)
        now_s = min(now_s + interval_s, until_s)
        cluster.advance(now_s)
    return cluster.stats().since(before)
