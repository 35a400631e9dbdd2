"""Forecast -> recommendation: the rules that turn quantiles into an amount, each with its reason.

The order matters, and each step may only raise what the former left, until the bounds that
people set cap it: forecast quantile, surge, held-down usage, recent peak, kill, bounds, floor.
Missing or stale data overrules the forecast: then nothing is ever lowered.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Fleet, Floats, Forecast
from pla.core.plan import Flags, Reason, Recommendation
from pla.core.resources import (
    compressible,
    floors,
    growth_only,
    kills,
    round_down,
    round_up,
)
from pla.core.situation import Rules, Situation, Will


def at_quantile(forecast: Forecast, quantile: Floats) -> Floats:
    """The forecast peak at `quantile` (workload,), shape (workload, resource).

    Between the forecast's quantiles it is interpolated linearly in -log(1 - quantile), in which
    exponential tails are straight; outside them the nearest one is taken. A forecast with a
    quantile that is not finite is no forecast: NaN for every tier.
    """
    levels = -np.log1p(-np.asarray(forecast.quantiles, dtype=np.float64))
    wanted = -np.log1p(-quantile)
    right = np.clip(np.searchsorted(levels, wanted, side="left"), 1, max(len(levels) - 1, 1))
    if len(levels) == 1:
        return _finite(forecast.peak[:, :, 0])
    left = right - 1
    share = np.clip((wanted - levels[left]) / (levels[right] - levels[left]), 0.0, 1.0)[:, None]
    rows = np.arange(len(quantile))
    low = forecast.peak[rows, :, left].astype(np.float64)
    high = forecast.peak[rows, :, right].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        # A sum is finite only if all of it is; level by level it costs a tenth of `all(axis=2)`.
        total = forecast.peak[:, :, 0]
        for level in range(1, len(levels)):
            total = total + forecast.peak[:, :, level]
        peak = (1.0 - share) * low + share * high
    return np.where(np.isfinite(total), peak, np.nan)


def _finite(amounts: NDArray[np.floating]) -> Floats:
    return np.where(np.isfinite(amounts), amounts, np.nan).astype(np.float64)


@np.errstate(invalid="ignore", over="ignore")
def recommend(
    forecast: Forecast, situation: Situation, fleet: Fleet, will: Will, rules: Rules
) -> Recommendation:
    """What each workload should have now, and why.

    Amounts that are not finite, or become so on the way, end as no target at all.
    """
    workloads = fleet.workloads
    quantile = fleet.by_tier("quantile")
    headroom = fleet.by_tier("headroom")[:, None]

    target, reason = _from_forecast(forecast, quantile, situation, fleet, rules)
    target, reason = _raise_for_surge(target, reason, forecast, situation, headroom)
    target, reason = _raise_when_held_down(target, reason, situation, rules)
    target, reason = _keep_recent_peak(target, reason, situation, fleet, rules)
    target, reason = _hold_without_data(target, reason, situation, rules)
    target, reason = _raise_after_kill(target, reason, situation, fleet, rules)
    least = floors(fleet.resources)[None, :]
    uncapped = _rounded(np.maximum(target, least), situation.current, fleet)
    target, reason = _within_bounds(target, reason, situation, fleet, will, rules)
    target, reason = _raise_to(target, reason, least, Reason.FLOOR)
    target = _rounded(target, situation.current, fleet)

    supported = workloads.support & np.isfinite(target)
    target = np.where(supported, target, np.nan)
    low, high = _finite(forecast.peak[:, :, 0]), _finite(forecast.peak[:, :, -1])
    return Recommendation(
        target=target,
        lower_bound=np.fmin(np.where(supported, low, np.nan), target),
        upper_bound=np.fmax(np.where(supported, high, np.nan), target),
        uncapped_target=np.where(supported, uncapped, np.nan),
        reason=np.where(supported, reason, Reason.NONE).astype(np.int32),
    )


def _rounded(target: Floats, current: Floats, fleet: Fleet) -> Floats:
    """`target` in whole quanta; rounding alone never makes an amount in force grow."""
    rounded = round_up(target, fleet.resources)
    return np.where((target <= current) & (rounded > current), current, rounded)


def _raise_to(target: Floats, reason: Flags, least: Floats, why: Reason) -> tuple[Floats, Flags]:
    """`target` raised to `least` where that is more; the raise becomes the reason."""
    raised = least > target
    return (
        np.where(raised, least, target),
        np.where(raised, reason | why, reason).astype(np.int32),
    )


def _from_forecast(
    forecast: Forecast, quantile: Floats, situation: Situation, fleet: Fleet, rules: Rules
) -> tuple[Floats, Flags]:
    """The forecast peak at the tier's quantile; where there is none, what it has or asked for.

    Where the amount is a hard cap it is divided by `censored_ratio`: usage at the forecast peak
    must not yet count as held down. Where running into that cap kills, at least `kill_quantile` is
    taken: a kill costs a restart, and a tier's promise is about steps that are slow. Without a
    forecast nothing is taken back.
    """
    peak = at_quantile(forecast, quantile)
    deadly = situation.capped & kills(fleet.resources)[None, :]
    if deadly.any():
        safe = at_quantile(forecast, np.maximum(quantile, rules.kill_quantile))
        peak = np.where(deadly, safe, peak)
    peak = np.where(situation.capped, peak / rules.censored_ratio, peak)
    baseline = forecast.model_version.startswith("baseline:")
    made = Reason.BASELINE if baseline else Reason.FORECAST
    missing = np.isnan(peak)
    fallback = np.fmax(np.fmax(fleet.workloads.request, situation.current), situation.recent_peak)
    target = np.where(missing, fallback, peak)
    reason = np.where(missing, Reason.REQUEST, made).astype(np.int32)
    return target, reason


def _raise_for_surge(
    target: Floats, reason: Flags, forecast: Forecast, situation: Situation, headroom: Floats
) -> tuple[Floats, Flags]:
    """Never late on a surge: usage above the band asks for the recent peak plus headroom.

    In the first tick there is no band yet: then the highest forecast quantile is the band, and
    what is used now is covered anyway. (Comparing with the target instead would give a lower
    tier, whose target is exceeded first, more than a higher one.)
    """
    unknown = np.isnan(situation.band)
    band = np.where(unknown, _finite(forecast.peak[:, :, -1]), situation.band)
    reactive = _in_use(situation) * (1.0 + headroom)
    least = np.where(unknown, situation.usage, -np.inf)
    least = np.where(situation.usage > band, reactive, least)
    return _raise_to(target, reason, least, Reason.REACTIVE)


def _raise_when_held_down(
    target: Floats, reason: Flags, situation: Situation, rules: Rules
) -> tuple[Floats, Flags]:
    """Demand is not usage: what was held down gets half as much again at once."""
    grown = np.where(situation.censored, situation.current * rules.censored_growth, -np.inf)
    return _raise_to(target, reason, grown, Reason.CENSORED)


def _in_use(situation: Situation) -> Floats:
    """The recent peak, of which the newest step is a part; NaN = nothing was seen."""
    return np.fmax(situation.recent_peak, situation.usage)


def _keep_recent_peak(
    target: Floats, reason: Flags, situation: Situation, fleet: Fleet, rules: Rules
) -> tuple[Floats, Flags]:
    """Incompressible resources never go below the recent peak plus margin; others can grow only."""
    margin = _in_use(situation) * (1.0 + rules.incompressible_margin)
    least = np.where(compressible(fleet.resources)[None, :], -np.inf, margin)
    target, reason = _raise_to(target, reason, least, Reason.RECENT_PEAK)
    once = np.where(growth_only(fleet.resources)[None, :], situation.current, -np.inf)
    return _raise_to(target, reason, once, Reason.GROWTH_ONLY)


def _stale(situation: Situation, rules: Rules) -> Bools:
    # An age that is not known is no proof of freshness.
    return ~(situation.age_s <= rules.stale_after_s) & ~np.isnan(situation.current)


def _hold_without_data(
    target: Floats, reason: Flags, situation: Situation, rules: Rules
) -> tuple[Floats, Flags]:
    """Fail static, then fail safe.

    Without fresh data the amount in force is held; when that lasts, it is raised (never lowered)
    to the stored seven-day peak, so that a night-time size does not meet the morning. A workload
    that was never seen keeps its request if that is more than it has. A gap in the newest step
    alone stops a shrink, but not growth: what was seen before it still counts.
    """
    seen = np.isfinite(situation.age_s)
    stale = _stale(situation, rules)
    long = stale & (situation.age_s > rules.stale_after_s * rules.stale_raise_factor) & seen
    held = np.where(seen, situation.current, np.fmax(situation.current, target))
    target = np.where(stale, held, target)
    reason = np.where(stale, Reason.STALE_HOLD, reason).astype(np.int32)
    gap = np.where(np.isnan(situation.usage), situation.current, -np.inf)
    target, reason = _raise_to(target, reason, gap, Reason.STALE_HOLD)
    peak = np.where(long, situation.stored_peak, -np.inf)
    return _raise_to(target, reason, peak, Reason.STALE_RAISE)


def _raise_after_kill(
    target: Floats, reason: Flags, situation: Situation, fleet: Fleet, rules: Rules
) -> tuple[Floats, Flags]:
    """What a workload was killed for is raised at once, whatever the samples (do not) say."""
    grown = situation.current * rules.censored_growth
    killed = situation.killed & kills(fleet.resources)[None, :] & ~np.isnan(grown)
    target = np.where(killed, np.fmax(target, grown), target)
    return target, np.where(killed, reason | Reason.OOM_KILL, reason).astype(np.int32)


def _untouchable(situation: Situation, fleet: Fleet, rules: Rules) -> tuple[Floats, Flags]:
    """What no bound takes away, and why: -inf where people may set what they like.

    Memory in use stays, volumes cannot shrink, and nothing shrinks while nobody knows its usage.
    """
    current = situation.current
    in_use = np.where(compressible(fleet.resources)[None, :], np.nan, _in_use(situation))
    # A bound that people set stops at what is in use, and never adds to what is there.
    kept = np.where(np.isnan(in_use) | np.isnan(current), -np.inf, np.fmin(current, in_use))
    reason = np.full(kept.shape, Reason.RECENT_PEAK, dtype=np.int32)
    unknown = _stale(situation, rules) | (np.isnan(situation.usage) & ~np.isnan(current))
    kept = np.where(unknown, current, kept)
    reason[unknown] = Reason.STALE_HOLD
    grows = growth_only(fleet.resources)[None, :] & ~np.isnan(current)
    reason[grows] = Reason.GROWTH_ONLY
    return np.where(grows, current, kept), reason


def _within_bounds(
    target: Floats,
    reason: Flags,
    situation: Situation,
    fleet: Fleet,
    will: Will,
    rules: Rules,
) -> tuple[Floats, Flags]:
    """Bounds of the owner, then of an override; none of them takes what is `_untouchable`.

    Maxima are rounded down to the quantum, everything else up.
    """
    workloads = fleet.workloads
    target, reason = _raise_to(target, reason, workloads.minimum, Reason.MINIMUM)
    floor_why = Reason.OVERRIDE | Reason.OVERRIDE_FLOOR
    target, reason = _raise_to(target, reason, will.floor, floor_why)
    kept, kept_why = _untouchable(situation, fleet, rules)
    for ceiling, why in ((workloads.maximum, Reason.MAXIMUM), (will.ceiling, Reason.OVERRIDE)):
        limit = round_down(ceiling, fleet.resources)
        capped = target > np.where(limit < kept, kept, limit)
        target = np.where(capped, np.where(limit < kept, kept, limit), target)
        also = np.where(limit < kept, kept_why | why, why)
        reason = np.where(capped, reason & ~Reason.OVERRIDE_FLOOR | also, reason).astype(np.int32)
    fixed = ~np.isnan(will.fix)
    target = np.where(fixed, np.fmax(will.fix, kept), target)
    fix_reason = np.where(kept > will.fix, kept_why | Reason.OVERRIDE, Reason.OVERRIDE)
    return target, np.where(fixed, fix_reason, reason).astype(np.int32)
