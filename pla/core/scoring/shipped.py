"""A policy's amounts as they are, without a margin tuned after the fact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Floats

DAY_S = 86_400
HOUR_S = 3600

RISE = 0.10
"""A demand rise exceeds the maximum of the hour before by at least this share of it ..."""

RISE_FLOORS = 2.0
"""... and by at least this many of the resource's floors."""


@dataclass(frozen=True, slots=True)
class Score:
    """One policy on one resource, as shipped.

    Attributes:
        violation_rate: share of scored steps with usage > amount, mean over all steps.
        violation_p95: 95th percentile over workloads of their own rates.
        severity: E[(usage - amount)+] / E[usage].
        cost: sum max(amount, usage) / sum usage; demand that was not covered still counts.
        relative_slack: median over workload-days of (mean amount - p95 usage) / mean amount
            (Autopilot, EuroSys'20).
        attainment: share of workloads whose violation rate keeps the tier's promise.
        median_excess: median over workloads of their own cost - 1.
        churn_p50, churn_p99: resizes per workload-day.
        proactive: share of demand rises for which the amount was there before the rise.
    """

    violation_rate: float
    violation_p95: float
    severity: float
    cost: float
    relative_slack: float
    attainment: float
    median_excess: float
    churn_p50: float
    churn_p99: float
    proactive: float

    @property
    def excess(self) -> float:
        """Cost - 1."""
        return self.cost - 1.0


def score(
    usage: Floats,
    amount: Floats,
    promise: float,
    step_s: int,
    changes: NDArray[np.int64] | None,
    floor: float = 0.0,
) -> Score:
    """The figures of one policy as shipped.

    Args:
        usage: shape (step, workload) [unit]; NaN = not scored.
        amount: in force in each step, decided before it, same shape [unit].
        promise: the tier's upper bound of the violation rate (1 - quantile).
        step_s: width of a step [s].
        changes: resizes per workload in the period, shape (workload,); None = counted from
            `amount`.
        floor: the resource's floor, for what counts as a demand rise [unit].
    """
    amount = np.nan_to_num(amount, nan=0.0)
    seen = np.isfinite(usage)
    samples = seen.sum(axis=0)
    kept = samples > 0
    over = seen & (usage > amount)
    rate = over.sum(axis=0)[kept] / samples[kept]
    used = np.where(seen, usage, 0.0)
    covered = np.where(seen, np.maximum(amount, used), 0.0)
    total = used.sum(axis=0)
    own = covered.sum(axis=0)[total > 0] / total[total > 0] - 1.0
    if changes is None:
        changes = (np.diff(amount, axis=0) != 0).sum(axis=0)
    per_day = changes[kept] / max(len(usage) * step_s / DAY_S, 1e-9)
    short = np.where(over, usage - amount, 0.0)
    return Score(
        violation_rate=_ratio(float(over.sum()), float(samples.sum())),
        violation_p95=percentile(rate, 95),
        severity=_ratio(float(short.sum()), float(used.sum())),
        cost=_ratio(float(covered.sum()), float(used.sum())),
        relative_slack=percentile(relative_slack(usage, amount, step_s), 50),
        attainment=_ratio(float((rate <= promise).sum()), float(len(rate))),
        median_excess=percentile(own, 50),
        churn_p50=percentile(per_day, 50),
        churn_p99=percentile(per_day, 99),
        proactive=proactive(usage, amount, step_s, floor),
    )


def relative_slack(usage: Floats, amount: Floats, step_s: int) -> Floats:
    """(mean amount - p95 usage) / mean amount per workload-day with samples, shape (n,).

    Autopilot (EuroSys'20), section 4: (limit - p95 usage) / limit of a job-day. Days are counted
    from the first step; a day on which a workload was given nothing has no slack.
    """
    per_day = max(DAY_S // step_s, 1)
    slacks = []
    for first in range(0, len(usage), per_day):
        part, given = usage[first : first + per_day], amount[first : first + per_day]
        seen = np.isfinite(part)
        for column in np.flatnonzero(seen.any(axis=0)).tolist():
            rows = seen[:, column]
            mean = float(given[rows, column].mean())
            if mean > 0:
                peak = float(np.percentile(part[rows, column], 95))
                slacks.append((mean - peak) / mean)
    return np.array(slacks)


def rises(usage: Floats, step_s: int, floor: float = 0.0) -> Bools:
    """Steps in which demand rises, shape (step, workload).

    Usage exceeds the maximum of the hour before by at least 10 % of it and 2 floors. Only where
    that whole hour has samples.
    """
    steps = max(HOUR_S // step_s, 1)
    found = np.zeros(usage.shape, dtype=np.bool_)
    if len(usage) <= steps:
        return found
    windows = np.lib.stride_tricks.sliding_window_view(usage[:-1], steps, axis=0)
    peak = windows.max(axis=-1)  # NaN where a sample is missing
    least = np.maximum(RISE * peak, RISE_FLOORS * floor)
    higher = usage[steps:] > peak  # where peak, share and floor are 0, equality is no rise
    found[steps:] = higher & (usage[steps:] >= peak + least)
    return found


def proactive(usage: Floats, amount: Floats, step_s: int, floor: float = 0.0) -> float:
    """Share of demand rises whose step was covered by the amount decided before it."""
    rising = rises(usage, step_s, floor)
    return _ratio(float((usage[rising] <= amount[rising]).sum()), float(rising.sum()))


def percentile(values: NDArray[np.floating], percent: float) -> float:
    """NumPy's, of no values NaN."""
    return float(np.percentile(values, percent)) if len(values) else float("nan")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
