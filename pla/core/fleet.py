"""The fleet as columns: workloads, their instances, the nodes that carry them.

A *workload* is what is forecast and recommended for; an *instance* is a running copy of it, and
what is resized. Objects exist only for the few things that act (`pla.core.plan`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pla.core.resources import specs

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int32]
Bytes = NDArray[np.int8]


class Mode(IntEnum):
    """What PLA may do to a workload."""

    OBSERVE = 0  # recommend only
    CANARY = 1  # resize a stated fraction of its instances
    ENFORCE = 2


class InstanceState(IntEnum):
    """What an instance is doing, as its platform says."""

    RUNNING = 0
    STARTING = 1
    STOPPED = 2
    WARM = 3  # in a pool, not yet claimed
    RESIZING = 4  # an accepted resize is still under way


class ControlledValues(IntEnum):
    """What a target sets (the words are the Vertical Pod Autoscaler's)."""

    REQUESTS = 0
    REQUESTS_AND_LIMITS = 1


@dataclass(frozen=True, slots=True)
class Tier:
    """A service level: how generously, how soon and how far its workloads are resized.

    Attributes:
        name: as in the label `pla.dev/tier`.
        priority: higher is satisfied first when a node is short.
        quantile: the forecast quantile that sets the target; 1 - quantile is the promised
            upper bound of the violation rate per step.
        headroom: added to a reactive target, as a fraction of the recent peak.
        cooldown_s: least time between a change and a following shrink [s].
        max_shrink_fraction: a shrink takes at most this share of the current amount.
        mode: what PLA may do unless the workload says otherwise.
        controlled_values: per resource name; a resource that is absent is REQUESTS_AND_LIMITS.
        canary_fraction: share of a workload's instances that are resized in mode CANARY.
    """

    name: str
    priority: int
    quantile: float
    headroom: float
    cooldown_s: float
    max_shrink_fraction: float
    mode: Mode = Mode.ENFORCE
    controlled_values: dict[str, ControlledValues] = field(default_factory=dict)
    canary_fraction: float = 0.1


@dataclass(frozen=True, slots=True)
class WorkloadTable:
    """One row per workload; the resource axis is `Fleet.resources`.

    Attributes:
        ids: workload URIs, shape (workload,).
        tier: row of `Fleet.tiers`, shape (workload,).
        mode: `Mode` in force, shape (workload,).
        paused: no action at all, shape (workload,).
        minimum, maximum: bounds set by people, shape (workload, resource); NaN = none.
        request: amounts its owner wrote down, before PLA, shape (workload, resource); NaN = none.
        support: which cells exist at all, shape (workload, resource).
        created_s: when it was first seen on its platform [epoch s], shape (workload,).
    """

    ids: tuple[str, ...]
    tier: Bytes
    mode: Bytes
    paused: Bools
    minimum: Floats
    maximum: Floats
    request: Floats
    support: Bools
    created_s: Floats

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class InstanceTable:
    """One row per running copy.

    Attributes:
        ids: unique within the fleet, shape (instance,).
        workload: row of the workload table, shape (instance,).
        node: row of the node table; -1 = not bound to a node, shape (instance,).
        current: amounts in force, shape (instance, resource); NaN where the cell does not exist.
        state: `InstanceState`, shape (instance,).
        version: the platform's precondition for a write (resourceVersion, ...), shape (instance,).
        pending: amounts that the platform has accepted and not yet put in force, shape of
            `current`; NaN = none. Left out, there are none.
    """

    ids: tuple[str, ...]
    workload: Ints
    node: Ints
    current: Floats
    state: Bytes
    version: tuple[str, ...]
    pending: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def __post_init__(self) -> None:
        if not self.pending.size:
            object.__setattr__(self, "pending", np.full(self.current.shape, np.nan))

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class NodeTable:
    """One row per node: `capacity` (node, resource) that instances can share; NaN = unlimited."""

    ids: tuple[str, ...]
    capacity: Floats

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a tick acts on: the three tables over one resource axis."""

    resources: tuple[str, ...]
    tiers: tuple[Tier, ...]
    workloads: WorkloadTable
    instances: InstanceTable
    nodes: NodeTable

    def __post_init__(self) -> None:
        specs(self.resources)
        _check_shapes(self)

    def by_tier(self, field: str) -> Floats:
        """The number `field` of each workload's tier, shape (workload,)."""
        column: Floats = np.array([getattr(tier, field) for tier in self.tiers], dtype=np.float64)
        return np.asarray(column[self.workloads.tier], dtype=np.float64)

    def workload_current(self) -> Floats:
        """Amount per workload = that of its largest live instance, shape (workload, resource).

        All copies of a workload are sized alike, so the largest is what it has; NaN where it has
        no instance or the cell does not exist.
        """
        stopped = (self.instances.state == InstanceState.STOPPED)[:, None]
        absent = stopped | np.isnan(self.instances.current)
        current = self.largest_of_instances(np.where(absent, -np.inf, self.instances.current))
        current[np.isneginf(current)] = np.nan
        return current

    def largest_of_instances(self, values: Floats) -> Floats:
        """The largest of `values` (instance, resource) per workload, shape (workload, resource).

        -inf for a workload without an instance.
        """
        rows = self.instances.workload
        if (rows[1:] < rows[:-1]).any():
            order = np.argsort(rows, kind="stable")
            rows, values = rows[order], values[order]
        largest = np.full((len(self.workloads), len(self.resources)), -np.inf)
        starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]][: len(rows)])
        if len(starts):
            largest[rows[starts]] = np.maximum.reduceat(values, starts, axis=0)
        return largest


