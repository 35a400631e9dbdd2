"""What forecasts before there is a first champion: the largest usage of the last day."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pla.core.calibration import Calibration
from pla.core.fleet import Fleet, Forecast, Tier
from pla.core.resources import floors, quanta
from pla.core.window import UsageWindow
from pla.ports import FeatureBlock

QUANTILES: tuple[float, ...] = (0.5, 0.9, 0.95, 0.99, 0.995, 0.999)


class BaselineForecaster:
    """A rolling maximum, the same for every quantile.

    The calibration then lowers or raises each quantile to what it covered, so that the tiers
    already differ while the baseline acts.

    Attributes:
        model_version: `baseline:rolling-max-24h` for 24 hours.
        quantiles: those that a champion has.
        hours: length of the maximum, the open hour included.
    """

    def __init__(self, hours: int = 24) -> None:
        """The maximum over the open hour and the `hours - 1` closed ones before it."""
        self.hours = hours
        self.model_version = f"baseline:rolling-max-{hours}h"
        self.quantiles = QUANTILES

    def featurise(self, window: UsageWindow, fleet: Fleet) -> FeatureBlock:
        """The rolling maximum, of all resources, as the only feature."""
        peak = window.peak(self.hours - 1)
        unit = np.fmax(floors(window.resources), quanta(window.resources)).astype(np.float32)
        scale = np.fmax(peak, 0.0) + unit[:, None]
        columns = {name: peak[row : row + 1] for row, name in enumerate(window.resources)}
        return FeatureBlock(window, columns, scale.T, (f"hourmax_{self.hours}h",))

    def predict(self, features: FeatureBlock) -> Forecast:
        """That maximum at every quantile; NaN for a workload without a sample."""
        peak = np.stack([features.columns[name][0] for name in features.window.resources], axis=1)
        repeated = np.repeat(peak[:, :, None], len(self.quantiles), axis=2)
        return Forecast(repeated, self.quantiles, features.scale, self.model_version)

    def new_calibration(self, tiers: Sequence[Tier], resources: Sequence[str]) -> Calibration:
        """A calibration that starts from nothing: no correction until residuals are there."""
        names = [tier.name for tier in tiers]
        return Calibration(self.model_version, names, resources, self.quantiles)
