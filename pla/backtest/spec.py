"""What a backtest replays, and what a replay yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Floats
from pla.settings import Settings


@dataclass(frozen=True, slots=True)
class Spec:
    """The replayed period and cycle; all times in whole steps.

    Attributes:
        resources: the resource axis.
        train_until_s: the model sees samples strictly before this [epoch s].
        start_s, end_s: decisions are made in `[start_s, end_s)` [epoch s].
        tick_s: time between decisions [s].
        lead_s: from a decision to its effect [s].
        hold_s: what a decision's amount must cover, from its effect on [s].
        tier: name of the tier that every workload is given.
    """

    resources: tuple[str, ...]
    train_until_s: int
    start_s: int
    end_s: int
    tick_s: int
    lead_s: int
    hold_s: int
    tier: str

    def __post_init__(self) -> None:
        if 3600 % self.tick_s:
            raise ValueError(f"--tick of {self.tick_s} s: it must divide an hour")
        for name in ("train_until_s", "start_s", "end_s", "lead_s", "hold_s"):
            if getattr(self, name) % self.tick_s:
                raise ValueError(
                    f"--{name.removesuffix('_s').replace('_', '-')} is not a whole number of "
                    f"ticks of {self.tick_s} s"
                )
        if not self.train_until_s <= self.start_s < self.end_s:
            raise ValueError("needed: --train-until <= --start < --end")
        if self.hold_s < self.tick_s:
            raise ValueError("--hold must cover at least one tick: the amount holds that long")

    @property
    def decision_times_s(self) -> NDArray[np.int64]:
        """When decisions are made, shape (decision,) [epoch s]."""
        return np.arange(self.start_s, self.end_s, self.tick_s, dtype=np.int64)

    @property
    def effect_times_s(self) -> NDArray[np.int64]:
        """From when each decision's amount is in force, shape (decision,) [epoch s]."""
        return self.decision_times_s + self.lead_s

    def tick_settings(self, settings: Settings) -> Settings:
        """`settings` with the replay's cycle: one step per tick, nothing simulated."""
        tick = settings.tick.model_copy(
            update={
                "interval_s": float(self.tick_s),
                "step_s": self.tick_s,
                "lead_s": self.lead_s,
                "slack_s": self.hold_s - self.tick_s,
                # A replayed gap ages in replayed time; real traces have gaps of a step or two.
                "stale_after_s": max(settings.tick.stale_after_s, 3.0 * self.tick_s),
            }
        )
        return settings.model_copy(
            update={
                "resources": self.resources,
                "tick": tick,
                "simulator": settings.simulator.model_copy(update={"enabled": False}),
            }
        )


@dataclass(frozen=True, slots=True)
class Replayed:
    """One policy's decisions over the period.

    Attributes:
        policy: its name.
        amounts: in force from each effect time on, shape (decision, resource, workload); NaN
            where the policy has no opinion (no history at all).
        changes: resizes that were applied, shape (resource, workload).
        forecasts: calibrated quantiles of the hold window's peak where the policy is a forecast,
            shape (decision, resource, workload, quantile); None otherwise.
        quantiles: of `forecasts`.
    """

    policy: str
    amounts: NDArray[np.float32]
    changes: NDArray[np.int64]
    forecasts: NDArray[np.float32] | None = None
    quantiles: tuple[float, ...] = ()


def peaks_ahead(usage: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Largest of the next `steps` values from each index on, along axis 0; NaN = none of them.

    Row k covers `usage[k] ... usage[k + steps - 1]`, as far as there are values.
    """
    peak = usage.copy()
    for ahead in range(1, steps):
        peak[:-ahead] = np.fmax(peak[:-ahead], usage[ahead:])
    return peak


def resize_count(amounts: Floats) -> NDArray[np.int64]:
    """Changes from one decision to the next, shape (resource, workload)."""
    differs = np.diff(amounts, axis=0) != 0
    both = ~np.isnan(amounts[1:]) & ~np.isnan(amounts[:-1])
    return np.asarray((differs & both).sum(axis=0), dtype=np.int64)
