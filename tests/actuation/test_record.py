"""What is on record before a platform is touched, and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from pla.actuation import actions_of
from pla.core.plan import Outcome, OutcomeStatus, Resize
from pla.ports import (
    ActuatorError,
    Lease,
    LeaseLost,
    StoreError,
)

APPLIED, FAILED = OutcomeStatus.APPLIED, OutcomeStatus.FAILED

Make = Callable[..., Any]


def applied(action: Resize) -> Outcome:
    return Outcome(action, OutcomeStatus.APPLIED, action.target)


def statuses(outcomes: Sequence[Outcome]) -> list[tuple[str, OutcomeStatus]]:
    return [(outcome.action.instance, outcome.status) for outcome in outcomes]


def test_decisions_are_on_record_before_any_platform_is_touched(
    scene: Make,
) -> None:
    found = scene()
    found.carry_out()
    assert found.log[0] == ("begin", "tick", 3, 4)
    assert found.log[-1] == ("settle", 4)
    assert sorted(kind for kind, *_ in found.log[1:-1]) == ["apply", "apply"]
    assert found.errors == []


def test_each_outcome_is_settled_on_its_own_decision(scene: Make) -> None:
    def fail_last(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        yield applied(actions[0])
        yield Outcome(actions[1], OutcomeStatus.DEFERRED, 1.0, "later")

    found = scene(act_b=fail_last)
    found.carry_out()
    store = found.store
    assert [decision.target for decision in store.begun] == [2.0, 3.0, 4.0, 5.0]
    assert {decision.status for decision in store.begun} == {"planned"}
    assert {row: result[:2] for row, result in store.settled.items()} == {
        0: ("applied", 2.0),
        1: ("applied", 3.0),
        2: ("applied", 4.0),
        3: ("deferred", 1.0),
    }


def test_a_decision_says_everything_that_explains_it(scene: Make) -> None:
    found = scene()
    found.carry_out()
    decision = found.store.begun[1]
    assert decision.instance == found.observation.fleet.instances.ids[2]
    assert decision.workload == found.observation.fleet.workloads.ids[2]
    assert (decision.resource, decision.current, decision.target) == ("cpu", 1.0, 3.0)
    assert (decision.at_s, decision.epoch, decision.model_version) == (1_800_000_000.0, 3, "7")
    assert decision.reason == "forecast peak at the tier's quantile"


@pytest.mark.parametrize(
    "error", [LeaseLost("held by another, epoch 4"), StoreError("store.db: disk is full")]
)
def test_without_a_record_nothing_is_changed(scene: Make, error: Exception) -> None:
    found = scene()
    found.store.begin_fails = error
    assert found.carry_out() == []
    assert found.log == []
    assert found.errors == [f"nothing was changed: {error}"]


def test_a_lease_that_ran_out_meanwhile_changes_nothing(scene: Make) -> None:
    found = scene()
    outcomes = found.carry_out(Lease("me", 3, expires_s=found.clock.monotonic_s() - 1))
    assert [kind for kind, *_ in found.log] == ["begin", "settle"]
    assert {outcome.status for outcome in outcomes} == {FAILED}
    assert {status for status, _, _ in found.store.settled.values()} == {"failed"}


def test_outcomes_that_cannot_be_noted_are_still_reported(scene: Make) -> None:
    found = scene()
    found.store.settle_fails = StoreError("store.db: disk is full")
    assert len(found.carry_out()) == 4
    assert found.errors == [
        "changes were made, their outcomes could not be noted: store.db: disk is full"
    ]


def test_what_failed_is_named_once_among_the_errors(scene: Make) -> None:
    def down(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        raise ActuatorError("host-7 is down; check its network")

    found = scene(act_a=down)
    assert statuses(found.carry_out()) == [
        ("sim://w0/0", FAILED),
        ("sim://w1/1", FAILED),
        ("sim://w0/0", APPLIED),
        ("sim://w1/1", APPLIED),
    ]
    assert found.errors == ["a: host-7 is down; check its network"]


def test_actions_carry_the_precondition_that_the_plan_was_made_with(
    scene: Make,
) -> None:
    found = scene()
    actions = actions_of(found.plan, found.observation)
    assert [action.target for action in actions] == [2.0, 3.0, 4.0, 5.0]
    assert [action.version for action in actions] == ["a0", "b0", "a1", "b1"]
