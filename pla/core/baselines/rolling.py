"""Policies of a single number: the last value, a rolling maximum, yesterday, the request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.baselines.setting import Setting
from pla.core.fleet import Floats

Singles = NDArray[np.float32]
DAY_S = 86_400


class Ring:
    """The newest `steps` steps of usage, each (resource, workload); gaps are NaN."""

    def __init__(self, setting: Setting, steps: int) -> None:
        shape = (max(steps, 1), len(setting.resources), setting.workloads)
        self.values: Singles = np.full(shape, np.nan, dtype=np.float32)
        self.pushed = 0

    def push(self, values: Singles) -> Singles:
        """Take in the newest step; returns a copy of the one that falls out."""
        row = self.pushed % len(self.values)
        former: Singles = self.values[row].copy()
        self.values[row] = values
        self.pushed += 1
        return former

    def oldest(self, steps: int = 1) -> Singles:
        """The oldest `steps` steps, (step, resource, workload); NaN where not yet filled."""
        rows = (self.pushed + np.arange(steps)) % len(self.values)
        return np.asarray(self.values[rows], dtype=np.float32)


class SlidingMax:
    """Maximum of the newest `steps` steps, kept up to date; NaN where there is no sample.

    A step costs the number of cells whose maximum falls out of the window, not the window.
    """

    def __init__(self, setting: Setting, steps: int) -> None:
        self._ring = Ring(setting, steps)
        self.largest: Singles = np.full(self._ring.values.shape[1:], np.nan, dtype=np.float32)

    def push(self, values: Singles) -> None:
        """Take in the newest step, (resource, workload)."""
        former = self._ring.push(values)
        np.fmax(self.largest, values, out=self.largest)
        # An equal or larger newcomer takes the place of the maximum that leaves.
        lost = (former >= self.largest) & ~(values >= former)
        if lost.any():
            self.largest[lost] = np.fmax.reduce(self._ring.values[:, lost], axis=0)


class Persistence:
    """The newest sample: what is used now is what will be used."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        self._last: Singles = np.full(
            (len(setting.resources), setting.workloads), np.nan, dtype=np.float32
        )

    def observe(self, values: Singles, end_s: int) -> None:
        """A gap keeps the sample before it."""
        np.copyto(self._last, values, where=np.isfinite(values))

    def target(self) -> Floats:
        """The newest sample of each cell."""
        return self._last.T.astype(np.float64)


class RollingMax:
    """The maximum of the last `window_s` seconds, at least one step."""

    def __init__(self, name: str, setting: Setting, window_s: int) -> None:
        self.name = name
        self._window = SlidingMax(setting, window_s // setting.step_s)
        self._last = Persistence(name, setting)

    def observe(self, values: Singles, end_s: int) -> None:
        """Takes the step into the window."""
        self._window.push(values)
        self._last.observe(values, end_s)

    def target(self) -> Floats:
        """The window's maximum; where it holds gaps only, the newest sample."""
        largest = self._window.largest.T.astype(np.float64)
        return np.where(np.isnan(largest), self._last.target(), largest)


class Seasonal:
    """The usage of a day ago, its maximum over the coming `hold_s` (seasonal naive)."""

    def __init__(self, name: str, setting: Setting, hold_s: int = 0) -> None:
        """At least one step is held.

        Raises:
            ValueError: `hold_s` is more than a day.
        """
        if hold_s > DAY_S:
            raise ValueError(f"{name}: hold of {hold_s} s: a season is a day ({DAY_S} s)")
        self.name = name
        # The step that comes next ended a day ago where the ring is about to be overwritten.
        self._ring = Ring(setting, DAY_S // setting.step_s)
        self._hold = max(-(-hold_s // setting.step_s), 1)
        self._last = Persistence(name, setting)

    def observe(self, values: Singles, end_s: int) -> None:
        """Takes the step into the day."""
        self._ring.push(values)
        self._last.observe(values, end_s)

    def target(self) -> Floats:
        """The same time yesterday; where it is a gap, the newest sample."""
        yesterday = np.fmax.reduce(self._ring.oldest(self._hold), axis=0).T.astype(np.float64)
        return np.where(np.isnan(yesterday), self._last.target(), yesterday)


class StaticRequest:
    """What the owner wrote down once."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        self._request = setting.request

    def observe(self, values: Singles, end_s: int) -> None:
        """Usage changes nothing."""

    def target(self) -> Floats:
        """The request."""
        return self._request.copy()


class Oracle:
    """Knows the coming peak: the least that any policy could give without a violation."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        self._peak: Floats = np.full((setting.workloads, len(setting.resources)), np.nan)

    def observe(self, values: Singles, end_s: int) -> None:
        """The past is of no use to it."""

    def reveal(self, peak: Floats) -> None:
        """The peak of the coming hold window, (workload, resource)."""
        self._peak = peak

    def target(self) -> Floats:
        """The coming peak; 0 where nothing comes."""
        return np.nan_to_num(self._peak, nan=0.0)
