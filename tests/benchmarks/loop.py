"""A closed loop in one process: the tick on an embedded simulated cluster, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from actuators.simulator import (
    ClusterStats,
    ManualClock,
    SimulatedCluster,
    SimulatorActuator,
    SimulatorSource,
)
from pla.actuation import Crew, Fence
from pla.backtest.replay import FOREVER, ReplayStore
from pla.clock import SystemClock
from pla.core.baselines import make
from pla.core.calibration import Calibration
from pla.core.fleet import Fleet, Forecast, Tier, UsageBlock
from pla.core.window import UsageWindow
from pla.forecasting.baseline import QUANTILES
from pla.ports import FeatureBlock, Forecaster
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
            crew=Crew(SystemClock()),
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


class PolicyForecaster:
    """A peer's policy in the forecaster's place: its target at every quantile, times a margin."""

    quantiles = QUANTILES

    def __init__(self, name: str, margin: float, history: UsageBlock, fleet_request: np.ndarray):
        self.model_version = f"baseline:{name}"
        self._margin = margin
        self._resources = fleet_request.shape[1]
        names = ("cpu", "memory")[: self._resources]
        self._policy = make(name, names, history.values.shape[2], history.step_s, fleet_request)
        first_s = history.end_s - history.steps * history.step_s
        for index, values in enumerate(history.values):
            self._policy.observe(values, first_s + (index + 1) * history.step_s)
        self._seen_s = history.end_s

    def featurise(self, window: UsageWindow, fleet: Fleet) -> FeatureBlock:
        """Feeds the policy with the steps that are new."""
        while self._seen_s < window.end_s:
            self._seen_s += window.step_s
            self._policy.observe(
                window.lag((window.end_s - self._seen_s) // window.step_s), self._seen_s
            )
        shape = (window.workloads, len(window.resources))
        return FeatureBlock(window, {}, np.ones(shape, dtype=np.float32), ())

    def predict(self, features: FeatureBlock) -> Forecast:
        """The policy's target."""
        target = (self._policy.target() * self._margin).astype(np.float32)
        peak = np.repeat(target[:, :, None], len(self.quantiles), axis=2)
        return Forecast(peak, self.quantiles, features.scale, self.model_version)

    def new_calibration(self, tiers: Sequence[Tier], resources: Sequence[str]) -> Calibration:
        """One that never corrects: a peer's target is taken as it states it."""
        return _Uncorrected(self.model_version, [t.name for t in tiers], resources, self.quantiles)


class _Uncorrected(Calibration):
    def update(self, *_: object) -> None:
        """Nothing is learnt."""
