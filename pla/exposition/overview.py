"""The fleet in a few figures: one tick's arrays, summed per tier and resource."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Fleet, Floats, InstanceState, Mode
from pla.core.policy import at_quantile
from pla.tick import TickReport

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cells:
    """What a tick knows of each cell, every array of shape (workload, resource).

    Attributes:
        current, target, usage: amount in force, recommended and used [unit]; NaN = unknown.
        forecast: calibrated peak at the tier's quantile [unit]; NaN = none.
        at_risk: has less than its forecast or its usage, or was held down in the newest step.
        age_s: age of the newest sample [s]; inf = never seen, NaN = there is no such cell.
    """

    current: Floats
    target: Floats
    usage: Floats
    forecast: Floats
    at_risk: Bools
    age_s: Floats


@dataclass(frozen=True, slots=True)
class Overview:
    """Sums over the fleet.

    Attributes:
        amounts: by name (`current`, `target`, `usage`, `forecast`, `idle`), shape
            (tier, resource) [unit]: per workload the amount times its live copies, since all
            copies are sized alike; `usage` is that of the busiest copy, `idle` what of the
            current amount it leaves, where both are known.
        workloads: how many, shape (tier, mode).
        at_risk: workloads at risk, shape (tier, resource).
        oldest_s: age of the oldest newest sample of a workload that was ever seen [s], shape
            (resource,); NaN = none was.
        stale, unseen: workloads whose newest sample is too old to shrink by, and those without
            any, shape (resource,).
        unmet: what targets wanted and no node could give [unit], shape (resource,).
        short_nodes: nodes that could not give it, shape (resource,).
    """

    amounts: dict[str, Floats]
    workloads: Counts
    at_risk: Counts
    oldest_s: Floats
    stale: Counts
    unseen: Counts
    unmet: Floats
    short_nodes: Counts


def cells_of(report: TickReport) -> Cells:
    """The cells of one tick; those that do not exist are NaN and not at risk."""
    fleet, situation = report.fleet, report.situation
    support = fleet.workloads.support
    quantile = fleet.by_tier("quantile")
    forecast = at_quantile(report.forecast, quantile)
    current, usage = situation.current, situation.usage
    short = (current < forecast) | (current < usage) | situation.censored
    return Cells(
        current=np.where(support, current, np.nan),
        target=np.where(support, report.recommendation.target, np.nan),
        usage=np.where(support, usage, np.nan),
        forecast=np.where(support, forecast, np.nan),
        at_risk=short & support,
        age_s=np.where(support, situation.age_s, np.nan),
    )


def overview_of(report: TickReport, cells: Cells, stale_after_s: float) -> Overview:
    """The sums of one tick."""
    fleet = report.fleet
    tiers, tier = len(fleet.tiers), fleet.workloads.tier.astype(np.int64)
    copies = _live_copies(fleet)[:, None]
    known = {
        "current": cells.current,
        "target": cells.target,
        "usage": cells.usage,
        "forecast": cells.forecast,
        "idle": np.maximum(cells.current - cells.usage, 0.0),
    }
    seen = np.where(np.isfinite(cells.age_s), cells.age_s, -np.inf)
    oldest = np.max(seen, axis=0, initial=-np.inf)
    place = tier * len(Mode) + fleet.workloads.mode
    unmet = np.nan_to_num(report.plan.unmet)
    return Overview(
        amounts={name: _by_tier(values * copies, tier, tiers) for name, values in known.items()},
        workloads=np.bincount(place, minlength=tiers * len(Mode)).reshape(tiers, len(Mode)),
        at_risk=_by_tier(cells.at_risk.astype(np.float64), tier, tiers).astype(np.int64),
        oldest_s=np.where(np.isneginf(oldest), np.nan, oldest),
        stale=np.count_nonzero(seen > stale_after_s, axis=0),
        unseen=np.count_nonzero(np.isposinf(cells.age_s), axis=0),
        unmet=unmet.sum(axis=0),
        short_nodes=np.count_nonzero(unmet > 0, axis=0),
    )


def _live_copies(fleet: Fleet) -> Floats:
    """Instances per workload that are not stopped, shape (workload,)."""
    live = fleet.instances.workload[fleet.instances.state != InstanceState.STOPPED]
    return np.bincount(live, minlength=len(fleet.workloads)).astype(np.float64)


def _by_tier(values: Floats, tier: Counts, tiers: int) -> Floats:
    """Sums of what is known, shape (tier, resource)."""
    known = np.nan_to_num(values)
    columns = [np.bincount(tier, known[:, row], tiers) for row in range(values.shape[1])]
    return np.stack(columns, axis=1)
