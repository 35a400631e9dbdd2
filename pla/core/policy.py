"""Forecast -> recommendation: the rules that turn quantiles into an amount, each with its reason.

The order matters, and each step may only raise what the former left, until the bounds that
people set cap it: forecast quantile, surge, held-down usage, recent peak, floor, bounds.
Missing or stale data overrules the forecast: then nothing is ever lowered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pla.core.fleet import Bools, Bytes, Fleet, Floats, Forecast, Tier
from pla.core.plan import Flags, Reason, Recommendation
from pla.core.resources import compressible, floors, growth_only, round_up

PLAUSIBLE_GROWTH = 1e6
"""A sample above this multiple of the seven-day peak and of the amount in force is no usage."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The policy's constants (`pla.settings.PolicySettings` explains each)."""

    censored_growth: float = 1.5
    censored_ratio: float = 0.95
    shrink_deadband: float = 0.8
    incompressible_margin: float = 0.1
    stale_after_s: float = 300.0
    stale_raise_factor: float = 3.0


@dataclass(frozen=True, slots=True)
class Situation:
    """What the policy sees of each cell, every array of shape (workload, resource); NaN = unknown.

    Attributes:
        current: amount in force [unit].
        usage: the newest closed step [unit].
        recent_peak: largest usage of the recent past (`PolicySettings.recent_peak_s`) [unit].
        stored_peak: largest usage of the last seven days [unit].
        band: what the former forecast allowed for the newest step, at the tier's quantile [unit].
        censored: usage was held down in the newest step.
        killed: the workload was killed for lack of memory since the last tick.
        age_s: age of the newest sample [s]; inf = never seen.
    """

    current: Floats
    usage: Floats
    recent_peak: Floats
    stored_peak: Floats
    band: Floats
    censored: Bools
    killed: Bools
    age_s: Floats


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


def at_quantile(forecast: Forecast, quantile: Floats) -> Floats:
    """The forecast peak at `quantile` (workload,), shape (workload, resource).

    Between the forecast's quantiles it is interpolated linearly in -log(1 - quantile), in which
    exponential tails are straight; outside them the nearest one is taken.
    """
    levels = -np.log1p(-np.asarray(forecast.quantiles, dtype=np.float64))
    wanted = -np.log1p(-quantile)
    right = np.clip(np.searchsorted(levels, wanted, side="left"), 1, max(len(levels) - 1, 1))
    if len(levels) == 1:
        return forecast.peak[:, :, 0].astype(np.float64)
    left = right - 1
    share = np.clip((wanted - levels[left]) / (levels[right] - levels[left]), 0.0, 1.0)[:, None]
    rows = np.arange(len(quantile))
    low = forecast.peak[rows, :, left].astype(np.float64)
    high = forecast.peak[rows, :, right].astype(np.float64)
    return np.asarray(low + share * (high - low), dtype=np.float64)


def recommend(
    forecast: Forecast, situation: Situation, fleet: Fleet, will: Will, rules: Rules
) -> Recommendation:
    """What each workload should have now, and why."""
    workloads = fleet.workloads
    tiers = fleet.tiers
    quantile = _per_workload(tiers, workloads.tier, "quantile")
    headroom = _per_workload(tiers, workloads.tier, "headroom")[:, None]

    target, reason = _from_forecast(forecast, quantile, situation, fleet, rules)
    target, reason = _raise_for_surge(target, reason, situation, headroom)
    target, reason = _raise_when_held_down(target, reason, situation, fleet, rules)
    target, reason = _keep_recent_peak(target, reason, situation, fleet, rules)
    target, reason = _hold_when_stale(target, reason, situation, rules)
    target, reason = _raise_to(target, reason, floors(fleet.resources)[None, :], Reason.FLOOR)
    uncapped = round_up(target, fleet.resources)
    target, reason = _within_bounds(target, reason, situation, fleet, will)
    target = round_up(target, fleet.resources)

    supported = workloads.support & ~np.isnan(target)
    target = np.where(supported, target, np.nan)
    spread = forecast.peak.astype(np.float64)
    return Recommendation(
        target=target,
        lower_bound=np.fmin(np.where(supported, spread[:, :, 0], np.nan), target),
        upper_bound=np.fmax(np.where(supported, spread[:, :, -1], np.nan), target),
        uncapped_target=np.where(supported, uncapped, np.nan),
        reason=np.where(supported, reason, Reason.NONE).astype(np.int32),
    )


def plausible(usage: Floats, current: Floats, stored_peak: Floats) -> Bools:
    """Whether a sample can be usage at all: finite, not negative, not absurdly large.

    Absurd is above `PLAUSIBLE_GROWTH` times both the amount in force and the seven-day peak: a
    broken exporter, and believing it would make the target grow without end.
    """
    reference = np.fmax(current, stored_peak)
    absurd = usage > PLAUSIBLE_GROWTH * reference
    return np.isfinite(usage) & (usage >= 0) & ~(absurd & (reference > 0))


def _per_workload(tiers: tuple[Tier, ...], rows: Bytes, field: str) -> Floats:
    column: Floats = np.array([getattr(tier, field) for tier in tiers], dtype=np.float64)
    return np.asarray(column[rows], dtype=np.float64)


