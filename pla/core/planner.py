"""Recommendation + current amounts + node capacity -> plan.

Grow at once, shrink slowly; contention goes by tier; nothing is promised twice. Planning again
right after applying yields an empty plan, also where the platform has only accepted the changes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pla.core import contention, under_way
from pla.core.changes import Skipped, Wanted
from pla.core.fleet import Bools, Fleet, Floats, InstanceState, Mode
from pla.core.plan import Plan, Reason, Recommendation, Skip
from pla.core.resources import quanta
from pla.core.shrinking import slow_shrinks
from pla.core.situation import Rules


@np.errstate(invalid="ignore", over="ignore")
def plan(
    recommendation: Recommendation,
    fleet: Fleet,
    supported: Bools,
    last_change_s: Floats,
    now_s: float,
    rules: Rules,
) -> Plan:
    """The changes to make now. What is not finite is no amount, neither there nor to be.

    Args:
        recommendation: what each workload should have.
        fleet: what there is.
        supported: cells that their platform can resize, shape (workload, resource).
        last_change_s: time of the last change, shape (instance, resource); -inf = never [epoch s].
        now_s: the tick's time [epoch s].
        rules: the policy's constants.
    """
    skipped = Skipped()
    wanted = _changes(recommendation, fleet)
    wanted = _drop_what_may_not_act(wanted, fleet, supported, skipped)
    wanted = slow_shrinks(wanted, fleet, last_change_s, now_s, rules, skipped)
    wanted, unmet = _fit_nodes(wanted, fleet, last_change_s == now_s, skipped)
    # Shrinks first: what they free is there before growth asks for it on the platform.
    order = np.argsort(~wanted.shrinks, kind="stable")
    return Plan(
        instance=wanted.instance[order],
        resource=wanted.resource[order],
        current=wanted.current[order],
        target=wanted.target[order],
        reason=wanted.reason[order],
        skipped_instance=skipped.column(0, np.int32),  # type: ignore[arg-type]
        skipped_resource=skipped.column(1, np.int32),  # type: ignore[arg-type]
        skipped_target=skipped.column(2, np.float64),  # type: ignore[arg-type]
        skipped_why=skipped.column(3, np.int32),  # type: ignore[arg-type]
        unmet=unmet,
    )


def _changes(recommendation: Recommendation, fleet: Fleet) -> Wanted:
    """Every instance and resource whose target differs from what is coming by half a quantum."""
    rows, table = fleet.instances.workload, fleet.instances
    coming = under_way.coming(table.current, table.pending)
    target = recommendation.target[rows]
    half = quanta(fleet.resources)[None, :] / 2
    gap = np.abs(target - coming)
    # Flat rows: taking by one index costs a third of taking by two.
    cell = np.flatnonzero(np.isfinite(gap) & (gap > half))
    instance, resource = np.divmod(cell, len(fleet.resources))
    current, pending = table.current.take(cell), table.pending.take(cell)
    return Wanted(
        instance=instance.astype(np.int32),
        resource=resource.astype(np.int32),
        current=current,
        coming=under_way.coming(current, pending),
        held=under_way.held(current, pending),
        target=target.take(cell),
        reason=recommendation.reason.take(rows[instance] * len(fleet.resources) + resource),
    )


def _drop_what_may_not_act(
    wanted: Wanted, fleet: Fleet, supported: Bools, skipped: Skipped
) -> Wanted:
    workloads, instances = fleet.workloads, fleet.instances
    row = instances.workload[wanted.instance]
    state, mode = instances.state[wanted.instance], workloads.mode[row]
    busy = (state == InstanceState.RESIZING) | (wanted.coming != wanted.current)
    return skipped.drop(
        wanted,
        (~supported.take(row * len(fleet.resources) + wanted.resource), Skip.UNSUPPORTED),
        ((state == InstanceState.STOPPED) | (state == InstanceState.STARTING), Skip.NOT_RUNNING),
        (workloads.paused[row], Skip.PAUSED),
        (mode == Mode.OBSERVE, Skip.OBSERVE),
        ((mode == Mode.CANARY) & ~_canary_instances(fleet)[wanted.instance], Skip.CANARY),
        # Growth does not wait for a resize under way: the platform takes the later of the two.
        (busy & wanted.shrinks, Skip.RESIZING),
    )


def _canary_instances(fleet: Fleet) -> Bools:
    """The first ceil(fraction x n) of each workload's n live instances, shape (instance,)."""
    if not (fleet.workloads.mode == Mode.CANARY).any():
        return np.zeros(len(fleet.instances), dtype=np.bool_)
    live = np.flatnonzero(fleet.instances.state != InstanceState.STOPPED)
    rows = fleet.instances.workload[live]
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=len(fleet.workloads))
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(rows), dtype=np.int64)
    rank[order] = np.arange(len(rows)) - starts[rows[order]]
    fraction = fleet.by_tier("canary_fraction")
    # 0.07 x 100 is a little more than 7 in binary.
    chosen = np.zeros(len(fleet.instances), dtype=np.bool_)
    chosen[live] = rank < np.ceil(fraction * counts - 1e-9)[rows]
    return chosen


def _fit_nodes(
    wanted: Wanted, fleet: Fleet, just_changed: Bools, skipped: Skipped
) -> tuple[Wanted, Floats]:
    """Growth within what each node has free; returns also what stayed unmet (node, resource).

    Room is asked for only beyond what a cell holds already: a shrink under way can always be
    called off, and growth under way has its room.
    """
    unmet = np.zeros((len(fleet.nodes), len(fleet.resources)))
    growth = np.maximum(wanted.target - wanted.held, 0.0)
    granted = contention.grant(fleet, wanted.instance, wanted.resource, growth, just_changed)
    # Exact where nothing is trimmed: `grant` hands back the very number that was asked for.
    short = np.flatnonzero(granted != growth)
    if not len(short):
        return wanted, unmet
    cell = fleet.instances.node[wanted.instance[short]], wanted.resource[short]
    np.add.at(unmet, cell, (growth - granted)[short])
    reached = wanted.held[short] + granted[short]
    some = reached - wanted.coming[short] > quanta(fleet.resources)[wanted.resource[short]] / 2
    # A skipped change is reported with what it wanted, not with what it got.
    target, reason = wanted.target.copy(), wanted.reason.copy()
    target[short[some]] = reached[some]
    reason[short] |= Reason.NODE_SHORT
    full = np.zeros(len(target), dtype=np.bool_)
    full[short[~some]] = True
    trimmed = replace(wanted, target=target, reason=reason)
    return skipped.drop(trimmed, (full, Skip.NODE_FULL)), unmet
