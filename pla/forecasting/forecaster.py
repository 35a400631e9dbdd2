"""Inference: the champion's bundle as a `pla.ports.Forecaster`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pla.core.calibration import Calibration
from pla.core.feature_names import NAMES
from pla.core.features import Featuriser
from pla.core.fleet import Fleet, Forecast, Tier
from pla.core.window import UsageWindow
from pla.forecasting.bundle import Bundle
from pla.ports import FeatureBlock

Singles = NDArray[np.float32]

CHUNK = 8_192
"""Rows per prediction call: the transposed copy of the features stays in the cache."""
_LEVEL = NAMES.index("level")


class BundleForecaster:
    """Forecasts with the boosters of a bundle.

    Attributes:
        model_version: the registry's number of the bundle.
        quantiles: ascending.
        bundle: what it forecasts with.
    """

    def __init__(self, bundle: Bundle, model_version: str, threads: int = 1) -> None:
        """A forecaster that predicts with `threads` threads."""
        self.bundle = bundle
        self.model_version = model_version
        self.quantiles = bundle.quantiles
        self._featurise = Featuriser(bundle.lead_s, bundle.hold_s)
        for booster in bundle.boosters.values():
            booster.set_param({"nthread": threads, "device": "cpu"})

    def featurise(self, window: UsageWindow, fleet: Fleet) -> FeatureBlock:
        """The features at `window.end_s`.

        Raises:
            ValueError: if the window's step is not the one that the bundle was trained on.
        """
        if window.step_s != self.bundle.step_s:
            raise ValueError(
                f"model {self.model_version} was trained on steps of {self.bundle.step_s} s and "
                f"the window has {window.step_s} s; retrain after changing tick.step_s"
            )
        features = self._featurise(window)
        return FeatureBlock(window, features.columns, features.scale, NAMES)

    def predict(self, features: FeatureBlock) -> Forecast:
        """The forecast, not yet calibrated.

        All NaN for a workload without a sample in a week, and for a resource that the bundle
        has no model of.
        """
        resources = features.window.resources
        workloads = features.window.workloads
        # Quantile by quantile in memory, as the calibration works through them.
        peak = np.full((len(self.quantiles), len(resources), workloads), np.nan, dtype=np.float32)
        for row, name in enumerate(resources):
            booster = self.bundle.boosters.get(name)
            if booster is None:
                continue
            columns = features.columns[name]
            for start in range(0, workloads, CHUNK):
                part = slice(start, start + CHUNK)
                rows = np.ascontiguousarray(columns[:, part].T)
                predicted = booster.inplace_predict(rows, validate_features=False)
                predicted.sort(axis=1)  # the outputs cross now and then
                peak[:, row, part] = predicted.T
            peak[:, row] += columns[_LEVEL]
            peak[:, row] *= features.scale[:, row]
        np.maximum(peak, 0.0, out=peak)
        forecast = peak.transpose(2, 1, 0)
        return Forecast(forecast, self.quantiles, features.scale, self.model_version)

    def new_calibration(self, tiers: Sequence[Tier], resources: Sequence[str]) -> Calibration:
        """A calibration for this bundle, seeded with its residuals outside the training rows."""
        known = self.bundle.resources
        seed = np.zeros((len(resources), *self.bundle.seed.shape[1:]))
        for row, name in enumerate(resources):
            if name in known:
                seed[row] = self.bundle.seed[known.index(name)]
        names = [tier.name for tier in tiers]
        return Calibration(self.model_version, names, resources, self.quantiles, seed)
