"""From samples to one value per step and workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pla.sources.influxdb.decoding import Samples
from pla.sources.influxdb.queries import LOOKBACK_STEPS
from pla.sources.influxdb.schema import Column, Kind, Role

LIMIT_RATIO = 0.95
STALL_SHARE = 0.05
RESET_RATIO = 0.5
"""A counter that fell to less than this share started anew, and counts from zero; one that fell
less was corrected, and its increase is not known."""

Grid = NDArray[np.float32]
Marks = NDArray[np.bool_]
AnyT = TypeVar("AnyT", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Steps:
    """Consecutive steps of `step_s`, `count` of them from `start_s` [epoch s] on."""

    start_s: int
    step_s: int
    count: int

    def holding(self, time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """The step `[start, end)` that holds each moment; outside of `[0, count)` = none."""
        return np.asarray((time_ms - self.start_s * 1000) // (self.step_s * 1000))

    def closed_by(self, time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """The step `(start, end]` that an interval which ends at each moment is of."""
        return self.holding(time_ms - 1)


@dataclass(frozen=True, slots=True)
class Reduced:
    """What one measure says, per workload that it has samples of.

    Attributes:
        rows: workload rows, ascending, shape (found,).
        usage: per resource, usage of the busiest instance, shape (step, found).
        held: per resource, whether an instance of it was held down, shape (step, found).
        killed: whether an instance was killed for want of memory, shape (step, found).
    """

    rows: NDArray[np.int64]
    usage: dict[str, Grid]
    held: dict[str, Marks]
    killed: Marks


def reduced(
    samples: Samples, columns: Sequence[Column], parts: Sequence[str], steps: Steps
) -> Reduced:
    """`samples` of `columns`: parts added up, then the largest of a workload's instances."""
    instance, workload = _instances(samples, parts)
    rows = np.unique(workload)
    usage: dict[str, Grid] = {}
    held: dict[str, Marks] = {}
    killed = np.zeros((steps.count, len(rows)), dtype=np.bool_)
    for resource in dict.fromkeys(column.resource for column in columns):
        own = [column for column in columns if column.resource == resource]
        amount = _first_of(samples, own, Role.USAGE, instance, steps)
        usage[resource] = _grouped(np.fmax, amount, workload)
        held[resource] = _grouped(
            np.logical_or, _held_down(samples, own, amount, instance, steps), workload
        )
        for column in own:
            if column.role == Role.KILL:
                kills = np.zeros((steps.count, len(workload)), dtype=np.bool_)
                _mark_kills(kills, samples, column, instance, steps)
                killed |= _grouped(np.logical_or, kills, workload)
    return Reduced(rows, usage, held, killed)


def _grouped(how: np.ufunc, grid: NDArray[AnyT], group: NDArray[np.int64]) -> NDArray[AnyT]:
    """`grid` (step, member) reduced over the members of each group, groups ascending."""
    if not len(group):
        return grid
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) != 0])
    reduced: NDArray[AnyT] = how.reduceat(grid[:, order], starts, axis=1)
    return reduced


