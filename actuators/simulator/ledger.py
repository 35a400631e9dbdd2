"""Totals of what the simulated workloads suffered and cost, per workload and in sum."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Floats

Longs = NDArray[np.int64]

AXES = ("workloads", "resources", "support")
"""What `ClusterStats` says of its axes, and that no step changes."""


@dataclass(frozen=True, slots=True)
class StepTotals:
    """What one step adds, every array (resource, workload).

    `amount`, `used` and `demand` are sums over a workload's instances [unit]; `lost` is work that
    was given up, or writes that failed [unit x s, or unit of storage].
    """

    violated: Bools
    throttled_s: Floats
    lost: Floats
    amount: Floats
    used: Floats
    demand: Floats


@dataclass(frozen=True, slots=True)
class ClusterStats:
    """Totals since the simulation began; arrays (resource, workload) unless said otherwise.

    Attributes:
        workloads, resources: names of the axes.
        support: which cells exist.
        steps: closed steps.
        violation_steps: steps in which an instance's demand exceeded its amount.
        throttled_s: time in which work had to wait, summed over instances [s].
        lost: work given up [unit x s]; for storage, bytes whose writing failed.
        kills: out-of-memory kills, shape (workload,).
        resizes: resizes that took effect.
        amount_integral, usage_integral, demand_integral: over time, summed over instances
            [unit x s].
        charged_integral: of max(amount, demand): demand that was not covered still counts.
    """

    workloads: tuple[str, ...]
    resources: tuple[str, ...]
    support: Bools
    steps: int
    violation_steps: Longs
    throttled_s: Floats
    lost: Floats
    kills: Longs
    resizes: Longs
    amount_integral: Floats
    usage_integral: Floats
    demand_integral: Floats
    charged_integral: Floats

    @classmethod
    def empty(
        cls, workloads: tuple[str, ...], resources: tuple[str, ...], support: Bools
    ) -> ClusterStats:
        """Nothing has happened yet."""
        shape = support.shape
        whole = [np.zeros(shape, dtype=np.int64) for _ in range(2)]
        real = [np.zeros(shape) for _ in range(6)]
        kills = np.zeros(len(workloads), dtype=np.int64)
        return cls(
            workloads,
            resources,
            support,
            0,
            whole[0],
            real[0],
            real[1],
            kills,
            whole[1],
            *real[2:],
        )

    def since(self, earlier: ClusterStats) -> ClusterStats:
        """What happened after `earlier` was taken of the same cluster."""
        changes = {
            item.name: getattr(self, item.name) - getattr(earlier, item.name)
            for item in fields(self)
            if item.name not in AXES
        }
        return replace(self, **changes)

    def totals(self) -> dict[str, Any]:
        """Sums over all workloads, per resource, as plain numbers.

        `cost` is charged over demanded (DESIGN 8; 1 is perfect, and `excess` is cost - 1).
        """
        per_resource: dict[str, dict[str, float]] = {}
        for row, name in enumerate(self.resources):
            cells = max(self.steps * int(self.support[row].sum()), 1)
            demanded = float(self.demand_integral[row].sum())
            charged = float(self.charged_integral[row].sum())
            per_resource[name] = {
                "violation_steps": int(self.violation_steps[row].sum()),
                "violation_rate": float(self.violation_steps[row].sum()) / cells,
                "throttled_s": float(self.throttled_s[row].sum()),
                "lost": float(self.lost[row].sum()),
                "resizes": int(self.resizes[row].sum()),
                "amount_integral": float(self.amount_integral[row].sum()),
                "usage_integral": float(self.usage_integral[row].sum()),
                "demand_integral": demanded,
                "cost": charged / demanded if demanded else float("nan"),
            }
        return {
            "workloads": len(self.workloads),
            "steps": self.steps,
            "oom_kills": int(self.kills.sum()),
            "resizes": int(self.resizes.sum()),
            "resources": per_resource,
        }


class Ledger:
    """Keeps the totals of a running cluster."""

    def __init__(
        self, workloads: tuple[str, ...], resources: tuple[str, ...], support: Bools
    ) -> None:
        self._stats = ClusterStats.empty(workloads, resources, support)
        self._steps = 0

    def add_step(self, step: StepTotals, killed_instances: Longs, step_s: float) -> None:
        """Add a closed step; `killed_instances` counts kills per workload."""
        stats = self._stats
        self._steps += 1
        stats.violation_steps[...] += step.violated
        stats.throttled_s[...] += step.throttled_s
        stats.lost[...] += step.lost
        stats.kills[...] += killed_instances
        stats.amount_integral[...] += step.amount * step_s
        stats.usage_integral[...] += step.used * step_s
        stats.demand_integral[...] += step.demand * step_s
        stats.charged_integral[...] += np.maximum(step.amount, step.demand) * step_s

    def add_resizes(self, resource: Longs, workload: Longs) -> None:
        """Count resizes that took effect."""
        np.add.at(self._stats.resizes, (resource, workload), 1)

    def stats(self) -> ClusterStats:
        """A copy of the totals, which later steps leave alone."""
        copies = {
            item.name: getattr(self._stats, item.name).copy()
            for item in fields(self._stats)
            if item.name not in (*AXES, "steps")
        }
        return replace(self._stats, steps=self._steps, **copies)
