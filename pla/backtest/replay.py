"""A recorded fleet as a platform: what `run_tick` needs of the outside, driven by a trace.

Open loop: usage is given and never censored, whatever the amounts; a workload has one instance,
nodes have no capacity, and a resize takes effect at once (`lead` is applied by the caller).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pla.core.fleet import Bytes, Floats, InstanceTable, Mode, NodeTable, WorkloadTable
from pla.core.plan import Outcome, OutcomeStatus, Resize
from pla.ports import Decision, FleetPart, Lease, Override

FOREVER = Lease(holder="backtest", epoch=1, expires_s=float("inf"))


class ReplayClock:
    """Stands at the time of the decision being replayed."""

    def __init__(self, now_s: float) -> None:
        self.now = now_s

    def now_s(self) -> float:
        """The replayed time [epoch s]."""
        return self.now

    def monotonic_s(self) -> float:
        """Stands still: no deadline passes in a replay."""
        return 0.0


class ReplayActuator:
    """`pla.ports.Actuator` whose instances take every amount at once.

    Attributes:
        amounts: in force now, shape (workload, resource); NaN until first known.
        changes: how many resizes were applied, shape (workload, resource).
    """

    scheme = "trace"
    enforces: frozenset[str] = frozenset()

    def __init__(
        self, names: Sequence[str], resources: Sequence[str], request: Floats, tier: Bytes
    ) -> None:
        self.supports = frozenset(resources)
        self.amounts = request.copy()
        self.changes = np.zeros(request.shape, dtype=np.int64)
        self._column = {name: index for index, name in enumerate(resources)}
        self._ids = tuple(f"trace://{name}" for name in names)
        self._instances = tuple(f"{uri}#0" for uri in self._ids)
        self._row = {name: index for index, name in enumerate(self._instances)}
        count = len(names)
        blank = np.full(request.shape, np.nan)
        self._workloads = WorkloadTable(
            ids=self._ids,
            tier=tier,
            mode=np.full(count, Mode.ENFORCE, dtype=np.int8),
            paused=np.zeros(count, dtype=np.bool_),
            minimum=blank,
            maximum=blank,
            request=request,
            support=np.ones(request.shape, dtype=np.bool_),
            created_s=np.zeros(count),
        )
        self._nodes = NodeTable(ids=(), capacity=np.empty((0, request.shape[1])))
        self._versions = ("",) * count

    def list(self, resources: Sequence[str]) -> FleetPart:
        """The recorded fleet with the amounts in force."""
        count = len(self._ids)
        instances = InstanceTable(
            ids=self._instances,
            workload=np.arange(count, dtype=np.int32),
            node=np.full(count, -1, dtype=np.int32),
            current=self.amounts.copy(),
            state=np.zeros(count, dtype=np.int8),
            version=self._versions,
        )
        return FleetPart(self._workloads, instances, self._nodes)

    def apply(self, actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        """Every amount is taken at once."""
        for action in actions:
            cell = self._row[action.instance], self._column[action.resource]
            self.amounts[cell] = action.target
            self.changes[cell] += 1
            yield Outcome(action, OutcomeStatus.APPLIED, action.target)

    def restore(self, workloads: Sequence[str] | None) -> Iterator[Outcome]:
        """A recorded fleet has nothing to go back to."""
        return iter(())

    def start_with(self, target: Floats) -> None:
        """The replay starts with PLA in charge: `target` is in force, else the request."""
        self.amounts[:] = np.where(np.isnan(target), self._workloads.request, target)
        self.changes[:] = 0

    def admit(self, target: Floats) -> None:
        """Cells without an amount yet take `target`: a workload that has just appeared."""
        fresh = np.isnan(self.amounts) & ~np.isnan(target)
        self.amounts[fresh] = target[fresh]


class ReplayStore:
    """`pla.ports.TickStore` of a replay: always the leader, nobody's wishes, nothing kept."""

    def begin(self, name: str, lease: Lease, decisions: Sequence[Decision]) -> list[int]:
        """Row numbers; the rows themselves are not kept."""
        return list(range(len(decisions)))

    def settle(self, results: Sequence[tuple[int, str, float, str]]) -> None:
        """Outcomes of a replay are in its amounts."""

    def paused(self) -> bool:
        """Never."""
        return False

    def overrides(self, now_s: float) -> list[Override]:
        """Nobody's."""
        return []