def _check_shapes(fleet: Fleet) -> None:
    workloads, instances, nodes = fleet.workloads, fleet.instances, fleet.nodes
    cells = (len(workloads), len(fleet.resources))
    expected: dict[str, tuple[NDArray[np.generic], tuple[int, ...]]] = {
        "workloads.tier": (workloads.tier, cells[:1]),
        "workloads.mode": (workloads.mode, cells[:1]),
        "workloads.paused": (workloads.paused, cells[:1]),
        "workloads.created_s": (workloads.created_s, cells[:1]),
        "workloads.minimum": (workloads.minimum, cells),
        "workloads.maximum": (workloads.maximum, cells),
        "workloads.request": (workloads.request, cells),
        "workloads.support": (workloads.support, cells),
        "instances.workload": (instances.workload, (len(instances),)),
        "instances.node": (instances.node, (len(instances),)),
        "instances.state": (instances.state, (len(instances),)),
        "instances.current": (instances.current, (len(instances), cells[1])),
        "instances.pending": (instances.pending, (len(instances), cells[1])),
        "nodes.capacity": (nodes.capacity, (len(nodes), cells[1])),
    }
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            raise ValueError(f"fleet: {name} has shape {array.shape}, expected {shape}")
    if len(instances.version) != len(instances):
        raise ValueError(f"fleet: {len(instances.version)} versions, expected {len(instances)}")
    ranges: dict[str, tuple[NDArray[np.integer], int, int]] = {
        "workloads.tier": (workloads.tier, 0, len(fleet.tiers)),
        "instances.workload": (instances.workload, 0, len(workloads)),
        "instances.node": (instances.node, -1, len(nodes)),
    }
    for name, (rows, low, high) in ranges.items():
        if len(rows) and not low <= rows.min() <= rows.max() < high:
            raise ValueError(f"fleet: {name} has rows outside of [{low}, {high})")


@dataclass(frozen=True, slots=True)
class UsageBlock:
    """What a metrics source answers: some consecutive closed steps, oldest first.

    Attributes:
        values: usage of the busiest instance of each workload, shape (step, resource, workload),
            float32; NaN = no sample.
        censored: usage was held down by the amount in force, or an out-of-memory kill happened
            (demand >= usage), same shape.
        killed: an out-of-memory kill happened in this step, shape (step, workload).
        end_s: end of the last step [epoch s], a multiple of `step_s`.
        step_s: width of a step [s].
        unavailable: workloads (by row) whose source did not answer, with the error's words.
        warnings: what the source says of an answer that it gave all the same.
        partial: some of the data behind `values` are missing: they are lower bounds.
    """

    values: NDArray[np.float32]
    censored: Bools
    killed: Bools
    end_s: int
    step_s: int
    unavailable: dict[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    partial: bool = False

    @property
    def steps(self) -> int:
        """How many steps the block holds."""
        return int(self.values.shape[0])


@dataclass(frozen=True, slots=True)
class Forecast:
    """Quantiles of the peak over `(cutoff + lead, cutoff + lead + hold]`.

    Attributes:
        peak: shape (workload, resource, quantile), ascending along the last axis; NaN = none.
        quantiles: ascending, shape (quantile,).
        scale: the workload's own unit of spread, for calibration, shape (workload, resource).
        model_version: which model made it (`7`, or `baseline:NAME`).
        calibration: what the online calibration added, shape of `peak` (zeros before it ran).
    """

    peak: NDArray[np.float32]
    quantiles: tuple[float, ...]
    scale: NDArray[np.float32]
    model_version: str
    calibration: NDArray[np.float32] | None = None


def tier_index(tiers: Sequence[Tier], name: str) -> int:
    """Row of the tier called `name`.

    Raises:
        ValueError: when there is none; it lists those there are.
    """
    for row, tier in enumerate(tiers):
        if tier.name == name:
            return row
    known = ", ".join(tier.name for tier in tiers)
    raise ValueError(f"unknown tier {name!r}: configured are {known}")
