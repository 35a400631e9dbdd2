"""Contention: what growth a node can give, and to whom. Nothing is promised twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core import under_way
from pla.core.fleet import Bools, Fleet, Floats, InstanceState, Ints
from pla.core.resources import quanta

SLACK = 1e-6
"""Share of a quantum by which sums may miss, for rounding."""


def grant(
    fleet: Fleet, instance: Ints, resource: Ints, growth: Floats, just_changed: Bools
) -> Floats:
    """How much of each `growth` the nodes can give, shape (change,) [unit].

    Higher tiers come first; what they still lack, no lower tier gets. Within a tier the smallest
    growth comes first, which satisfies the most workloads. What is trimmed is trimmed to whole
    quanta; an instance that is bound to no node gets what it asks for.

    Free is capacity minus what all instances hold now (`under_way.held`): what a plan shrinks is
    free only once it has really been given back, and what was accepted is gone before it is in
    force. Planning twice at one time gives nothing twice: where something has changed at this
    very time, a node is full.

    Args:
        fleet: who holds what.
        instance: rows of `fleet.instances`, ascending for each resource, shape (change,).
        resource: rows of `fleet.resources`, shape (change,).
        growth: what each asks for beyond what it holds; 0 asks for nothing, shape (change,) [unit].
        just_changed: cells that were changed at this very time, shape (instance, resource).
    """
    granted = growth.copy()
    node = fleet.instances.node[instance]
    asks = np.flatnonzero((growth > 0) & (node >= 0))
    if not len(asks):
        return granted
    # In quanta, so that cores and bytes can share a cumulative sum without losing bits.
    quantum = quanta(fleet.resources)
    free = (_free(fleet, just_changed) / quantum).reshape(-1)
    cell = node[asks].astype(np.int64) * len(fleet.resources) + resource[asks]
    amount = growth[asks] / quantum[resource[asks]]
    tight = np.bincount(cell, amount, minlength=len(free))[cell] > free[cell] + SLACK
    asks, cell, amount = asks[tight], cell[tight], amount[tight]
    if not len(asks):
        return granted
    given = _by_priority(_rank(fleet, instance[asks]), amount, cell, free)
    short = amount - given > SLACK
    granted[asks[short]] = given[short] * quantum[resource[asks[short]]]
    return granted


def _free(fleet: Fleet, just_changed: Bools) -> Floats:
    """What growth can have, shape (node, resource) [unit]; inf where unlimited."""
    instances = fleet.instances
    unlimited = np.isnan(fleet.nodes.capacity) | np.isposinf(fleet.nodes.capacity)
    capacity = np.where(unlimited, 0.0, fleet.nodes.capacity)
    bound = (instances.node >= 0) & (instances.state != InstanceState.STOPPED)
    node, amounts = instances.node, under_way.held(instances.current, instances.pending)
    if not bound.all():
        node, amounts = node[bound], amounts[bound]
    free = np.empty_like(capacity)
    for row in range(free.shape[1]):
        held = np.bincount(node, weights=amounts[:, row], minlength=len(free))
        free[:, row] = np.maximum(capacity[:, row] - held, 0.0)
    changed, resource = np.nonzero(just_changed & (instances.node >= 0)[:, None])
    free[instances.node[changed], resource] = 0.0
    free[unlimited] = np.inf
    return free


def _rank(fleet: Fleet, instance: Ints) -> NDArray[np.int64]:
    """0 for the highest priority of all tiers, 1 for the next, shape (change,)."""
    _, ascending = np.unique([tier.priority for tier in fleet.tiers], return_inverse=True)
    rank = ascending.max() - ascending
    tier = fleet.workloads.tier[fleet.instances.workload[instance]]
    return np.asarray(rank[tier], dtype=np.int64)


def _by_priority(
    rank: NDArray[np.int64], growth: Floats, cell: NDArray[np.int64], free: Floats
) -> Floats:
    """How much of each growth its cell can give, in whole quanta, shape (change,).

    Args:
        rank: lower comes first, shape (change,).
        growth: what each asks for, shape (change,) [quanta].
        cell: row of `free`, shape (change,).
        free: finite wherever `cell` points, shape (node x resource,) [quanta].
    """
    order = np.lexsort((growth, cell * (rank.max() + 1) + rank))
    cell, growth = cell[order], growth[order]
    # More than there is can never fit; cut off there, an absurd wish costs the others' sums no bit.
    asked = np.minimum(growth, free[cell] + 1.0)
    room = np.maximum(free[cell] - _sum_before(asked, cell), 0.0)
    given: Floats = np.empty_like(growth)
    given[order] = np.where(asked <= room + SLACK, growth, np.floor(room + SLACK))
    return given


def _sum_before(asked: Floats, cell: NDArray[np.int64]) -> Floats:
    """Sum of what was asked earlier in the same cell, shape (change,) [quanta].

    Whole and broken quanta are summed apart: running sums over all nodes of a large fleet would
    otherwise lose the fractions, and with them a quantum here and there.
    """
    rows = np.arange(len(cell))
    first = np.maximum.accumulate(np.where(np.r_[True, cell[1:] != cell[:-1]], rows, 0))
    whole = np.floor(asked)
    total = np.zeros_like(asked)
    for part in (whole, asked - whole):
        before = np.cumsum(part) - part
        total += before - before[first]
    return total
