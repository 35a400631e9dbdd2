"""The headline: the least excess at which the promise is kept, the margin being tuned.

A policy is given every margin of a grid, amount x factor + constant x floor. So a policy that is
generous by itself has no advantage over one that only forecasts well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Floats
from pla.core.scoring.shipped import percentile

Longs = NDArray[np.int64]

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
"""Margins of the sweep, as a full product: 0.9 ... 3, and 0 ... 150 floors."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A policy's amounts under every margin: per-workload sums, from which all else follows.

    Attributes:
        factors, constants: shape (margin,); amount x factor + constant x floor.
        violations: shape (margin, workload).
        covered: sum of max(amount, usage), shape (margin, workload) [unit].
        used: sum of usage, shape (workload,) [unit].
        samples: scored steps, shape (workload,).
    """

    factors: Floats
    constants: Floats
    violations: Longs
    covered: Floats
    used: Floats
    samples: Longs

    def excess_at(
        self, rate: float, share: float = SHARE, rows: Longs | None = None
    ) -> tuple[float, float, float]:
        """(least excess, factor, constant) at which the attainment holds; inf if none does.

        The attainment: `share` of the workloads each stay within `rate`, and none with
        `CAP_SAMPLES` samples or more exceeds `CAP` times it. `rows` picks workloads with samples
        (with repetition, for a bootstrap).
        """
        rows = np.flatnonzero(self.samples > 0) if rows is None else rows
        if not len(rows):
            return float("inf"), float("nan"), float("nan")
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
        """Median over workloads of their own excess under one margin; NaN for one not swept."""
        found = np.flatnonzero((self.factors == factor) & (self.constants == constant))
        if not len(found):
            return float("nan")
        kept = self.used > 0
        return percentile(self.covered[found[0], kept] / self.used[kept] - 1.0, 50)


def sweep(
    usage: NDArray[np.floating],
    amount: NDArray[np.floating],
    floor: float,
    factors: Floats = FACTORS,
    constants: Floats = CONSTANTS,
) -> Sweep:
    """Every margin of `factors` x `constants` on one policy's amounts.

    `floor` is the resource's floor [unit], the constant's unit. With d = usage - factor x amount
    sorted once per factor, a constant c leaves count(d > c) violations, and
    sum max(amount, usage) = sum (factor x amount + c) + sum (d - c)+.
    """
    seen = np.isfinite(usage)
    workloads = usage.shape[1]
    violations = np.zeros((len(factors), len(constants), workloads), dtype=np.int64)
    covered = np.zeros(violations.shape)
    used = np.zeros(workloads)
    added = np.asarray(constants * floor, dtype=np.float64)
    for column in range(workloads):
        rows = seen[:, column]
        spent = usage[rows, column].astype(np.float64)
        given = np.nan_to_num(amount[rows, column].astype(np.float64), nan=0.0)
        used[column] = spent.sum()
        # Shape (factor, step), ascending; `above` sums from each step to the end.
        lacking = np.sort(spent - factors[:, None] * given, axis=1)
        above = np.cumsum(lacking[:, ::-1], axis=1)[:, ::-1]
        above = np.concatenate([above, np.zeros((len(factors), 1))], axis=1)
        total = factors * given.sum()
        for row, steps in enumerate(lacking):
            met = np.searchsorted(steps, added, side="right")
            over = len(steps) - met
            violations[row, :, column] = over
            covered[row, :, column] = (
                total[row] + added * len(steps) + above[row, met] - added * over
            )
    margins = len(factors) * len(constants)
    return Sweep(
        factors=np.repeat(factors, len(constants)),
        constants=np.tile(constants, len(factors)),
        violations=violations.reshape(margins, workloads),
        covered=covered.reshape(margins, workloads),
        used=used,
        samples=seen.sum(axis=0),
    )


def ratio_interval(
    ours: Sweep, other: Sweep, rate: float, resamples: Longs, share: float = SHARE
) -> tuple[float, float, float]:
    """Ratio of two policies' excess at `rate`, with a 90 % bootstrap interval over workloads.

    `resamples` (resample, workload) are rows of workloads with samples, drawn by the caller. A
    resample in which only ours misses the promise counts as infinitely dear, one in which only
    the other does as free; those in which both do are left out.
    """
    point = _excess_ratio(ours, other, rate, share, None)
    drawn = np.array([_excess_ratio(ours, other, rate, share, rows) for rows in resamples])
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return point, float("nan"), float("nan")
    # The bounds are members of the sample: an interpolation between infinities is none.
    low = float(np.percentile(drawn, 5, method="lower"))
    return point, low, float(np.percentile(drawn, 95, method="higher"))


def _excess_ratio(
    ours: Sweep, other: Sweep, rate: float, share: float, rows: Longs | None
) -> float:
    mine, theirs = ours.excess_at(rate, share, rows)[0], other.excess_at(rate, share, rows)[0]
    if np.isinf(theirs):
        return float("nan") if np.isinf(mine) else 0.0
    if theirs > 0:
        return mine / theirs
    return 1.0 if mine == theirs else float("inf")
