"""The simulated cluster: workloads demand what a trace says and use at most what they were given.

Time moves only by `advance`. Between two steps resizes take effect at the very second they are
due; a step's usage follows from the amounts that were in force during it. Everything is in
columns over (resource, instance), and nothing is random but the injected faults, which are seeded:
the same calls give the same history.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from actuators.simulator.admission import Verdict
from actuators.simulator.amounts import Amounts, Change
from actuators.simulator.applied import AppliedResize, records
from actuators.simulator.demand import Demand
from actuators.simulator.history import History
from actuators.simulator.inventory import Inventory, node_capacity, place
from actuators.simulator.ledger import ClusterStats, Ledger, StepTotals
from actuators.simulator.metering import Metering
from actuators.simulator.options import ClusterOptions
from actuators.simulator.replicas import Replicas
from actuators.simulator.resizing import Resizing
from actuators.simulator.step import Instances
from pla.core.fleet import Bools, Floats, Ints, UsageBlock
from pla.core.plan import Resize
from pla.core.resources import floors, round_up, specs


class SimulatedCluster:
    """A running cluster of `inventory`'s workloads from `start_s` on.

    Safe to use from several threads; every method sees and leaves a consistent state.

    Attributes:
        demand, inventory: what it was built from.
        resources: names of the resource axis; also `specs`.
        start_s: when the simulation began; the trace before it is history [epoch s].
        closed_s: end of the newest closed step [epoch s].
        now_s: how far time has moved [epoch s].
        replicas: which instances belong to which workload.
        node_ids, node: the nodes, and the node of each instance, shape (instance,).
        capacity: shape (resource, node); inf = unlimited [unit].
        metering: what an exporter tells of every instance; read it under `lock`.
    """

    def __init__(
        self,
        demand: Demand,
        inventory: Inventory,
        start_s: int,
        options: ClusterOptions | None = None,
        journal: Callable[[Sequence[AppliedResize]], None] | None = None,
    ) -> None:
        """Place every instance and start it with its initial amounts.

        Raises:
            ValueError: the start is off the step grid or before the trace, or the instances do
                not fit the nodes.
        """
        options = options or ClusterOptions()
        if start_s % demand.step_s or start_s < demand.start_s:
            raise ValueError(
                f"simulator: the start {start_s} must be a multiple of the step "
                f"({demand.step_s} s) and not before the trace ({demand.start_s})"
            )
        self.demand, self.inventory = demand, inventory
        self.resources, self.specs = demand.resources, specs(demand.resources)
        self.step_s, self.start_s = demand.step_s, start_s
        self.closed_s, self.now_s = start_s, float(start_s)
        self.lock = threading.RLock()
        self.replicas = Replicas(inventory.replicas, options.replica_skew)
        self.workload_ids = tuple(f"sim://{name}" for name in inventory.names)
        self.instance_ids = self.replicas.names(inventory.names)
        amounts = self._place(options)
        self._ledger = Ledger(self.workload_ids, self.resources, ~np.isnan(inventory.request))
        self._instances = Instances(self.specs, len(self.replicas), options.physics)
        self.metering = Metering(len(self.specs), len(self.replicas))
        self._resizing = Resizing(
            amounts, self._instances, self.specs, self.instance_ids, options.faults
        )
        self._resizing.on_applied = self._note_applied
        self._journal = journal
        self._history = History(
            max(options.history_s // self.step_s, 1),
            start_s,
            self.step_s,
            (len(self.resources), len(self.workload_ids)),
        )
        self._open_step()

    def _place(self, options: ClusterOptions) -> Amounts:
        request = self.replicas.spread(self.inventory.request)
        initial = np.maximum(
            round_up(options.initial_fraction * request.T, self.resources),
            floors(self.resources),
        ).T
        need = np.fmax(request, initial)
        if options.node_capacity is None:
            capacity = node_capacity(need, self.resources, options.nodes, options.node_headroom)
        else:
            each = [[options.node_capacity.get(name, np.inf)] for name in self.resources]
            capacity = np.repeat(np.array(each, dtype=np.float64), options.nodes, axis=1)
        self.capacity = capacity
        self.node: Ints = place(need, capacity)
        self.node_ids = tuple(f"node-{row}" for row in range(options.nodes))
        support = ~np.isnan(request)
        return Amounts(initial, support, self.node, capacity, options.leads(self.resources))

    # -- time ------------------------------------------------------------------------------

    def advance(self, to_s: float) -> None:
        """Move time on to `to_s` [epoch s]; a time that has passed already changes nothing."""
        with self.lock:
            while self.closed_s + self.step_s <= to_s:
                end_s = self.closed_s + self.step_s
                # What is due at the very end of a step counts for the next one.
                self._resizing.apply_due(np.nextafter(end_s, 0.0))
                self._close_step(end_s)
                self._open_step()
            self._resizing.apply_due(to_s)
            self.now_s = max(self.now_s, to_s)

    def next_event_s(self) -> float:
        """When something happens next: a step ends or a resize is due [epoch s]."""
        with self.lock:
            return min(self.closed_s + self.step_s, self._resizing.next_due_s())

    def _open_step(self) -> None:
        step = (self.closed_s - self.demand.start_s) // self.step_s
        demand = self.replicas.demand(self.demand.at(step))
        if self.closed_s == self.start_s and self._instances.memory is not None:
            row = self._instances.memory_row
            before = self.replicas.demand(self.demand.at(step - 1))[row]
            self._instances.memory.level = np.minimum(before, self._resizing.amounts.amount[row])
        self._instances.open_step(self.closed_s, self.closed_s + self.step_s, demand)
        self._resizing.open_step(self.closed_s)

    def _close_step(self, end_s: int) -> None:
        amount, mean = self._resizing.close_step(self.step_s)
        result = self._instances.close_step(amount, mean, self.step_s)
        self.metering.add(result, end_s)
        of = self.replicas
        totals = StepTotals(
            violated=of.any(result.violated),
            throttled_s=of.total(result.throttled_s),
            lost=of.total(result.lost),
            amount=of.total(mean),
            used=of.total(result.used),
            demand=of.total(self._instances.demand),
        )
        kills = of.total(result.killed.astype(np.float64)).astype(np.int64)
        self._ledger.add_step(totals, kills, self.step_s)
        used = of.busiest(np.where(self._resizing.amounts.support, result.used, np.nan))
        self._history.append(
            used.astype(np.float32), of.any(result.censored), of.any(result.killed)
        )
        self.closed_s = end_s

    # -- acting ----------------------------------------------------------------------------

    def resize(self, actions: Sequence[Resize]) -> list[Verdict]:
        """Judge and take on `actions` at the present time, one verdict each, in order."""
        with self.lock:
            return self._resizing.resize(actions, self.now_s)

    def restore(self, workloads: Sequence[str] | None) -> list[tuple[Resize, Verdict]]:
        """Resize every changed cell of `workloads` (None = all) back to its original amount.

        A workload that does not exist is answered by one FAILED verdict.
        """
        with self.lock:
            return self._resizing.restore(self.workload_ids, self.replicas, workloads, self.now_s)

    def _note_applied(self, change: Change, before: Floats, at_s: float) -> None:
        workload = self.replicas.workload[change.instance].astype(np.int64)
        self._ledger.add_resizes(change.resource, workload)
        if self._journal is not None:
            names = self.resources, self.instance_ids, self.workload_ids
            self._journal(records(change, before, at_s, *names, workload))

    # -- reading ---------------------------------------------------------------------------

    def current(self) -> Floats:
        """Amounts in force, shape (instance, resource); NaN where the cell does not exist."""
        with self.lock:
            return self._resizing.amounts.in_force()

    def revisions(self) -> NDArray[np.int64]:
        """Write precondition of each instance, shape (instance,)."""
        with self.lock:
            return self._resizing.amounts.revision.copy()

    def pending(self) -> Floats:
        """Amounts accepted and not yet in force, shape (instance, resource); NaN = none."""
        with self.lock:
            return self._resizing.amounts.pending.T.copy()

    def resizing(self) -> Bools:
        """Which instances have a resize under way, shape (instance,)."""
        with self.lock:
            return np.asarray(~np.isnan(self._resizing.amounts.pending).all(axis=0))

    def originals(self) -> Floats:
        """Amounts before the first change, shape (instance, resource); NaN = unchanged."""
        with self.lock:
            return self._resizing.amounts.original.T.copy()

    def backlog(self) -> Floats:
        """Work that waits, per workload, shape (resource, workload) [unit x s]."""
        with self.lock:
            return self.replicas.total(self._instances.backlog).copy()

    def usage(self, start_s: int, end_s: int) -> UsageBlock:
        """The closed steps that end in `(start_s, end_s]`, all workloads, in the cluster's steps.

        Before the simulation's start it is what the trace recorded, which nothing held down.
        """
        with self.lock:
            last = min(end_s, self.closed_s) // self.step_s
            first = start_s // self.step_s + 1
            shape = (max(last - first + 1, 0), len(self.resources), len(self.workload_ids))
            block = UsageBlock(
                values=np.empty(shape, dtype=np.float32),
                censored=np.zeros(shape, dtype=np.bool_),
                killed=np.zeros((shape[0], shape[2]), dtype=np.bool_),
                end_s=max(last, first - 1) * self.step_s,
                step_s=self.step_s,
            )
            for index, number in enumerate(range(first, last + 1)):
                step_end_s = number * self.step_s
                if step_end_s > self.start_s:
                    self._history.write(step_end_s, block, index)
                else:
                    begin_s = step_end_s - self.step_s
                    recorded = self.demand.recorded((begin_s - self.demand.start_s) // self.step_s)
                    block.values[index] = recorded
            return block

    def stats(self) -> ClusterStats:
        """Totals since the start."""
        with self.lock:
            return self._ledger.stats()
