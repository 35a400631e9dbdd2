"""How good a policy's amounts are (DESIGN 8): each metric with its formula and source.

Arrays are per resource: `usage` and `amount` of shape (step, workload); a step whose usage is NaN
is a gap and is never scored. An amount of NaN is no amount: 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Floats

RATES = (0.05, 0.02, 0.01, 0.005, 0.002)
"""Violation rates at which the excess is reported."""

SHARE = 0.95
"""Share of the workloads that must keep the rate each."""

CAP = 5.0
"""No workload with enough samples may exceed this multiple of the rate."""

CAP_SAMPLES = 500

FACTORS: Floats = np.concatenate(
    [np.arange(36, 48) / 40, np.arange(24, 32) / 20, np.arange(16, 31) / 10]
)
CONSTANTS: Floats = np.array(
    [0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 48, 64, 85, 112, 150],
    dtype=np.float64,
)
"""Margins of the sweep: amount x factor + constant x floor."""


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
    usage: Floats, amount: Floats, promise: float, step_s: int, changes: NDArray[np.int64] | None
) -> Score:
    """The figures of one policy as shipped.

    Args:
        usage: shape (step, workload) [unit]; NaN = not scored.
        amount: in force in each step, same shape [unit].
        promise: the tier's upper bound of the violation rate (1 - quantile).
        step_s: width of a step [s].
        changes: resizes per workload in the period, shape (workload,); None = counted from
            `amount`.
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
    days = max(len(usage) * step_s / 86_400.0, 1e-9)
    short = np.where(over, usage - amount, 0.0)
    return Score(
        violation_rate=float(over.sum() / max(samples.sum(), 1)),
        violation_p95=_percentile(rate, 95),
        severity=_ratio(float(short.sum()), float(used.sum())),
        cost=_ratio(float(covered.sum()), float(used.sum())),
        relative_slack=_percentile(relative_slack(usage, amount, step_s), 50),
        attainment=float(np.mean(rate <= promise)) if len(rate) else float("nan"),
        median_excess=_percentile(own, 50),
        churn_p50=_percentile(changes[kept] / days, 50),
        churn_p99=_percentile(changes[kept] / days, 99),
        proactive=proactive(usage, amount, step_s),
    )


