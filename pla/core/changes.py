"""The changes that targets ask for, in columns, on their way through the planner's rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Floats, Ints
from pla.core.plan import Flags, Skip

_SKIP_ROW = {skip: row for row, skip in enumerate(Skip)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The changes that targets ask for, one row each; amounts in the resource's unit.

    Attributes:
        instance, resource: rows into the fleet.
        current: amounts in force.
        coming: what will be in force if nothing more is asked; `current` unless a resize is under
            way. Growth and shrink are seen from here.
        held: what the instance keeps others from having; the larger of both.
        target: amounts to be.
        reason: `Reason` flags.
    """

    instance: Ints
    resource: Ints
    current: Floats
    coming: Floats
    held: Floats
    target: Floats
    reason: Flags

    @property
    def shrinks(self) -> Bools:
        """Which rows ask for less than what is, or is about to be, in force."""
        return self.target < self.coming

    def take(self, keep: Bools) -> Wanted:
        """The rows where `keep` holds."""
        rows = np.flatnonzero(keep)
        current = self.current.take(rows)
        return Wanted(
            self.instance.take(rows),
            self.resource.take(rows),
            current,
            # While nothing is under way, which is usual, all three are one array.
            current if self.coming is self.current else self.coming.take(rows),
            current if self.held is self.current else self.held.take(rows),
            self.target.take(rows),
            self.reason.take(rows),
        )


class Skipped:
    """Collects the rows of wanted changes that are not made."""

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, Ints, Floats, Ints]] = []

    def drop(self, wanted: Wanted, *rules: tuple[Bools, Skip]) -> Wanted:
        """`wanted` without the rows that a rule hits: noted as skipped, for the first that does."""
        why = np.full(len(wanted.instance), -1, dtype=np.int32)
        for where, skip in reversed(rules):
            why[where] = _SKIP_ROW[skip]
        where = why >= 0
        if not where.any():
            return wanted
        gone = wanted.take(where)
        self._parts.append((gone.instance, gone.resource, gone.target, why[where]))
        return wanted.take(~where)

    def column(self, index: int, dtype: type) -> NDArray[np.generic]:
        """Column `index` of (instance, resource, target, why) of all skipped changes."""
        if not self._parts:
            return np.empty(0, dtype=dtype)
        return np.concatenate([part[index] for part in self._parts]).astype(dtype, copy=False)
