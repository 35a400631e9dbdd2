"""The usage window: what PLA remembers of every workload, in columns.

48 h of steps and 14 d of hourly mean and maximum, as rings. The step ring is laid out
(step, resource, workload): a new step is one contiguous write, a lag one contiguous read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, UsageBlock
from pla.core.hours import HOUR_S, HOURS, HourRing, Singles

__all__ = ["HOURS", "HOUR_S", "STEP_SPAN_S", "UsageWindow"]

Longs = NDArray[np.int64]

STEP_SPAN_S = 48 * HOUR_S


class UsageWindow:
    """Closed, epoch-aligned steps of `workloads` x `resources`, right-aligned at `end_s`.

    Attributes:
        workloads: number of workload rows.
        resources: names of the resource axis.
        step_s: width of a step [s]; divides an hour.
        end_s: end of the newest closed step [epoch s].
        last_seen_s: end of the newest step with a sample [epoch s], 0 = never,
            shape (resource, workload).
        killed_s: end of the newest step with an out-of-memory kill, 0 = never, shape (workload,).
    """

    def __init__(self, workloads: int, resources: tuple[str, ...], step_s: int, end_s: int) -> None:
        """An empty window that ends at `end_s`.

        Raises:
            ValueError: if `step_s` does not divide an hour, or `end_s` is not on the step grid.
        """
        if step_s <= 0 or HOUR_S % step_s:
            raise ValueError(f"step of {step_s} s: it must divide an hour ({HOUR_S} s)")
        if end_s % step_s:
            raise ValueError(f"window end {end_s} is not a multiple of the step ({step_s} s)")
        self.workloads = workloads
        self.resources = resources
        self.step_s = step_s
        self.end_s = end_s
        self.steps = STEP_SPAN_S // step_s
        self.steps_per_hour = HOUR_S // step_s
        cell = (len(resources), workloads)
        self._values: Singles = np.full((self.steps, *cell), np.nan, dtype=np.float32)
        self._censored: Bools = np.zeros((self.steps, *cell), dtype=np.bool_)
        self._hours = HourRing(len(resources), workloads)
        self.last_seen_s: Longs = np.zeros(cell, dtype=np.int64)
        self.killed_s: Longs = np.zeros(workloads, dtype=np.int64)

    # -- reading ---------------------------------------------------------------------------

    def lag(self, steps: int) -> Singles:
        """Usage of the step that closed `steps` before `end_s`, shape (resource, workload): a view.

        Raises:
            ValueError: when the window does not reach that far back.
        """
        view: Singles = self._values[self._row(steps)]
        return view

    def censored_lag(self, steps: int) -> Bools:
        """Whether that step's usage was held down, shape (resource, workload): a view."""
        view: Bools = self._censored[self._row(steps)]
        return view

    def recent(self, steps: int) -> Singles:
        """The newest `steps` steps, oldest first, shape (step, resource, workload): a copy."""
        return self._values[self._rows(steps)]

    def recent_censored(self, steps: int) -> Bools:
        """The censored flags of `recent(steps)`, same shape."""
        return self._censored[self._rows(steps)]

    def recent_max(self, steps: int) -> Singles:
        """Largest usage of the newest `steps` steps, shape (resource, workload); NaN = none."""
        peak = self.lag(0).copy()
        for lag in range(1, steps):
            np.fmax(peak, self.lag(lag), out=peak)
        return peak

    @property
    def open_hour_steps(self) -> int:
        """Closed steps since the last full hour: 0 right on the hour."""
        return (self.end_s % HOUR_S) // self.step_s

    @property
    def hour_version(self) -> int:
        """Counts changes of the hourly aggregates: what is derived from them holds until then."""
        return self._hours.version

    def hour_mean(self, hours_ago: int) -> Singles:
        """Mean of a closed clock hour; 0 = the newest closed one. Shape (resource, workload)."""
        return self._hours.mean(self.end_s // HOUR_S - 1, hours_ago)

    def hour_max(self, hours_ago: int) -> Singles:
        """Maximum of a closed clock hour; 0 = the newest closed one. Shape (resource, workload)."""
        return self._hours.max(self.end_s // HOUR_S - 1, hours_ago)

    def peak(self, hours: int) -> Singles:
        """Largest usage of the open hour and the `hours` closed ones before it [unit].

        Shape (resource, workload); NaN where there is no sample.
        """
        peak = self.recent_max(max(self.open_hour_steps, 1))
        return np.fmax(peak, self._hours.peak(self.end_s // HOUR_S - 1, hours), out=peak)

    @property
    def values(self) -> Singles:
        """All steps, oldest first, shape (workload, resource, step): a copy, for people."""
        return np.ascontiguousarray(self.recent(self.steps).transpose(2, 1, 0))

    def end_of_lag(self, steps: int) -> int:
        """End of the step that closed `steps` before the newest [epoch s]."""
        return self.end_s - steps * self.step_s

    # -- writing ---------------------------------------------------------------------------

    def push(self, block: UsageBlock) -> None:
        """Take in `block`: new steps move the window on, older ones fill and correct it.

        A sample that comes late replaces a gap, and a re-read sample replaces the former one;
        a NaN never replaces a sample, and what was once held down stays so: who re-reads a step
        may not know any more which amount was in force. Steps that the block skips become gaps.

        Raises:
            ValueError: if the block has other steps, workloads or resources than the window.
        """
        self._check(block)
        # In pieces of an hour, so that no hour has left the ring before it is closed.
        for first in range(0, block.steps, self.steps_per_hour):
            self._push_piece(block, first, min(first + self.steps_per_hour, block.steps))
        if block.end_s > self.end_s:
            self._move_to(block.end_s)

    def load_hours(self, mean: Singles, peak: Singles, last_hour_end_s: int) -> None:
        """Fill hourly aggregates from history that is older than the step ring reaches.

        `mean` and `peak` have shape (hour, resource, workload), oldest first, and end at
        `last_hour_end_s`. Hours that already hold samples stay.
        """
        self._hours.fill(mean, peak, last_hour_end_s // HOUR_S - 1, self.end_s // HOUR_S - 1)

    def reindexed(self, rows: NDArray[np.int64]) -> UsageWindow:
        """The same window for another set of workloads: row i continues old row `rows[i]`.

        `rows[i] = -1` is a workload that is new: all gaps.
        """
        other = UsageWindow(len(rows), self.resources, self.step_s, self.end_s)
        known = rows >= 0
        old = rows[known]
        other._values[:, :, known] = self._values[:, :, old]
        other._censored[:, :, known] = self._censored[:, :, old]
        other.last_seen_s[:, known] = self.last_seen_s[:, old]
        other.killed_s[known] = self.killed_s[old]
        other._hours = self._hours.reindexed(rows)
        return other

    # -- inside ----------------------------------------------------------------------------

    def _row(self, lag: int) -> int:
        if not 0 <= lag < self.steps:
            raise ValueError(f"lag {lag}: the window keeps {self.steps} steps")
        return (self.end_s // self.step_s - 1 - lag) % self.steps

    def _rows(self, steps: int) -> NDArray[np.int64]:
        self._row(steps - 1)
        newest = self.end_s // self.step_s - 1
        return np.arange(newest - steps + 1, newest + 1) % self.steps

    def _push_piece(self, block: UsageBlock, first: int, last: int) -> None:
        """Take in the steps `[first, last)` of `block`."""
        ends = [block.end_s - (block.steps - 1 - i) * self.step_s for i in range(first, last)]
        if ends[-1] > self.end_s:
            self._move_to(ends[-1])
        touched: set[int] = set()
        for index, end_s in zip(range(first, last), ends, strict=True):
            if end_s <= self.end_s - STEP_SPAN_S:
                continue
            if self._merge(block, index, end_s):
                touched.add((end_s - self.step_s) // HOUR_S)
        for hour in sorted(touched):
            if hour < self.end_s // HOUR_S:
                self._close_hour(hour)

    def _check(self, block: UsageBlock) -> None:
        cell = (len(self.resources), self.workloads)
        if block.step_s != self.step_s or block.values.shape[1:] != cell:
            raise ValueError(
                f"block of {block.step_s} s steps and cells {block.values.shape[1:]} does not fit "
                f"a window of {self.step_s} s steps and cells {cell}"
            )
        if block.end_s % self.step_s:
            raise ValueError(f"block end {block.end_s} is not a multiple of {self.step_s} s")

    def _move_to(self, end_s: int) -> None:
        """Close the hours that the move to `end_s` passes, and empty the rows it takes over."""
        first_hour, last_hour = self.end_s // HOUR_S, end_s // HOUR_S
        if last_hour > first_hour:
            self._hours.empty(first_hour, last_hour)
            if self.end_s % HOUR_S and first_hour >= last_hour - HOURS:
                # The hour that was open closes now, before the move takes over its steps.
                self._close_hour(first_hour)
        first, last = self.end_s // self.step_s, end_s // self.step_s
        fresh = np.arange(max(first, last - self.steps), last) % self.steps
        self._values[fresh] = np.nan
        self._censored[fresh] = False
        self.end_s = end_s

    def _merge(self, block: UsageBlock, index: int, end_s: int) -> bool:
        """Take in one step; returns whether a value of it is new or another than before."""
        row = (end_s // self.step_s - 1) % self.steps
        values = block.values[index]
        seen = np.isfinite(values)
        changed = bool((seen & (self._values[row] != values)).any())
        np.copyto(self._values[row], values, where=seen)
        np.logical_or(
            self._censored[row], block.censored[index], out=self._censored[row], where=seen
        )
        np.maximum(self.last_seen_s, end_s, out=self.last_seen_s, where=seen)
        killed = block.killed[index]
        if killed.any():
            self.killed_s[killed] = np.maximum(self.killed_s[killed], end_s)
        return changed

    def _close_hour(self, hour: int) -> None:
        """Aggregate hour `hour` (counted from the epoch) from the steps still in the ring.

        The sum runs over the steps in order, so that the result does not depend on when and in
        how many pieces they came. Where steps of the hour have left the ring, what was known of
        it is not forgotten.
        """
        end_s = (hour + 1) * HOUR_S
        total = np.zeros((len(self.resources), self.workloads), dtype=np.float32)
        count = np.zeros_like(total)
        peak = np.full_like(total, np.nan)
        for step_end in range(end_s - HOUR_S + self.step_s, end_s + 1, self.step_s):
            if not self.end_s - STEP_SPAN_S < step_end <= self.end_s:
                continue
            values = self._values[(step_end // self.step_s - 1) % self.steps]
            seen = np.isfinite(values)
            np.add(total, values, out=total, where=seen)
            count += seen
            np.fmax(peak, values, out=peak)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            mean = np.where(count > 0, total / count, np.float32(np.nan))
        whole = end_s - HOUR_S >= self.end_s - STEP_SPAN_S
        self._hours.close(hour, mean, peak, whole)