def _instances(
    samples: Samples, parts: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The instance of each series, and the workload of each instance."""
    numbers: dict[tuple[str, ...], int] = {}
    instance = np.empty(len(samples.tags), dtype=np.int64)
    for series, tags in enumerate(samples.tags):
        key = tuple(value for tag, value in tags.items() if tag not in parts)
        instance[series] = numbers.setdefault(key, len(numbers))
    workload = np.empty(len(numbers), dtype=np.int64)
    workload[instance] = samples.workload
    return instance, workload


def _first_of(
    samples: Samples,
    columns: Sequence[Column],
    role: Role,
    instance: NDArray[np.int64],
    steps: Steps,
) -> Grid:
    """Per step and instance, the value of the first column in `role` that has one."""
    found = np.full((steps.count, len(np.unique(instance))), np.nan, dtype=np.float32)
    for column in columns:
        if column.role == role:
            found = np.where(
                np.isnan(found), _summed(grid_of(samples, column, steps), instance), found
            )
    return found


def _held_down(
    samples: Samples,
    columns: Sequence[Column],
    amount: Grid,
    instance: NDArray[np.int64],
    steps: Steps,
) -> Marks:
    """Per step and instance, whether usage was close to its limit, or the instance stalled."""
    limit = _first_of(samples, columns, Role.LIMIT, instance, steps)
    held = (limit > 0) & (amount >= LIMIT_RATIO * limit)
    for column in columns:
        if column.role == Role.STALL:
            stalled = grid_of(samples, column, steps) > STALL_SHARE
            held |= _grouped(np.logical_or, stalled, instance)
    return held


def _summed(grid: Grid, instance: NDArray[np.int64]) -> Grid:
    """The sum of each instance's series, of those that have a value, shape (step, instance)."""
    seen = ~np.isnan(grid)
    total = _grouped(np.add, np.where(seen, grid, np.float32(0)), instance)
    return np.where(_grouped(np.logical_or, seen, instance), total, np.float32(np.nan))


def grid_of(samples: Samples, column: Column, steps: Steps) -> Grid:
    """One column's value per step and series [unit of its resource], NaN = none."""
    if column.kind == Kind.COUNTER:
        return _increase(samples, column, steps)
    values = _values(samples, column) * column.scale
    step = steps.holding(samples.time_ms)
    keep = (step >= 0) & (step < steps.count) & ~np.isnan(values)
    series = len(samples.tags)
    flat = np.full(steps.count * series, np.nan, dtype=np.float32)
    cell = step[keep] * series + samples.series[keep]
    np.fmax.at(flat, cell, values[keep].astype(np.float32))
    return flat.reshape(steps.count, series)


def _values(samples: Samples, column: Column) -> NDArray[np.float64]:
    """One column's value per sample, not yet scaled."""
    values = samples.values[column.field]
    if column.plus:
        values = values + samples.values[column.plus]
    if column.minus:
        values = values - samples.values[column.minus]
    return values


def _increase(samples: Samples, column: Column, steps: Steps) -> Grid:
    """A counter's increase per second, or per unit of the counter that it is a share of.

    Sum of the increases over the intervals that end in the step, by the sum of their lengths.
    """
    values = _values(samples, column)
    keep = ~np.isnan(values)
    if column.per:
        keep &= ~np.isnan(samples.values[column.per])
    series, time_ms = samples.series[keep], samples.time_ms[keep]
    span_ms = np.diff(time_ms)
    grown, valid = _grown(values[keep])
    by = span_ms / 1000.0
    if column.per:
        by, also = _grown(samples.values[column.per][keep])
        valid &= also
    step = steps.closed_by(time_ms[1:])
    valid &= (series[1:] == series[:-1]) & (span_ms > 0)
    valid &= span_ms <= LOOKBACK_STEPS * steps.step_s * 1000
    valid &= (step >= 0) & (step < steps.count)
    cell = step[valid] * len(samples.tags) + series[1:][valid]
    size = steps.count * len(samples.tags)
    total = np.bincount(cell, weights=grown[valid], minlength=size)
    length = np.bincount(cell, weights=by[valid], minlength=size)
    rate = np.full(size, np.nan)
    np.divide(total, length, out=rate, where=length > 0)
    return (rate * column.scale).astype(np.float32).reshape(steps.count, len(samples.tags))


def _grown(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], Marks]:
    """By how much a counter grew from sample to sample, and where that is known."""
    later, former = values[1:], values[:-1]
    restarted = later < RESET_RATIO * former
    grown = np.where(restarted, later, later - former)
    return grown, grown >= 0


def _mark_kills(
    kills: Marks, samples: Samples, column: Column, instance: NDArray[np.int64], steps: Steps
) -> None:
    """Marks the step of each kill: a marker's first sample, for it stays until the next start."""
    keep = ~np.isnan(samples.values[column.field])
    series, time_ms = samples.series[keep], samples.time_ms[keep]
    value = samples.values[column.field][keep]
    step = steps.holding(time_ms)
    known = (series[1:] == series[:-1]) & (value[1:] == value[:-1])
    known &= np.diff(time_ms) <= LOOKBACK_STEPS * steps.step_s * 1000
    new = np.r_[True, ~known][: len(step)] & (step >= 0) & (step < steps.count)
    kills[step[new], instance[series[new]]] = True
