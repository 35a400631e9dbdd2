"""Several platforms' parts as one fleet: rows shifted, owners remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import (
    Bools,
    ControlledValues,
    Fleet,
    InstanceTable,
    NodeTable,
    Tier,
    WorkloadTable,
)
from pla.ports import Actuator, FleetPart


@dataclass(frozen=True, slots=True)
class Observation:
    """The fleet, and which platform each workload belongs to.

    Attributes:
        fleet: all platforms together.
        owners: the actuators, in the order of `owner`.
        owner: row of `owners` per workload, shape (workload,).
        resizable: cells that their platform can resize now, shape (workload, resource).
        capped: cells whose amount is a hard cap on usage, shape (workload, resource).
    """

    fleet: Fleet
    owners: tuple[Actuator, ...]
    owner: NDArray[np.int32]
    resizable: Bools
    capped: Bools


def merge(
    parts: Sequence[FleetPart],
    owners: Sequence[Actuator],
    silent: Sequence[bool],
    resources: tuple[str, ...],
    tiers: tuple[Tier, ...],
) -> Observation:
    """One fleet out of `parts`, listed by `owners`; a `silent` owner's cells are not resizable."""
    workload_shift = np.cumsum([0, *(len(part.workloads) for part in parts)])
    node_shift = np.cumsum([0, *(len(part.nodes) for part in parts)])
    sizes = np.array([len(part.workloads) for part in parts], dtype=np.int64)
    owner = np.repeat(np.arange(len(parts)), sizes)
    fleet = Fleet(
        resources=resources,
        tiers=tiers,
        workloads=_workloads(parts, len(resources)),
        instances=_instances(parts, workload_shift, node_shift, len(resources)),
        nodes=NodeTable(
            ids=_names(tuple(part.nodes.ids for part in parts)),
            capacity=_stacked([part.nodes.capacity for part in parts], (0, len(resources))),
        ),
    )
    can = np.zeros((max(len(owners), 1), len(resources)), dtype=np.bool_)
    caps = np.zeros_like(can)
    for row, actuator in enumerate(owners):
        can[row] = [name in actuator.supports and not silent[row] for name in resources]
        caps[row] = [name in actuator.enforces for name in resources]
    limited = _limited(tiers, resources)[fleet.workloads.tier]
    return Observation(
        fleet=fleet,
        owners=tuple(owners),
        owner=owner.astype(np.int32),
        resizable=can[owner] & fleet.workloads.support,
        capped=caps[owner] & limited,
    )


def row_map(old: tuple[str, ...], new: tuple[str, ...]) -> NDArray[np.int64]:
    """For each of `new` its row in `old`, -1 where it has none."""
    known = {name: row for row, name in enumerate(old)}
    return np.array([known.get(name, -1) for name in new], dtype=np.int64)


def _limited(tiers: tuple[Tier, ...], resources: tuple[str, ...]) -> Bools:
    """Whether a tier's target of a resource sets a limit at all, shape (tier, resource)."""
    return np.array(
        [
            [
                tier.controlled_values.get(name, ControlledValues.REQUESTS_AND_LIMITS)
                is ControlledValues.REQUESTS_AND_LIMITS
                for name in resources
            ]
            for tier in tiers
        ],
        dtype=np.bool_,
    )


def _names(columns: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """The parts' names, one after the other."""
    # One platform is the usual case: its tuple stays the same object, and compares at no cost.
    return columns[0] if len(columns) == 1 else tuple(name for ids in columns for name in ids)


def _stacked(arrays: Sequence[Any], empty: tuple[int, ...]) -> Any:
    """The parts' arrays, one after the other; no part at all is an array of shape `empty`."""
    if not arrays:
        return np.empty(empty)
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _workloads(parts: Sequence[FleetPart], resources: int) -> WorkloadTable:
    tables = [part.workloads for part in parts]
    cells = (0, resources)
    return WorkloadTable(
        ids=_names(tuple(table.ids for table in tables)),
        tier=_stacked([table.tier for table in tables], (0,)).astype(np.int8, copy=False),
        mode=_stacked([table.mode for table in tables], (0,)).astype(np.int8, copy=False),
        paused=_stacked([table.paused for table in tables], (0,)).astype(np.bool_, copy=False),
        minimum=_stacked([table.minimum for table in tables], cells),
        maximum=_stacked([table.maximum for table in tables], cells),
        request=_stacked([table.request for table in tables], cells),
        support=_stacked([table.support for table in tables], cells).astype(np.bool_, copy=False),
        created_s=_stacked([table.created_s for table in tables], (0,)),
    )


def _instances(
    parts: Sequence[FleetPart],
    workload_shift: NDArray[np.int64],
    node_shift: NDArray[np.int64],
    resources: int,
) -> InstanceTable:
    tables = [part.instances for part in parts]
    workload = [
        table.workload + shift for table, shift in zip(tables, workload_shift, strict=False)
    ]
    node = [
        np.where(table.node >= 0, table.node + shift, -1)
        for table, shift in zip(tables, node_shift, strict=False)
    ]
    return InstanceTable(
        ids=_names(tuple(table.ids for table in tables)),
        workload=_stacked(workload, (0,)).astype(np.int32, copy=False),
        node=_stacked(node, (0,)).astype(np.int32, copy=False),
        current=_stacked([table.current for table in tables], (0, resources)),
        state=_stacked([table.state for table in tables], (0,)).astype(np.int8, copy=False),
        version=_names(tuple(table.version for table in tables)),
        pending=_stacked([table.pending for table in tables], (0, resources)),
    )
