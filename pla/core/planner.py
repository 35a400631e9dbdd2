"""Recommendation + current amounts + node capacity -> plan.

Grow at once, shrink slowly; contention goes by tier; nothing is promised twice. Planning again
right after applying yields an empty plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core import contention
from pla.core.fleet import Bools, Fleet, Floats, InstanceState, Ints, Mode
from pla.core.plan import Flags, Plan, Reason, Recommendation, Skip
from pla.core.resources import multiples, quanta
from pla.core.situation import Rules

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

    def drop(self, wanted: _Wanted, *rules: tuple[Bools, Skip]) -> _Wanted:
        """`wanted` without the rows that a rule hits: noted as skipped, for the first that does."""
        why = np.full(len(wanted.instance), -1, dtype=np.int32)
        for where, skip in reversed(rules):
            why[where] = _SKIP_ROW[skip]
        where = why >= 0
        if not where.any():
            return wanted
        gone = wanted.take(where)
        self.parts.append((gone.instance, gone.resource, gone.target, why[where]))
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
    wanted, unmet = _fit_nodes(wanted, fleet, last_change_s == now_s, skipped)
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
    """Every instance and resource whose target differs from what it has by half a quantum.

    What is not finite is no amount, neither there nor to be.
    """
    rows = fleet.instances.workload
    current = fleet.instances.current
    target = recommendation.target[rows]
    half = quanta(fleet.resources)[None, :] / 2
    with np.errstate(invalid="ignore"):
        gap = np.abs(target - current)
    differs = np.isfinite(gap) & (gap > half)
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
    row = instances.workload[wanted.instance]
    state, mode = instances.state[wanted.instance], workloads.mode[row]
    return skipped.drop(
        wanted,
        (~supported[row, wanted.resource], Skip.UNSUPPORTED),
        ((state == InstanceState.STOPPED) | (state == InstanceState.STARTING), Skip.NOT_RUNNING),
        (workloads.paused[row], Skip.PAUSED),
        (mode == Mode.OBSERVE, Skip.OBSERVE),
        ((mode == Mode.CANARY) & ~_canary_instances(fleet)[wanted.instance], Skip.CANARY),
        # Growth does not wait for a resize under way: the platform takes the later of the two.
        ((state == InstanceState.RESIZING) & (wanted.target < wanted.current), Skip.RESIZING),
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
    fraction = np.array([tier.canary_fraction for tier in fleet.tiers])[fleet.workloads.tier]
    # 0.07 x 100 is a little more than 7 in binary.
    chosen = np.zeros(len(fleet.instances), dtype=np.bool_)
    chosen[live] = rank < np.ceil(fraction * counts - 1e-9)[rows]
    return chosen


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

    shrinks = wanted.target < wanted.current
    small = shrinks & (wanted.target >= rules.shrink_deadband * wanted.current)
    elapsed = now_s - last_change_s[wanted.instance, wanted.resource]
    # Two plans at one time must not add up, even without a cooldown.
    waits = shrinks & ((elapsed < cooldown[wanted.instance]) | (elapsed <= 0))
    wanted = skipped.drop(wanted, (small, Skip.DEADBAND), (waits, Skip.COOLDOWN))

    least = wanted.current * (1.0 - fraction[wanted.instance])
    limited = wanted.target < least
    stepped = _round_up_rows(least, wanted.resource, fleet)
    wanted = _Wanted(
        wanted.instance,
        wanted.resource,
        wanted.current,
        np.where(limited, stepped, wanted.target),
        np.where(limited, wanted.reason | Reason.SHRINK_LIMITED, wanted.reason).astype(np.int32),
    )
    # Rounded up, a tiny or indivisible amount may be back where it was: nothing can be taken.
    half = quanta(fleet.resources)[wanted.resource] / 2
    stays = limited & (wanted.target > wanted.current - half)
    return skipped.drop(wanted, (stays, Skip.SHRINK_LIMIT))


def _round_up_rows(amounts: Floats, resource: Ints, fleet: Fleet) -> Floats:
    quantum = quanta(fleet.resources)[resource]
    return multiples(np.ceil(amounts / quantum - 1e-9), quantum)


def _fit_nodes(
    wanted: _Wanted, fleet: Fleet, just_changed: Bools, skipped: _Skipped
) -> tuple[_Wanted, Floats]:
    """Growth within what each node has free; returns also what stayed unmet (node, resource)."""
    unmet = np.zeros((len(fleet.nodes), len(fleet.resources)))
    growth = np.maximum(wanted.target - wanted.current, 0.0)
    granted = contention.grant(fleet, wanted.instance, wanted.resource, growth, just_changed)
    # Exact where nothing is trimmed: `grant` hands back the very number that was asked for.
    short = np.flatnonzero(granted != growth)
    if not len(short):
        return wanted, unmet
    cell = fleet.instances.node[wanted.instance[short]], wanted.resource[short]
    np.add.at(unmet, cell, (growth - granted)[short])
    target, reason = wanted.target.copy(), wanted.reason.copy()
    # A skipped change is reported with what it wanted, not with what it got.
    some = short[granted[short] > 0]
    target[some] = wanted.current[some] + granted[some]
    reason[short] |= Reason.NODE_SHORT
    full = np.zeros(len(target), dtype=np.bool_)
    full[short[granted[short] <= 0]] = True
    trimmed = _Wanted(wanted.instance, wanted.resource, wanted.current, target, reason)
    return skipped.drop(trimmed, (full, Skip.NODE_FULL)), unmet