def _from_forecast(
    forecast: Forecast, quantile: Floats, situation: Situation, fleet: Fleet, rules: Rules
) -> tuple[Floats, Flags]:
    """The forecast peak at the tier's quantile; where there is none, the owner's request.

    Divided by `censored_ratio`: usage at the forecast peak must not yet count as held down.
    """
    peak = at_quantile(forecast, quantile) / rules.censored_ratio
    baseline = forecast.model_version.startswith("baseline:")
    made = Reason.BASELINE if baseline else Reason.FORECAST
    missing = np.isnan(peak)
    fallback = np.fmax(
        np.where(np.isnan(fleet.workloads.request), situation.current, fleet.workloads.request),
        situation.recent_peak,
    )
    target = np.where(missing, fallback, peak)
    reason = np.where(missing, Reason.REQUEST, made).astype(np.int32)
    return target, reason


def _raise_to(target: Floats, reason: Flags, least: Floats, why: Reason) -> tuple[Floats, Flags]:
    """`target` raised to `least` where that is more; the raise becomes the reason."""
    raised = least > target
    return (
        np.where(raised, least, target),
        np.where(raised, reason | why, reason).astype(np.int32),
    )


def _raise_for_surge(
    target: Floats, reason: Flags, situation: Situation, headroom: Floats
) -> tuple[Floats, Flags]:
    """Never late on a surge: usage above the band asks for the recent peak plus headroom."""
    surge = situation.usage > np.where(np.isnan(situation.band), target, situation.band)
    least = np.where(surge, situation.recent_peak * (1.0 + headroom), -np.inf)
    return _raise_to(target, reason, least, Reason.REACTIVE)


def _raise_when_held_down(
    target: Floats, reason: Flags, situation: Situation, fleet: Fleet, rules: Rules
) -> tuple[Floats, Flags]:
    """Demand is not usage: what was held down, or killed, gets half as much again at once."""
    grown = situation.current * rules.censored_growth
    held = np.where(situation.censored, grown, -np.inf)
    target, reason = _raise_to(target, reason, held, Reason.CENSORED)
    # Only what a workload dies of is raised after a kill.
    memory = ~compressible(fleet.resources) & ~growth_only(fleet.resources)
    killed = np.where(situation.killed & memory[None, :], grown, -np.inf)
    target, reason = _raise_to(target, reason, killed, Reason.OOM_KILL)
    both = (killed >= target) & (killed > 0)
    return target, np.where(both, reason | Reason.OOM_KILL, reason).astype(np.int32)


def _keep_recent_peak(
    target: Floats, reason: Flags, situation: Situation, fleet: Fleet, rules: Rules
) -> tuple[Floats, Flags]:
    """Incompressible resources never go below the recent peak plus margin; others can grow only."""
    margin = situation.recent_peak * (1.0 + rules.incompressible_margin)
    least = np.where(compressible(fleet.resources)[None, :], -np.inf, margin)
    target, reason = _raise_to(target, reason, least, Reason.RECENT_PEAK)
    once = np.where(growth_only(fleet.resources)[None, :], situation.current, -np.inf)
    return _raise_to(target, reason, once, Reason.GROWTH_ONLY)


def _hold_when_stale(
    target: Floats, reason: Flags, situation: Situation, rules: Rules
) -> tuple[Floats, Flags]:
    """Fail static, then fail safe.

    Without fresh data the amount in force is held; when that lasts, it is raised (never lowered)
    to the stored seven-day peak, so that a night-time size does not meet the morning. A workload
    that was never seen keeps its request if that is more than it has.
    """
    seen = np.isfinite(situation.age_s)
    stale = (situation.age_s > rules.stale_after_s) & ~np.isnan(situation.current)
    long = stale & (situation.age_s > rules.stale_after_s * rules.stale_raise_factor) & seen
    held = np.where(seen, situation.current, np.fmax(situation.current, target))
    target = np.where(stale, held, target)
    reason = np.where(stale, Reason.STALE_HOLD, reason).astype(np.int32)
    peak = np.where(long, situation.stored_peak, -np.inf)
    return _raise_to(target, reason, peak, Reason.STALE_RAISE)


def _within_bounds(
    target: Floats, reason: Flags, situation: Situation, fleet: Fleet, will: Will
) -> tuple[Floats, Flags]:
    """Bounds of the owner, then of an override; a maximum never takes memory that is in use."""
    workloads = fleet.workloads
    target, reason = _raise_to(target, reason, workloads.minimum, Reason.MINIMUM)
    target, reason = _raise_to(target, reason, will.floor, Reason.OVERRIDE)
    in_use = np.where(compressible(fleet.resources)[None, :], -np.inf, situation.recent_peak)
    # Lowering to a maximum stops at the recent peak, and never adds to what is there.
    kept = np.fmin(np.where(np.isnan(situation.current), -np.inf, situation.current), in_use)
    kept = np.where(np.isnan(kept), -np.inf, kept)
    for ceiling, why in ((workloads.maximum, Reason.MAXIMUM), (will.ceiling, Reason.OVERRIDE)):
        limit = np.fmax(ceiling, np.where(np.isnan(ceiling), np.nan, kept))
        capped = target > limit
        target = np.where(capped, limit, target)
        reason = np.where(capped, reason | why, reason).astype(np.int32)
    fixed = ~np.isnan(will.fix)
    target = np.where(fixed, np.fmax(will.fix, kept), target)
    return target, np.where(fixed, Reason.OVERRIDE, reason).astype(np.int32)
