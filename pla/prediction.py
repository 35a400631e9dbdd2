"""The tick's third and fourth step: the model's features, and its forecast, corrected online."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from pla.core import policy
from pla.core.fleet import Fleet, Forecast
from pla.ports import FeatureBlock, Forecaster
from pla.settings import Settings
from pla.tick_state import TickState

T = TypeVar("T")


def featurise(state: TickState, forecaster: Forecaster, fleet: Fleet) -> FeatureBlock:
    """The forecaster's input at the window's end."""
    return forecaster.featurise(state.window, fleet)


def forecast(
    state: TickState,
    forecaster: Forecaster,
    features: FeatureBlock | None,
    fleet: Fleet,
    settings: Settings,
) -> Forecast:
    """The champion's quantiles, corrected online by what earlier ones turned out to be.

    Without features there is no forecast.
    """
    if features is None:
        return no_forecast(forecaster, fleet)
    raw = forecaster.predict(features)
    hold_steps = settings.hold_s // state.window.step_s
    state.learn_from_closed_windows(hold_steps, fleet.workloads.tier)
    calibrated = state.calibration.apply(raw, fleet.workloads.tier)
    state.expect(raw, settings.tick.lead_s + settings.hold_s)
    quantile = fleet.by_tier("quantile")
    state.next_band = policy.at_quantile(calibrated, quantile)
    state.next_band_s = state.window.end_s
    return calibrated


def attempt(work: Callable[[], T], version: str, errors: list[str]) -> T | None:
    """What a model's code returns; None if it fails, which `errors` says.

    Its defects must not stop the rules that need no model.
    """
    try:
        return work()
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        errors.append(f"model {version} failed, so nothing is taken back: {words}")
        return None


def no_forecast(forecaster: Forecaster, fleet: Fleet) -> Forecast:
    """All unknown: then each workload keeps what it has, and what needs no forecast still acts."""
    cells = len(fleet.workloads), len(fleet.resources)
    blank = np.full((*cells, len(forecaster.quantiles)), np.nan, dtype=np.float32)
    scale = np.ones(cells, dtype=np.float32)
    return Forecast(blank, forecaster.quantiles, scale, forecaster.model_version)
