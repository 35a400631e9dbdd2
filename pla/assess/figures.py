"""The assessment's figures: per workload and resource, by namespace, and in total.

Money is of amounts: amount [unit] x instances, averaged over the scored time, x price x 730 h. A
step without a sample costs nothing (the workload was not there), and time in which the server had
no sample of anybody is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pla.assess.history import History, Singles
from pla.assess.policies import Outcomes, amounts
from pla.assess.question import Question
from pla.core.fleet import Bools, Floats

RISK = 0.95
"""Usage above this share of the amount is at risk: there is no room for more."""

NOW = "now"
TITLES = {NOW: "now", "pla": "PLA", "vpa": "VPA", "krr": "KRR"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy on one workload and resource, in the scored time.

    Attributes:
        amount: mean of an instance [unit].
        violations: share of steps with usage > amount.
        month: money per month of all instances.
    """

    amount: float
    violations: float
    month: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One workload and resource. `used`, risk and kills are of the whole history.

    Attributes:
        workload, resource: which.
        request, limit: the newest, of an instance [unit]; NaN = none.
        instances: mean number in the scored time.
        used_mean, used_p95, used_max: usage of the busiest instance [unit].
        at_risk: share of time with usage >= 0.95 x what is allotted; NaN = nothing is known.
        held: share of time in which usage was held down: throttled, starved, or at the limit.
        kills: steps with an out-of-memory kill.
        wasted_month: money per month for what was allotted and not used; NaN = nothing is known.
        outcomes: by policy, `now` among them; one that is absent is not known. Empty where the
            workload has no sample in the scored time.
    """

    workload: str
    resource: str
    request: float
    limit: float
    instances: float
    used_mean: float
    used_p95: float
    used_max: float
    at_risk: float
    held: float
    kills: int
    wasted_month: float
    outcomes: Mapping[str, Outcome]

    @property
    def comparable(self) -> bool:
        """Whether it is known what the workload has now, so that a saving can be told."""
        return NOW in self.outcomes


@dataclass(frozen=True, slots=True)
class Total:
    """One policy over all workloads that can be compared (all of them if none can).

    Attributes:
        policy: its name.
        month: money per month.
        by_resource: the same by resource.
        saved: money per month less than `now`; NaN where that is not known.
        violations: share of steps with usage > amount, by resource.
        changes_per_day: resizes per workload and day; NaN for `now`.
    """

    policy: str
    month: float
    by_resource: Mapping[str, float]
    saved: float
    violations: Mapping[str, float]
    changes_per_day: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it: `cells` in the order of workloads, `totals` by policy."""

    cells: tuple[Cell, ...]
    totals: Mapping[str, Total]

    @property
    def comparable(self) -> bool:
        """Whether anything is known of what anybody has now."""
        return NOW in self.totals

    @property
    def wasted_month(self) -> float:
        """Money per month for what was allotted and not used, of all that can be compared."""
        return float(sum(cell.wasted_month for cell in self.cells if cell.comparable))


def figures(history: History, outcomes: Outcomes, question: Question) -> Figures:
    """Score and price every workload."""
    scored = _Scored.of(history, outcomes)
    prices = np.array([question.month(name) for name in history.resources])[:, None]
    months = {name: scored.mean(amount) * prices for name, amount in scored.amounts.items()}
    wasted = scored.mean_wasted() * prices
    cells = tuple(
        _cell(history, scored, (column, row), months, float(wasted[column, row]))
        for row in range(len(history.workloads))
        for column in range(len(history.resources))
        if np.isfinite(history.usage[:, column, row]).any()
    )
    return Figures(cells, _totals(history, scored, outcomes, months))


