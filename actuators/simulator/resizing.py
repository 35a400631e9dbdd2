"""Taking resizes on, and putting them in force when they are due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from actuators.simulator.admission import (
    Faults,
    Ruling,
    Verdict,
    inject,
    judge_request,
    judge_state,
)
from actuators.simulator.amounts import Amounts, Change
from actuators.simulator.memory import Rows
from actuators.simulator.replicas import Replicas
from actuators.simulator.step import Instances
from pla.core.fleet import Bools, Floats
from pla.core.plan import OutcomeStatus, Resize
from pla.core.resources import ResourceSpec, round_up


class Resizing:
    """The amounts of a running cluster, and the rules for changing them.

    `on_applied(change, amounts before, at_s)` is called for everything that takes effect.
    """

    def __init__(
        self,
        amounts: Amounts,
        instances: Instances,
        specs: Sequence[ResourceSpec],
        instance_ids: Sequence[str],
        faults: Faults,
    ) -> None:
        self.amounts = amounts
        self.on_applied: Callable[[Change, Floats, float], None] = lambda *_: None
        self._instances = instances
        self._specs = specs
        self._instance_row = {name: row for row, name in enumerate(instance_ids)}
        self._instance_ids = instance_ids
        self._resource_row = {spec.name: row for row, spec in enumerate(specs)}
        self._faults = faults
        self._random = np.random.default_rng(faults.seed)
        self._start_s = 0.0
        # What the amount now in force is short of (or beyond) what was in force earlier in the
        # open step [unit x s]: so a step's mean amount costs nothing where nothing changed.
        self._correction: Floats = np.zeros(amounts.amount.shape)

    # -- a step ----------------------------------------------------------------------------

    def open_step(self, start_s: float) -> None:
        """Begin a step."""
        self._start_s = start_s
        self._correction[:] = 0.0

    def close_step(self, step_s: float) -> tuple[Floats, Floats]:
        """Amounts in force now and their mean over the step, shape (resource, instance)."""
        amount = self.amounts.amount
        return amount, np.maximum(amount + self._correction / step_s, 0.0)

    def next_due_s(self) -> float:
        """When the next resize takes effect [epoch s]; inf = none is under way."""
        return self.amounts.next_due_s()

    def apply_due(self, until_s: float) -> None:
        """Put in force what is due by `until_s`, each at its own second.

        A shrink of memory below what is then in use is given up: the instance would be killed.
        """
        while (due := self.amounts.pop_due(until_s)) is not None:
            due_s, change = due
            at_s = max(due_s, self._start_s)
            before = self.amounts.amount[change.resource, change.instance]
            self._check_memory(change, before, at_s)
            held = self._instances.held(change.resource, change.instance, at_s, before)
            kept = ~((change.target < before) & (change.target < held))
            self.amounts.drop(change.take(~kept))
            change, before = change.take(kept), before[kept]
            cell = change.resource, change.instance
            self._correction[cell] += (before - change.target) * (at_s - self._start_s)
            self.amounts.settle(change)
            if len(change.target):
                self.on_applied(change, before, at_s)

    def _check_memory(self, change: Change, before: Floats, at_s: float) -> None:
        memory = change.resource == self._instances.memory_row
        self._instances.change_memory(change.instance[memory], at_s, before[memory])

    # -- actions ---------------------------------------------------------------------------

    def resize(self, actions: Sequence[Resize], now_s: float) -> list[Verdict]:
        """One verdict per action, in order.

        All preconditions are those of the moment before the first action: one plan may resize
        several resources of an instance. If a cell stands twice, the later action comes second.
        """
        ruling = Ruling(len(actions))
        resource = self._rows(ruling, [a.resource for a in actions], self._resource_row, "resource")
        instance = self._rows(ruling, [a.instance for a in actions], self._instance_row, "instance")
        asked = Change(
            resource,
            instance,
            self._rounded(resource, np.array([a.target for a in actions], dtype=np.float64)),
            tuple(action.version for action in actions),
        )
        conflict = self._conflicts(asked)
        amount = np.full(len(actions), np.nan)
        for rows in _waves(resource, instance, ruling.open):
            self._take_on(ruling, asked, conflict, rows, now_s)
            amount[rows] = self.amounts.amount[resource[rows], instance[rows]]
        return self._verdicts(ruling, instance, amount)

    def restore(
        self,
        workload_ids: Sequence[str],
        replicas: Replicas,
        workloads: Sequence[str] | None,
        now_s: float,
    ) -> list[tuple[Resize, Verdict]]:
        """Resize changed cells of `workloads` (None = all) to their originals, shrinks first."""
        chosen = np.ones(len(workload_ids), dtype=np.bool_)
        answers: list[tuple[Resize, Verdict]] = []
        if workloads is not None:
            row_of = {name: row for row, name in enumerate(workload_ids)}
            chosen[:] = False
            chosen[[row_of[name] for name in workloads if name in row_of]] = True
            answers.extend(_unknown(name) for name in workloads if name not in row_of)
        original, amount = self.amounts.original, self.amounts.amount
        changed = ~np.isnan(original) & chosen[replicas.workload]
        resource, instance = np.nonzero(changed)
        order = np.argsort((original > amount)[resource, instance], kind="stable")
        actions = [
            Resize(
                instance=self._instance_ids[row],
                workload=workload_ids[replicas.workload[row]],
                resource=self._specs[column].name,
                current=float(amount[column, row]),
                target=float(original[column, row]),
                reason=0,
            )
            for column, row in zip(resource[order].tolist(), instance[order].tolist(), strict=True)
        ]
        return answers + list(zip(actions, self.resize(actions, now_s), strict=True))

    def _take_on(
        self, ruling: Ruling, asked: Change, conflict: Bools, rows: Rows, now_s: float
    ) -> None:
        """Judge `rows` of `asked`, which are different cells, and accept what passes."""
        change = Change(
            asked.resource[rows],
            asked.instance[rows],
            asked.target[rows],
            tuple(asked.version[row] for row in rows.tolist()),
        )
        part = Ruling(len(rows))
        cell = change.resource, change.instance
        amount = self.amounts.amount[cell]
        level = self._instances.held(change.resource, change.instance, now_s, amount)
        judge_request(part, change, self.amounts, self._specs)
        judge_state(part, change, self.amounts, self._specs, level, conflict[rows])
        inject(part, self._faults, self._random)
        candidates = np.flatnonzero(part.open)
        full = np.zeros(len(rows), dtype=np.bool_)
        full[candidates[~self.amounts.fits(change.take(part.open))]] = True
        part.close(full, OutcomeStatus.DEFERRED, "its node has no room for {0}", change.target)
        delayed = self.amounts.lead_s[change.resource] > 0
        ruling.taken[rows] = part.open
        accepted = change.take(part.open)
        part.close(delayed, OutcomeStatus.ACCEPTED, "")
        if len(accepted.target):
            self.amounts.accept(accepted, now_s)
            self.apply_due(now_s)
        for row, status, message in zip(rows.tolist(), part.status, part.message, strict=True):
            ruling.status[row], ruling.message[row] = status, message

    def _rows(self, ruling: Ruling, names: list[str], known: dict[str, int], what: str) -> Rows:
        """Row of each name; the actions whose name is unknown are closed."""
        rows = np.array([known.get(name, -1) for name in names], dtype=np.int64)
        status = OutcomeStatus.UNSUPPORTED if what == "resource" else OutcomeStatus.FAILED
        for row in np.flatnonzero((rows < 0) & ruling.open).tolist():
            ruling.open[row] = False
            ruling.status[row] = status
            ruling.message[row] = f"the simulator has no {what} {names[row]!r}"
        return np.maximum(rows, 0)

    def _rounded(self, resource: Rows, target: Floats) -> Floats:
        """Targets rounded up to their resource's quantum; whole devices stay as they are asked."""
        names = [spec.name for spec in self._specs]
        rounded = round_up(np.repeat(target[:, None], len(names), axis=1), names)
        whole = np.array([spec.whole for spec in self._specs])[resource]
        return np.where(whole, target, rounded[np.arange(len(target)), resource])

    def _conflicts(self, asked: Change) -> Bools:
        revision = self.amounts.revision[asked.instance].tolist()
        return np.array(
            [
                version not in ("", str(current))
                for version, current in zip(asked.version, revision, strict=True)
            ],
            dtype=np.bool_,
        )

    def _verdicts(self, ruling: Ruling, instance: Rows, amount: Floats) -> list[Verdict]:
        revision = self.amounts.revision[instance].tolist()
        return [
            Verdict(status, value, message, str(version), taken)
            for status, value, message, version, taken in zip(
                ruling.status,
                amount.tolist(),
                ruling.message,
                revision,
                ruling.taken.tolist(),
                strict=True,
            )
        ]


def _waves(resource: Rows, instance: Rows, open_rows: Bools) -> Iterator[Rows]:
    """The open rows in waves without repeated cells: the n-th mention of a cell is in wave n."""
    rows = np.flatnonzero(open_rows)
    key = resource[rows] * (int(instance.max(initial=0)) + 1) + instance[rows]
    while len(rows):
        _, first = np.unique(key, return_index=True)
        first = np.sort(first)
        yield rows[first]
        rest = np.ones(len(rows), dtype=np.bool_)
        rest[first] = False
        rows, key = rows[rest], key[rest]


def _unknown(workload: str) -> tuple[Resize, Verdict]:
    nothing = float("nan")
    action = Resize("", workload, "", nothing, nothing, 0)
    words = f"the simulator has no workload {workload!r}"
    return action, Verdict(OutcomeStatus.FAILED, nothing, words, "")
