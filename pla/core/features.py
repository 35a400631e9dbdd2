"""The forecaster's input: what a usage window says about each workload's coming peak.

One implementation for live ticks, backtests and training (which replays a window through time),
so that serving can never see other features than training. Everything is computed from the
window's content alone; what is kept between calls are results that depend on closed hours only,
so features are the same bit for bit however the samples came in.

Usage features are anchored and scaled per workload and resource, `(usage - anchor) / scale`,
so one model serves a VM of 10 GiB and a daemon of 10 MiB, and any resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.resources import floors
from pla.core.window import HOUR_S, UsageWindow

Singles = NDArray[np.float32]
NAN = np.float32(np.nan)

LAGS = (1, 2, 3, 5)
STEP_MAXIMA = (3, 6, 12, 24)
STEP_MEANS = (3, 12, 24)
HOUR_MAXIMA = (3, 6, 12, 24, 72, 168)
HOUR_MEANS = (6, 24, 168)
SAME_HOUR_DAYS = 7
SAME_MINUTE_HOURS = 6
DAY_STEPS_AROUND = (0, 3, 12)

ANCHORED = (
    *(f"lag_{n}" for n in LAGS),
    *(f"max_{n}" for n in STEP_MAXIMA),
    "min_12",
    *(f"mean_{n}" for n in STEP_MEANS),
    *(f"hourmax_{n}h" for n in HOUR_MAXIMA),
    *(f"hourmean_{n}h" for n in HOUR_MEANS),
    *(f"day_ago_max_{n}" for n in DAY_STEPS_AROUND),
    "day_ago_now",
    "day_ago_hourmax",
    "week_ago_hourmax",
    "week_ago_hourmax_1",
    f"same_hour_max_{SAME_HOUR_DAYS}d",
    f"same_hour_mean_{SAME_HOUR_DAYS}d",
    "hour_ago_max_1",
    f"same_minute_max_{SAME_MINUTE_HOURS}h",
    "daymax_min_7d",
    "daymax_median_7d",
)
SCALED = ("level", "std_12", "rise_24", "rise_3", "hourspread_24h", "hourspread_168h", "hourmax_std_168h")
PLAIN = (
    "log_scale",
    "seen_hours_14d",
    "missing_12",
    "censored_12",
    "since_peak_24h",
    "since_peak_168h",
    "hour_sin",
    "hour_cos",
    "week_sin",
    "week_cos",
    "minute_sin",
    "minute_cos",
)
NAMES: tuple[str, ...] = (*ANCHORED, *SCALED, *PLAIN)
SCALE_MODE = 0
ANCHOR = True


@dataclass(frozen=True, slots=True)
class Features:
    """Features of one cutoff.

    Attributes:
        columns: per resource name, shape (feature, workload), float32, C-contiguous; NaN = unknown.
        anchor: the level that anchored features and targets are measured from [unit],
            shape (workload, resource).
        scale: the workload's own unit of change [unit], shape (workload, resource).
        names: of the feature axis.
    """

    columns: Mapping[str, Singles]
    anchor: Singles
    scale: Singles
    names: tuple[str, ...]


@dataclass
class _Hours:
    maxima: dict[int, Singles]
    means: dict[int, Singles]
    spread24: Singles
    spread168: Singles
    std: Singles
    daymax_min: Singles
    daymax_median: Singles
    seen: Singles
    since24: Singles
    since168: Singles
    hourmax_mean: Singles


def _hours(w: UsageWindow) -> _Hours:
    cell = (len(w.resources), w.workloads)
    peak = np.full(cell, NAN)
    total = np.zeros(cell, np.float32)
    tmax = np.zeros(cell, np.float32)
    sq = np.zeros(cell, np.float32)
    cnt = np.zeros(cell, np.float32)
    since = np.full(cell, NAN)
    maxima, means = {}, {}
    day = np.full((7, *cell), NAN)
    hm0 = w.hour_max(0)
    for k in range(168):
        m = w.hour_mean(k)
        x = w.hour_max(k)
        seen = ~np.isnan(x)
        new = (x > peak) | (np.isnan(peak) & seen)
        np.copyto(since, np.float32(k), where=new)
        np.fmax(peak, x, out=peak)
        np.fmax(day[k // 24], x, out=day[k // 24])
        mm = np.where(seen, m, 0)
        xx = np.where(seen, x, 0)
        total += mm
        tmax += xx
        sq += xx * xx
        cnt += seen
        if k + 1 == 24:
            since24 = since.copy()
            with np.errstate(all="ignore"):
                spread24 = (tmax - total) / cnt
        if k + 2 in HOUR_MAXIMA:
            maxima[k + 2] = peak.copy()
        if k + 1 in HOUR_MEANS:
            with np.errstate(all="ignore"):
                means[k + 1] = total / cnt
    with np.errstate(all="ignore"):
        mean = tmax / cnt
        std = np.sqrt(np.maximum(sq / cnt - mean * mean, 0))
        spread = (tmax - total) / cnt
        dmin = np.fmin.reduce(day)
        day.sort(axis=0)
        n = (~np.isnan(day)).sum(0)
        dmed = np.take_along_axis(day, np.maximum(n - 1, 0)[None] // 2, 0)[0]
    seen = cnt.copy()
    for k in range(168, 336):
        seen += ~np.isnan(w.hour_max(k))
    return _Hours(maxima, means, spread24, spread, std, dmin, dmed, seen, since24, since, mean)


class Featuriser:
    """Turns windows into features; keeps what depends on closed hours only."""

    def __init__(self, lead_s: int, hold_s: int) -> None:
        self.lead_s, self.hold_s = lead_s, hold_s
        self.names = NAMES
        self._key: tuple[int, int, int] | None = None

    def __call__(self, w: UsageWindow) -> Features:
        key = (id(w), w.hour_version, w.end_s // HOUR_S)
        if key != self._key:
            self._h = _hours(w)
            self._key = key
        h = self._h
        R, W = len(w.resources), w.workloads
        out = np.empty((R, len(NAMES), W), np.float32)
        ix = {n: i for i, n in enumerate(NAMES)}
        row = lambda n: out[:, ix[n]]  # noqa
        step = w.step_s
        floor = floors(w.resources).astype(np.float32)[:, None]
        # steps
        lag0 = w.lag(0)
        peak = lag0.copy()
        low = lag0.copy()
        seen = ~np.isnan(lag0)
        total = np.where(seen, lag0, 0)
        sq = total * total
        cnt = seen.astype(np.float32)
        miss = (~seen).astype(np.float32)
        cens = w.censored_lag(0).astype(np.float32)
        rise = np.zeros((R, W), np.float32)
        anchor = lag0.copy()
        prev = lag0
        with np.errstate(all="ignore"):
            for k in range(1, 24):
                v = w.lag(k)
                np.fmax(rise, prev - v, out=rise)
                prev = v
                np.fmax(peak, v, out=peak)
                s = ~np.isnan(v)
                vv = np.where(s, v, 0)
                total += vv
                cnt += s
                if k < 12:
                    np.copyto(anchor, v, where=np.isnan(anchor))
                    np.fmin(low, v, out=low)
                    sq += vv * vv
                    miss += ~s
                    cens += w.censored_lag(k)
                if k in LAGS:
                    row(f"lag_{k}")[:] = v
                if k + 1 in STEP_MAXIMA:
                    row(f"max_{k+1}")[:] = peak
                if k + 1 in STEP_MEANS:
                    np.divide(total, cnt, out=row(f"mean_{k+1}"))
                if k == 2:
                    row("rise_3")[:] = rise
                if k == 11:
                    row("min_12")[:] = low
                    m = row("mean_12")
                    row("std_12")[:] = np.sqrt(np.maximum(sq / cnt - m * m, 0))
                    row("missing_12")[:] = miss / 12
                    row("censored_12")[:] = cens / 12
            row("rise_24")[:] = rise
            np.copyto(anchor, w.hour_mean(0), where=np.isnan(anchor))
            np.copyto(anchor, h.means[168], where=np.isnan(anchor))
            # hours
            op = np.full((R, W), NAN)
            for k in range(w.open_hour_steps):
                np.fmax(op, w.lag(k), out=op)
            for n in HOUR_MAXIMA:
                np.fmax(h.maxima[n], op, out=row(f"hourmax_{n}h"))
            for n in HOUR_MEANS:
                row(f"hourmean_{n}h")[:] = h.means[n]
            row("hourspread_24h")[:] = h.spread24
            row("hourspread_168h")[:] = h.spread168
            row("hourmax_std_168h")[:] = h.std
            row("daymax_min_7d")[:] = h.daymax_min
            row("daymax_median_7d")[:] = h.daymax_median
            row("seen_hours_14d")[:] = h.seen
            row("since_peak_24h")[:] = h.since24
            row("since_peak_168h")[:] = h.since168
            # seasonal: the hold window's steps a period ago
            def wmax(period_s, around):
                first = (period_s - self.lead_s - self.hold_s) // step - around
                last = (period_s - self.lead_s) // step - 1 + around
                p = np.full((R, W), NAN)
                for k in range(max(first, 0), min(last, w.steps - 1) + 1):
                    np.fmax(p, w.lag(k), out=p)
                return p
            for n in DAY_STEPS_AROUND:
                row(f"day_ago_max_{n}")[:] = wmax(86400, n)
            row("day_ago_now")[:] = w.lag(86400 // step)
            row("hour_ago_max_1")[:] = wmax(3600, 1)
            p = wmax(3600, 0)
            for i in range(2, SAME_MINUTE_HOURS + 1):
                np.fmax(p, wmax(3600 * i, 0), out=p)
            row(f"same_minute_max_{SAME_MINUTE_HOURS}h")[:] = p
            th = (w.end_s + self.lead_s + self.hold_s - 1) // HOUR_S
            newest = w.end_s // HOUR_S - 1
            ago = newest - th  # negative or -1
            row("day_ago_hourmax")[:] = w.hour_max(ago + 24)
            row("week_ago_hourmax")[:] = w.hour_max(ago + 168)
            row("week_ago_hourmax_1")[:] = np.fmax(np.fmax(w.hour_max(ago + 168), w.hour_max(ago + 169)), w.hour_max(ago + 167))
            p = np.full((R, W), NAN)
            t = np.zeros((R, W), np.float32)
            c = np.zeros((R, W), np.float32)
            for d in range(1, SAME_HOUR_DAYS + 1):
                x = w.hour_max(ago + 24 * d)
                np.fmax(p, x, out=p)
                s = ~np.isnan(x)
                t += np.where(s, x, 0)
                c += s
            row(f"same_hour_max_{SAME_HOUR_DAYS}d")[:] = p
            row(f"same_hour_mean_{SAME_HOUR_DAYS}d")[:] = t / c
            # scale
            if SCALE_MODE == 0:
                scale = np.where(np.isnan(h.spread168), 0, h.spread168) + 0.05 * np.where(np.isnan(h.means[168]), anchor, h.means[168]) + floor
            else:
                scale = np.where(np.isnan(h.hourmax_mean), row("max_24"), h.hourmax_mean) + floor
            scale = scale.astype(np.float32)
            row("level")[:] = anchor
            nA = len(ANCHORED)
            if ANCHOR:
                out[:, :nA] -= anchor[:, None]
            out[:, : nA + len(SCALED)] /= scale[:, None]
            row("log_scale")[:] = np.log10(scale / floor)
        e = w.end_s + self.lead_s
        for n, per in (("hour", 86400), ("week", 7 * 86400), ("minute", 3600)):
            a = 2 * np.pi * (e % per) / per
            row(f"{n}_sin")[:] = np.sin(a)
            row(f"{n}_cos")[:] = np.cos(a)
        return Features({r: out[i] for i, r in enumerate(w.resources)}, anchor.T, scale.T, NAMES)
