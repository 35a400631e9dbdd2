"""One cycle, as a numbered story: observe, collect, featurise, forecast, recommend, plan, actuate.

Each step is a function of its own, timed, and wrapped by `step=` (a flow makes it a task). What
one leader remembers between ticks is `TickState`; everything else comes in through the ports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pla import wishes
from pla.actuation import Crew, Fence, carry_out
from pla.core import planner, policy
from pla.core.calibration import Calibration
from pla.core.fleet import Bools, Fleet, Floats, Forecast, UsageBlock
from pla.core.plan import Outcome, OutcomeStatus, Plan, Recommendation
from pla.core.policy import Rules, Situation
from pla.core.window import UsageWindow
from pla.observation import Observation, merge, row_map
from pla.ports import (
    Actuator,
    ActuatorError,
    Clock,
    FeatureBlock,
    FleetPart,
    Forecaster,
    MetricsSource,
    SourceError,
    Store,
)
from pla.settings import Settings

T = TypeVar("T")

DONE = (OutcomeStatus.APPLIED, OutcomeStatus.ACCEPTED)

OVERLAP_STEPS = 2
"""Steps that are read again in every tick: samples come late, and are corrected."""

BACKFILL_CHUNK_S = 24 * 3600
"""History is read a day at a time: a whole window at once would double the peak memory."""


class StepWrapper(Protocol):
    """Runs one step of the tick: times it, or makes it a task."""

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """What `work` returns."""


def run_step(name: str, work: Callable[[], T]) -> T:
    """The plain wrapper: just runs the step."""
    return work()


@dataclass
class TickState:
    """What a leader, or a standby, remembers between ticks.

    Attributes:
        window: usage of every workload row of `ids`.
        ids: the workloads that the window's rows belong to.
        calibration: the online correction of the model in force.
        band: the calibrated forecast at the tier's quantile of the former tick
            (workload, resource).
        pending: forecasts whose hold window has not closed yet, oldest first.
        instance_ids: the instances that the rows of `changed_s` belong to.
        changed_s: time of the last change, -inf = never (instance, resource) [epoch s].
        parts: what each actuator listed last, for the ticks in which it does not answer.
    """

    window: UsageWindow
    ids: tuple[str, ...]
    calibration: Calibration
    band: Floats
    instance_ids: tuple[str, ...]
    changed_s: Floats
    pending: list[PendingForecast] = field(default_factory=list)
    parts: dict[str, FleetPart] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PendingForecast:
    """A forecast that waits for its hold window to close at `due_s` [epoch s]."""

    due_s: int
    forecast: Forecast
    ids: tuple[str, ...]


@dataclass
class TickReport:
    """What one tick did.

    Attributes:
        at_s: the tick's time [epoch s]; `cutoff_s`: end of the newest step it used.
        model_version: what made the forecast.
        leader: whether it held the lease; without it nothing is actuated.
        paused: whether all actuation is paused.
        fleet, forecast, recommendation, plan: its intermediate results.
        outcomes: what became of the plan's changes.
        errors: one line each, naming what is wrong, where and what to do.
    """

    at_s: float
    cutoff_s: int
    model_version: str
    leader: bool
    paused: bool
    fleet: Fleet
    situation: Situation
    forecast: Forecast
    recommendation: Recommendation
    plan: Plan
    outcomes: list[Outcome]
    errors: list[str]

    @property
    def applied(self) -> int:
        """Changes that are in force or under way."""
        return sum(outcome.status in DONE for outcome in self.outcomes)


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside of a tick."""

    source: MetricsSource
    actuators: Sequence[Actuator]
    store: Store
    crew: Crew
    clock: Clock


def run_tick(
    state: TickState,
    ports: Ports,
    forecaster: Forecaster,
    settings: Settings,
    fence: Fence | None,
    step: StepWrapper = run_step,
) -> TickReport:
    """One whole cycle at the clock's present time.

    `fence` is the proof of leadership; None is a standby or a dry run, which plans and stops.
    Nothing that a single workload, source or platform does wrong ends the tick: it is reported
    in `TickReport.errors`, and its workloads keep what they have.
    """
    errors: list[str] = []
    now_s = ports.clock.now_s()
    rules = rules_of(settings)
    observation = step("observe", lambda: observe(state, ports.actuators, settings, errors))
    fleet = observation.fleet
    situation = step(
        "collect", lambda: collect(state, ports.source, observation, settings, now_s, errors)
    )
    features = step("featurise", lambda: featurise(state, forecaster, fleet))
    predicted = step("forecast", lambda: forecast(state, forecaster, features, fleet, settings))
    will, paused = wishes.read(ports.store, fleet, now_s, errors)
    advice = step("recommend", lambda: policy.recommend(predicted, situation, fleet, will, rules))
    changes = step("plan", lambda: plan(state, observation, advice, now_s, rules))
    report = TickReport(
        at_s=now_s,
        cutoff_s=state.window.end_s,
        model_version=predicted.model_version,
        leader=fence is not None,
        paused=paused,
        fleet=fleet,
        situation=situation,
        forecast=predicted,
        recommendation=advice,
        plan=changes,
        outcomes=[],
        errors=errors,
    )
    if fence is not None and not paused:
        step("actuate", lambda: actuate(state, ports, observation, report, settings, fence))
    return report


