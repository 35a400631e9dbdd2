"""The forecaster's input: what a usage window says about each workload's coming peak.

One implementation for ticks, backtests and training (which replays a window through time), so
that serving never sees other features than training did. All is computed from the window's
content; what is kept between calls depends on closed hours only. So features have the same bits
however the samples came in.

Usage features count from the workload's newest level, in units of its scale,

    feature = (usage - level) / scale,    target = (peak - level) / scale,

so that one model serves a VM of 10 GiB and a daemon of 10 MiB, of any resource. The scale is the
seven-day peak: demand that saturates (a VM has so many cores and no more) then saturates at the
same place, `hourmax_168h`, for every workload.

`pla.core.feature_names` lists the features and says what their names mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.feature_names import (
    ANCHORED,
    DAY_AROUND,
    HOUR_MAXIMA,
    HOUR_MEANS,
    HOUR_SPREADS,
    LAGS,
    NAMES,
    SAME_HOUR_DAYS,
    SAME_MINUTE_HOURS,
    SCALED,
    STEP_MAXIMA,
    STEP_MEANS,
    STEP_SPREAD,
    WEEK_H,
)
from pla.core.hour_summary import ClosedHours, Singles, summarise
from pla.core.resources import floors, quanta
from pla.core.window import HOUR_S, UsageWindow

DAY_S = 24 * HOUR_S
WEEK_S = 7 * DAY_S
CHUNK = 16_384
"""Workloads per pass: the temporaries of one pass stay in the processor's cache."""

_INDEX = {name: row for row, name in enumerate(NAMES)}


@dataclass(frozen=True, slots=True)
class Features:
    """Features of one cutoff.

    Attributes:
        columns: per resource name, shape (feature, workload), float32; NaN = not known.
        level: the newest usage, what features and target count from [unit],
            shape (workload, resource); NaN = no sample in a week.
        scale: the workload's own unit [unit], shape (workload, resource); never 0.
    """

    columns: Mapping[str, Singles]
    level: Singles
    scale: Singles


