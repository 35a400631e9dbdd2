"""Recommendation, plan, action, outcome: what is decided, as data.

The vocabulary of recommendations is the Vertical Pod Autoscaler's (target, lower bound, upper
bound, uncapped target). A `Plan` is columns; `Action` objects are made only for what acts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntFlag

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Floats, Ints

Flags = NDArray[np.int32]


class Reason(IntFlag):
    """Why a target is what it is; several may hold at once. The words are in `REASON_WORDS`."""

    NONE = 0
    FORECAST = 1 << 0
    BASELINE = 1 << 1
    REQUEST = 1 << 2
    REACTIVE = 1 << 3
    CENSORED = 1 << 4
    OOM_KILL = 1 << 5
    RECENT_PEAK = 1 << 6
    STALE_HOLD = 1 << 7
    STALE_RAISE = 1 << 8
    FLOOR = 1 << 9
    MINIMUM = 1 << 10
    MAXIMUM = 1 << 11
    GROWTH_ONLY = 1 << 12
    OVERRIDE = 1 << 13
    SHRINK_LIMITED = 1 << 14
    NODE_SHORT = 1 << 15
    OVERRIDE_FLOOR = 1 << 16


REASON_WORDS: dict[Reason, str] = {
    Reason.FORECAST: "forecast peak at the tier's quantile",
    Reason.BASELINE: "baseline policy, no champion model yet",
    Reason.REQUEST: "no history yet: its own request and its siblings",
    Reason.REACTIVE: "usage now is above the forecast band: recent peak plus headroom",
    Reason.CENSORED: "usage was held down by the limit: raised by half until it is not",
    Reason.OOM_KILL: "killed for lack of memory: raised at once",
    Reason.RECENT_PEAK: "never below the recent peak plus margin",
    Reason.STALE_HOLD: "no fresh data: held, never shrunk",
    Reason.STALE_RAISE: "no fresh data for long: raised to the peak of the last seven days",
    Reason.FLOOR: "the resource's floor",
    Reason.MINIMUM: "the minimum set by its owner",
    Reason.MAXIMUM: "the maximum set by its owner",
    Reason.GROWTH_ONLY: "this resource can only grow",
    Reason.OVERRIDE: "an override set by a person",
    Reason.SHRINK_LIMITED: "taken back in steps: the tier limits one shrink",
    Reason.NODE_SHORT: "trimmed: the node is full and higher tiers come first",
    Reason.OVERRIDE_FLOOR: "that override is a floor: it takes nothing away",
}


class Skip(Enum):
    """Why a wanted change is not made now."""

    OBSERVE = "observe mode: recommended only"
    CANARY = "canary mode: not one of the chosen instances"
    PAUSED = "paused"
    DEADBAND = "within the band in which a shrink does not pay"
    COOLDOWN = "shrink waits for the cooldown after the last change"
    SHRINK_LIMIT = "the tier's limit of one shrink is less than one quantum"
    NODE_FULL = "its node has no room"
    RESIZING = "an earlier resize is still under way"
    NOT_RUNNING = "the instance is not running"
    UNSUPPORTED = "its platform cannot resize this resource"


def imposed(reason: Flags) -> NDArray[np.bool_]:
    """Where a person's fix, ceiling or maximum sets the target, not what is expected to be used.

    A floor of a person's is none of these: that an amount comes down to it is the forecast's wish.
    """
    by_person = (reason & (Reason.OVERRIDE | Reason.MAXIMUM)) != 0
    return np.asarray(by_person & ((reason & Reason.OVERRIDE_FLOOR) == 0), dtype=np.bool_)


def describe(reason: int) -> str:
    """The words of every flag in `reason`, joined by `; `."""
    return "; ".join(words for flag, words in REASON_WORDS.items() if reason & flag)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What each workload should have; every array has shape (workload, resource), NaN = no opinion.

    `lower_bound` <= `target` <= `upper_bound`; `uncapped_target` is the target before the bounds
    that people set. `reason` holds `Reason` flags.
    """

    target: Floats
    lower_bound: Floats
    upper_bound: Floats
    uncapped_target: Floats
    reason: Flags


class OutcomeStatus(Enum):
    """What became of an action. An expected refusal is an outcome, never an exception."""

    APPLIED = "applied"
    ACCEPTED = "accepted"  # asynchronous: under way
    DEFERRED = "deferred"
    INFEASIBLE = "infeasible"
    CONFLICT = "conflict"
    UNSUPPORTED = "unsupported"
    FAILED = "failed"


DONE = (OutcomeStatus.APPLIED, OutcomeStatus.ACCEPTED)
"""In force, or under way."""


@dataclass(frozen=True, slots=True)
class Resize:
    """Give `instance` the amount `target` of `resource` instead of `current` [its unit].

    It replaces whatever change of that cell is still under way: where `target` equals `current`,
    it calls that change off.

    `version` is the platform's precondition, read when the plan was made.
    """

    instance: str
    workload: str
    resource: str
    current: float
    target: float
    reason: int
    version: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of `action`.

    Attributes:
        amount: what was reached, read back [unit]; NaN = unknown.
        message: what the platform says of it.
        unsure: it was asked for and nobody knows whether it was done: it may have been.
    """

    action: Resize
    status: OutcomeStatus
    amount: float
    message: str = ""
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes of one tick, in columns, and what was skipped.

    Attributes:
        instance, resource: rows into the fleet, shape (change,).
        current: amounts in force [unit], shape (change,).
        target: amounts to be [unit], shape (change,); a change under way is replaced by it.
        reason: `Reason` flags, shape (change,).
        skipped_instance, skipped_resource: rows of the wanted changes that are not made.
        skipped_target: what they wanted [unit].
        skipped_why: row of `tuple(Skip)`, shape (skipped,).
        unmet: what targets wanted and no node could give, shape (node, resource) [unit].
    """

    instance: Ints
    resource: Ints
    current: Floats
    target: Floats
    reason: Flags
    skipped_instance: Ints
    skipped_resource: Ints
    skipped_target: Floats
    skipped_why: Ints
    unmet: Floats

    def __len__(self) -> int:
        return len(self.instance)

    def skips(self) -> Iterator[tuple[int, int, float, Skip]]:
        """(instance row, resource row, target, why) of every skipped change."""
        kinds = tuple(Skip)
        for instance, resource, target, why in zip(
            self.skipped_instance.tolist(),
            self.skipped_resource.tolist(),
            self.skipped_target.tolist(),
            self.skipped_why.tolist(),
            strict=True,
        ):
            yield instance, resource, target, kinds[why]
