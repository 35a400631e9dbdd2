"""History -> training rows: replays a usage window through time, exactly as ticks see it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.feature_names import NAMES
from pla.core.features import Features, Featuriser, target
from pla.core.fleet import Bools, UsageBlock
from pla.core.window import HOUR_S, UsageWindow
from pla.training.errors import TooLittleHistory

Singles = NDArray[np.float32]

WARM_UP_S = 12 * HOUR_S
"""Cutoffs in the first hours of the history would teach features that are almost all unknown."""
MAX_CUTOFFS = 20_000
"""A longer history is sampled in time: each cutoff costs a featurisation of the whole fleet."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Training rows of one resource, in the order of their cutoffs.

    Attributes:
        features: shape (row, feature), C-contiguous; NaN = not known.
        target: `pla.core.features.target` of the hold window's peak, shape (row,).
        peak: that peak [unit], shape (row,).
        scale: shape (row,) [unit].
        cutoff_s: end of the newest step that the features know [epoch s], shape (row,).
        workload: row of the history's workload axis, shape (row,).
    """

    features: Singles
    target: Singles
    peak: Singles
    scale: Singles
    cutoff_s: NDArray[np.int64]
    workload: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.target)

    def part(self, chosen: slice | NDArray[np.int64]) -> Rows:
        """Some of the rows."""
        return Rows(
            self.features[chosen],
            self.target[chosen],
            self.peak[chosen],
            self.scale[chosen],
            self.cutoff_s[chosen],
            self.workload[chosen],
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a bundle is fitted to.

    Attributes:
        rows: per resource name.
        names: of the feature axis.
        step_s, lead_s, hold_s: of the windows and of the peak that is learnt [s].
        start_s, end_s: what the history covers [epoch s].
        checksum: SHA-256 of the history.
    """

    rows: Mapping[str, Rows]
    names: tuple[str, ...]
    step_s: int
    lead_s: int
    hold_s: int
    start_s: int
    end_s: int
    checksum: str


