"""The tick's second step: the newest samples into the window, and what they mean."""

from __future__ import annotations

import numpy as np

from pla.core import policy
from pla.core.fleet import Bools, UsageBlock
from pla.core.policy import Situation
from pla.core.window import UsageWindow
from pla.observation import Observation
from pla.ports import MetricsSource, SourceError
from pla.settings import Settings
from pla.tick_state import TickState

OVERLAP_STEPS = 2
"""Steps that are read again in every tick: samples come late, and are corrected."""

BACKFILL_CHUNK_S = 24 * 3600
"""History is read a day at a time: a whole window at once would double the peak memory."""


def collect(
    state: TickState,
    source: MetricsSource,
    observation: Observation,
    settings: Settings,
    now_s: float,
    errors: list[str],
) -> Situation:
    """Take the newest samples into the window, and say what they mean for each cell.

    A source that fails leaves the window as it is: the ages grow, and the policy holds.
    """
    window = state.window
    cutoff_s = int(now_s // window.step_s) * window.step_s
    start_s = window.end_s - OVERLAP_STEPS * window.step_s
    newest_kill = window.killed_s.copy()
    try:
        while start_s < cutoff_s:
            end_s = min(start_s + BACKFILL_CHUNK_S, cutoff_s)
            block = source.read(state.ids, settings.resources, start_s, end_s, window.step_s)
            _drop_implausible(block, window, observation)
            _mark_held_down(block, observation, settings)
            window.push(block)
            for words in sorted(set(block.unavailable.values())):
                errors.append(words)
            start_s = end_s
    except SourceError as error:
        errors.append(str(error))
    return situate(state, observation, settings, now_s, killed=window.killed_s > newest_kill)


def _drop_implausible(block: UsageBlock, window: UsageWindow, observation: Observation) -> None:
    """Negative, infinite and absurd values are gaps, not usage."""
    amounts = observation.fleet.workload_current()
    peak = window.peak(7 * 24).T.astype(np.float64)
    for values in block.values:
        values[~policy.plausible(values.T, amounts, peak).T] = np.nan


def _mark_held_down(block: UsageBlock, observation: Observation, settings: Settings) -> None:
    """Usage at a hard cap shows the cap, not what the workload wants.

    Only the newest step is known to have had the amounts in force now.
    """
    if not block.steps or not observation.capped.any():
        return
    amounts = observation.fleet.workload_current().T
    cap = np.where(observation.capped.T, amounts * settings.policy.censored_ratio, np.inf)
    block.censored[-1] |= block.values[-1] >= cap


def situate(
    state: TickState,
    observation: Observation,
    settings: Settings,
    now_s: float,
    killed: Bools,
) -> Situation:
    """The situation of every cell at the window's end."""
    window, fleet = state.window, observation.fleet
    current = fleet.workload_current()
    seen_s = window.last_seen_s.T.astype(np.float64)
    recent = max(int(settings.policy.recent_peak_s) // window.step_s, 1)
    return Situation(
        current=current,
        usage=window.lag(0).T.astype(np.float64),
        recent_peak=window.recent_max(recent).T.astype(np.float64),
        stored_peak=state.stored_peak(),
        band=state.band,
        censored=window.censored_lag(0).T.copy(),
        killed=np.repeat(killed[:, None], len(fleet.resources), axis=1),
        age_s=np.where(seen_s > 0, now_s - seen_s, np.inf),
    )
