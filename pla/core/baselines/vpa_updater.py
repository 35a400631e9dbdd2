"""The updater of the Kubernetes Vertical Pod Autoscaler 1.8, behind its recommender."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.baselines.setting import Setting
from pla.core.baselines.vpa import LOWER, TARGET, UPPER, Vpa
from pla.core.fleet import Floats

MIN_AGE_S = 12 * 3600
MIN_DIFFERENCE = 0.1


class VpaUpdater:
    """What is in force changes only when it must; the workload starts with its request.

    All resources of a workload take the recommender's target when one of them is outside of
    [lower, upper], or when the last change is 12 h ago and the relative differences between
    amount and target add up to 0.1. Looks after each step (the real one once a minute). Kills,
    the eviction tolerance and the least number of replicas are not part of it.
    """

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        self._recommender = Vpa(name, setting)
        self._current: Floats = setting.request.astype(np.float64)
        self._since_s = np.zeros(setting.workloads)
        self._target: Floats = np.full_like(self._current, np.nan)

    def observe(self, values: NDArray[np.float32], end_s: int) -> None:
        """Adds the step to the recommender, and lets the updater look."""
        self._recommender.observe(values, end_s)
        lower, target, upper = self._recommender.estimates(LOWER, TARGET, UPPER)
        known = ~np.isnan(target)
        fresh = known & np.isnan(self._current)
        self._current[fresh] = target[fresh]
        new = known.any(axis=1) & np.isnan(self._target).all(axis=1)
        self._since_s[new | fresh.any(axis=1)] = end_s
        self._target = target
        outside = ((self._current < lower) | (self._current > upper)).any(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            change = np.nansum(np.abs(self._current - target) / self._current, axis=1)
        old = end_s - self._since_s >= MIN_AGE_S
        acts = (outside | (old & (change >= MIN_DIFFERENCE)))[:, None] & known
        self._current[acts] = target[acts]
        self._since_s[acts.any(axis=1)] = end_s

    def target(self) -> Floats:
        """What is in force; NaN before the first sample."""
        return np.where(np.isnan(self._target), np.nan, self._current)
