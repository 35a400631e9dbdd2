"""One assessment from the first question to the figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from pla.assess import discovery, policies
from pla.assess import history as reading
from pla.assess.discovery import Progress
from pla.assess.figures import Cell, Figures, figures
from pla.assess.history import History
from pla.assess.policies import Outcomes
from pla.assess.question import Question
from pla.ports import Clock
from pla.sources.prometheus import PrometheusOptions

FEW = 20
"""With fewer workloads there is little to learn from one another."""
WEEK_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload with its cells, the most expensive waste first in `Assessment.workloads`."""

    uri: str
    cells: tuple[Cell, ...]

    @property
    def namespace(self) -> str:
        """Namespace in Kubernetes, host of a machine, else the scheme."""
        return namespace_of(self.uri)

    def month(self, policy: str) -> float:
        """Money per month under `policy`, of the resources of which it is known."""
        return sum(c.outcomes[policy].month for c in self.cells if policy in c.outcomes)

    @property
    def wasted_month(self) -> float:
        """Money per month for what was allotted and not used."""
        return sum(cell.wasted_month for cell in self.cells if cell.comparable)

    @property
    def at_risk(self) -> float:
        """The larger share of time at risk or held down, of its resources."""
        shares = [share for c in self.cells for share in (c.at_risk, c.held) if share == share]
        return max(shares, default=0.0)

    @property
    def kills(self) -> int:
        """Steps with an out-of-memory kill."""
        return sum(cell.kills for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Assessment:
    """What was asked, read and found.

    Attributes:
        server: the URL that was asked.
        packs: the query packs that answered.
        question, history, outcomes, figures: of the steps on the way.
        workloads: worst first: by waste, then by what they cost under PLA or a peer.
        notes: what a reader must know, a sentence each.
    """

    server: str
    packs: tuple[str, ...]
    question: Question
    history: History
    outcomes: Outcomes
    figures: Figures
    workloads: tuple[Workload, ...]
    notes: tuple[str, ...]


def assess(
    options: PrometheusOptions, question: Question, clock: Clock, progress: Progress
) -> Assessment:
    """Read, replay, score.

    Raises:
        SourceError: the server cannot be used; says why and what to do.
        TooLittleHistory: it holds less than a day; says how much.
    """
    found = discovery.find(options, question, clock, progress)
    history = reading.read(options, question, found.workloads, clock, progress)
    outcomes = policies.replay(history, question.tier, progress)
    scored = figures(history, outcomes, question)
    return Assessment(
        server=options.url,
        packs=found.packs,
        question=question,
        history=history,
        outcomes=outcomes,
        figures=scored,
        workloads=_worst_first(scored),
        notes=tuple(_notes(question, history, outcomes, scored)),
    )


def namespace_of(uri: str) -> str:
    """`k8s://CLUSTER/NAMESPACE/...` -> NAMESPACE, `kvm://HOST/DOMAIN` -> HOST, `sim://X` -> sim."""
    scheme, _, path = uri.partition("://")
    parts = path.split("/")
    if scheme == "k8s" and len(parts) > 1:
        return parts[1]
    return parts[0] if len(parts) > 1 else scheme


def _worst_first(scored: Figures) -> tuple[Workload, ...]:
    grouped = groupby(scored.cells, key=lambda cell: cell.workload)
    workloads = [Workload(uri, tuple(cells)) for uri, cells in grouped]
    policy = next(iter(scored.totals))
    return tuple(sorted(workloads, key=lambda w: (-w.wasted_month, -w.month(policy), w.uri)))


def _notes(
    question: Question, history: History, outcomes: Outcomes, scored: Figures
) -> Iterator[str]:
    days = history.steps * history.step_s / 86_400
    if days < question.days - 0.5:
        yield (
            f"{question.days:.3g} days were asked for, the server holds {days:.1f}: all of them "
            "were used"
        )
    if history.steps * history.step_s < WEEK_S:
        yield f"{days:.1f} days do not show a week: the model has not seen weekends and weekdays"
    count = len(history.workloads)
    if count < FEW:
        yield (
            f"only {_counted(count, 'workload')}: one model learns from all, and of few it learns "
            "less"
        )
    if outcomes.untrained:
        yield f"PLA is left out, there is too little to learn from ({outcomes.untrained})"
    if history.silent:
        yield (
            f"{_counted(len(history.silent), 'workload')} without a sample left out: "
            f"{', '.join(history.silent[:5])}{', ...' if len(history.silent) > 5 else ''}"
        )
    gone = len({cell.workload for cell in scored.cells if not cell.outcomes})
    if gone:
        yield f"{_counted(gone, 'workload')} ended before the judged days, and cost nothing there"
    yield from _notes_of_requests(scored)
    yield from history.warnings


def _notes_of_requests(scored: Figures) -> Iterator[str]:
    if not scored.comparable:
        yield (
            "no requests or limits are known (scrape kube-state-metrics): amounts and their "
            "price are told, a saving is not"
        )
        return
    unsized = {c.workload for c in scored.cells if c.outcomes and not c.comparable}
    if unsized:
        yield (
            f"{_counted(len(unsized), 'workload')} with neither request nor limit of a resource "
            "left out of totals and savings"
        )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