def relative_slack(usage: Floats, amount: Floats, step_s: int) -> Floats:
    """(mean amount - p95 usage) / mean amount per workload-day with samples, shape (n,).

    Autopilot (EuroSys'20), table of section 7 in its notation: (limit - P95 usage) / limit.
    """
    per_day = max(86_400 // step_s, 1)
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


RISE = 0.10
"""A demand rise is a step above the former hour's maximum by at least this share ..."""

RISE_FLOOR = 1e-9


def rises(usage: Floats, step_s: int) -> Bools:
    """Steps in which demand rises: usage > 1.1 x the maximum of the hour before, (step, workload).

    Only where that whole hour has samples.
    """
    steps = max(3600 // step_s, 1)
    found = np.zeros(usage.shape, dtype=np.bool_)
    if len(usage) <= steps:
        return found
    windows = np.lib.stride_tricks.sliding_window_view(usage[:-1], steps, axis=0)
    peak = windows.max(axis=-1)  # NaN where a sample is missing
    with np.errstate(invalid="ignore"):
        found[steps:] = usage[steps:] > np.maximum(peak * (1 + RISE), RISE_FLOOR)
    return found


def proactive(usage: Floats, amount: Floats, step_s: int) -> float:
    """Share of demand rises whose step was covered by the amount decided before it."""
    rising = rises(usage, step_s)
    count = int(rising.sum())
    return float((usage[rising] <= amount[rising]).sum() / count) if count else float("nan")


# -- the headline: excess at SLO attainment ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sweep:
    """A policy's amounts under every margin: per-workload counts, from which all else follows.

    Attributes:
        factors, constants: shape (margin,); amount x factor + constant x floor.
        violations: shape (margin, workload).
        covered: sum of max(amount, usage), shape (margin, workload) [unit].
        used: sum of usage, shape (workload,) [unit].
        samples: scored steps, shape (workload,).
    """

    factors: Floats
    constants: Floats
    violations: NDArray[np.int64]
    covered: Floats
    used: Floats
    samples: NDArray[np.int64]

    def excess_at(
        self, rate: float, share: float = SHARE, rows: NDArray[np.int64] | None = None
    ) -> tuple[float, float, float]:
        """(least excess, factor, constant) at which the attainment holds; inf if none does.

        The attainment: `share` of the workloads each stay within `rate`, and none with
        `CAP_SAMPLES` samples or more exceeds `CAP` times it. `rows` picks workloads (with
        repetition, for a bootstrap).
        """
        rows = np.flatnonzero(self.samples > 0) if rows is None else rows
        samples = self.samples[rows]
        rates = self.violations[:, rows] / samples
        kept = (rates <= rate).mean(axis=1) >= share - 1e-12
        worst = np.where(samples >= CAP_SAMPLES, rates, 0.0).max(axis=1)
        feasible = kept & (worst <= CAP * rate)
        cost = self.covered[:, rows].sum(axis=1) / max(float(self.used[rows].sum()), 1e-300)
        cost = np.where(feasible, cost, np.inf)
        best = int(np.argmin(cost))
        if np.isinf(cost[best]):
            return float("inf"), float("nan"), float("nan")
        return float(cost[best] - 1.0), float(self.factors[best]), float(self.constants[best])

    def median_excess(self, factor: float, constant: float) -> float:
        """Median over workloads of their own excess under one margin of the sweep."""
        index = int(np.flatnonzero((self.factors == factor) & (self.constants == constant))[0])
        kept = self.used > 0
        return _percentile(self.covered[index, kept] / self.used[kept] - 1.0, 50)


def sweep(
    usage: Floats,
    amount: Floats,
    floor: float,
    factors: Floats = FACTORS,
    constants: Floats = CONSTANTS,
) -> Sweep:
    """Every margin of `factors` x `constants` on one policy's amounts.

    `floor` is the resource's floor [unit], the constant's unit.
    """
    seen = np.isfinite(usage)
    used = np.where(seen, usage, 0.0).astype(np.float32)
    given = np.where(seen, np.nan_to_num(amount, nan=0.0), 0.0).astype(np.float32)
    margins = [(f, c) for f in factors.tolist() for c in constants.tolist()]
    workloads = usage.shape[1]
    violations = np.zeros((len(margins), workloads), dtype=np.int64)
    covered = np.zeros((len(margins), workloads))
    for column in range(workloads):
        rows = seen[:, column]
        u, a = used[rows, column], given[rows, column]
        for index, (factor, constant) in enumerate(margins):
            swept = a * np.float32(factor) + np.float32(constant * floor)
            violations[index, column] = np.count_nonzero(u > swept)
            covered[index, column] = np.maximum(swept, u).sum(dtype=np.float64)
    return Sweep(
        factors=np.array([f for f, _ in margins]),
        constants=np.array([c for _, c in margins]),
        violations=violations,
        covered=covered,
        used=used.sum(axis=0, dtype=np.float64),
        samples=seen.sum(axis=0),
    )


def ratio_interval(
    ours: Sweep, other: Sweep, rate: float, resamples: NDArray[np.int64], share: float = SHARE
) -> tuple[float, float, float]:
    """Ratio of two policies' excess at `rate`, with a 90 % bootstrap interval over workloads.

    `resamples` (resample, workload) are rows into the workloads, drawn by the caller.
    """
    point = _excess_ratio(ours, other, rate, share, None)
    drawn = [_excess_ratio(ours, other, rate, share, rows) for rows in resamples]
    finite = np.array([value for value in drawn if np.isfinite(value)])
    if not len(finite):
        return point, float("nan"), float("nan")
    return point, _percentile(finite, 5), _percentile(finite, 95)


def _excess_ratio(
    ours: Sweep, other: Sweep, rate: float, share: float, rows: NDArray[np.int64] | None
) -> float:
    mine, theirs = ours.excess_at(rate, share, rows)[0], other.excess_at(rate, share, rows)[0]
    return mine / theirs if np.isfinite(mine) and theirs > 0 else float("nan")


# -- forecasts -----------------------------------------------------------------------------


def coverage(peak: Floats, forecasts: NDArray[np.floating]) -> Floats:
    """Share of hold windows whose peak stayed within each quantile, shape (quantile,).

    `peak` (...,) and `forecasts` (..., quantile); NaN in either is not counted.
    """
    known = np.isfinite(peak)[..., None] & np.isfinite(forecasts)
    within = known & (peak[..., None] <= forecasts)
    axes = tuple(range(peak.ndim))
    counts = known.sum(axis=axes)
    return np.where(counts > 0, within.sum(axis=axes) / np.maximum(counts, 1), np.nan)


def weighted_quantile_loss(
    peak: Floats, forecasts: NDArray[np.floating], quantiles: tuple[float, ...]
) -> float:
    """Mean over quantiles of 2 sum rho_tau(y - q) / sum |y| (GIFT-Eval's definition)."""
    known = np.isfinite(peak) & np.isfinite(forecasts).all(axis=-1)
    error = peak[known][:, None] - forecasts[known]
    tau = np.asarray(quantiles)
    loss = np.maximum(tau * error, (tau - 1) * error).sum(axis=0)
    return float(np.mean(2 * loss / max(float(np.abs(peak[known]).sum()), 1e-300)))


def mase(peak: Floats, forecast: Floats, reference: Floats) -> float:
    """Mean absolute error relative to a naive forecast's (Hyndman & Koehler 2006).

    `reference` is the naive forecast: persistence, or the same time yesterday.
    """
    known = np.isfinite(peak) & np.isfinite(forecast) & np.isfinite(reference)
    naive = float(np.abs(peak[known] - reference[known]).sum())
    return _ratio(float(np.abs(peak[known] - forecast[known]).sum()), naive)


# -- strata --------------------------------------------------------------------------------


def daily_autocorrelation(usage: Floats, step_s: int) -> Floats:
    """Correlation of each workload's usage with that of a day before, shape (workload,)."""
    per_day = 86_400 // step_s
    if len(usage) <= per_day:
        return np.full(usage.shape[1], np.nan)
    now, then = usage[per_day:], usage[:-per_day]
    both = np.isfinite(now) & np.isfinite(then)
    result = np.full(usage.shape[1], np.nan)
    for column in range(usage.shape[1]):
        rows = both[:, column]
        a, b = now[rows, column], then[rows, column]
        if len(a) > 2 and a.std() > 0 and b.std() > 0:
            result[column] = float(np.corrcoef(a, b)[0, 1])
    return result


def utilisation_strata(usage: Floats) -> NDArray[np.int64]:
    """Tercile of each workload's mean usage: 0 idle, 1 middle, 2 busy, -1 never seen."""
    seen = np.isfinite(usage)
    count = seen.sum(axis=0)
    mean = np.where(seen, usage, 0.0).sum(axis=0) / np.maximum(count, 1)
    stratum = np.full(usage.shape[1], -1, dtype=np.int64)
    known = count > 0
    if known.any():
        cuts = np.percentile(mean[known], [100 / 3, 200 / 3])
        stratum[known] = np.searchsorted(cuts, mean[known], side="right")
    return stratum


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")


def _percentile(values: NDArray[np.floating], percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else float("nan")
