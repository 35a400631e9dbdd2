"""Platforms that do as they are told, a store in memory, and a clock that stands still."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pla.actuation import Fence, carry_out
from pla.core.fleet import Tier
from pla.core.plan import Outcome, OutcomeStatus, Plan, Resize
from pla.crew import Crew
from pla.observation import Observation, merge
from pla.ports import (
    Decision,
    FleetPart,
    Lease,
    Override,
)

LEASE = Lease("me", epoch=3, expires_s=1e9)

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
    return Outcome(action, OutcomeStatus.APPLIED, action.target)


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


@pytest.fixture(scope="session")
def make_platform() -> Callable[..., Platform]:
    """`make_platform(scheme, act=...)`: applies everything at once, or does what `act` says."""
    return Platform


@pytest.fixture
def platforms_done() -> Callable[[], None]:
    """Call it to wait until no platform works any more."""
    return join_platforms


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
