"""Carrying a plan out: what is on record before what acts, and platforms that misbehave."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pla.actuation import Crew, Fence, Job, actions_of, carry_out
from pla.core.fleet import Tier
from pla.core.plan import Outcome, OutcomeStatus, Plan, Resize
from pla.observation import Observation, merge
from pla.ports import (
    ActuatorError,
    Decision,
    FleetPart,
    Lease,
    LeaseLost,
    Override,
    StoreError,
)

APPLIED, FAILED = OutcomeStatus.APPLIED, OutcomeStatus.FAILED
LEASE = Lease("me", epoch=3, expires_s=1e9)
PATIENCE_S = 0.3
"""How long a test waits for a platform that never answers."""

Make = Callable[..., Any]
Act = Callable[[Sequence[Resize], float], Iterator[Outcome]]


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.elapsed_s = 100.0

    def now_s(self) -> float:
        return 1_800_000_000.0 + self.elapsed_s

    def monotonic_s(self) -> float:
        return self.elapsed_s


@dataclass
class Platform:
    """Applies everything at once, or does what `act` says instead; notes what it did."""

    scheme: str
    log: list[Any] = field(default_factory=list)
    act: Act | None = None
    supports: frozenset[str] = frozenset({"cpu"})
    enforces: frozenset[str] = frozenset({"cpu"})

    def list(self, resources: Sequence[str]) -> FleetPart:
        raise NotImplementedError

    def apply(self, actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        self.log.append(("apply", self.scheme, [action.instance for action in actions]))
        return self.act(actions, deadline_s) if self.act else map(applied, actions)

    def restore(self, workloads: Sequence[str] | None) -> Iterator[Outcome]:
        raise NotImplementedError


@dataclass
class MemoryStore:
    """The part of the store that a tick needs, in memory, with faults on request."""

    log: list[Any] = field(default_factory=list)
    begin_fails: Exception | None = None
    settle_fails: Exception | None = None
    begun: list[Decision] = field(default_factory=list)
    settled: dict[int, tuple[str, float, str]] = field(default_factory=dict)

    def begin(self, name: str, lease: Lease, decisions: Sequence[Decision]) -> list[int]:
        if self.begin_fails:
            raise self.begin_fails
        self.log.append(("begin", name, lease.epoch, len(decisions)))
        first = len(self.begun)
        self.begun.extend(decisions)
        return list(range(first, len(self.begun)))

    def settle(self, results: Sequence[tuple[int, str, float, str]]) -> None:
        if self.settle_fails:
            raise self.settle_fails
        self.log.append(("settle", len(results)))
        self.settled |= {row: (status, amount, words) for row, status, amount, words in results}

    def paused(self) -> bool:
        return False

    def overrides(self, now_s: float) -> list[Override]:
        return []


def applied(action: Resize) -> Outcome:
    return Outcome(action, APPLIED, action.target)


def resize(instance: str, target: float = 2.0, resource: str = "cpu") -> Resize:
    return Resize(instance, instance.split("/")[0], resource, 1.0, target, 1)


def statuses(outcomes: Sequence[Outcome]) -> list[tuple[str, OutcomeStatus]]:
    return [(outcome.action.instance, outcome.status) for outcome in outcomes]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set at the test's end, so that no hanging thread outlives it."""
    event = threading.Event()
    yield event
    event.set()
    join_platforms()


def join_platforms() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("actuate-"):
            thread.join(10.0)


# -- the crew ------------------------------------------------------------------------------


def test_outcomes_come_in_the_order_of_the_jobs_and_their_actions(clock: ManualClock) -> None:
    jobs = [
        Job(Platform("a"), (resize("a1"), resize("a2"))),
        Job(Platform("b"), (resize("b1"),)),
    ]
    found = Crew(clock).run(jobs, 10.0, 1e9)
    assert statuses(found) == [("a1", APPLIED), ("a2", APPLIED), ("b1", APPLIED)]