@dataclass(frozen=True, slots=True)
class _Scored:
    """The scored steps: `used` and `seen` (step, resource, workload), `live` (step,)."""

    used: Singles
    seen: Bools
    total: Singles
    replicas: Singles
    live: Bools
    amounts: Mapping[str, Singles]
    known: Bools
    """What is had now is known, and there are samples, shape (resource, workload)."""

    @staticmethod
    def of(history: History, outcomes: Outcomes) -> _Scored:
        steps = len(outcomes.spec.decision_times_s)
        used = history.usage[-steps:]
        seen = np.isfinite(used)
        amount = amounts(outcomes, history)
        return _Scored(
            used=used,
            seen=seen,
            total=history.total[-steps:],
            replicas=history.replicas[-steps:, None],
            live=history.live[-steps:],
            # No amount is an amount of 0 (`pla.core.scoring`).
            amounts={name: np.nan_to_num(values) for name, values in amount.items()},
            known=np.asarray((seen & np.isfinite(amount[NOW])).any(axis=0), dtype=np.bool_),
        )

    def mean(self, amount: Singles) -> Floats:
        """Mean of all instances' amount over the live time, shape (resource, workload) [unit]."""
        held = np.where(self.seen, amount * self.replicas, 0.0)
        return np.asarray(held.sum(axis=0, dtype=np.float64) / max(int(self.live.sum()), 1))

    def mean_wasted(self) -> Floats:
        """Mean of what is allotted above what is used, same shape; NaN = nothing is known."""
        spare = np.maximum(self.amounts[NOW] * self.replicas - self.total, 0)
        spare = np.where(self.seen, spare, 0.0)
        wasted = spare.sum(axis=0, dtype=np.float64) / max(int(self.live.sum()), 1)
        return np.where(self.known, wasted, np.nan)

    def over(self, name: str) -> NDArray[np.int64]:
        """Steps in which usage exceeds the policy's amount, shape (resource, workload)."""
        over = self.seen & (self.used > self.amounts[name])
        return np.asarray(over.sum(axis=0), dtype=np.int64)


def _cell(
    history: History,
    scored: _Scored,
    at: tuple[int, int],
    months: Mapping[str, Floats],
    wasted_month: float,
) -> Cell:
    column, row = at
    usage = history.usage[:, column, row].astype(np.float64)
    seen = np.isfinite(usage)
    used, allotted = usage[seen], history.allotted[seen, column, row]
    sized = np.isfinite(allotted)
    present = scored.seen[:, column, row]
    return Cell(
        workload=history.workloads[row],
        resource=history.resources[column],
        request=float(history.request[-1, column, row]),
        limit=float(history.limit[-1, column, row]),
        instances=_mean(scored.replicas[present, 0, row]),
        used_mean=_mean(used),
        used_p95=float(np.percentile(used, 95)),
        used_max=float(used.max()),
        at_risk=_mean(used[sized] >= RISK * allotted[sized]),
        held=_mean(history.held[seen, column, row]),
        kills=int(history.killed[:, row].sum()) if history.resources[column] == "memory" else 0,
        wasted_month=wasted_month,
        outcomes={
            name: Outcome(
                amount=_mean(amount[present, column, row]),
                violations=_mean(scored.used[present, column, row] > amount[present, column, row]),
                month=float(months[name][at]),
            )
            for name, amount in scored.amounts.items()
            if present.any() and (name != NOW or scored.known[at])
        },
    )


def _totals(
    history: History, scored: _Scored, outcomes: Outcomes, months: Mapping[str, Floats]
) -> dict[str, Total]:
    chosen = scored.known if scored.known.any() else scored.seen.any(axis=0)
    samples = np.where(chosen, scored.seen.sum(axis=0), 0).sum(axis=1)
    days = len(scored.used) * history.step_s / 86_400
    totals: dict[str, Total] = {}
    for name in scored.amounts:
        if name == NOW and not scored.known.any():
            continue
        by_resource = np.where(chosen, months[name], 0.0).sum(axis=1)
        over = np.where(chosen, scored.over(name), 0).sum(axis=1)
        changes = outcomes.replayed[name].changes[chosen].mean() if name != NOW else np.nan
        month = float(by_resource.sum())
        totals[name] = Total(
            policy=name,
            month=month,
            by_resource=dict(zip(history.resources, by_resource.tolist(), strict=True)),
            saved=totals[NOW].month - month if NOW in totals else float("nan"),
            violations=dict(
                zip(history.resources, (over / np.maximum(samples, 1)).tolist(), strict=True)
            ),
            changes_per_day=float(changes) / days,
        )
    return totals


def _mean(values: NDArray[np.generic]) -> float:
    return float(values.astype(np.float64).mean()) if len(values) else float("nan")