def build(
    history: UsageBlock,
    resources: Sequence[str],
    lead_s: int,
    hold_s: int,
    max_rows: int = 400_000,
    seed: int = 0,
) -> Dataset:
    """Training rows from `history`, at most about `max_rows` per resource.

    A row is a cutoff and a workload; its target is the peak over
    `(cutoff + lead_s, cutoff + lead_s + hold_s]`. Rows are left out where a step of that window
    has no sample, was censored, or saw an out-of-memory kill: usage that was held down only
    bounds demand from below, and must never teach the limit. (As a bound it would need a
    censored loss; leaving it out errs little, since held-down steps are few.) Which rows remain
    when there are too many is drawn from `seed`.

    Raises:
        ValueError: if lead or hold is no whole number of steps.
        TooLittleHistory: the history has too few steps, or none of a resource can be learnt from.
    """
    step_s = history.step_s
    if lead_s % step_s or hold_s % step_s or hold_s <= 0:
        raise ValueError(
            f"lead of {lead_s} s and hold of {hold_s} s: both must be whole steps of {step_s} s"
        )
    first = WARM_UP_S // step_s
    last = history.steps - (lead_s + hold_s) // step_s
    if last <= first:
        raise TooLittleHistory(
            f"history of {history.steps} steps of {step_s} s is too short to learn from: "
            f"more than {(WARM_UP_S + lead_s + hold_s) / HOUR_S:.1f} h are needed"
        )
    peak = _hold_peaks(history, lead_s // step_s, hold_s // step_s)
    chosen = _choose(np.isfinite(peak[first:last]), max_rows, seed)
    collected: dict[str, list[tuple[Singles, ...]]] = {name: [] for name in resources}
    cutoffs = first + np.flatnonzero(chosen.any(axis=(1, 2)))
    for cutoff, features in _replay(history, resources, lead_s, hold_s, cutoffs):
        wanted = target(peak[cutoff].T, features)
        for column, name in enumerate(resources):
            rows = np.flatnonzero(chosen[cutoff - first, column] & np.isfinite(wanted[:, column]))
            collected[name].append(
                (
                    features.columns[name].T[rows],
                    wanted[rows, column],
                    peak[cutoff, column, rows],
                    features.scale[rows, column],
                    np.full(len(rows), _end_s(history, cutoff), dtype=np.int64),
                    rows.astype(np.int32),
                )
            )
    for name, parts in collected.items():
        if not sum(len(part[1]) for part in parts):
            raise TooLittleHistory(
                f"{name}: no step of the history can be learnt from: nobody used any, or usage "
                "was held down all the time; wait, or take it out of `resources`"
            )
    return Dataset(
        rows={name: _stack(parts) for name, parts in collected.items()},
        names=NAMES,
        step_s=step_s,
        lead_s=lead_s,
        hold_s=hold_s,
        start_s=history.end_s - history.steps * step_s,
        end_s=history.end_s,
        checksum=_checksum(history),
    )


def _hold_peaks(history: UsageBlock, lead: int, hold: int) -> Singles:
    """Peak of the hold window of each cutoff, (step, resource, workload); NaN = not to be taught.

    Row i belongs to the cutoff at the end of step i.
    """
    usable = np.where(_held_down(history), np.float32(np.nan), history.values)
    peak = np.full(usable.shape, np.nan, dtype=np.float32)
    count = history.steps - lead - hold
    total = usable[lead + 1 : lead + 1 + count].copy()
    for later in range(1, hold):
        np.maximum(total, usable[lead + 1 + later : lead + 1 + later + count], out=total)
    peak[:count] = total  # np.maximum keeps NaN: one unusable step spoils the window
    return peak


def _held_down(history: UsageBlock) -> Bools:
    return np.asarray(history.censored | history.killed[:, None, :], dtype=np.bool_)


def _choose(usable: Bools, max_rows: int, seed: int) -> Bools:
    """Which usable (cutoff, resource, workload) become rows: all, or an even random share."""
    random = np.random.default_rng(seed)
    chosen = usable.copy()
    cutoffs = usable.shape[0]
    if cutoffs > MAX_CUTOFFS:
        kept = np.zeros(cutoffs, dtype=np.bool_)
        kept[random.choice(cutoffs, MAX_CUTOFFS, replace=False)] = True
        chosen &= kept[:, None, None]
    counts = chosen.sum(axis=(0, 2))
    for column, count in enumerate(counts):
        if count > max_rows:
            chosen[:, column] &= random.random(chosen[:, column].shape) < max_rows / count
    return chosen


def _replay(
    history: UsageBlock,
    resources: Sequence[str],
    lead_s: int,
    hold_s: int,
    cutoffs: NDArray[np.int64],
) -> Iterator[tuple[int, Features]]:
    """(step, features at its end) for each step in `cutoffs`, ascending."""
    window = UsageWindow(
        workloads=history.values.shape[2],
        resources=tuple(resources),
        step_s=history.step_s,
        end_s=history.end_s - history.steps * history.step_s,
    )
    featurise = Featuriser(lead_s, hold_s)
    pushed = 0
    for cutoff in cutoffs.tolist():
        part = slice(pushed, cutoff + 1)
        window.push(
            UsageBlock(
                values=history.values[part],
                censored=history.censored[part],
                killed=history.killed[part],
                end_s=_end_s(history, cutoff),
                step_s=history.step_s,
            )
        )
        pushed = cutoff + 1
        yield cutoff, featurise(window)


def _end_s(history: UsageBlock, step: int) -> int:
    """End of step `step` of `history`, counted from its first [epoch s]."""
    return history.end_s - (history.steps - 1 - step) * history.step_s


def _stack(parts: list[tuple[Singles, ...]]) -> Rows:
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    features, wanted, peak, scale, cutoff_s, workload = columns
    return Rows(
        np.ascontiguousarray(features, dtype=np.float32),
        wanted,
        peak,
        scale,
        cutoff_s.astype(np.int64),
        workload.astype(np.int32),
    )


def _checksum(history: UsageBlock) -> str:
    digest = hashlib.sha256()
    digest.update(f"{history.end_s} {history.step_s} {history.values.shape}".encode())
    for array in (history.values, history.censored, history.killed):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