def test_platforms_work_at_the_same_time(clock: ManualClock) -> None:
    meeting = threading.Barrier(2, timeout=10.0)

    def meet(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        meeting.wait()
        yield from map(applied, actions)

    jobs = [Job(Platform(name, act=meet), (resize(f"{name}1"),)) for name in "ab"]
    assert statuses(Crew(clock).run(jobs, 10.0, 1e9)) == [("a1", APPLIED), ("b1", APPLIED)]


@pytest.mark.parametrize("hanging_first", [True, False])
def test_a_hanging_platform_delays_no_other_and_its_late_actions_do_not_count(
    clock: ManualClock, released: threading.Event, hanging_first: bool
) -> None:
    done: list[str] = []

    def hang(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        for action in actions:
            released.wait(10.0)
            if clock.monotonic_s() >= deadline_s:
                return
            done.append(action.instance)
            yield applied(action)

    jobs = [Job(Platform("a", act=hang), (resize("a1"), resize("a2")))]
    jobs.insert(0 if not hanging_first else 1, Job(Platform("b"), (resize("b1"),)))
    found = {o.action.instance: o for o in Crew(clock).run(jobs, PATIENCE_S, 1e9)}
    clock.elapsed_s += PATIENCE_S
    released.set()
    join_platforms()
    assert found["b1"].status is APPLIED
    for name in ("a1", "a2"):
        assert found[name].status is FAILED
        assert np.isnan(found[name].amount)
        assert found[name].message == "a: no answer before the deadline"
    assert done == []


def test_a_platform_that_ignores_the_deadline_is_asked_for_no_more(clock: ManualClock) -> None:
    done: list[str] = []

    def slow(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        for action in actions:
            done.append(action.instance)
            yield applied(action)
            clock.elapsed_s += 6.0  # each action takes six seconds

    actions = tuple(resize(f"a{row}") for row in range(5))
    found = Crew(clock).run([Job(Platform("a", act=slow), actions)], 10.0, 1e9)
    join_platforms()
    assert done == ["a0", "a1", "a2"]
    assert statuses(found)[2:] == [("a2", FAILED), ("a3", FAILED), ("a4", FAILED)]
    assert found[0].status is APPLIED


def test_nobody_acts_after_the_lease(clock: ManualClock) -> None:
    platform = Platform("a")
    found = Crew(clock).run([Job(platform, (resize("a1"),))], 10.0, clock.monotonic_s())
    assert platform.log == []
    assert statuses(found) == [("a1", FAILED)]


def test_the_deadline_is_never_later_than_the_lease(clock: ManualClock) -> None:
    seen: list[float] = []

    def note(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        seen.append(deadline_s)
        return map(applied, actions)

    crew = Crew(clock)
    crew.run([Job(Platform("a", act=note), (resize("a1"),))], 10.0, 1e9)
    crew.run([Job(Platform("b", act=note), (resize("b1"),))], 10.0, 103.0)
    assert seen == [110.0, 103.0]


def test_a_platform_still_busy_gets_no_second_job(
    clock: ManualClock, released: threading.Event
) -> None:
    def hang(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        released.wait(10.0)
        yield from map(applied, actions)

    crew, platform, other = Crew(clock), Platform("k8s", act=hang), Platform("k8s")
    crew.run([Job(platform, (resize("a1"),))], PATIENCE_S, 1e9)
    found = crew.run([Job(platform, (resize("a1"),)), Job(other, (resize("b1"),))], 10.0, 1e9)
    # Another cluster of the same scheme is another platform.
    assert statuses(found) == [("a1", FAILED), ("b1", APPLIED)]
    assert found[0].message == "k8s: still busy with the former tick's changes"
    assert len(platform.log) == 1
    released.set()
    join_platforms()
    assert statuses(crew.run([Job(platform, (resize("a1"),))], 10.0, 1e9)) == [("a1", APPLIED)]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ActuatorError("host-7 is down; check its network"), "host-7 is down"),
        (KeyError("spec"), "KeyError: 'spec'"),
    ],
)
def test_a_platform_that_raises_midway_fails_the_rest_and_no_other(
    clock: ManualClock, error: Exception, words: str
) -> None:
    def break_down(actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        yield applied(actions[0])
        raise error

    jobs = [
        Job(Platform("a", act=break_down), (resize("a1"), resize("a2"), resize("a3"))),
        Job(Platform("b"), (resize("b1"),)),
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
    clock: ManualClock, act: Act, expected: list[OutcomeStatus]
) -> None:
    actions = tuple(resize(f"a{row}", target=row + 2) for row in range(3))
    found = Crew(clock).run([Job(Platform("a", act=act), actions)], 10.0, 1e9)
    assert [outcome.action for outcome in found] == list(actions)
    assert [outcome.status for outcome in found] == expected
    for outcome in found:
        if outcome.status is APPLIED:
            assert outcome.amount == outcome.action.target


def test_two_resources_of_one_instance_are_two_actions(clock: ManualClock) -> None:
    actions = (resize("a1", 2.0), resize("a1", 9.0, "memory"))
    found = Crew(clock).run([Job(Platform("a", act=answers(1, 0)), actions)], 10.0, 1e9)
    assert [(o.action.resource, o.amount) for o in found] == [("cpu", 2.0), ("memory", 9.0)]


def test_no_job_is_no_outcome(clock: ManualClock) -> None:
    assert Crew(clock).run([], 10.0, 1e9) == []


# -- on record -----------------------------------------------------------------------------


@dataclass
class Scene:
    """Two platforms whose instances take turns in the plan, one store, one log of all."""

    observation: Observation
    plan: Plan
    store: MemoryStore
    clock: ManualClock
    log: list[Any]
    errors: list[str] = field(default_factory=list)

    def carry_out(self, lease: Lease = LEASE) -> list[Outcome]:
        return carry_out(
            self.plan,
            self.observation,
            self.store,
            Crew(self.clock),
            Fence("tick", lease),
            at_s=1_800_000_000.0,
            model_version="7",
            seconds=10.0,
            errors=self.errors,
        )


@pytest.fixture
def scene(make_fleet: Make, clock: ManualClock) -> Callable[..., Scene]:
    """`scene(act_a=..., act_b=...)`: a plan for a0, b0, a1, b1 in that order."""

    def build(act_a: Act | None = None, act_b: Act | None = None) -> Scene:
        tiers = (Tier("t", 1, 0.9, 0, 0, 1),)
        log: list[Any] = []
        parts = []
        for name in "ab":
            fleet = make_fleet([[1.0], [1.0]], tiers=tiers, tier=0)
            instances = dataclasses.replace(fleet.instances, version=(f"{name}0", f"{name}1"))
            parts.append(FleetPart(fleet.workloads, instances, fleet.nodes))
        owners = [Platform("a", log, act_a), Platform("b", log, act_b)]
        observation = merge(parts, owners, [False, False], ("cpu",), tiers)
        rows = np.array([0, 2, 1, 3], dtype=np.int32)
        nothing = np.empty(0, dtype=np.int32)
        changes = Plan(
            instance=rows,
            resource=np.zeros(4, dtype=np.int32),
            current=np.ones(4),
            target=np.array([2.0, 3.0, 4.0, 5.0]),
            reason=np.ones(4, dtype=np.int32),
            skipped_instance=nothing,
            skipped_resource=nothing,
            skipped_target=np.empty(0),
            skipped_why=nothing,
            unmet=np.empty((0, 1)),
        )
        return Scene(observation, changes, MemoryStore(log), clock, log)

    return build


def test_decisions_are_on_record_before_any_platform_is_touched(
    scene: Callable[..., Scene],
) -> None:
    found = scene()
    found.carry_out()
    assert found.log[0] == ("begin", "tick", 3, 4)
    assert found.log[-1] == ("settle", 4)
    assert sorted(kind for kind, *_ in found.log[1:-1]) == ["apply", "apply"]
    assert found.errors == []


def test_each_outcome_is_settled_on_its_own_decision(scene: Callable[..., Scene]) -> None:
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


def test_a_decision_says_everything_that_explains_it(scene: Callable[..., Scene]) -> None:
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
def test_without_a_record_nothing_is_changed(scene: Callable[..., Scene], error: Exception) -> None:
    found = scene()
    found.store.begin_fails = error
    assert found.carry_out() == []
    assert found.log == []
    assert found.errors == [f"nothing was changed: {error}"]


def test_a_lease_that_ran_out_meanwhile_changes_nothing(scene: Callable[..., Scene]) -> None:
    found = scene()
    outcomes = found.carry_out(Lease("me", 3, expires_s=found.clock.monotonic_s() - 1))
    assert [kind for kind, *_ in found.log] == ["begin", "settle"]
    assert {outcome.status for outcome in outcomes} == {FAILED}
    assert {status for status, _, _ in found.store.settled.values()} == {"failed"}


def test_outcomes_that_cannot_be_noted_are_still_reported(scene: Callable[..., Scene]) -> None:
    found = scene()
    found.store.settle_fails = StoreError("store.db: disk is full")
    assert len(found.carry_out()) == 4
    assert found.errors == [
        "changes were made, their outcomes could not be noted: store.db: disk is full"
    ]


def test_what_failed_is_named_once_among_the_errors(scene: Callable[..., Scene]) -> None:
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
    scene: Callable[..., Scene],
) -> None:
    found = scene()
    actions = actions_of(found.plan, found.observation)
    assert [action.target for action in actions] == [2.0, 3.0, 4.0, 5.0]
    assert [action.version for action in actions] == ["a0", "b0", "a1", "b1"]
