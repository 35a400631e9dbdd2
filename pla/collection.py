"""The tick's second step: the newest samples into the window, and what they mean."""

from __future__ import annotations

import numpy as np

from pla.core.fleet import Fleet, Floats, UsageBlock
from pla.core.resources import kills
from pla.core.situation import Situation, plausible
from pla.core.window import HOUR_S
from pla.observation import Observation
from pla.ports import MetricsSource, SourceError
from pla.settings import Settings
from pla.tick_state import TickState

OVERLAP_STEPS = 2
"""Steps that are read again in every tick: samples come late, and are corrected."""

CLOCK_STEPS = 1
"""So many steps a clock may go back and be only corrected; what is held is right then."""

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
    cutoff_s = int(now_s // state.window.step_s) * state.window.step_s
    if cutoff_s < state.window.end_s - CLOCK_STEPS * state.window.step_s:
        errors.append(
            f"the clock went back by {state.window.end_s - cutoff_s} s or more: usage is read "
            "anew; check the machine's time (NTP), or whether the platform was started again"
        )
        state.start_again(now_s)
    window = state.window
    start_s = window.end_s - OVERLAP_STEPS * window.step_s
    in_force_s = _in_force_since(state, observation, settings)
    try:
        while start_s < cutoff_s:
            end_s = min(start_s + BACKFILL_CHUNK_S, cutoff_s)
            block = _read(source, state, start_s, end_s)
            _drop_implausible(block, state, observation)
            if end_s == cutoff_s:
                if block.partial:
                    _drop_falls(block, state, settings)
                _mark_held_down(block, observation, in_force_s, settings)
            window.push(block)
            for words in (*sorted(set(block.unavailable.values())), *block.warnings):
                errors.append(words)
            start_s = end_s
    except SourceError as error:
        errors.append(str(error))
    return _situate(state, observation, settings, now_s, in_force_s)


def _in_force_since(state: TickState, observation: Observation, settings: Settings) -> Floats:
    """Since when each workload has the amount it has now, shape (workload, resource) [epoch s].

    A step that closed before says nothing about that amount: without this, one held-down step
    would raise it in every tick until the next step closes.
    """
    return observation.fleet.largest_of_instances(state.changed_s) + settings.tick.lead_s


def _read(source: MetricsSource, state: TickState, start_s: int, end_s: int) -> UsageBlock:
    """What the source answers; whatever goes wrong in it is a SourceError."""
    window = state.window
    name = type(source).__name__
    try:
        block = source.read(state.ids, window.resources, start_s, end_s, window.step_s)
    except SourceError:
        raise
    except Exception as error:  # a defect of a source's code must not stop the tick
        raise SourceError(f"metrics source {name}: {type(error).__name__}: {error}") from error
    cells = (len(window.resources), window.workloads)
    if block.values.shape[1:] != cells or block.step_s != window.step_s or block.end_s > end_s:
        raise SourceError(
            f"metrics source {name}: asked for {cells} cells in {window.step_s} s steps up to "
            f"{end_s}, it answered {block.values.shape[1:]} in {block.step_s} s steps up to "
            f"{block.end_s}; nothing of it is used"
        )
    return block


def _drop_falls(block: UsageBlock, state: TickState, settings: Settings) -> None:
    """Of partial data only what is no fall counts.

    Without its busiest instance a workload seems to use less than it does: a fall is unknown, and
    a rise is at least what it shows. Nobody is kept waiting who was never seen before.
    """
    window = state.window
    recent = min(max(int(settings.policy.recent_peak_s) // window.step_s, 1), window.steps)
    last = window.recent_max(recent)
    last = np.where(np.isnan(last), state.stored_peak().T, last)
    block.values[block.values < last] = np.nan


def _drop_implausible(block: UsageBlock, state: TickState, observation: Observation) -> None:
    """Negative, infinite and absurd values are gaps, not usage."""
    amounts = observation.fleet.workload_current()
    peak, largest = state.stored_peak(), _largest_node(observation.fleet)
    for values in block.values:
        usage = values.T.astype(np.float64)
        values[~plausible(usage, amounts, peak, largest).T] = np.nan


def _largest_node(fleet: Fleet) -> Floats:
    """What the largest node has, shape (workload, resource); inf for who runs outside of nodes."""
    capacity = np.where(np.isnan(fleet.nodes.capacity), np.inf, fleet.nodes.capacity)
    largest = np.max(capacity, axis=0, initial=0.0)
    bound = (fleet.instances.node >= 0)[:, None]
    return fleet.largest_of_instances(np.where(bound, largest[None, :], np.inf))


def _mark_held_down(
    block: UsageBlock, observation: Observation, in_force_s: Floats, settings: Settings
) -> None:
    """Usage at a hard cap shows the cap, not what the workload wants.

    Only the newest step is known to have had the amounts in force now.
    """
    if not block.steps or not observation.capped.any():
        return
    amounts = observation.fleet.workload_current()
    known = observation.capped & (in_force_s < block.end_s) & (amounts > 0)
    cap = np.where(known, amounts * settings.policy.censored_ratio, np.inf)
    block.censored[-1] |= block.values[-1] >= cap.T
    # A platform reports what was used on average; what killed needed at least the amount there was.
    killed = block.killed[-1][None, :] & (known & kills(observation.fleet.resources)[None, :]).T
    np.fmax(block.values[-1], amounts.T, out=block.values[-1], where=killed, casting="same_kind")


def _situate(
    state: TickState,
    observation: Observation,
    settings: Settings,
    now_s: float,
    in_force_s: Floats,
) -> Situation:
    """The situation of every cell at the window's end.

    The newest step is unknown where the source has not answered for it, and where usage was held
    down in it by an amount that has been changed since: then nobody knows yet whether the new one
    is enough. A kill is news for as long as it is recent and no change has answered it.
    """
    window = state.window
    state.turn_band()
    seen_s = window.last_seen_s.T.astype(np.float64)
    recent_s = settings.policy.recent_peak_s
    recent = min(max(int(recent_s) // window.step_s, 1), window.steps)
    peak = window.recent_max(recent).T.astype(np.float64)
    held, answered = window.censored_lag(0).T, in_force_s >= window.end_s
    missing = window.end_s + window.step_s <= now_s
    killed_s = window.killed_s[:, None]
    return Situation(
        current=observation.fleet.workload_current(),
        usage=np.where((held & answered) | missing, np.nan, window.lag(0).T.astype(np.float64)),
        recent_peak=np.where(
            observation.capped & kills(window.resources)[None, :],
            np.fmax(window.peak(max(int(settings.policy.kill_peak_s) // HOUR_S - 1, 0)).T, peak),
            peak,
        ),
        stored_peak=state.stored_peak(),
        band=state.band,
        censored=held & ~answered,
        killed=(killed_s > now_s - recent_s) & (killed_s > in_force_s),
        age_s=np.where(seen_s > 0, now_s - seen_s, np.inf),
        capped=observation.capped,
    )
