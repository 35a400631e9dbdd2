"""Platforms at work: at the same time, within their deadline, and misbehaving."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from pla.core.plan import Outcome, OutcomeStatus, Resize
from pla.crew import Crew, Job
from pla.ports import (
    ActuatorError,
)

APPLIED, FAILED = OutcomeStatus.APPLIED, OutcomeStatus.FAILED
PATIENCE_S = 0.3
"""How long a test waits for a platform that never answers."""

Make = Callable[..., Any]
Act = Callable[[Sequence[Resize], float], Iterator[Outcome]]


def applied(action: Resize) -> Outcome:
    return Outcome(action, APPLIED, action.target)


def resize(instance: str, target: float = 2.0, resource: str = "cpu") -> Resize:
    return Resize(instance, instance.split("/")[0], resource, 1.0, target, 1)


def statuses(outcomes: Sequence[Outcome]) -> list[tuple[str, OutcomeStatus]]:
    return [(outcome.action.instance, outcome.status) for outcome in outcomes]


def test_outcomes_come_in_the_order_of_the_jobs_and_their_actions(
    clock: Any, make_platform: Make
) -> None:
    jobs = [
        Job(make_platform("a"), (resize("a1"), resize("a2"))),
        Job(make_platform("b"), (resize("b1"),)),
    ]
    found = Crew(clock).run(jobs, 10.0, 1e9)
    assert statuses(found) == [("a1", APPLIED), ("a2", APPLIED), ("b1", APPLIED)]


def test_platforms_work_at_the_same_time(clock: Any, make_platform: Make) -> None:
    meeting = threading.Barrier(2, timeout=10.0)

    def meet(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        meeting.wait()
        yield from map(applied, actions)

    jobs = [Job(make_platform(name, act=meet), (resize(f"{name}1"),)) for name in "ab"]
    assert statuses(Crew(clock).run(jobs, 10.0, 1e9)) == [("a1", APPLIED), ("b1", APPLIED)]


@pytest.mark.parametrize("hanging_first", [True, False])
def test_a_hanging_platform_delays_no_other_and_its_late_actions_do_not_count(
    clock: Any,
    released: threading.Event,
    hanging_first: bool,
    make_platform: Make,
    platforms_done: Callable[[], None],
) -> None:
    done: list[str] = []

    def hang(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        for action in actions:
            released.wait(10.0)
            if clock.monotonic_s() >= deadline_s:
                return
            done.append(action.instance)
            yield applied(action)

    jobs = [Job(make_platform("a", act=hang), (resize("a1"), resize("a2")))]
    jobs.insert(0 if not hanging_first else 1, Job(make_platform("b"), (resize("b1"),)))
    found = {o.action.instance: o for o in Crew(clock).run(jobs, PATIENCE_S, 1e9)}
    clock.elapsed_s += PATIENCE_S
    released.set()
    platforms_done()
    assert found["b1"].status is APPLIED
    for name in ("a1", "a2"):
        assert found[name].status is FAILED
        assert np.isnan(found[name].amount)
        assert found[name].message == "a: no answer before the deadline"
    assert done == []


def test_a_platform_that_ignores_the_deadline_is_asked_for_no_more(
    clock: Any, make_platform: Make, platforms_done: Callable[[], None]
) -> None:
    done: list[str] = []

    def slow(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        for action in actions:
            done.append(action.instance)
            yield applied(action)
            clock.elapsed_s += 6.0  # each action takes six seconds

    actions = tuple(resize(f"a{row}") for row in range(5))
    found = Crew(clock).run([Job(make_platform("a", act=slow), actions)], 10.0, 1e9)
    platforms_done()
    assert done == ["a0", "a1", "a2"]
    assert statuses(found)[2:] == [("a2", FAILED), ("a3", FAILED), ("a4", FAILED)]
    assert found[0].status is APPLIED


def test_nobody_acts_after_the_lease(clock: Any, make_platform: Make) -> None:
    platform = make_platform("a")
    found = Crew(clock).run([Job(platform, (resize("a1"),))], 10.0, clock.monotonic_s())
    assert platform.log == []
    assert statuses(found) == [("a1", FAILED)]


def test_the_deadline_is_never_later_than_the_lease(clock: Any, make_platform: Make) -> None:
    seen: list[float] = []

    def note(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        seen.append(deadline_s)
        return map(applied, actions)

    crew = Crew(clock)
    crew.run([Job(make_platform("a", act=note), (resize("a1"),))], 10.0, 1e9)
    crew.run([Job(make_platform("b", act=note), (resize("b1"),))], 10.0, 103.0)
    assert seen == [110.0, 103.0]


def test_a_platform_still_busy_gets_no_second_job(
    clock: Any, released: threading.Event, make_platform: Make, platforms_done: Callable[[], None]
) -> None:
    def hang(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        released.wait(10.0)
        yield from map(applied, actions)

    crew, platform, other = Crew(clock), make_platform("k8s", act=hang), make_platform("k8s")
    crew.run([Job(platform, (resize("a1"),))], PATIENCE_S, 1e9)
    found = crew.run([Job(platform, (resize("a1"),)), Job(other, (resize("b1"),))], 10.0, 1e9)
    # Another cluster of the same scheme is another platform.
    assert statuses(found) == [("a1", FAILED), ("b1", APPLIED)]
    assert found[0].message == "k8s: still busy with the former tick's changes"
    assert len(platform.log) == 1
    released.set()
    platforms_done()
    assert statuses(crew.run([Job(platform, (resize("a1"),))], 10.0, 1e9)) == [("a1", APPLIED)]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ActuatorError("host-7 is down; check its network"), "host-7 is down"),
        (KeyError("spec"), "KeyError: 'spec'"),
    ],
)
def test_a_platform_that_raises_midway_fails_the_rest_and_no_other(
    clock: Any, error: Exception, words: str, make_platform: Make
) -> None:
    def break_down(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        yield applied(actions[0])
        raise error

    jobs = [
        Job(make_platform("a", act=break_down), (resize("a1"), resize("a2"), resize("a3"))),
        Job(make_platform("b"), (resize("b1"),)),
    ]
    found = Crew(clock).run(jobs, 10.0, 1e9)
    assert [status for _, status in statuses(found)] == [APPLIED, FAILED, FAILED, APPLIED]
    assert words in found[1].message
    assert found[1].message.startswith("a: ")


def answers(*rows: int) -> Act:
    """Outcomes of these rows of the actions only, in this order."""

    def act(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        return (applied(actions[row]) for row in rows)

    return act


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (answers(2, 0, 1), [APPLIED, APPLIED, APPLIED]),
        (answers(1), [FAILED, APPLIED, FAILED]),
        (answers(), [FAILED, FAILED, FAILED]),
        (answers(0, 0, 1, 2), [APPLIED, APPLIED, APPLIED]),
        (lambda actions, _: iter([applied(resize("x"))]), [FAILED, FAILED, FAILED]),
        (lambda actions, _: [applied(actions[0])], [APPLIED, FAILED, FAILED]),
        (lambda actions, _: None, [FAILED, FAILED, FAILED]),
        (lambda actions, _: iter(["done"]), [FAILED, FAILED, FAILED]),
    ],
)
def test_every_action_gets_its_own_outcome_whatever_the_platform_answers(
    clock: Any, act: Act, expected: list[OutcomeStatus], make_platform: Make
) -> None:
    actions = tuple(resize(f"a{row}", target=row + 2) for row in range(3))
    found = Crew(clock).run([Job(make_platform("a", act=act), actions)], 10.0, 1e9)
    assert [outcome.action for outcome in found] == list(actions)
    assert [outcome.status for outcome in found] == expected
    for outcome in found:
        if outcome.status is APPLIED:
            assert outcome.amount == outcome.action.target


def test_two_resources_of_one_instance_are_two_actions(clock: Any, make_platform: Make) -> None:
    actions = (resize("a1", 2.0), resize("a1", 9.0, "memory"))
    found = Crew(clock).run([Job(make_platform("a", act=answers(1, 0)), actions)], 10.0, 1e9)
    assert [(o.action.resource, o.amount) for o in found] == [("cpu", 2.0), ("memory", 9.0)]


def test_no_job_is_no_outcome(clock: Any) -> None:
    assert Crew(clock).run([], 10.0, 1e9) == []
