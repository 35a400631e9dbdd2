"""Recommendation + current amounts + node capacity -> plan.

Grow at once, shrink slowly; contention goes by tier; nothing is promised twice. Planning again
right after applying yields an empty plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Fleet, Floats, InstanceState, Ints, Mode
from pla.core.plan import Flags, Plan, Reason, Recommendation, Skip
from pla.core.policy import Rules
from pla.core.resources import quanta

_SKIP_ROW = {skip: row for row, skip in enumerate(Skip)}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The changes that targets ask for, one row each."""

    instance: Ints
    resource: Ints
    current: Floats
    target: Floats
    reason: Flags

    def take(self, keep: Bools) -> _Wanted:
        return _Wanted(
            self.instance[keep],
            self.resource[keep],
            self.current[keep],
            self.target[keep],
            self.reason[keep],
        )


class _Skipped:
    """Collects the rows of wanted changes that are not made."""

    def __init__(self) -> None:
        self.parts: list[tuple[Ints, Ints, Floats, Ints]] = []

    def drop(self, wanted: _Wanted, where: Bools, why: Skip) -> _Wanted:
        """`wanted` without the rows of `where`, which are noted as skipped."""
        if not where.any():
            return wanted
        gone = wanted.take(where)
        rows = np.full(len(gone.instance), _SKIP_ROW[why], dtype=np.int32)
        self.parts.append((gone.instance, gone.resource, gone.target, rows))
        return wanted.take(~where)

    def column(self, index: int, dtype: type) -> NDArray[np.generic]:
        if not self.parts:
            return np.empty(0, dtype=dtype)
        return np.concatenate([part[index] for part in self.parts]).astype(dtype, copy=False)


def plan(
    recommendation: Recommendation,
    fleet: Fleet,
    supported: Bools,
    last_change_s: Floats,
    now_s: float,
    rules: Rules,
) -> Plan:
    """The changes to make now.

    Args:
        recommendation: what each workload should have.
        fleet: what there is.
        supported: cells that their platform can resize, shape (workload, resource).
        last_change_s: time of the last change, shape (instance, resource); -inf = never [epoch s].
        now_s: the tick's time [epoch s].
        rules: the policy's constants.
    """
    skipped = _Skipped()
    wanted = _changes(recommendation, fleet, rules)
    wanted = _drop_what_may_not_act(wanted, fleet, supported, skipped)
    wanted = _slow_shrinks(wanted, fleet, last_change_s, now_s, rules, skipped)
    wanted, unmet = _fit_nodes(wanted, fleet, skipped)
    # Shrinks first: what they free is there before growth asks for it on the platform.
    order = np.argsort(wanted.target > wanted.current, kind="stable")
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


def _changes(recommendation: Recommendation, fleet: Fleet, rules: Rules) -> _Wanted:
    """Every instance and resource whose target differs from what it has by half a quantum."""
    rows = fleet.instances.workload
    current = fleet.instances.current
    target = recommendation.target[rows]
    half = quanta(fleet.resources)[None, :] / 2
    differs = np.abs(target - current) > half  # False where either is NaN
    instance, resource = np.nonzero(differs)
    return _Wanted(
        instance=instance.astype(np.int32),
        resource=resource.astype(np.int32),
        current=current[instance, resource],
        target=target[instance, resource],
        reason=recommendation.reason[rows[instance], resource],
    )


def _drop_what_may_not_act(
    wanted: _Wanted, fleet: Fleet, supported: Bools, skipped: _Skipped
) -> _Wanted:
    workloads, instances = fleet.workloads, fleet.instances
    chosen = _canary_instances(fleet)

    wanted = skipped.drop(
        wanted, ~supported[instances.workload[wanted.instance], wanted.resource], Skip.UNSUPPORTED
    )
    state = instances.state[wanted.instance]
    gone = (state == InstanceState.STOPPED) | (state == InstanceState.STARTING)
    wanted = skipped.drop(wanted, gone, Skip.NOT_RUNNING)
    wanted = skipped.drop(
        wanted, workloads.paused[instances.workload[wanted.instance]], Skip.PAUSED
    )
    mode = workloads.mode[instances.workload[wanted.instance]]
    wanted = skipped.drop(wanted, mode == Mode.OBSERVE, Skip.OBSERVE)
    mode = workloads.mode[instances.workload[wanted.instance]]
    wanted = skipped.drop(wanted, (mode == Mode.CANARY) & ~chosen[wanted.instance], Skip.CANARY)
    # Growth does not wait for a resize under way: the platform takes the later of the two.
    resizing = instances.state[wanted.instance] == InstanceState.RESIZING
    return skipped.drop(wanted, resizing & (wanted.target < wanted.current), Skip.RESIZING)


def _canary_instances(fleet: Fleet) -> Bools:
    """The first ceil(fraction x n) instances of each workload, shape (instance,)."""
    rows = fleet.instances.workload
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=len(fleet.workloads))
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(rows), dtype=np.int64)
    rank[order] = np.arange(len(rows)) - starts[rows[order]]
    fraction = np.array([tier.canary_fraction for tier in fleet.tiers])[fleet.workloads.tier]
    return np.asarray(rank < np.ceil(fraction * counts)[rows], dtype=np.bool_)