class Featuriser:
    """Makes features for a lead and hold time; remembers what depends on closed hours only."""

    def __init__(self, lead_s: int, hold_s: int) -> None:
        """Features for peaks over `(cutoff + lead_s, cutoff + lead_s + hold_s]` [s]."""
        self.lead_s = lead_s
        self.hold_s = hold_s
        self._window: UsageWindow | None = None
        self._version = (-1, -1)
        self._hours: list[ClosedHours] = []

    def __call__(self, window: UsageWindow) -> Features:
        """Features at `window.end_s`.

        Raises:
            ValueError: if lead or hold time is no whole number of the window's steps.
        """
        if self.lead_s % window.step_s or self.hold_s % window.step_s or self.hold_s <= 0:
            raise ValueError(
                f"lead of {self.lead_s} s and hold of {self.hold_s} s: both must be whole steps "
                f"of {window.step_s} s, and the hold at least one"
            )
        parts = [slice(at, at + CHUNK) for at in range(0, window.workloads, CHUNK)]
        self._refresh(window, parts)
        shape = (len(window.resources), len(NAMES), window.workloads)
        out = np.empty(shape, dtype=np.float32)
        level = np.empty((shape[0], shape[2]), dtype=np.float32)
        scale = np.empty_like(level)
        for part, hours in zip(parts, self._hours, strict=True):
            chunk = _Chunk(window, part, out[:, :, part])
            chunk.fill(hours, self.lead_s, self.hold_s)
            level[:, part], scale[:, part] = chunk.level, chunk.scale
        _write_times(out, window.end_s + self.lead_s + self.hold_s)
        columns = {name: out[row] for row, name in enumerate(window.resources)}
        return Features(columns, level.T, scale.T)

    def _refresh(self, window: UsageWindow, parts: list[slice]) -> None:
        version = (window.hour_version, window.end_s // HOUR_S)
        if window is self._window and version == self._version:
            return
        self._hours = [
            summarise(window, part, tuple(n - 1 for n in HOUR_MAXIMA), HOUR_MEANS) for part in parts
        ]
        self._window, self._version = window, version


class _Chunk:
    """Some workloads of a window, and the features that are made of them."""

    def __init__(self, window: UsageWindow, part: slice, out: Singles) -> None:
        self.window = window
        self.part = part
        self.out = out
        self.level: Singles = window.lag(0)[:, part].copy()
        self.scale: Singles = np.empty_like(self.level)

    def row(self, name: str) -> Singles:
        view: Singles = self.out[:, _INDEX[name]]
        return view

    def fill(self, hours: ClosedHours, lead_s: int, hold_s: int) -> None:
        with np.errstate(invalid="ignore", divide="ignore"):
            self._steps()
            self._spread()
            self._hours(hours)
            self._seasons(lead_s, hold_s)
            self._normalise()

    def _lag(self, steps: int) -> Singles:
        view: Singles = self.window.lag(steps)[:, self.part]
        return view

    def _steps(self) -> None:
        """Everything that reads the newest steps one by one, in a single pass over them."""
        newest = self._lag(0)
        peak, low, former = newest.copy(), newest.copy(), newest
        total = np.fmax(newest, 0.0)
        count = np.isfinite(newest).astype(np.float32)
        held = self.window.censored_lag(0)[:, self.part].astype(np.float32)
        rise = np.zeros_like(total)
        for lag in range(1, max(STEP_MAXIMA)):
            usage = self._lag(lag)
            np.fmax(rise, former - usage, out=rise)
            former = usage
            np.fmax(peak, usage, out=peak)
            known = np.fmax(usage, 0.0)  # NaN -> 0
            total += known
            count += np.isfinite(usage)
            if lag in LAGS:
                self.row(f"lag_{lag}")[:] = usage
            steps = lag + 1
            if steps <= STEP_SPREAD:
                np.copyto(self.level, usage, where=np.isnan(self.level))
                np.fmin(low, usage, out=low)
                held += self.window.censored_lag(lag)[:, self.part]
            if steps in STEP_MAXIMA:
                self.row(f"max_{steps}")[:] = peak
                if steps in (STEP_MAXIMA[0], STEP_MAXIMA[-1]):
                    self.row(f"rise_{steps}")[:] = rise
            if steps in STEP_MEANS:
                np.divide(total, count, out=self.row(f"mean_{steps}"))
            if steps == STEP_SPREAD:
                self.row(f"min_{steps}")[:] = low
                self.row(f"missing_{steps}")[:] = 1.0 - count / np.float32(steps)
                self.row(f"censored_{steps}")[:] = held / np.float32(steps)

    def _spread(self) -> None:
        """In two passes: usage varies little around large means, and singles cancel."""
        mean = self.row(f"mean_{STEP_SPREAD}")
        squares, count = np.zeros_like(self.level), np.zeros_like(self.level)
        for lag in range(STEP_SPREAD):
            deviation = self._lag(lag) - mean
            count += np.isfinite(deviation)
            deviation *= deviation
            squares += np.fmax(deviation, 0.0)  # NaN -> 0
        np.divide(squares, count, out=squares)
        np.sqrt(squares, out=self.row(f"std_{STEP_SPREAD}"))

    def _hours(self, hours: ClosedHours) -> None:
        open_peak = np.full_like(self.level, np.nan)
        for lag in range(self.window.open_hour_steps):
            np.fmax(open_peak, self._lag(lag), out=open_peak)
        for n in HOUR_MAXIMA:
            np.fmax(hours.maximum[n - 1], open_peak, out=self.row(f"hourmax_{n}h"))
        for n in HOUR_MEANS:
            self.row(f"hourmean_{n}h")[:] = hours.mean[n]
        for n in HOUR_SPREADS:
            self.row(f"hourspread_{n}h")[:] = hours.spread[n]
        self.row(f"hourmax_std_{WEEK_H}h")[:] = hours.peak_std
        self.row(f"seen_{WEEK_H}h")[:] = hours.seen
        np.copyto(self.level, hours.mean[HOUR_MEANS[0]], where=np.isnan(self.level))
        np.copyto(self.level, hours.mean[WEEK_H], where=np.isnan(self.level))

    def _seasons(self, lead_s: int, hold_s: int) -> None:
        """The coming hold window, an hour, a day and a week ago."""
        ahead = lead_s + hold_s

        def past_peak(ago_s: int, around: int) -> Singles:
            step_s = self.window.step_s
            oldest = (ago_s - lead_s) // step_s - 1 + around
            newest = max((ago_s - ahead) // step_s - around, 0)
            peak = np.full_like(self.level, np.nan)
            for lag in range(newest, min(oldest, self.window.steps - 1) + 1):
                np.fmax(peak, self._lag(lag), out=peak)
            return peak

        self.row("hour_ago_max_1")[:] = past_peak(HOUR_S, 1)
        same_minute = past_peak(HOUR_S, 0)
        for hour in range(2, SAME_MINUTE_HOURS + 1):
            np.fmax(same_minute, past_peak(hour * HOUR_S, 0), out=same_minute)
        self.row(f"same_minute_max_{SAME_MINUTE_HOURS}h")[:] = same_minute
        for around in DAY_AROUND:
            self.row(f"day_ago_max_{around}")[:] = past_peak(DAY_S, around)
        self.row("day_ago_lag_0")[:] = self._lag(DAY_S // self.window.step_s)
        self._same_hours((self.window.end_s + ahead - 1) // HOUR_S)

    def _same_hours(self, hour: int) -> None:
        """Clock hour `hour` (from the epoch, that in which the hold window ends) in former days."""
        newest = self.window.end_s // HOUR_S - 1

        def past(days: int) -> Singles:
            view: Singles = self.window.hour_max(newest - hour + 24 * days)[:, self.part]
            return view

        self.row("day_ago_hourmax")[:] = past(1)
        self.row("week_ago_hourmax")[:] = past(7)
        peak = np.full_like(self.level, np.nan)
        total, count = np.zeros_like(peak), np.zeros_like(peak)
        for days in range(1, SAME_HOUR_DAYS + 1):
            np.fmax(peak, past(days), out=peak)
            total += np.fmax(past(days), 0.0)
            count += np.isfinite(past(days))
        self.row(f"same_hour_max_{SAME_HOUR_DAYS}d")[:] = peak
        np.divide(total, count, out=self.row(f"same_hour_mean_{SAME_HOUR_DAYS}d"))

    def _normalise(self) -> None:
        names = self.window.resources
        unit = np.fmax(floors(names), quanta(names)).astype(np.float32)[:, None]
        week, steps = self.row(f"hourmax_{WEEK_H}h"), self.row(f"max_{STEP_MAXIMA[-1]}")
        np.fmax(np.fmax(week, steps), 0.0, out=self.scale)
        self.scale += unit
        self.row("level")[:] = self.level
        anchored = self.out[:, : len(ANCHORED)]
        anchored -= self.level[:, None]
        usage = self.out[:, : len(ANCHORED) + len(SCALED)]
        usage *= (1.0 / self.scale)[:, None]
        np.log10(self.scale / unit, out=self.row("log_scale"))


def _write_times(out: Singles, at_s: int) -> None:
    """Where the end of the hold window lies in the hour, day and week (UTC)."""
    for name, period_s in (("hour", HOUR_S), ("day", DAY_S), ("week", WEEK_S)):
        angle = 2.0 * math.pi * (at_s % period_s) / period_s
        out[:, _INDEX[f"sin_of_{name}"]] = math.sin(angle)
        out[:, _INDEX[f"cos_of_{name}"]] = math.cos(angle)


def target(peak: NDArray[np.floating], features: Features) -> Singles:
    """What the model learns: `peak` (workload, resource) [unit] from the level, in scales."""
    return np.asarray((peak - features.level) / features.scale, dtype=np.float32)