def rules_of(settings: Settings) -> Rules:
    """The policy's constants out of the settings."""
    chosen = settings.policy
    return Rules(
        censored_growth=chosen.censored_growth,
        censored_ratio=chosen.censored_ratio,
        shrink_deadband=chosen.shrink_deadband,
        incompressible_margin=chosen.incompressible_margin,
        stale_after_s=settings.tick.stale_after_s,
        stale_raise_factor=chosen.stale_raise_factor,
    )


# -- 1 -------------------------------------------------------------------------------------


def observe(
    state: TickState, actuators: Sequence[Actuator], settings: Settings, errors: list[str]
) -> Observation:
    """The fleet as its platforms list it now; a platform that is down keeps its last list.

    Workloads of such a platform are observed but not acted on.
    """
    parts: list[FleetPart] = []
    silent: list[bool] = []
    for actuator in actuators:
        try:
            state.parts[actuator.scheme] = actuator.list(settings.resources)
            silent.append(False)
        except ActuatorError as error:
            errors.append(f"{actuator.scheme}: {error}")
            silent.append(True)
        part = state.parts.get(actuator.scheme)
        if part is not None:
            parts.append(part)
        else:
            silent.pop()
    answered = [a for a in actuators if a.scheme in state.parts]
    observation = merge(parts, answered, silent, settings.resources, settings.core_tiers())
    _follow(state, observation.fleet)
    return observation


def _follow(state: TickState, fleet: Fleet) -> None:
    """Bring the rows of what is remembered in line with the fleet's."""
    if fleet.workloads.ids != state.ids:
        rows = row_map(state.ids, fleet.workloads.ids)
        state.window = state.window.reindexed(rows)
        state.band = _reordered(state.band, rows, np.nan)
        state.ids = fleet.workloads.ids
    if fleet.instances.ids != state.instance_ids:
        rows = row_map(state.instance_ids, fleet.instances.ids)
        state.changed_s = _reordered(state.changed_s, rows, -np.inf)
        state.instance_ids = fleet.instances.ids


def _reordered(values: Floats, rows: NDArray[np.int64], missing: float) -> Floats:
    """Row i is old row `rows[i]` of `values`; `missing` where that is -1."""
    fresh = np.full((len(rows), values.shape[1]), missing)
    fresh[rows >= 0] = values[rows[rows >= 0]]
    return fresh


# -- 2 -------------------------------------------------------------------------------------


