"""The cluster's tables as the ports want them (`FleetPart`), from arrays of either process.

What never changes (names, requests, placement) is put together once per resource axis and then
shared between lists: its arrays are read-only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from actuators.simulator.versions import VersionStrings
from pla.core.fleet import (
    Floats,
    InstanceState,
    InstanceTable,
    Ints,
    Mode,
    NodeTable,
    Tier,
    WorkloadTable,
)
from pla.core.resources import specs
from pla.ports import ActuatorError, FleetPart

T = TypeVar("T", bound=np.generic)

SHIPPED_TIERS = ("critical", "standard", "burstable")
"""Tier rows where nobody says which tiers are configured: the shipped ones, highest first."""


@dataclass(frozen=True, slots=True)
class Inventoried:
    """What never changes while a simulation runs; resource axes are `resources`.

    Attributes:
        resources: what the cluster has.
        workload_ids, tiers, created_s: shape (workload,); `tiers` are names.
        request: shape (workload, resource); NaN = the cell does not exist [unit].
        instance_ids, workload, node: shape (instance,); rows of workload and node.
        node_ids, capacity: shape (node,) and (node, resource); inf = unlimited [unit].
    """

    resources: tuple[str, ...]
    workload_ids: tuple[str, ...]
    tiers: tuple[str, ...]
    created_s: Floats
    request: Floats
    instance_ids: tuple[str, ...]
    workload: Ints
    node: Ints
    node_ids: tuple[str, ...]
    capacity: Floats


class Listing:
    """Makes `FleetPart`s of one cluster for the configured `tiers`."""

    def __init__(self, facts: Inventoried, tiers: Sequence[Tier] | None) -> None:
        """Raises ActuatorError if a workload's tier is not one of `tiers` (None = the shipped)."""
        self._facts = facts
        rows = {tier.name: row for row, tier in enumerate(tiers)} if tiers is not None else {}
        rows = rows or {name: row for row, name in enumerate(SHIPPED_TIERS)}
        unknown = sorted(set(facts.tiers) - set(rows))
        if unknown:
            row = facts.tiers.index(unknown[0])
            raise ActuatorError(
                f"sim: workload {facts.workload_ids[row]!r} has the tier {unknown[0]!r}; "
                f"configured are {', '.join(rows)}: add it under `tiers` or change the workload"
            )
        self._tier = np.array([rows[name] for name in facts.tiers], dtype=np.int8)
        modes = [tier.mode for tier in tiers] if tiers else [Mode.ENFORCE] * len(rows)
        self._mode = np.array(modes, dtype=np.int8)[self._tier]
        self._versions = VersionStrings()
        self._static: dict[tuple[str, ...], tuple[WorkloadTable, NodeTable]] = {}

    def part(
        self,
        resources: Sequence[str],
        current: Floats,
        pending: Floats,
        revision: NDArray[np.int64],
    ) -> FleetPart:
        """The fleet with amounts `current` in force and `pending` under way (NaN = none).

        Both have shape (instance, resource of the cluster). An instance is RESIZING while any of
        its resources is under way, be it among `resources` or not.

        An instance that restarts after an out-of-memory kill is RUNNING, as its container's pod
        would be: it can be resized.
        """
        names = tuple(resources)
        if names not in self._static:
            self._static[names] = self._tables(names)
        workloads, nodes = self._static[names]
        resizing = ~np.isnan(pending).all(axis=1)
        state = np.where(resizing, InstanceState.RESIZING, InstanceState.RUNNING)
        instances = InstanceTable(
            ids=self._facts.instance_ids,
            workload=_frozen(self._facts.workload),
            node=_frozen(self._facts.node),
            current=self._columns(current, names),
            state=state.astype(np.int8),
            version=self._versions.of(revision),
            pending=self._columns(pending, names),
        )
        return FleetPart(workloads, instances, nodes)

    def _tables(self, names: tuple[str, ...]) -> tuple[WorkloadTable, NodeTable]:
        specs(names)
        facts = self._facts
        request = self._columns(facts.request, names)
        nothing = np.full(request.shape, np.nan)
        capacity = self._columns(facts.capacity, names)
        workloads = WorkloadTable(
            ids=facts.workload_ids,
            tier=_frozen(self._tier),
            mode=_frozen(self._mode),
            paused=_frozen(np.zeros(len(self._tier), dtype=np.bool_)),
            minimum=_frozen(nothing),
            maximum=_frozen(nothing),
            request=_frozen(request),
            support=_frozen(~np.isnan(request)),
            created_s=_frozen(facts.created_s),
        )
        limit = np.where(np.isinf(capacity), np.nan, capacity)
        return workloads, NodeTable(facts.node_ids, _frozen(limit))

    def _columns(self, values: Floats, names: tuple[str, ...]) -> Floats:
        """`values` (row, resource of the cluster) for `names`; NaN for what it does not have."""
        if names == self._facts.resources:
            return values
        chosen = np.full((len(values), len(names)), np.nan)
        for column, name in enumerate(names):
            if name in self._facts.resources:
                chosen[:, column] = values[:, self._facts.resources.index(name)]
        return chosen


def _frozen(array: NDArray[T]) -> NDArray[T]:
    view = array.view()
    view.flags.writeable = False
    return view
