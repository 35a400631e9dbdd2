"""What a leader, or a standby, remembers between ticks, kept in line with the fleet's rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pla.core.calibration import Calibration
from pla.core.fleet import Bytes, Fleet, Floats, Forecast
from pla.core.plan import DONE, Outcome
from pla.core.window import HOUR_S, HOURS, UsageWindow
from pla.observation import row_map
from pla.ports import FleetPart


@dataclass(frozen=True, slots=True)
class PendingForecast:
    """A forecast that waits for its hold window to close at `due_s` [epoch s]."""

    due_s: int
    forecast: Forecast
    ids: tuple[str, ...]


@dataclass
class TickState:
    """What a leader, or a standby, remembers between ticks.

    Attributes:
        window: usage of every workload row of `ids`.
        ids: the workloads that the window's rows belong to.
        calibration: the online correction of the model in force.
        band: the calibrated forecast at the tier's quantile that was made before the newest
            step, which may show a surge against it (workload, resource).
        next_band: that of the newest forecast, for the steps after `next_band_s` [epoch s].
        pending: forecasts whose hold window has not closed yet, oldest first.
        instance_ids: the instances that the rows of `changed_s` belong to.
        changed_s: time of the last change, -inf = never (instance, resource) [epoch s].
        parts: what each actuator listed last, for the ticks in which it does not answer.
        remembered: last changes before this process led, per (instance id, resource name).
        saved_peaks: seven-day peaks before this process started, per workload id.
        former_peak: `saved_peaks` in the rows of `ids` (workload, resource); None = nothing saved.
    """

    window: UsageWindow
    ids: tuple[str, ...]
    calibration: Calibration
    band: Floats
    instance_ids: tuple[str, ...]
    changed_s: Floats
    pending: list[PendingForecast] = field(default_factory=list)
    parts: dict[tuple[int, str], FleetPart] = field(default_factory=dict)
    remembered: dict[tuple[str, str], float] = field(default_factory=dict)
    saved_peaks: dict[str, list[float | None]] = field(default_factory=dict)
    former_peak: Floats | None = None
    next_band: Floats | None = None
    next_band_s: int = 0

    @staticmethod
    def fresh(
        resources: tuple[str, ...], step_s: int, now_s: float, calibration: Calibration
    ) -> TickState:
        """Empty memory whose window starts so far back that the first tick back-fills it whole."""
        start_s = int(now_s - HOURS * HOUR_S) // HOUR_S * HOUR_S
        blank = np.empty((0, len(resources)))
        return TickState(
            window=UsageWindow(0, resources, step_s, start_s),
            ids=(),
            calibration=calibration,
            band=blank,
            instance_ids=(),
            changed_s=blank,
        )

    def follow(self, fleet: Fleet) -> None:
        """Bring the rows of what is remembered in line with the fleet's."""
        if fleet.workloads.ids != self.ids:
            rows = row_map(self.ids, fleet.workloads.ids)
            self.window = self.window.reindexed(rows)
            self.band = _reordered(self.band, rows, np.nan)
            if self.next_band is not None:
                self.next_band = _reordered(self.next_band, rows, np.nan)
            self.ids = fleet.workloads.ids
            self.former_peak = self._former_peak(len(fleet.resources))
        self.calibration.follow(fleet.workloads.ids)
        if fleet.instances.ids != self.instance_ids:
            rows = row_map(self.instance_ids, fleet.instances.ids)
            self.changed_s = _reordered(self.changed_s, rows, -np.inf)
            self.instance_ids = fleet.instances.ids
        self._recall_changes(fleet.resources)

    def start_again(self, now_s: float) -> None:
        """Forget all that is of a later time than `now_s`: the clock was set back.

        What was seen is read again, and no change of the future counts.
        """
        start_s = int(now_s - HOURS * HOUR_S) // HOUR_S * HOUR_S
        empty = UsageWindow(0, self.window.resources, self.window.step_s, start_s)
        self.window = empty.reindexed(np.full(len(self.ids), -1, dtype=np.int64))
        self.changed_s = np.minimum(self.changed_s, now_s)
        self.band = np.full(self.band.shape, np.nan)
        self.next_band, self.next_band_s = None, 0
        self.pending.clear()

    def stored_peak(self) -> Floats:
        """Largest usage of the last seven days, also of those before a restart [unit].

        Shape (workload, resource); NaN = never seen.
        """
        peak = self.window.peak(7 * 24).T.astype(np.float64)
        return np.fmax(peak, self.former_peak) if self.former_peak is not None else peak

    def turn_band(self) -> None:
        """Compare a new step with what was forecast before it.

        Ticks that come faster than steps forecast with the newest step in view: against that, no
        step is ever a surge.
        """
        if self.next_band is not None and self.window.end_s > self.next_band_s:
            self.band = self.next_band

    def expect(self, forecast: Forecast, horizon_s: int) -> None:
        """Remember `forecast`, made at the window's end, until its hold window has closed.

        Ticks that come faster than steps forecast the same window again: it counts once.
        """
        due_s = self.window.end_s + horizon_s
        if not self.pending or self.pending[-1].due_s < due_s:
            self.pending.append(PendingForecast(due_s, forecast, self.ids))

    def learn_from_closed_windows(self, hold_steps: int, tier: Bytes) -> None:
        """Feed the calibration with every forecast whose hold window has closed."""
        window = self.window
        while self.pending and self.pending[0].due_s <= window.end_s:
            due = self.pending.pop(0)
            newest = (window.end_s - due.due_s) // window.step_s
            former_model = due.forecast.model_version != self.calibration.model_version
            if former_model or newest + hold_steps > window.steps:
                continue
            lags = range(newest, newest + hold_steps)
            # NaN where any step is missing: a peak over less than the window proves nothing.
            peak = np.max([window.lag(lag) for lag in lags], axis=0).T
            held = np.any([window.censored_lag(lag) for lag in lags], axis=0).T
            self.calibration.update(self._in_present_rows(due), peak, held, tier)

    def note_changes(self, outcomes: Sequence[Outcome], at_s: float) -> None:
        """Start the cooldown of everything in `outcomes` that changed, or may have.

        A change whose answer was lost would otherwise be made again and again, each time from
        the amount that it has reached.
        """
        changed = [o.action for o in outcomes if o.status in DONE or o.unsure]
        if not changed:
            return
        row = {name: index for index, name in enumerate(self.instance_ids)}
        column = {name: index for index, name in enumerate(self.window.resources)}
        for action in changed:
            self.changed_s[row[action.instance], column[action.resource]] = at_s

    def _in_present_rows(self, due: PendingForecast) -> Forecast:
        """Its forecast for the workloads of `ids`; NaN for those that came later."""
        if due.ids == self.ids:
            return due.forecast
        rows = row_map(due.ids, self.ids)
        known = rows >= 0
        peak = np.full((len(rows), *due.forecast.peak.shape[1:]), np.nan, dtype=np.float32)
        scale = np.ones((len(rows), due.forecast.scale.shape[1]), dtype=np.float32)
        peak[known] = due.forecast.peak[rows[known]]
        scale[known] = due.forecast.scale[rows[known]]
        return dataclasses.replace(due.forecast, peak=peak, scale=scale)

    def _former_peak(self, resources: int) -> Floats | None:
        if not self.saved_peaks:
            return None
        nothing = [None] * resources
        rows = [self.saved_peaks.get(name, nothing) for name in self.ids]
        return np.array(rows, dtype=np.float64).reshape(len(self.ids), resources)

    def _recall_changes(self, resources: tuple[str, ...]) -> None:
        """Cooldowns outlive a restart: what the store remembers counts once per instance."""
        if not self.remembered:
            return
        row = {name: index for index, name in enumerate(self.instance_ids)}
        column = {name: index for index, name in enumerate(resources)}
        for key in [key for key in self.remembered if key[0] in row and key[1] in column]:
            cell = row[key[0]], column[key[1]]
            self.changed_s[cell] = max(self.changed_s[cell], self.remembered.pop(key))


def _reordered(values: Floats, rows: NDArray[np.int64], missing: float) -> Floats:
    """Row i is old row `rows[i]` of `values`; `missing` where that is -1."""
    fresh = np.full((len(rows), values.shape[1]), missing)
    fresh[rows >= 0] = values[rows[rows >= 0]]
    return fresh