def _slow_shrinks(
    wanted: _Wanted,
    fleet: Fleet,
    last_change_s: Floats,
    now_s: float,
    rules: Rules,
    skipped: _Skipped,
) -> _Wanted:
    """Deadband, cooldown and the largest single step, for shrinks only."""
    tier = fleet.workloads.tier[fleet.instances.workload]
    cooldown = np.array([t.cooldown_s for t in fleet.tiers])[tier]
    fraction = np.array([t.max_shrink_fraction for t in fleet.tiers])[tier]

    small = (wanted.target < wanted.current) & (
        wanted.target >= rules.shrink_deadband * wanted.current
    )
    wanted = skipped.drop(wanted, small, Skip.DEADBAND)
    shrinks = wanted.target < wanted.current
    elapsed = now_s - last_change_s[wanted.instance, wanted.resource]
    # Two plans at one time must not add up, even without a cooldown.
    waits = shrinks & ((elapsed < cooldown[wanted.instance]) | (elapsed <= 0))
    wanted = skipped.drop(wanted, waits, Skip.COOLDOWN)

    least = wanted.current * (1.0 - fraction[wanted.instance])
    limited = wanted.target < least
    stepped = _round_up_rows(np.where(limited, least, wanted.target), wanted.resource, fleet)
    # Rounded up, a tiny amount may be back where it was: then there is nothing to take.
    target = np.minimum(stepped, np.maximum(wanted.current, wanted.target))
    wanted = _Wanted(
        wanted.instance,
        wanted.resource,
        wanted.current,
        np.where(limited, target, wanted.target),
        np.where(limited, wanted.reason | Reason.SHRINK_LIMITED, wanted.reason).astype(np.int32),
    )
    return wanted.take(wanted.target != wanted.current)


def _round_up_rows(amounts: Floats, resource: Ints, fleet: Fleet) -> Floats:
    quantum = quanta(fleet.resources)[resource]
    return np.asarray(np.ceil(amounts / quantum - 1e-9) * quantum, dtype=np.float64)


def _fit_nodes(wanted: _Wanted, fleet: Fleet, skipped: _Skipped) -> tuple[_Wanted, Floats]:
    """Growth within what each node has free, higher tiers first; returns what stayed unmet.

    Free is capacity minus what all instances hold now: what this plan shrinks is free only once
    it has really been given back, in the next tick.
    Within a tier the smallest growth comes first, which satisfies the most workloads.
    """
    nodes, resources = len(fleet.nodes), len(fleet.resources)
    unmet = np.zeros((nodes, resources))
    node = fleet.instances.node[wanted.instance]
    growth = np.where(node >= 0, wanted.target - wanted.current, 0.0)
    if nodes == 0 or not (growth > 0).any():
        return wanted, unmet
    quantum = quanta(fleet.resources)
    cell = np.where(node >= 0, node, 0).astype(np.int64) * resources + wanted.resource
    # In quanta, so that cores and bytes can share a cumulative sum without losing bits.
    granted = quantum[wanted.resource] * _grant_by_priority(
        wanted,
        fleet,
        np.maximum(growth, 0.0) / quantum[wanted.resource],
        cell,
        (_free(fleet) / quantum).reshape(-1),
    )

    short = growth - granted > 1e-6 * quantum[wanted.resource]
    np.add.at(unmet.reshape(-1), cell[short], (growth - granted)[short])
    target = np.where(short, wanted.current + granted, wanted.target)
    full = short & (granted <= 0)
    # A skipped change is reported with what it wanted, not with what it got.
    trimmed = _Wanted(
        wanted.instance,
        wanted.resource,
        wanted.current,
        np.where(full, wanted.target, target),
        np.where(short, wanted.reason | Reason.NODE_SHORT, wanted.reason).astype(np.int32),
    )
    return skipped.drop(trimmed, full, Skip.NODE_FULL), unmet


def _free(fleet: Fleet) -> Floats:
    """Capacity minus everything held, shape (node, resource); inf where unlimited."""
    capacity = np.where(np.isnan(fleet.nodes.capacity), np.inf, fleet.nodes.capacity)
    held = np.zeros_like(capacity)
    bound = (fleet.instances.node >= 0) & (fleet.instances.state != InstanceState.STOPPED)
    amounts = np.nan_to_num(fleet.instances.current[bound], nan=0.0)
    for row in range(amounts.shape[1]):
        held[:, row] = np.bincount(
            fleet.instances.node[bound], weights=amounts[:, row], minlength=len(capacity)
        )
    return np.asarray(np.maximum(capacity - held, 0.0), dtype=np.float64)


def _grant_by_priority(
    wanted: _Wanted, fleet: Fleet, growth: Floats, cell: NDArray[np.int64], free: Floats
) -> Floats:
    """How much of each growth its node can give, in whole quanta, shape (change,)."""
    tier = fleet.workloads.tier[fleet.instances.workload[wanted.instance]]
    priority = np.array([t.priority for t in fleet.tiers])[tier]
    order = np.lexsort((wanted.instance, growth, -priority, cell))
    sorted_cell, sorted_growth = cell[order], growth[order]
    before = np.cumsum(sorted_growth) - sorted_growth
    first = np.r_[True, sorted_cell[1:] != sorted_cell[:-1]]
    before -= np.maximum.accumulate(np.where(first, before, -np.inf))
    room = np.maximum(free[sorted_cell] - before, 0.0)
    fits = sorted_growth <= room + 1e-6
    granted: Floats = np.empty_like(growth)
    granted[order] = np.where(fits, sorted_growth, np.floor(room + 1e-6))
    return granted
