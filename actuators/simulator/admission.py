"""Which resizes a platform takes on, which it refuses, and in what words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actuators.simulator.amounts import Amounts, Change
from pla.core.fleet import Bools, Floats
from pla.core.plan import OutcomeStatus
from pla.core.resources import ResourceSpec


class Verdict(NamedTuple):
    """What became of one resize: amount now [unit], words, and the instance's version now.

    `taken`: it was taken on, and so gave the instance this version.
    """

    status: OutcomeStatus
    amount: float
    message: str
    version: str
    taken: bool = False


@dataclass(frozen=True, slots=True)
class Faults:
    """Injected refusals, for tests: shares of otherwise good resizes, drawn from `seed`."""

    deferred: float = 0.0
    failed: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.deferred, self.failed) < 0 or self.deferred + self.failed > 1:
            raise ValueError(
                f"faults: deferred ({self.deferred}) and failed ({self.failed}) must be shares "
                f"that add up to at most 1"
            )


class Ruling:
    """Status and words of each of a change's rows, filled in check by check, in order.

    A row that a check refuses is no longer `open`, so that the first reason stands; what stays
    open to the end is `taken` on.
    """

    def __init__(self, rows: int) -> None:
        self.open: Bools = np.ones(rows, dtype=np.bool_)
        self.taken: Bools = np.zeros(rows, dtype=np.bool_)
        self.status: list[OutcomeStatus] = [OutcomeStatus.APPLIED] * rows
        self.message: list[str] = [""] * rows

    def close(
        self, where: NDArray[np.bool_], status: OutcomeStatus, words: str, *values: Floats
    ) -> None:
        """End the open rows of `where` with `status`; `words` are formatted with `values[row]`."""
        hit = where & self.open
        if not hit.any():
            return
        for row in np.flatnonzero(hit).tolist():
            self.status[row] = status
            self.message[row] = words.format(*(f"{value[row]:.12g}" for value in values))
        self.open &= ~hit


def judge_request(
    ruling: Ruling, change: Change, amounts: Amounts, specs: Sequence[ResourceSpec]
) -> None:
    """Whether what is asked is an amount of something that the instance has.

    Targets are rounded up to their quantum already; `specs` is the resource axis.
    """
    target, status = change.target, OutcomeStatus
    floor = np.array([spec.floor for spec in specs])[change.resource]
    whole = np.array([spec.whole for spec in specs])[change.resource]
    exists = amounts.support[change.resource, change.instance]
    ruling.close(~exists, status.UNSUPPORTED, "the instance has no such resource")
    ruling.close(~np.isfinite(target), status.FAILED, "the target {0} is no amount", target)
    ruling.close(
        target < floor, status.FAILED, "the target {0} is below the floor of {1}", target, floor
    )
    fraction = whole & (target != np.floor(target))
    ruling.close(fraction, status.FAILED, "the target {0} is no whole number of devices", target)


def judge_state(
    ruling: Ruling,
    change: Change,
    amounts: Amounts,
    specs: Sequence[ResourceSpec],
    level: Floats,
    conflict: Bools,
) -> None:
    """Whether it is new, planned from the present state, and possible as things are.

    Args:
        ruling: gets the verdicts.
        change: what is asked.
        amounts: what there is.
        specs: the resource axis.
        level: what is held at this moment and cannot be given back, shape (change,) [unit].
        conflict: the precondition does not hold, shape (change,).
    """
    cell = change.resource, change.instance
    target, amount, pending = change.target, amounts.amount[cell], amounts.pending[cell]
    grows = np.array([spec.growth_only for spec in specs])[change.resource]
    capacity = amounts.capacity[change.resource, amounts.node[change.instance]]
    shrinks, status = target < amount, OutcomeStatus
    # What is so already is no conflict, whoever did it: a plan may be carried out twice.
    ruling.close(pending == target, status.ACCEPTED, "already under way")
    ruling.close((target == amount) & np.isnan(pending), status.APPLIED, "")
    ruling.close(conflict, status.CONFLICT, "the instance has changed since the plan was made")
    ruling.close(grows & shrinks, status.INFEASIBLE, "cannot shrink below {0}", amount)
    words = "{0} is more than the whole node has ({1})"
    ruling.close(target > capacity, status.INFEASIBLE, words, target, capacity)
    in_use = shrinks & (target < level)
    ruling.close(in_use, status.DEFERRED, "{0} is below the {1} in use", target, level)


def inject(ruling: Ruling, faults: Faults, random: np.random.Generator) -> None:
    """Refuse the drawn share of what is still open."""
    if faults.deferred + faults.failed <= 0:
        return
    draw = random.random(len(ruling.open))
    either = faults.deferred + faults.failed
    ruling.close(draw < faults.deferred, OutcomeStatus.DEFERRED, "injected: not now")
    ruling.close(draw < either, OutcomeStatus.FAILED, "injected: the platform failed")
