"""A peer's policy in the forecaster's place, under the same rules as PLA's own model.

So compared, only the forecast differs: floors, hysteresis and reactions are the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pla.core.baselines import Baseline, make
from pla.core.calibration import Calibration
from pla.core.fleet import Fleet, Floats, Forecast, Tier
from pla.core.window import UsageWindow
from pla.forecasting.baseline import QUANTILES
from pla.ports import FeatureBlock


class Uncorrected(Calibration):
    """Leaves forecasts as they are: a peer's target is taken as it states it."""

    def apply(self, forecast: Forecast, tier: object) -> Forecast:
        """`forecast` itself."""
        return forecast

    def update(self, *_: object) -> None:
        """Nothing is learnt."""


class PolicyForecaster:
    """`pla.ports.Forecaster` whose every quantile is the policy's target times a margin.

    Attributes:
        model_version: `baseline:NAME`.
    """

    quantiles = QUANTILES

    def __init__(self, name: str, request: Floats, step_s: int, margin: float = 1.0) -> None:
        """The peer `name` for workloads with `request` (workload, resource) [unit]."""
        self.model_version = f"baseline:{name}"
        self._name = name
        self._request = request
        self._step_s = step_s
        self._margin = margin
        self._policy: Baseline | None = None
        self._seen_s = 0

    def featurise(self, window: UsageWindow, fleet: Fleet) -> FeatureBlock:
        """Feeds the policy with the steps that it has not seen: at first, all that there are."""
        if self._policy is None:
            self._policy = make(
                self._name, window.resources, window.workloads, self._step_s, self._request
            )
            self._seen_s = window.end_s - window.steps * window.step_s
        while self._seen_s < window.end_s:
            self._seen_s += window.step_s
            lag = (window.end_s - self._seen_s) // window.step_s
            self._policy.observe(window.lag(lag), self._seen_s)
        unit = np.ones((window.workloads, len(window.resources)), dtype=np.float32)
        return FeatureBlock(window, {}, unit, ())

    def predict(self, features: FeatureBlock) -> Forecast:
        """The policy's target at every quantile."""
        if self._policy is None:
            raise ValueError(f"{self.model_version}: featurise comes before predict")
        target = (self._policy.target() * self._margin).astype(np.float32)
        peak = np.repeat(target[:, :, None], len(self.quantiles), axis=2)
        return Forecast(peak, self.quantiles, features.scale, self.model_version)

    def new_calibration(self, tiers: Sequence[Tier], resources: Sequence[str]) -> Calibration:
        """One that never corrects."""
        names = [tier.name for tier in tiers]
        return Uncorrected(self.model_version, names, resources, self.quantiles)
