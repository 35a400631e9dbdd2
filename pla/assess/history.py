"""The usage, amounts and replicas of the workloads that were found, on one grid of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pla.assess.discovery import Progress
from pla.assess.question import RESOURCES, Question
from pla.core.fleet import Bools
from pla.ports import Clock
from pla.sources.prometheus import PrometheusOptions, PrometheusSource
from pla.sources.trace import Trace

Singles = NDArray[np.float32]

DAY_S = 86_400
HOUR_S = 3600
"""Requests and limits change seldom: they are asked for hour by hour."""

COUNTS = {
    "kubernetes": {"resources": {"memory": {"total": "count $by_container ($memory)"}}},
    "sim": {
        "resources": {
            "memory": {
                "total": "count $by (max_over_time("
                'sim_memory_usage_bytes{workload!=""$match}[$step]))'
            }
        }
    },
}
"""Changes to the packs that make their `total` of memory the number of instances."""


@dataclass(frozen=True, slots=True)
class History:
    """What the server told; steps end at `start_s + (k + 1) * step_s`.

    Attributes:
        workloads: URIs of those with samples, sorted.
        resources: those of which there is any sample.
        usage: of the busiest instance, shape (step, resource, workload); NaN = no sample.
        total: of all instances, same shape; an upper bound, as each one's largest sample counts.
        request, limit: of an instance, same shape; NaN = none was written down.
        replicas: instances with samples, shape (step, workload); at least 1 where there is usage.
        held: usage was held down (throttled, starved, at its limit, or killed), shape of `usage`.
        killed: an out-of-memory kill happened, shape (step, workload).
        start_s, step_s: of the grid [s].
        silent: URIs that have series, but no sample that is a usage.
        warnings: what the server said of answers that it gave all the same.
    """

    workloads: tuple[str, ...]
    resources: tuple[str, ...]
    usage: Singles
    total: Singles
    request: Singles
    limit: Singles
    replicas: Singles
    held: Bools
    killed: Bools
    start_s: int
    step_s: int
    silent: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.usage)

    @property
    def end_s(self) -> int:
        """End of the last step [epoch s]."""
        return self.start_s + self.steps * self.step_s

    @property
    def live(self) -> Bools:
        """Steps in which anybody has a sample, shape (step,)."""
        return np.asarray(np.isfinite(self.usage).any(axis=(1, 2)), dtype=np.bool_)

    @property
    def allotted(self) -> Singles:
        """The request, or the limit where nobody wrote a request; NaN = neither.

        A machine has no request: what it was given is its limit.
        """
        return np.where(np.isnan(self.request), self.limit, self.request)

    def trace(self) -> Trace:
        """The same as a trace to replay, as `pla backtest` loads one."""
        allotted = self.allotted
        return Trace(
            workloads=self.workloads,
            resources=self.resources,
            values=self.usage,
            allocated=None if np.isnan(allotted).all() else allotted,
            start_s=self.start_s,
            step_s=self.step_s,
            duplicates=0,
        )


def read(
    options: PrometheusOptions,
    question: Question,
    workloads: Sequence[str],
    clock: Clock,
    progress: Progress,
) -> History:
    """A day at a time, in few and bounded requests.

    Raises:
        SourceError: a query failed for good.
    """
    counts = {name: {**options.queries.get(name, {}), **change} for name, change in COUNTS.items()}
    source = PrometheusSource(options, clock)
    counter = PrometheusSource(replace(options, queries={**options.queries, **counts}), clock)
    draft = _empty(question, workloads)
    warnings: set[str] = set()
    try:
        for at_s in range(question.start_s, question.end_s, DAY_S):
            until_s = min(at_s + DAY_S, question.end_s)
            progress("history", (at_s - question.start_s) / (question.end_s - question.start_s))
            warnings |= _read_part(source, counter, draft, question, (at_s, until_s))
        progress("requests and limits", 0.0)
        for share, (kind, to) in enumerate((("request", draft.request), ("limit", draft.limit))):
            _read_amounts(source, kind, draft, to)
            progress("requests and limits", (share + 1) / 2)
    finally:
        source.close()
        counter.close()
    return _trimmed(draft, tuple(sorted(warnings)))


def _empty(question: Question, workloads: Sequence[str]) -> History:
    steps = (question.end_s - question.start_s) // question.step_s
    shape = (steps, len(RESOURCES), len(workloads))

    def gaps() -> Singles:
        return np.full(shape, np.nan, dtype=np.float32)

    return History(
        workloads=tuple(workloads),
        resources=RESOURCES,
        usage=gaps(),
        total=gaps(),
        request=gaps(),
        limit=gaps(),
        replicas=np.full((steps, len(workloads)), np.nan, dtype=np.float32),
        held=np.zeros(shape, dtype=np.bool_),
        killed=np.zeros((steps, len(workloads)), dtype=np.bool_),
        start_s=question.start_s,
        step_s=question.step_s,
    )


def _read_part(
    source: PrometheusSource,
    counter: PrometheusSource,
    draft: History,
    question: Question,
    span: tuple[int, int],
) -> set[str]:
    """Usage, totals and replicas of `span` into `draft`; returns the server's warnings."""
    step_s, names = question.step_s, draft.workloads
    steps = slice((span[0] - draft.start_s) // step_s, (span[1] - draft.start_s) // step_s)
    block = source.read(names, RESOURCES, *span, step_s)
    draft.usage[steps], draft.held[steps] = block.values, block.censored
    draft.killed[steps] = block.killed
    total = source.amounts("total", names, RESOURCES, *span, step_s)
    # Nobody uses less together than the busiest does alone.
    draft.total[steps] = np.fmax(total, block.values)
    machines = np.array([not name.startswith(("k8s://", "sim://")) for name in names])
    count = counter.amounts("total", names, ("memory",), *span, step_s)[:, 0]
    seen = np.isfinite(block.values).any(axis=1)
    count = np.where(machines | np.isnan(count), np.float32(1), np.maximum(count, 1))
    draft.replicas[steps] = np.where(seen, count, np.float32(np.nan))
    return set(block.warnings)


def _read_amounts(source: PrometheusSource, kind: str, draft: History, to: Singles) -> None:
    """`kind` of each hour into the steps `to` of that hour."""
    first = draft.start_s // HOUR_S
    last = -(-draft.end_s // HOUR_S)
    hourly = source.amounts(kind, draft.workloads, RESOURCES, first * HOUR_S, last * HOUR_S, HOUR_S)
    ends = draft.start_s + draft.step_s * np.arange(1, draft.steps + 1)
    to[:] = _filled(hourly)[-(-ends // HOUR_S) - 1 - first]


def _filled(hourly: Singles) -> Singles:
    """Gaps along axis 0 take the value before, or the first one after."""
    filled = hourly.copy()
    for hour in range(1, len(filled)):
        np.copyto(filled[hour], filled[hour - 1], where=np.isnan(filled[hour]))
    for hour in range(len(filled) - 2, -1, -1):
        np.copyto(filled[hour], filled[hour + 1], where=np.isnan(filled[hour]))
    return filled


def _trimmed(draft: History, warnings: tuple[str, ...]) -> History:
    """Without the steps before the first sample, and without who and what has no sample."""
    seen = np.isfinite(draft.usage)
    who, what = seen.any(axis=(0, 1)), seen.any(axis=(0, 2))
    first = int(np.argmax(draft.live)) if draft.live.any() else draft.steps

    def kept(values: NDArray[np.generic]) -> NDArray[np.generic]:
        return values[first:][:, what][:, :, who]

    names = np.array(draft.workloads, dtype=object)
    return History(
        workloads=tuple(names[who].tolist()),
        resources=tuple(np.array(draft.resources, dtype=object)[what].tolist()),
        usage=kept(draft.usage),  # type: ignore[arg-type] # the element type stays
        total=kept(draft.total),  # type: ignore[arg-type]
        request=kept(draft.request),  # type: ignore[arg-type]
        limit=kept(draft.limit),  # type: ignore[arg-type]
        replicas=draft.replicas[first:, who],
        held=kept(draft.held),  # type: ignore[arg-type]
        killed=draft.killed[first:, who],
        start_s=draft.start_s + first * draft.step_s,
        step_s=draft.step_s,
        silent=tuple(names[~who].tolist()),
        warnings=warnings,
    )
