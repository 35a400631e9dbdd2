"""One cycle, as a numbered story: observe, collect, featurise, forecast, recommend, plan, actuate.

Each step is a function of its own, timed, and wrapped by `step=` (a flow makes it a task). What
one leader remembers between ticks is `TickState`; everything else comes in through the ports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from pla import wishes
from pla.actuation import Fence, carry_out
from pla.collection import collect
from pla.core import planner, policy
from pla.core.fleet import Fleet, Forecast, Tier
from pla.core.plan import DONE, Outcome, Plan, Recommendation
from pla.core.situation import Rules, Situation
from pla.crew import Crew
from pla.observation import Observation, merge
from pla.ports import (
    Actuator,
    ActuatorError,
    Clock,
    FleetPart,
    Forecaster,
    MetricsSource,
    TickStore,
)
from pla.prediction import attempt, featurise, forecast, no_forecast
from pla.settings import Settings
from pla.tick_state import TickState

__all__ = [
    "Ports",
    "StepWrapper",
    "TickReport",
    "TickState",
    "actuate",
    "collect",
    "featurise",
    "forecast",
    "observe",
    "plan",
    "run_step",
    "run_tick",
]

T = TypeVar("T")


class StepWrapper(Protocol):
    """Runs one step of the tick: times it, or makes it a task."""

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """What `work` returns."""


def run_step(name: str, work: Callable[[], T]) -> T:
    """The plain wrapper: just runs the step."""
    return work()


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
    store: TickStore
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
    model = partial(attempt, version=forecaster.model_version, errors=errors)
    features = step("featurise", lambda: model(lambda: featurise(state, forecaster, fleet)))
    predicted = step(
        "forecast",
        lambda: (
            model(lambda: forecast(state, forecaster, features, fleet, settings))
            or no_forecast(forecaster, fleet)
        ),
    )
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
        kill_quantile=chosen.kill_quantile,
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
    tiers = settings.core_tiers()
    parts: list[FleetPart] = []
    owners: list[Actuator] = []
    silent: list[bool] = []
    for row, actuator in enumerate(actuators):
        # Several platforms can have one scheme: two clusters are both `k8s`.
        key = row, actuator.scheme
        listed = _list(actuator, settings.resources, tiers, errors)
        if listed is not None:
            state.parts[key] = listed
        if key in state.parts:
            parts.append(state.parts[key])
            owners.append(actuator)
            silent.append(listed is None)
    observation = merge(parts, owners, silent, settings.resources, tiers)
    state.follow(observation.fleet)
    return observation


def _list(
    actuator: Actuator, resources: tuple[str, ...], tiers: tuple[Tier, ...], errors: list[str]
) -> FleetPart | None:
    """What a platform lists, None where that cannot be used."""
    try:
        part = actuator.list(resources)
        Fleet(resources, tiers, part.workloads, part.instances, part.nodes)
    except ActuatorError as error:
        errors.append(f"{actuator.scheme}: {error}")
    except Exception as error:  # a defect of one platform's code must not stop the others
        errors.append(f"{actuator.scheme}: {type(error).__name__}: {error}")
    else:
        return part
    return None


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
    state.note_changes(outcomes, report.at_s)
