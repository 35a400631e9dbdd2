"""The seeded generator of demand: requests or jobs per real second of each workload.

Everything cyclic happens in *trace* time (a day has 86,400 trace seconds); rates are per *real*
second, because real programs serve them. One bin of the generator is 60 trace seconds.
"""

from __future__ import annotations

import csv
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BIN_TRACE_S = 60.0
DAY_S = 86_400.0
BINS_PER_DAY = int(DAY_S / BIN_TRACE_S)
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class RatesError(ValueError):
    """A rates file that cannot be used; the message names the file, the line and the cure."""


@dataclass(frozen=True)
class Cron:
    """Every `every_h` trace hours from `at_h`: `count` jobs, or `factor` x base for `minutes`."""

    every_h: float
    at_h: float
    count: int = 0
    factor: float = 0.0
    minutes: float = 5.0


@dataclass(frozen=True)
class Profile:
    """Shape of a workload's demand: `base` [requests or jobs / real second] and what scales it."""

    base: float
    shape: str = "flat"  # flat | sine | office | evening | night
    daily: float = 0.0  # 0: no daily cycle; 1: the trough is zero
    peak_h: float = 14.0
    weekend: float = 1.0
    trend_per_day: float = 0.0
    noise: float = 0.15  # standard deviation of the log of an AR(1) process
    noise_h: float = 1.0  # its time constant, trace hours
    bursts_per_day: float = 0.0
    burst_factor: float = 4.0
    burst_minutes: float = 20.0
    steps: tuple[tuple[float, float], ...] = ()  # (from trace day, factor from then on)
    crons: tuple[Cron, ...] = ()


@dataclass(frozen=True)
class Demand:
    """Per bin of 60 trace seconds: a Poisson intensity [1 / real second], and exact launches."""

    rate: FloatArray
    launches: IntArray


def _daily_shape(shape: str, hour: FloatArray, peak_h: float) -> FloatArray:
    """Returns a curve in 0..1 over the hour of the day."""
    since_peak = (hour - peak_h + 12.0) % 24.0 - 12.0
    if shape == "sine":
        return 0.5 + 0.5 * np.cos(2 * math.pi * since_peak / 24.0)
    if shape == "office":
        rise = 1 / (1 + np.exp(-(hour - 8.5) * 2.5))
        fall = 1 / (1 + np.exp((hour - 17.5) * 2.0))
        lunch = 1 - 0.25 * np.exp(-((hour - 12.7) ** 2) / 0.5)
        return np.asarray(rise * fall * lunch)
    if shape == "evening":
        return np.asarray(
            np.exp(-(since_peak**2) / 12.0) + 0.35 * np.exp(-(((hour - 12.5) / 2.0) ** 2))
        )
    if shape == "night":
        return np.asarray(np.exp(-((((hour - 2.5 + 12) % 24) - 12) ** 2) / 3.0))
    return np.ones_like(hour)


def _ar1(rng: np.random.Generator, bins: int, sigma: float, hours: float) -> FloatArray:
    """exp() of a stationary AR(1) process: mean about 1, log standard deviation `sigma`."""
    phi = math.exp(-BIN_TRACE_S / 3600.0 / hours)
    shocks = rng.normal(0.0, sigma * math.sqrt(1 - phi * phi), bins)
    level = rng.normal(0.0, sigma)
    out = np.empty(bins)
    for i, shock in enumerate(shocks):
        level = phi * level + shock
        out[i] = level
    return np.asarray(np.exp(out - sigma * sigma / 2))


def _bursts(rng: np.random.Generator, profile: Profile, bins: int) -> FloatArray:
    """Multiplier >= 1: bursts at Poisson times, of exponential length and heavy-tailed height."""
    out = np.ones(bins)
    for start in np.flatnonzero(rng.random(bins) < profile.bursts_per_day / BINS_PER_DAY):
        length = max(1, round(rng.exponential(profile.burst_minutes)))
        height = 1 + (profile.burst_factor - 1) * min(3.0, 0.5 + rng.pareto(3.0))
        out[start : start + length] = np.maximum(out[start : start + length], height)
    return out


def generate(profile: Profile, name: str, seed: int, bins: int) -> Demand:
    """The demand of workload `name`: a function of profile, name, seed and number of bins only."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    trace_s = np.arange(bins) * BIN_TRACE_S
    hour: FloatArray = np.asarray(trace_s % DAY_S / 3600.0, dtype=np.float64)
    day = trace_s / DAY_S
    curve = (1 - profile.daily) + profile.daily * _daily_shape(profile.shape, hour, profile.peak_h)
    rate = profile.base * curve * np.where(day % 7 >= 5, profile.weekend, 1.0)
    rate = rate * (1 + profile.trend_per_day * day)
    for from_day, factor in profile.steps:
        rate = np.where(day >= from_day, rate * factor, rate)
    rate = rate * _ar1(rng, bins, profile.noise, profile.noise_h) * _bursts(rng, profile, bins)
    launches = np.zeros(bins, dtype=np.int64)
    for cron in profile.crons:
        first = round(cron.at_h * 60)
        for start in range(first, bins, max(1, round(cron.every_h * 60))):
            launches[start] += cron.count
            rate[start : start + max(1, round(cron.minutes))] += cron.factor * profile.base
    return Demand(np.maximum(rate, 0.0), launches)


def load_rates(path: Path, known: Iterable[str], bins: int) -> dict[str, Demand]:
    """Reads `trace_s,WORKLOAD,...`: rates per real second, each held until the next line."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise RatesError(f"--rates {path}: cannot be read: {error.strerror}") from error
    header = rows[0] if rows else []
    if len(header) < 2 or header[0] != "trace_s":
        raise RatesError(f"--rates {path}: line 1: must be 'trace_s,WORKLOAD,...'")
    unknown = sorted(set(header[1:]) - set(known))
    if unknown:
        raise RatesError(
            f"--rates {path}: line 1: unknown workload {unknown[0]!r}; `--list` prints those known"
        )
    rate = np.zeros((bins, len(header) - 1))
    previous = -1.0
    for number, row in enumerate(rows[1:], start=2):
        try:
            previous, values = _rates_row(row, len(header), previous)
        except ValueError as error:
            raise RatesError(f"--rates {path}: line {number}: {error}") from error
        rate[int(previous // BIN_TRACE_S) :] = values
    none = np.zeros(bins, dtype=np.int64)
    return {name: Demand(rate[:, i].copy(), none) for i, name in enumerate(header[1:])}


def _rates_row(row: list[str], columns: int, previous: float) -> tuple[float, list[float]]:
    """Time and rates of a line; ValueError says what is wrong with it."""
    if len(row) != columns:
        raise ValueError(f"has {len(row)} columns, the first line has {columns}")
    try:
        trace_s, *values = (float(cell) for cell in row)
    except ValueError as error:
        raise ValueError("every cell must be a number") from error
    if not (math.isfinite(trace_s) and trace_s > previous and trace_s >= 0):
        raise ValueError("times must be trace seconds from 0 on, each later than the one before")
    if any(not 0 <= value < 1e6 for value in values):
        raise ValueError("rates must be in 0..1e6 per real second")
    return trace_s, values
