"""Closed loop on the project's own recording, its last three days unseen.

Every policy runs the same tick on the same simulated cluster; only the forecast differs. A peer's
margin is tuned on the three days before (the least cost whose violations stay within the tiers'
promises, else the fewest violations), PLA has no margin to tune.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actuators.simulator import ClusterOptions, ClusterStats, SimulatedCluster, open_cluster
from actuators.simulator.actuator import facts_of
from pla.backtest.rivals import PolicyForecaster
from pla.core.fleet import UsageBlock
from pla.forecasting.bundle import Bundle
from pla.forecasting.forecaster import BundleForecaster
from pla.ports import Forecaster
from pla.settings import Settings, load
from pla.training.dataset import build
from pla.training.fit import fit
from tests.benchmarks.loop import ClosedLoop

DAY_S = 86_400
UNSEEN_DAYS = 3
PEERS = ("max:1h", "max:3h", "max:6h", "max:24h", "seasonal", "vpa", "autopilot")
MARGINS = (1.0, 1.15, 1.3, 1.6, 2.0)


def cluster_at(
    settings: Settings, days_before_end: int, initial_fraction: float = 1.0
) -> SimulatedCluster:
    """The recording's cluster, live from that many days before its end."""
    trace = settings.simulator.trace
    whole = open_cluster(trace, step_s=settings.tick.step_s, resources=settings.resources)
    start_s = whole.demand.end_s - days_before_end * DAY_S
    return open_cluster(
        trace,
        step_s=settings.tick.step_s,
        start_s=start_s,
        resources=settings.resources,
        options=ClusterOptions(initial_fraction=initial_fraction),
    )


def history_of(cluster: SimulatedCluster) -> UsageBlock:
    """Everything recorded before the cluster's live part."""
    return cluster.usage(cluster.demand.start_s, cluster.start_s)


def train(cluster: SimulatedCluster, settings: Settings) -> Bundle:
    """The model that a retraining would make of that history."""
    dataset = build(history_of(cluster), settings.resources, settings.tick.lead_s, settings.hold_s)
    retrain = settings.retrain
    return fit(dataset, rounds=retrain.rounds, threads=retrain.threads, seed=retrain.seed)


def run(
    settings: Settings, days_before_end: int, days: int, forecaster: Forecaster
) -> ClusterStats:
    """What happens to the cluster under `forecaster` for `days`."""
    cluster = cluster_at(settings, days_before_end)
    loop = ClosedLoop(cluster, forecaster, settings)
    return loop.run(cluster.start_s + days * DAY_S)


def peer(name: str, margin: float, settings: Settings, days_before_end: int) -> PolicyForecaster:
    """A peer's policy in the forecaster's place."""
    cluster = cluster_at(settings, days_before_end)
    return PolicyForecaster(name, facts_of(cluster).request, cluster.step_s, margin)


def line(name: str, stats: ClusterStats) -> str:
    """The figures of one run."""
    cells = stats.steps * len(stats.workloads)
    costs = stats.charged_integral.sum(axis=1) / stats.demand_integral.sum(axis=1)
    days = stats.steps * 300 / DAY_S * len(stats.workloads)
    per_resource = ", ".join(
        f"{resource} violations {stats.violation_steps[row].sum() / cells:.3%} "
        f"cost {costs[row]:.2f}"
        for row, resource in enumerate(stats.resources)
    )
    return (
        f"{name:22s} {per_resource}, kills {int(stats.kills.sum())}, "
        f"throttled {stats.throttled_s[0].sum() / 3600:.1f} h, "
        f"resizes {stats.resizes.sum() / days:.1f} per workload-day"
    )


def per_tier(stats: ClusterStats, tiers: Sequence[str]) -> str:
    """CPU violations by tier: what each one was promised is an upper bound of these."""
    row, own = stats.resources.index("cpu"), np.array(tiers)
    shares = (
        f"{tier} {stats.violation_steps[row, own == tier].mean() / stats.steps:.2%}"
        for tier in sorted(set(tiers))
    )
    return f"{'':22s} cpu violations by tier: {', '.join(shares)}"


def tuned(name: str, settings: Settings) -> float:
    """The margin of peer `name` that did best in the three days before the unseen ones."""
    tried = []
    for margin in MARGINS:
        before = peer(name, margin, settings, 2 * UNSEEN_DAYS)
        stats = run(settings, 2 * UNSEEN_DAYS, UNSEEN_DAYS, before)
        rate = stats.violation_steps.sum() / (stats.steps * stats.violation_steps.size)
        cost = float(np.mean(stats.charged_integral.sum(1) / stats.demand_integral.sum(1)))
        tried.append((rate > 0.01, cost if rate <= 0.01 else rate, margin))
    return min(tried)[2]


def recovery(settings: Settings, bundle: Bundle) -> str:
    """How soon a cluster that starts at half of every workload's need has what it needs."""
    cluster = cluster_at(settings, UNSEEN_DAYS)
    start = (cluster.start_s - cluster.demand.start_s) // cluster.step_s
    need = np.fmax.reduce([cluster.demand.at(start + k) for k in range(12)], axis=0)
    halved = cluster_at(settings, UNSEEN_DAYS)
    halved = _started_at(halved, need / 2, settings)
    loop = ClosedLoop(halved, BundleForecaster(bundle, "1"), settings)
    shares = []
    for _ in range(12):
        before = halved.stats()
        loop.tick()
        after = halved.stats().since(before)
        shares.append(float((after.violation_steps > 0).mean()))
    words = " ".join(f"{share:.1%}" for share in shares)
    return f"started at half of the coming hour's peak; violated cells tick by tick: {words}"


def _started_at(
    cluster: SimulatedCluster, amount: np.ndarray, settings: Settings
) -> SimulatedCluster:
    """The same cluster whose requests are `amount` (resource, workload)."""
    from dataclasses import replace

    request = np.where(np.isnan(cluster.inventory.request), np.nan, amount)
    facts = replace(cluster.inventory, request=request)
    capacity = {
        name: float(3 * np.nansum(cluster.inventory.request[row]) / 4)
        for row, name in enumerate(cluster.resources)
    }
    options = ClusterOptions(node_capacity=capacity)
    return SimulatedCluster(cluster.demand, facts, cluster.start_s, options)


def main() -> None:
    """Prints the comparison."""
    settings = load()
    cluster = cluster_at(settings, UNSEEN_DAYS)
    print(f"{len(cluster.workload_ids)} workloads, {UNSEEN_DAYS} unseen days of the recording")
    static = cluster_at(settings, UNSEEN_DAYS)
    before = static.stats()
    static.advance(static.start_s + UNSEEN_DAYS * DAY_S)
    print(line("static requests", static.stats().since(before)), flush=True)
    for name in PEERS:
        margin = tuned(name, settings)
        stats = run(settings, UNSEEN_DAYS, UNSEEN_DAYS, peer(name, margin, settings, UNSEEN_DAYS))
        print(line(f"{name} x {margin:g}", stats), flush=True)
    bundle = train(cluster, settings)
    stats = run(settings, UNSEEN_DAYS, UNSEEN_DAYS, BundleForecaster(bundle, "1"))
    print(line("PLA", stats), flush=True)
    print(per_tier(stats, cluster.inventory.tiers), flush=True)
    print(recovery(settings, bundle))
