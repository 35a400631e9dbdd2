"""What the policy sees: its constants, the situation of each cell, and what people set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pla.core.fleet import Bools, Floats

PLAUSIBLE_GROWTH = 1e6
"""A sample above this multiple of the seven-day peak and of the amount in force is no usage."""

PLAUSIBLE_CAPACITY = 2.0
"""Nor is one above this multiple of what the largest node has."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The policy's constants (`pla.settings.PolicySettings` explains each)."""

    censored_growth: float = 1.5
    censored_ratio: float = 0.95
    shrink_deadband: float = 0.8
    incompressible_margin: float = 0.1
    kill_quantile: float = 0.999
    stale_after_s: float = 300.0
    stale_raise_factor: float = 3.0


@dataclass(frozen=True, slots=True)
class Situation:
    """What the policy sees of each cell, every array of shape (workload, resource); NaN = unknown.

    Attributes:
        current: amount in force [unit].
        usage: the newest closed step [unit].
        recent_peak: largest usage of the recent past (`PolicySettings.recent_peak_s`; where running
            into a hard cap kills, of the longer `kill_peak_s`) [unit].
        stored_peak: largest usage of the last seven days [unit].
        band: what the former forecast allowed for the newest step, at the tier's quantile [unit].
        censored: usage was held down in the newest step.
        killed: the workload was killed for lack of memory since the last tick.
        age_s: age of the newest sample [s]; inf = never seen.
        capped: the amount is a hard cap on usage.
    """

    current: Floats
    usage: Floats
    recent_peak: Floats
    stored_peak: Floats
    band: Floats
    censored: Bools
    killed: Bools
    age_s: Floats
    capped: Bools


@dataclass(frozen=True, slots=True)
class Will:
    """What people set for single cells, shape (workload, resource); NaN = nothing."""

    fix: Floats
    floor: Floats
    ceiling: Floats

    @staticmethod
    def none(workloads: int, resources: int) -> Will:
        """Nobody has set anything."""
        blank = np.full((workloads, resources), np.nan)
        return Will(blank, blank, blank)


def plausible(usage: Floats, current: Floats, stored_peak: Floats, largest: Floats) -> Bools:
    """Whether a sample can be usage at all: finite, not negative, not absurdly large.

    Absurd is above `PLAUSIBLE_GROWTH` times both the amount in force and the seven-day peak, or
    above `PLAUSIBLE_CAPACITY` times the capacity of the `largest` node, shape (resource,), NaN =
    unknown: a broken exporter, and believing it would take from others all that their nodes have.
    """
    reference = np.fmax(current, stored_peak)
    absurd = (usage > PLAUSIBLE_GROWTH * reference) & (reference > 0)
    absurd |= (usage > PLAUSIBLE_CAPACITY * largest) & (largest > 0)
    return np.asarray(np.isfinite(usage) & (usage >= 0) & ~absurd, dtype=np.bool_)
