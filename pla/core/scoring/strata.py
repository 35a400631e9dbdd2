"""Kinds of workloads: most are idle most of the time, so every figure is given per kind too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Floats

DAY_S = 86_400

DAILY = 0.3
"""Autocorrelation at a day above which a workload counts as daily."""


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


def daily_strata(usage: Floats, step_s: int) -> NDArray[np.int64]:
    """1 for daily workloads (`daily_autocorrelation` > 0.3), 0 for others, -1 where unknown."""
    correlation = daily_autocorrelation(usage, step_s)
    return np.where(np.isnan(correlation), -1, (correlation > DAILY).astype(np.int64))


def daily_autocorrelation(usage: Floats, step_s: int) -> Floats:
    """Correlation of each workload's usage with that of a day before, shape (workload,).

    NaN for constant usage, and where no two samples are a day apart.
    """
    per_day = DAY_S // step_s
    result = np.full(usage.shape[1], np.nan)
    if len(usage) <= per_day:
        return result
    now, then = usage[per_day:], usage[:-per_day]
    both = np.isfinite(now) & np.isfinite(then)
    for column in range(usage.shape[1]):
        rows = both[:, column]
        a, b = now[rows, column], then[rows, column]
        if len(a) > 2 and a.std() > 0 and b.std() > 0:
            result[column] = float(np.corrcoef(a, b)[0, 1])
    return result
