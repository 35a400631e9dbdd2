"""The history that a retraining learns from, read from the live source in pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pla.core.fleet import Fleet, UsageBlock
from pla.core.window import HOUR_S
from pla.observation import merge
from pla.platforms import Platforms
from pla.settings import Settings
from pla.sources.trace import Trace
from pla.training.errors import TooLittleHistory

CHUNK_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class History:
    """The fleet as it is, and its usage up to now.

    Attributes:
        fleet: what runs now.
        block: all steps, oldest first.
    """

    fleet: Fleet
    block: UsageBlock

    @property
    def start_s(self) -> int:
        """Start of the first step [epoch s]."""
        return self.block.end_s - self.block.steps * self.block.step_s

    def before(self, at_s: int) -> UsageBlock:
        """The steps that end at or before `at_s`."""
        steps = max((at_s - self.start_s) // self.block.step_s, 0)
        return UsageBlock(
            values=self.block.values[:steps],
            censored=self.block.censored[:steps],
            killed=self.block.killed[:steps],
            end_s=self.start_s + steps * self.block.step_s,
            step_s=self.block.step_s,
        )

    def trace(self) -> Trace:
        """The same as a trace to replay: requests stand where a trace has its allocations."""
        request = self.fleet.workloads.request.T.astype(np.float32)
        shape = self.block.values.shape
        return Trace(
            workloads=self.fleet.workloads.ids,
            resources=self.fleet.resources,
            values=self.block.values,
            allocated=np.broadcast_to(request, shape),
            start_s=self.start_s,
            step_s=self.block.step_s,
            duplicates=0,
        )


def read(
    settings: Settings, platforms: Platforms, now_s: float, progress: Callable[[str], None]
) -> History:
    """Usage of the last `retrain.history_days`, a day at a time.

    Raises:
        SourceError, ActuatorError: the source or a platform does not answer.
        TooLittleHistory: less than `retrain.minimum_history_hours` is on record.
    """
    step_s = settings.tick.step_s
    end_s = int(now_s // step_s) * step_s
    start_s = end_s - int(settings.retrain.history_days * CHUNK_S) // step_s * step_s
    parts = [actuator.list(settings.resources) for actuator in platforms.actuators]
    fleet = merge(
        parts,
        platforms.actuators,
        [False] * len(parts),
        settings.resources,
        settings.core_tiers(),
    ).fleet
    shape = ((end_s - start_s) // step_s, len(settings.resources), len(fleet.workloads))
    block = UsageBlock(
        values=np.full(shape, np.nan, dtype=np.float32),
        censored=np.zeros(shape, dtype=np.bool_),
        killed=np.zeros((shape[0], shape[2]), dtype=np.bool_),
        end_s=end_s,
        step_s=step_s,
    )
    for at_s in range(start_s, end_s, CHUNK_S):
        until_s = min(at_s + CHUNK_S, end_s)
        part = platforms.source.read(fleet.workloads.ids, settings.resources, at_s, until_s, step_s)
        _put(part, block)
        # A model of the others is better than none; who reads the run's log learns who is missing.
        for words in (*sorted(set(part.unavailable.values())), *part.warnings):
            progress(f"history: {words}")
        progress(f"history: {(until_s - start_s) / (end_s - start_s):.0%}")
    return History(fleet, _trimmed(block, settings))


def _put(part: UsageBlock, block: UsageBlock) -> None:
    """Enter `part` into `block` where its steps belong: a source may answer fewer than asked."""
    last = block.steps - (block.end_s - part.end_s) // block.step_s
    steps = slice(last - part.steps, last)
    block.values[steps] = part.values
    block.censored[steps] = part.censored
    block.killed[steps] = part.killed


def _trimmed(block: UsageBlock, settings: Settings) -> UsageBlock:
    """Without the empty steps before the first sample."""
    seen = np.isfinite(block.values).any(axis=(1, 2))
    hours = float(seen.sum() * block.step_s / HOUR_S)
    if hours < settings.retrain.minimum_history_hours:
        raise TooLittleHistory(
            f"{hours:.1f} h of usage are on record, a model needs "
            f"{settings.retrain.minimum_history_hours:.0f} h (retrain.minimum_history_hours); "
            "until then the baseline acts"
        )
    first = int(np.argmax(seen))
    return UsageBlock(
        values=block.values[first:],
        censored=block.censored[first:],
        killed=block.killed[first:],
        end_s=block.end_s,
        step_s=block.step_s,
    )
