"""What the closed clock hours of a usage window say; computed anew only when an hour changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.feature_names import WEEK_H
from pla.core.window import UsageWindow

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ClosedHours:
    """Summaries of the newest closed hours, every array of shape (resource, workload).

    NaN = no sample. All in the resource's unit but `seen`.

    Attributes:
        maximum: by number of hours, the largest usage in them.
        mean: by number of hours, the mean of the hourly means.
        spread: by number of hours, the mean of (hourly maximum - hourly mean).
        peak_std: standard deviation of the hourly maxima of a week.
        seen: share of the week's hours that have a sample.
    """

    maximum: dict[int, Singles]
    mean: dict[int, Singles]
    spread: dict[int, Singles]
    peak_std: Singles
    seen: Singles


def summarise(
    window: UsageWindow, part: slice, maxima: tuple[int, ...], means: tuple[int, ...]
) -> ClosedHours:
    """Summaries of workloads `part`, for the numbers of hours in `maxima` and in `means`.

    Every sum runs over the hours from the newest to the oldest, so it has the same bits whenever
    it is made from the same hours.
    """
    cell = window.hour_max(0)[:, part].shape
    peak = np.full(cell, np.nan, dtype=np.float32)
    mean_sum, peak_sum, count = (np.zeros(cell, dtype=np.float32) for _ in range(3))
    maximum, mean, spread = {}, {}, {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for ago in range(WEEK_H):
            hour_peak = window.hour_max(ago)[:, part]
            np.fmax(peak, hour_peak, out=peak)
            count += np.isfinite(hour_peak)
            peak_sum += np.fmax(hour_peak, 0.0)  # usage is never negative: only NaN becomes 0
            mean_sum += np.fmax(window.hour_mean(ago)[:, part], 0.0)
            hours = ago + 1
            if hours in maxima:
                maximum[hours] = peak.copy()
            if hours in means:
                mean[hours] = mean_sum / count
                spread[hours] = (peak_sum - mean_sum) / count
        peak_std = _spread(window, part, peak_sum / count, count)
    return ClosedHours(
        maximum=maximum,
        mean=mean,
        spread=spread,
        peak_std=peak_std,
        seen=count / np.float32(WEEK_H),
    )


def _spread(window: UsageWindow, part: slice, centre: Singles, count: Singles) -> Singles:
    """Standard deviation of the hourly maxima around their mean `centre`.

    In a second pass: maxima vary little around large means, and single precision cancels.
    """
    squares = np.zeros_like(centre)
    for ago in range(WEEK_H):
        deviation = window.hour_max(ago)[:, part] - centre
        deviation *= deviation
        squares += np.fmax(deviation, 0.0)  # NaN -> 0
    squares /= count
    return np.sqrt(squares, out=squares)
