"""A toy platform to tick on, closed loop: what a workload uses depends on what it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pla.actuation import Fence
from pla.core.calibration import Calibration
from pla.core.fleet import (
    Fleet,
    Floats,
    Forecast,
    InstanceTable,
    Mode,
    NodeTable,
    Tier,
    UsageBlock,
    WorkloadTable,
)
from pla.core.plan import Outcome, OutcomeStatus, Resize
from pla.core.window import UsageWindow
from pla.crew import Crew
from pla.forecasting.baseline import BaselineForecaster
from pla.ports import Decision, FeatureBlock, FleetPart, Forecaster, Lease, Override, SourceError
from pla.settings import Settings
from pla.tick import Ports, StepWrapper, TickReport, TickState, run_step, run_tick

RESOURCES = ("cpu", "memory")
STEP_S = 300
START_S = 1_800_000_000  # on the step grid, and on the hour
MIB = 2.0**20

Demand = Callable[[int], Any]
"""Demand (workload, resource) in the step that ends at a time: cores and bytes."""


class ToyClock:
    """Moves when the world does."""

    def __init__(self) -> None:
        self.wall_s = float(START_S)
        self.elapsed_s = 1000.0

    def now_s(self) -> float:
        return self.wall_s

    def monotonic_s(self) -> float:
        return self.elapsed_s


@dataclass
class ToyPlatform:
    """CPU is throttled at its amount; memory above its amount is a kill. Resizes act at once.

    `lists` and `applies` replace what a call does, for the tests of platforms that misbehave.
    """

    clock: ToyClock
    demand: Demand
    amounts: Floats
    name: str = "sim"
    scheme: str = "sim"
    capacity: Any = None
    tier: Any = 1
    mode: Any = Mode.ENFORCE
    paused: Any = False
    maximum: Any = np.nan
    supports: frozenset[str] = frozenset(RESOURCES)
    enforces: frozenset[str] = frozenset(RESOURCES)
    lists: Callable[[FleetPart], FleetPart] | None = None
    applies: Callable[[Sequence[Resize]], Iterator[Outcome]] | None = None
    usage: dict[int, Floats] = field(default_factory=dict)
    kills: dict[int, Any] = field(default_factory=dict)
    done: list[tuple[str, str, float]] = field(default_factory=list)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"{self.scheme}://{self.name}-{row}" for row in range(len(self.amounts)))

    def run(self, end_s: int) -> None:
        """Live through the step that ends at `end_s`."""
        wanted = np.broadcast_to(np.asarray(self.demand(end_s), float), self.amounts.shape)
        self.usage[end_s] = np.minimum(wanted, self.amounts)
        self.kills[end_s] = wanted[:, 1] > self.amounts[:, 1]

    def list(self, resources: Sequence[str]) -> FleetPart:
        count, shape = len(self.amounts), self.amounts.shape
        ids = self.ids
        limits = np.empty((0, 2)) if self.capacity is None else np.atleast_2d(self.capacity)
        part = FleetPart(
            WorkloadTable(
                ids=ids,
                tier=np.array(np.broadcast_to(self.tier, count), dtype=np.int8),
                mode=np.array(np.broadcast_to(self.mode, count), dtype=np.int8),
                paused=np.array(np.broadcast_to(self.paused, count), dtype=np.bool_),
                minimum=np.full(shape, np.nan),
                maximum=np.array(np.broadcast_to(self.maximum, shape), dtype=np.float64),
                request=np.full(shape, np.nan),
                support=np.ones(shape, dtype=np.bool_),
                created_s=np.zeros(count),
            ),
            InstanceTable(
                ids=tuple(f"{name}/0" for name in ids),
                workload=np.arange(count, dtype=np.int32),
                node=np.full(count, 0 if len(limits) else -1, dtype=np.int32),
                current=self.amounts.copy(),
                state=np.zeros(count, dtype=np.int8),
                version=("",) * count,
            ),
            NodeTable(tuple(f"n{row}" for row in range(len(limits))), limits),
        )
        return self.lists(part) if self.lists else part

    def apply(self, actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        if self.applies:
            yield from self.applies(actions)
            return
        for action in actions:
            if self.clock.monotonic_s() >= deadline_s:
                return
            yield self.resize(action)

    def resize(self, action: Resize) -> Outcome:
        row, column = self.ids.index(action.workload), RESOURCES.index(action.resource)
        self.amounts[row, column] = action.target
        self.done.append((action.workload, action.resource, action.target))
        return Outcome(action, OutcomeStatus.APPLIED, action.target)

    def restore(self, workloads: Sequence[str] | None) -> Iterator[Outcome]:
        raise NotImplementedError


@dataclass
class ToySource:
    """What the platforms recorded; `spoil` changes an answer, `broken` is raised instead of one."""

    platforms: list[ToyPlatform]
    spoil: Callable[[UsageBlock], UsageBlock] | None = None
    broken: Exception | None = None

    def read(
        self,
        workloads: Sequence[str],
        resources: Sequence[str],
        start_s: int,
        end_s: int,
        step_s: int,
    ) -> UsageBlock:
        if self.broken:
            raise self.broken
        row = {name: index for index, name in enumerate(workloads)}
        steps = (end_s - start_s) // step_s
        values = np.full((steps, len(resources), len(workloads)), np.nan, dtype=np.float32)
        killed = np.zeros((steps, len(workloads)), dtype=np.bool_)
        for platform in self.platforms:
            rows = [row[name] for name in platform.ids if name in row]
            for at_s in [at_s for at_s in platform.usage if start_s < at_s <= end_s]:
                step = (at_s - start_s) // step_s - 1
                values[step][:, rows] = platform.usage[at_s].T[:, : len(rows)]
                killed[step, rows] = platform.kills[at_s][: len(rows)]
        block = UsageBlock(values, np.zeros(values.shape, np.bool_), killed, end_s, step_s)
        return self.spoil(block) if self.spoil else block


@dataclass
class ToyStore:
    """The part of the store that a tick needs, in memory."""

    begun: list[Decision] = field(default_factory=list)
    settled: dict[int, str] = field(default_factory=dict)
    is_paused: bool = False
    wanted: list[Override] = field(default_factory=list)
    broken: Exception | None = None

    def begin(self, name: str, lease: Lease, decisions: Sequence[Decision]) -> list[int]:
        self._work()
        self.begun.extend(decisions)
        return list(range(len(self.begun) - len(decisions), len(self.begun)))

    def settle(self, results: Sequence[tuple[int, str, float, str]]) -> None:
        self._work()
        self.settled |= {row: status for row, status, _, _ in results}

    def paused(self) -> bool:
        self._work()
        return self.is_paused

    def overrides(self, now_s: float) -> list[Override]:
        self._work()
        return [override for override in self.wanted if override.until_s > now_s]

    def _work(self) -> None:
        if self.broken:
            raise self.broken


@dataclass
class FixedForecaster:
    """Says the same of every workload, always: so a test can be sure what a surge is."""

    peak: tuple[float, float]
    model_version: str = "7"
    quantiles: tuple[float, ...] = (0.5, 0.99, 0.999)

    def featurise(self, window: UsageWindow, fleet: Fleet) -> FeatureBlock:
        scale = np.ones((window.workloads, len(window.resources)), dtype=np.float32)
        return FeatureBlock(window, {}, scale, ())

    def predict(self, features: FeatureBlock) -> Forecast:
        shape = (*features.scale.shape, len(self.quantiles))
        peak = np.array(self.peak, dtype=np.float32)[None, :, None]
        repeated = np.broadcast_to(peak, shape).copy()
        return Forecast(repeated, self.quantiles, features.scale, self.model_version)

    def new_calibration(self, tiers: Sequence[Tier], resources: Sequence[str]) -> Calibration:
        names = [tier.name for tier in tiers]
        return Calibration(self.model_version, names, resources, self.quantiles)


class World:
    """Everything that a tick needs, and time that passes step by step."""

    def __init__(
        self, clock: ToyClock, platforms: list[ToyPlatform], forecaster: Forecaster, **tick: Any
    ) -> None:
        self.clock = clock
        self.platforms = platforms
        self.source = ToySource(platforms)
        self.store = ToyStore()
        self.forecaster = forecaster
        tick = {"interval_s": STEP_S, "step_s": STEP_S, "stale_after_s": 900.0} | tick
        self.settings = Settings.model_validate({"resources": RESOURCES, "tick": tick})
        self.lease = Lease("me", 1, expires_s=1e12)
        self.restart()

    def restart(self, back_fill_s: int = 2 * 3600) -> None:
        """A new process: what a tick remembers is gone, and is read again so far back."""
        tiers = self.settings.core_tiers()
        self.state = TickState.fresh(
            RESOURCES,
            STEP_S,
            self.clock.now_s(),
            self.forecaster.new_calibration(tiers, RESOURCES),
        )
        if back_fill_s:
            start_s = int(self.clock.now_s() - back_fill_s) // STEP_S * STEP_S
            self.state.window = UsageWindow(0, RESOURCES, STEP_S, start_s)
        self.crew = Crew(self.clock)

    def live(self, steps: int = 1) -> None:
        """Let time pass without a tick."""
        for _ in range(steps):
            self.pass_s(STEP_S)
            for platform in self.platforms:
                platform.run(int(self.clock.wall_s))

    def pass_s(self, seconds: float) -> None:
        self.clock.wall_s += seconds
        self.clock.elapsed_s += seconds

    def tick(self, *, leader: bool = True, step: StepWrapper = run_step) -> TickReport:
        ports = Ports(self.source, self.platforms, self.store, self.crew, self.clock)
        fence = Fence("tick", self.lease) if leader else None
        return run_tick(self.state, ports, self.forecaster, self.settings, fence, step)

    def run(self, ticks: int = 1) -> TickReport:
        """Live a step and tick, `ticks` times; the last report."""
        for _ in range(ticks):
            self.live()
            report = self.tick()
        return report


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    """`make_world(demand, amounts, forecast=(cpu, memory), platform={...}, ...)`.

    `demand` is (workload, resource) or a function of time. Without a fixed `forecast` the
    baseline forecasts: the largest usage of the open hour.
    """

    def build(
        demand: Any,
        amounts: Any,
        *,
        forecast: tuple[float, float] | None = None,
        platform: dict[str, Any] | None = None,
        history: int = 0,
        **tick: Any,
    ) -> World:
        clock = ToyClock()
        wants: Demand = demand if callable(demand) else lambda _: demand
        toy = ToyPlatform(clock, wants, np.array(amounts, dtype=np.float64), **(platform or {}))
        forecaster = BaselineForecaster(hours=1) if forecast is None else FixedForecaster(forecast)
        world = World(clock, [toy], forecaster, **tick)
        world.live(history)
        return world

    return build


@pytest.fixture(scope="session")
def make_platform() -> Callable[..., ToyPlatform]:
    """Another platform for a world: `make_platform(world.clock, demand, amounts, ...)`."""

    def build(clock: ToyClock, demand: Any, amounts: Any, **options: Any) -> ToyPlatform:
        return ToyPlatform(clock, lambda _: demand, np.array(amounts, dtype=float), **options)

    return build


@pytest.fixture(scope="session")
def source_error() -> SourceError:
    return SourceError("http://prometheus:9090 does not answer; is it up?")
