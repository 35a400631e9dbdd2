"""The catalogue of resource types: the one place that knows what a resource is.

Adding a resource type is adding one `ResourceSpec` here (and an actuator that can apply it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIB = 1024.0**2


@dataclass(frozen=True, slots=True)
class ResourceSpec:
    """What every part of PLA needs to know of one resource type.

    Attributes:
        name: the key in settings, plans, traces and reports.
        unit: the unit of every amount of this resource, everywhere.
        quantum: amounts are rounded up to a multiple of this [unit].
        floor: no target is below this [unit].
        compressible: a workload that lacks it gets slower (CPU, bandwidth); without it the
            workload is killed or fails (memory, storage).
        growth_only: can never be taken back (a volume cannot shrink).
        whole: handed out in whole units only (GPU devices).
        kills: a workload that exceeds it is killed, which its platform reports (memory).
        used_column: the usage trace's column of usage.
        allocated_column: the usage trace's column of the amount in force.
        label: the suffix of labels and annotations (`pla.dev/min.<label>`).
    """

    name: str
    unit: str
    quantum: float
    floor: float
    compressible: bool
    used_column: str
    allocated_column: str
    label: str
    growth_only: bool = False
    whole: bool = False
    kills: bool = False


CATALOGUE: tuple[ResourceSpec, ...] = (
    ResourceSpec(
        name="cpu",
        unit="cores",
        quantum=0.001,
        floor=0.01,
        compressible=True,
        used_column="cpu_cores_used",
        allocated_column="cpu_cores_allocated",
        label="cpu",
    ),
    ResourceSpec(
        name="memory",
        unit="bytes",
        quantum=MIB,
        floor=10 * MIB,
        compressible=False,
        kills=True,
        used_column="memory_bytes_used",
        allocated_column="memory_bytes_allocated",
        label="memory",
    ),
    ResourceSpec(
        name="storage",
        unit="bytes",
        quantum=MIB,
        floor=10 * MIB,
        compressible=False,
        growth_only=True,
        used_column="storage_bytes_used",
        allocated_column="storage_bytes_allocated",
        label="storage",
    ),
    ResourceSpec(
        name="network_rx",
        unit="bytes/s",
        quantum=1000.0,
        floor=10_000.0,
        compressible=True,
        used_column="net_rx_bytes_per_s",
        allocated_column="net_rx_bytes_per_s_allocated",
        label="network-rx",
    ),
    ResourceSpec(
        name="network_tx",
        unit="bytes/s",
        quantum=1000.0,
        floor=10_000.0,
        compressible=True,
        used_column="net_tx_bytes_per_s",
        allocated_column="net_tx_bytes_per_s_allocated",
        label="network-tx",
    ),
    ResourceSpec(
        name="gpu",
        unit="devices",
        quantum=1.0,
        floor=0.0,
        compressible=False,
        whole=True,
        used_column="gpu_devices_used",
        allocated_column="gpu_devices_allocated",
        label="gpu",
    ),
)

BY_NAME: dict[str, ResourceSpec] = {spec.name: spec for spec in CATALOGUE}


def specs(names: Sequence[str]) -> tuple[ResourceSpec, ...]:
    """The specs of `names`, in that order.

    Raises:
        ValueError: for a name that is not in the catalogue; it lists those that are.
    """
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        known = ", ".join(BY_NAME)
        raise ValueError(f"unknown resource {unknown[0]!r}: the catalogue has {known}")
    return tuple(BY_NAME[name] for name in names)


def floors(names: Sequence[str]) -> NDArray[np.float64]:
    """Floors of `names`, shape (resource,), each in its own unit."""
    return np.array([spec.floor for spec in specs(names)], dtype=np.float64)


def quanta(names: Sequence[str]) -> NDArray[np.float64]:
    """Quanta of `names`, shape (resource,), each in its own unit."""
    return np.array([spec.quantum for spec in specs(names)], dtype=np.float64)


def compressible(names: Sequence[str]) -> NDArray[np.bool_]:
    """Which of `names` only slow a workload down when short, shape (resource,)."""
    return np.array([spec.compressible for spec in specs(names)], dtype=np.bool_)


def growth_only(names: Sequence[str]) -> NDArray[np.bool_]:
    """Which of `names` can never be taken back, shape (resource,)."""
    return np.array([spec.growth_only for spec in specs(names)], dtype=np.bool_)


def kills(names: Sequence[str]) -> NDArray[np.bool_]:
    """Which of `names` a workload is killed for when it is short of them, shape (resource,)."""
    return np.array([spec.kills for spec in specs(names)], dtype=np.bool_)


def whole(names: Sequence[str]) -> NDArray[np.bool_]:
    """Which of `names` are handed out in whole units only, shape (resource,)."""
    return np.array([spec.whole for spec in specs(names)], dtype=np.bool_)


def round_down(amounts: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
    """`amounts` (..., resource) rounded down to each resource's quantum; NaN stays NaN.

    The tolerance is that of `round_up`.
    """
    quantum = quanta(names)
    return multiples(np.floor(amounts / quantum + 1e-9), quantum)


def round_up(amounts: NDArray[np.float64], names: Sequence[str]) -> NDArray[np.float64]:
    """`amounts` (..., resource) rounded up to each resource's quantum; NaN stays NaN.

    A tolerance of 1e-9 quanta keeps an amount that already is a multiple where it is.
    """
    quantum = quanta(names)
    return multiples(np.ceil(amounts / quantum - 1e-9), quantum)


def multiples(counts: NDArray[np.float64], quantum: NDArray[np.float64]) -> NDArray[np.float64]:
    """`counts` times `quantum`, as the nearest float to the decimal that is meant.

    700 / 1000 is 0.7, 700 x 0.001 is not: a quantum below one divides by its reciprocal.
    """
    per_unit = np.where(quantum < 1, np.round(1 / quantum), 1.0)
    # Plus zero: a negative zero would be shown with its sign.
    return np.asarray(counts * np.maximum(quantum, 1.0) / per_unit + 0.0, dtype=np.float64)
