"""Carrying a plan out: under the lease, each platform within its own deadline, on record.

The order is what makes a crash harmless: decision rows are written first, in the transaction that
proves the lease; then the platforms act; then the outcomes are noted. What is lost between the
last two is an outcome, never a change without a record.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pla.core.plan import Outcome, OutcomeStatus, Plan, Resize, describe
from pla.observation import Observation
from pla.ports import (
    Actuator,
    ActuatorError,
    Clock,
    Decision,
    Lease,
    LeaseLost,
    StoreError,
    TickStore,
)


@dataclass(frozen=True, slots=True)
class Fence:
    """Proof of leadership: the lease `name` was held when `lease` was taken."""

    name: str
    lease: Lease


@dataclass(frozen=True, slots=True)
class Job:
    """What one platform has to do."""

    actuator: Actuator
    actions: tuple[Resize, ...]


class _Answers:
    """What one platform has answered so far; written by its thread, read by the tick's.

    A list and one event: a queue would wake the waiting thread for each of 100,000 outcomes.
    """

    def __init__(self) -> None:
        self.outcomes: list[tuple[tuple[str, str], Outcome]] = []
        self.why = "no answer before the deadline"
        self._ended = threading.Event()

    def end(self, why: str) -> None:
        """There will be no more, for the reason `why`."""
        self.why = why
        self._ended.set()

    def wait(self, seconds: float) -> tuple[dict[tuple[str, str], Outcome], str]:
        """What was answered within `seconds`, by cell, and why there is no more."""
        self._ended.wait(max(seconds, 0.0))
        # Copied at one moment: what comes later is too late.
        return dict(list(self.outcomes)), self.why


class Crew:
    """Runs every platform's job at the same time, and waits for none beyond its deadline.

    A platform that hangs keeps its thread; until that comes back it gets no new job. Its actions
    cannot take effect late: an actuator checks the deadline before each of them, and no further
    one is asked of it once the deadline has passed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._busy: dict[int, threading.Thread] = {}

    def run(self, jobs: Sequence[Job], seconds: float, expires_s: float) -> list[Outcome]:
        """The outcomes of all jobs, in order; each has `seconds`, and none acts after `expires_s`.

        `expires_s` is the end of the lease (monotonic) [s].
        """
        deadline_s = min(self._clock.monotonic_s() + seconds, expires_s)
        started = [(job, self._start(job, deadline_s)) for job in jobs]
        outcomes: list[Outcome] = []
        for job, results in started:
            outcomes.extend(self._await(job, results, deadline_s))
        return outcomes

    def _start(self, job: Job, deadline_s: float) -> _Answers | None:
        # By identity: two clusters have one scheme. The thread holds its actuator, so the id of a
        # busy one is not taken by another.
        former = self._busy.get(id(job.actuator))
        if former is not None and former.is_alive():
            return None
        answers = _Answers()
        thread = threading.Thread(
            target=_work,
            args=(job, self._clock, deadline_s, answers),
            name=f"actuate-{job.actuator.scheme}",
            daemon=True,
        )
        self._busy[id(job.actuator)] = thread
        thread.start()
        return answers

    def _await(self, job: Job, answers: _Answers | None, deadline_s: float) -> list[Outcome]:
        """One outcome for each action, in the order of the actions, whatever the platform does."""
        known: dict[tuple[str, str], Outcome] = {}
        words = "still busy with the former tick's changes"
        if answers is not None:
            known, words = answers.wait(deadline_s - self._clock.monotonic_s())
        words = f"{job.actuator.scheme}: {words}"
        return [known.get(_key(action)) or _failed(action, words) for action in job.actions]


def _key(action: Resize) -> tuple[str, str]:
    return action.instance, action.resource


def _work(job: Job, clock: Clock, deadline_s: float, answers: _Answers) -> None:
    """Let the actuator work until it is done or the deadline has passed.

    Its outcomes go to `answers`, and last why there are no more. An outcome that comes late is
    none: nobody waits for it any more, and the next tick sees what is really in force.
    """
    why = "it gave no outcome for this change"
    try:
        if clock.monotonic_s() >= deadline_s:
            outcomes: Iterator[Outcome] = iter(())
        else:
            outcomes = iter(job.actuator.apply(job.actions, deadline_s))
        while clock.monotonic_s() < deadline_s:
            outcome = next(outcomes, None)
            if outcome is None:
                break
            if clock.monotonic_s() < deadline_s:
                answers.outcomes.append((_key(outcome.action), outcome))
        else:
            why = "the deadline had passed"
    except ActuatorError as error:
        why = str(error)
    except Exception as error:  # a defect of one platform's code must not stop the others
        why = f"{type(error).__name__}: {error}"
    answers.end(why)


def _failed(action: Resize, words: str) -> Outcome:
    return Outcome(action, OutcomeStatus.FAILED, float("nan"), words)


def actions_of(plan: Plan, observation: Observation) -> list[Resize]:
    """The plan's changes as objects, in its order."""
    fleet = observation.fleet
    workload = fleet.instances.workload[plan.instance].tolist()
    return [
        Resize(
            instance=fleet.instances.ids[instance],
            workload=fleet.workloads.ids[row],
            resource=fleet.resources[resource],
            current=current,
            target=target,
            reason=reason,
            version=fleet.instances.version[instance],
        )
        for instance, row, resource, current, target, reason in zip(
            plan.instance.tolist(),
            workload,
            plan.resource.tolist(),
            plan.current.tolist(),
            plan.target.tolist(),
            plan.reason.tolist(),
            strict=True,
        )
    ]


def carry_out(
    plan: Plan,
    observation: Observation,
    store: TickStore,
    crew: Crew,
    fence: Fence,
    *,
    at_s: float,
    model_version: str,
    seconds: float,
    errors: list[str],
) -> list[Outcome]:
    """Record, act, record what became of it. Returns the outcomes; trouble goes into `errors`."""
    actions = actions_of(plan, observation)
    owner = observation.owner[observation.fleet.instances.workload[plan.instance]]
    try:
        rows = store.begin(
            fence.name, fence.lease, _decisions(actions, at_s, fence.lease.epoch, model_version)
        )
    except (LeaseLost, StoreError) as error:
        errors.append(f"nothing was changed: {error}")
        return []
    outcomes: list[Outcome] = []
    numbers: list[int] = []
    jobs: list[Job] = []
    for index, actuator in enumerate(observation.owners):
        mine = np.flatnonzero(owner == index).tolist()
        if mine:
            jobs.append(Job(actuator, tuple(actions[row] for row in mine)))
            numbers.extend(rows[row] for row in mine)
    outcomes = crew.run(jobs, seconds, fence.lease.expires_s)
    errors.extend(sorted({o.message for o in outcomes if o.status is OutcomeStatus.FAILED}))
    try:
        store.settle(
            [
                (number, outcome.status.value, outcome.amount, outcome.message)
                for number, outcome in zip(numbers, outcomes, strict=True)
            ]
        )
    except StoreError as error:
        errors.append(f"changes were made, their outcomes could not be noted: {error}")
    return outcomes


def _decisions(
    actions: Sequence[Resize], at_s: float, epoch: int, model_version: str
) -> list[Decision]:
    words: dict[int, str] = {}
    for action in actions:
        if action.reason not in words:
            words[action.reason] = describe(action.reason)
    return [
        Decision(
            at_s=at_s,
            epoch=epoch,
            instance=action.instance,
            workload=action.workload,
            resource=action.resource,
            current=action.current,
            target=action.target,
            amount=float("nan"),
            reason=words[action.reason],
            status="planned",
            message="",
            model_version=model_version,
        )
        for action in actions
    ]
