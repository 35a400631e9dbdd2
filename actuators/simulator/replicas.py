"""Workloads and their instances: rows next to each other, the busiest replica first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Floats, Ints


class Replicas:
    """Maps (resource, workload) to (resource, instance) and back.

    Replica i of n demands `1 - skew x i / (n - 1)` of the workload's demand.

    Attributes:
        workload: workload row of each instance, shape (instance,).
        number: position of each instance within its workload, shape (instance,).
    """

    def __init__(self, replicas: NDArray[np.int64], skew: float) -> None:
        self.workload: Ints = np.repeat(np.arange(len(replicas), dtype=np.int32), replicas)
        self._first = np.cumsum(replicas) - replicas
        self.number = np.arange(len(self.workload)) - self._first[self.workload]
        others = np.maximum(replicas - 1, 1)[self.workload]
        self._share = 1.0 - skew * self.number / others
        self._single = len(self.workload) == len(replicas)

    def __len__(self) -> int:
        return len(self.workload)

    def names(self, workloads: Sequence[str]) -> tuple[str, ...]:
        """`NAME-0`, `NAME-1`, ... of every workload, shape (instance,)."""
        rows = zip(self.workload.tolist(), self.number.tolist(), strict=True)
        return tuple(f"{workloads[row]}-{number}" for row, number in rows)

    def demand(self, demand: Floats) -> Floats:
        """Demand per instance, shape (resource, instance)."""
        return demand if self._single else demand[:, self.workload] * self._share

    def spread(self, values: Floats) -> Floats:
        """The workload's value for each of its instances, shape (resource, instance)."""
        return values if self._single else values[:, self.workload]

    def busiest(self, values: Floats) -> Floats:
        """Largest value among the instances, last axis (workload,)."""
        return values if self._single else np.maximum.reduceat(values, self._first, axis=-1)

    def total(self, values: Floats) -> Floats:
        """Sum over the instances, last axis (workload,)."""
        return values if self._single else np.add.reduceat(values, self._first, axis=-1)

    def any(self, flags: Bools) -> Bools:
        """Whether any instance, last axis (workload,)."""
        if self._single:
            return flags
        return np.asarray(np.logical_or.reduceat(flags, self._first, axis=-1), dtype=np.bool_)
