"""A closed loop in one process: the tick on an embedded simulated cluster, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from actuators.simulator import (
    ClusterStats,
    ManualClock,
    SimulatedCluster,
    SimulatorActuator,
    SimulatorSource,
)
from pla.actuation import Fence
from pla.backtest.replay import FOREVER, ReplayStore
from pla.crew import Crew
from pla.ports import Forecaster
from pla.settings import Settings
from pla.tick import Ports, StepWrapper, TickReport, TickState, run_step, run_tick


@dataclass
class ClosedLoop:
    """A cluster, a forecaster, and the tick between them."""

    cluster: SimulatedCluster
    forecaster: Forecaster
    settings: Settings

    def __post_init__(self) -> None:
        clock = ManualClock(self.cluster.now_s)
        self.clock = clock
        tiers = self.settings.core_tiers()
        self.ports = Ports(
            source=SimulatorSource(self.cluster, clock),
            actuators=(SimulatorActuator(self.cluster, clock, tiers),),
            store=ReplayStore(),
            # The cluster's own clock: it judges deadlines by it.
            crew=Crew(clock),
            clock=clock,
        )
        self.state = TickState.fresh(
            self.settings.resources,
            self.settings.tick.step_s,
            clock.now_s(),
            self.forecaster.new_calibration(tiers, self.settings.resources),
        )
        self.fence = Fence("benchmark", FOREVER)

    def tick(self, step: StepWrapper = run_step) -> TickReport:
        """One tick at the cluster's present time, then the clock moves on by a step."""
        report = run_tick(self.state, self.ports, self.forecaster, self.settings, self.fence, step)
        self.clock.move_to(self.clock.now_s() + self.settings.tick.step_s)
        self.cluster.advance(self.clock.now_s())
        return report

    def run(
        self, until_s: float, watch: Callable[[TickReport], None] | None = None
    ) -> ClusterStats:
        """Ticks until `until_s`; returns what happened to the cluster meanwhile."""
        before = self.cluster.stats()
        while self.clock.now_s() < until_s:
            report = self.tick()
            if watch is not None:
                watch(report)
        return self.cluster.stats().since(before)