def collect(
    state: TickState,
    source: MetricsSource,
    observation: Observation,
    settings: Settings,
    now_s: float,
    errors: list[str],
) -> Situation:
    """Take the newest samples into the window, and say what they mean for each cell.

    A source that fails leaves the window as it is: the ages grow, and the policy holds.
    """
    window = state.window
    cutoff_s = int(now_s // window.step_s) * window.step_s
    start_s = window.end_s - OVERLAP_STEPS * window.step_s
    newest_kill = window.killed_s.copy()
    try:
        while start_s < cutoff_s:
            end_s = min(start_s + BACKFILL_CHUNK_S, cutoff_s)
            block = source.read(state.ids, settings.resources, start_s, end_s, window.step_s)
            _drop_implausible(block, window, observation)
            _mark_held_down(block, observation, settings)
            window.push(block)
            for words in sorted(set(block.unavailable.values())):
                errors.append(words)
            start_s = end_s
    except SourceError as error:
        errors.append(str(error))
    return situate(state, observation, settings, now_s, killed=window.killed_s > newest_kill)


def _drop_implausible(block: UsageBlock, window: UsageWindow, observation: Observation) -> None:
    """Negative, infinite and absurd values are gaps, not usage."""
    amounts = observation.fleet.workload_current()
    peak = window.peak(7 * 24).T.astype(np.float64)
    for values in block.values:
        values[~policy.plausible(values.T, amounts, peak).T] = np.nan


def _mark_held_down(block: UsageBlock, observation: Observation, settings: Settings) -> None:
    """Usage at a hard cap shows the cap, not what the workload wants.

    Only the newest step is known to have had the amounts in force now.
    """
    if not block.steps or not observation.capped.any():
        return
    amounts = observation.fleet.workload_current().T
    cap = np.where(observation.capped.T, amounts * settings.policy.censored_ratio, np.inf)
    block.censored[-1] |= block.values[-1] >= cap


def situate(
    state: TickState,
    observation: Observation,
    settings: Settings,
    now_s: float,
    killed: Bools,
) -> Situation:
    """The situation of every cell at the window's end."""
    window, fleet = state.window, observation.fleet
    current = fleet.workload_current()
    stored_peak = window.peak(7 * 24).T.astype(np.float64)
    seen_s = window.last_seen_s.T.astype(np.float64)
    recent = max(int(settings.policy.recent_peak_s) // window.step_s, 1)
    return Situation(
        current=current,
        usage=window.lag(0).T.astype(np.float64),
        recent_peak=window.recent_max(recent).T.astype(np.float64),
        stored_peak=stored_peak,
        band=state.band,
        censored=window.censored_lag(0).T.copy(),
        killed=np.repeat(killed[:, None], len(fleet.resources), axis=1),
        age_s=np.where(seen_s > 0, now_s - seen_s, np.inf),
    )


# -- 3, 4 ----------------------------------------------------------------------------------


def featurise(state: TickState, forecaster: Forecaster, fleet: Fleet) -> FeatureBlock:
    """The forecaster's input at the window's end."""
    return forecaster.featurise(state.window, fleet)


def forecast(
    state: TickState,
    forecaster: Forecaster,
    features: FeatureBlock,
    fleet: Fleet,
    settings: Settings,
) -> Forecast:
    """The champion's quantiles, corrected online by what earlier ones turned out to be."""
    raw = forecaster.predict(features)
    _learn_from_closed_windows(state, fleet, settings)
    calibrated = state.calibration.apply(raw, fleet.workloads.tier)
    horizon = settings.tick.lead_s + settings.hold_s
    state.pending.append(PendingForecast(state.window.end_s + horizon, raw, state.ids))
    quantile = np.array([tier.quantile for tier in fleet.tiers])[fleet.workloads.tier]
    state.band = policy.at_quantile(calibrated, quantile)
    return calibrated


def _learn_from_closed_windows(state: TickState, fleet: Fleet, settings: Settings) -> None:
    """Feed the calibration with every forecast whose hold window has closed."""
    window = state.window
    steps = settings.hold_s // window.step_s
    while state.pending and state.pending[0].due_s <= window.end_s:
        due = state.pending.pop(0)
        newest = (window.end_s - due.due_s) // window.step_s
        if due.ids != state.ids or newest + steps > window.steps:
            continue
        lags = range(newest, newest + steps)
        peak = np.max([window.lag(lag) for lag in lags], axis=0).T  # NaN where any is missing
        held = np.any([window.censored_lag(lag) for lag in lags], axis=0).T
        state.calibration.update(due.forecast, peak, held, fleet.workloads.tier)


# -- 5, 6 ----------------------------------------------------------------------------------


def plan(
    state: TickState,
    observation: Observation,
    recommendation: Recommendation,
    now_s: float,
    rules: Rules,
) -> Plan:
    """What to change now; nothing to do is an empty plan."""
    return planner.plan(
        recommendation,
        observation.fleet,
        observation.resizable,
        state.changed_s,
        now_s,
        rules,
    )


# -- 7 -------------------------------------------------------------------------------------


def actuate(
    state: TickState,
    ports: Ports,
    observation: Observation,
    report: TickReport,
    settings: Settings,
    fence: Fence,
) -> None:
    """Carry the plan out under the lease, and note what became of each change."""
    if not len(report.plan):
        return
    outcomes = carry_out(
        report.plan,
        observation,
        ports.store,
        ports.crew,
        fence,
        at_s=report.at_s,
        model_version=report.model_version,
        seconds=settings.tick.deadline_s,
        errors=report.errors,
    )
    report.outcomes.extend(outcomes)
    _note_changes(state, outcomes, report)


def _note_changes(state: TickState, outcomes: Sequence[Outcome], report: TickReport) -> None:
    """Start the cooldown of what changed."""
    if not outcomes:
        return
    row = {name: index for index, name in enumerate(state.instance_ids)}
    column = {name: index for index, name in enumerate(report.fleet.resources)}
    for outcome in outcomes:
        if outcome.status in DONE:
            cell = row[outcome.action.instance], column[outcome.action.resource]
            state.changed_s[cell] = report.at_s
