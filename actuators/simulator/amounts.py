"""Who has how much: amounts in force, resizes under way, originals, and what nodes have left.

An amount is a promise: what is in force or under way on a node never exceeds its capacity.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Floats, Ints

Rows = NDArray[np.int64]

ROUNDING = 1e-9
"""Share of a node's capacity by which sums of amounts may miss it, for rounding."""


class Change(NamedTuple):
    """Resizes of different cells, in columns: resource and instance rows, target, precondition."""

    resource: Rows
    instance: Rows
    target: Floats
    version: tuple[str, ...]

    def take(self, keep: Bools) -> Change:
        """The rows where `keep` holds."""
        version = tuple(self.version[row] for row in np.flatnonzero(keep).tolist())
        return Change(self.resource[keep], self.instance[keep], self.target[keep], version)


class Amounts:
    """The amounts of every instance, all arrays (resource, instance) unless said otherwise.

    Attributes:
        amount: in force; 0 where the cell does not exist.
        support: which cells exist.
        pending: target of the resize under way; NaN = none.
        original: amount before the first change; NaN = never changed, or put back.
        revision: counts changes of each instance, shape (instance,): the write precondition.
        node: node of each instance, shape (instance,).
        capacity: shape (resource, node); inf = unlimited.
        lead_s: from acceptance to effect, shape (resource,) [s].
    """

    def __init__(
        self, amount: Floats, support: Bools, node: Ints, capacity: Floats, lead_s: Floats
    ) -> None:
        self.amount = np.where(support, amount, 0.0)
        self.support = support
        self.pending = np.full(amount.shape, np.nan)
        self.original = np.full(amount.shape, np.nan)
        self.revision = np.zeros(amount.shape[1], dtype=np.int64)
        self.node = node.astype(np.int64)
        self.capacity = np.where(np.isnan(capacity), np.inf, capacity)
        self.lead_s = lead_s
        self._ticket = np.zeros(amount.shape, dtype=np.int64)
        self._tickets = 0
        self._under_way: deque[tuple[float, int, Change]] = deque()

    def in_force(self) -> Floats:
        """Amounts in force, shape (instance, resource); NaN where the cell does not exist."""
        return np.where(self.support, self.amount, np.nan).T.copy()

    def free(self) -> Floats:
        """What each node has left, shape (resource, node); a resize under way holds both ends."""
        held = np.fmax(self.amount, self.pending)
        nodes = self.capacity.shape[1]
        taken = np.array([np.bincount(self.node, row, minlength=nodes) for row in held])
        # Far more than rounding can add up to, far less than a quantum of anything.
        slack = ROUNDING * np.where(np.isinf(self.capacity), 0.0, self.capacity)
        return np.asarray(self.capacity + slack - taken, dtype=np.float64)

    def fits(self, change: Change) -> Bools:
        """Which of `change` their nodes can hold, taken in order, shape (change,)."""
        cell = change.resource, change.instance
        held = np.fmax(self.amount[cell], self.pending[cell])
        delayed = self.lead_s[change.resource] > 0
        growth = np.where(delayed, np.maximum(change.target, self.amount[cell]), change.target)
        growth = growth - held
        free = self.free()
        key = change.resource * free.shape[1] + self.node[change.instance]
        left = free.reshape(-1)
        wanted = np.bincount(key, np.maximum(growth, 0.0), minlength=len(left))
        tight = (wanted > left)[key] & (growth > 0)
        fits = ~tight
        # Only where a node is short does it matter who comes first, and what was given back.
        for row in np.flatnonzero((wanted > left)[key]).tolist():
            if growth[row] <= left[key[row]] or growth[row] <= 0:
                left[key[row]] -= growth[row]
                fits[row] = True
        return np.asarray(fits, dtype=np.bool_)

    def accept(self, change: Change, now_s: float) -> None:
        """Take `change` on: from now it holds room, and it is due after its lead."""
        cell = change.resource, change.instance
        fresh = np.isnan(self.original[cell])
        self.original[cell] = np.where(fresh, self.amount[cell], self.original[cell])
        self.pending[cell] = change.target
        self.revision[np.unique(change.instance)] += 1
        self._tickets += 1
        self._ticket[cell] = self._tickets
        lead_s = self.lead_s[change.resource]
        for lead in np.unique(lead_s).tolist():
            self._under_way.append((now_s + lead, self._tickets, change.take(lead_s == lead)))
        self._under_way = deque(sorted(self._under_way, key=lambda item: item[:2]))

    def next_due_s(self) -> float:
        """When the next resize takes effect [epoch s]; inf = none is under way."""
        return self._under_way[0][0] if self._under_way else np.inf

    def pop_due(self, until_s: float) -> tuple[float, Change] | None:
        """The oldest resizes due by `until_s` that no later one replaced; None = no more."""
        if self.next_due_s() > until_s:
            return None
        due_s, ticket, change = self._under_way.popleft()
        newest = self._ticket[change.resource, change.instance] == ticket
        return due_s, change.take(newest)

    def settle(self, change: Change) -> None:
        """Put `change` in force."""
        cell = change.resource, change.instance
        self.amount[cell] = change.target
        self.pending[cell] = np.nan
        back = self.original[cell] == change.target
        self.original[cell] = np.where(back, np.nan, self.original[cell])

    def drop(self, change: Change) -> None:
        """Give `change` up: what is in force stays."""
        cell = change.resource, change.instance
        self.pending[cell] = np.nan
        back = self.original[cell] == self.amount[cell]
        self.original[cell] = np.where(back, np.nan, self.original[cell])
