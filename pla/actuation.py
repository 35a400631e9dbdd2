"""Carrying a plan out: under the lease, each platform within its own deadline, on record.

The order is what makes a crash harmless: decision rows are written first, in the transaction that
proves the lease; then the platforms act; then the outcomes are noted. What is lost between the
last two is an outcome, never a change without a record.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pla.core.plan import Outcome, OutcomeStatus, Plan, Resize, describe
from pla.crew import Crew, Job
from pla.observation import Observation
from pla.ports import (
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


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """No cyclic collection meanwhile: a large plan's objects would trigger walks of the whole heap.

    They hold no cycles: reference counts free them.
    """
    runs = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if runs:
            gc.enable()


@_collector_at_rest()
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
