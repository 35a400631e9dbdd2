"""From a trace file to a running cluster: what the command line and `build` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from actuators.simulator.applied import AppliedResize
from actuators.simulator.cluster import SimulatedCluster
from actuators.simulator.demand import DAY_S, Demand
from actuators.simulator.inventory import inventory
from actuators.simulator.options import ClusterOptions

LIVE_DAYS = 3


def default_start_s(demand: Demand) -> int:
    """Where the live part begins if nobody says: three days before the trace's end.

    A trace of less than six days is live from its middle on.
    """
    span_s = min(LIVE_DAYS * DAY_S, (demand.end_s - demand.start_s) // 2)
    return (demand.end_s - span_s) // demand.step_s * demand.step_s


def open_cluster(
    trace: Path | Sequence[Path],
    *,
    step_s: int = 300,
    start_s: int | None = None,
    resources: Sequence[str] | None = None,
    sidecar: Path | None = None,
    replicas: int = 1,
    tile: int | None = None,
    options: ClusterOptions | None = None,
    live_s: float | None = None,
    pace_s: int | None = None,
    journal: Callable[[Sequence[AppliedResize]], None] | None = None,
) -> SimulatedCluster:
    """A cluster that replays `trace` from `start_s` on.

    Args:
        trace: usage trace file or files (DESIGN 7).
        step_s: width of a step [s].
        start_s: end of the history and start of the simulation [epoch s]; None = three days
            before the trace's end.
        resources: None = all that the trace has.
        sidecar: tiers and requests (`inventory.inventory`); None = `workloads.json` beside the
            first trace file if there is one.
        replicas: instances per workload, where the sidecar does not say.
        tile: repeat the trace's workloads up to this many, scaled, to try the size.
        options: the platform.
        live_s: the time at which the simulation starts whatever the trace's own times are, so
            that it can run on the machine's clock [epoch s].
        pace_s: how long a step takes then, if not `step_s`: a trace in quick motion [s].
        journal: gets every resize that takes effect.

    Raises:
        ValueError: a file or an option cannot be used; says which and why.
    """
    paths = [trace] if isinstance(trace, Path) else list(trace)
    if sidecar is None:
        beside = paths[0].with_name("workloads.json")
        sidecar = beside if beside.exists() else None
    demand = Demand.from_trace(paths, step_s, resources)
    if tile is not None:
        demand = demand.tiled(tile)
    start = default_start_s(demand) if start_s is None else start_s
    if live_s is not None:
        pace_s = pace_s or step_s
        first, start = (start - demand.start_s) // step_s, int(live_s) // pace_s * pace_s
        demand = demand.paced(pace_s, first, start)
    facts = inventory(demand, start, sidecar, replicas)
    return SimulatedCluster(demand, facts, start, options, journal)
