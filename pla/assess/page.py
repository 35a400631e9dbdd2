"""The assessment as one HTML file for those who pay: no script, and no request to anybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

import numpy as np

from pla.assess import charts, policies, wording
from pla.assess.assessment import Assessment, Workload
from pla.assess.document import moment, namespaces
from pla.assess.figures import NOW, RISK, TITLES, Cell, Total

WORST = 10
NAMESPACES = 12
RISK_SHARE = 0.01
"""A workload is called at risk if it has no room for more than this share of its time."""


def html(assessment: Assessment) -> str:
    """The whole document; everything that comes from the server is escaped."""
    style = files("pla.assess").joinpath("page.css").read_text(encoding="utf-8")
    body = "".join(
        [
            *_head(assessment),
            *_comparison(assessment),
            *_namespaces(assessment),
            *_worst(assessment),
            *_risky(assessment),
            *_method(assessment),
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Resource assessment</title><style>{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _head(assessment: Assessment) -> Iterator[str]:
    figures, question, history = assessment.figures, assessment.question, assessment.history
    currency, best = question.currency, figures.totals.get("pla")
    days = history.steps * history.step_s / 86_400
    yield "<header><h1>What this fleet is given, uses and wastes</h1>"
    yield (
        f"<p>{len(history.workloads)} workloads, {days:.1f} days up to "
        f"{_day(history.end_s)}, read from {escape(assessment.server)}.</p></header>"
    )
    tiles = []
    if figures.comparable:
        now = figures.totals[NOW].month
        tiles = [("given per month", wording.money(now, currency), "")]
        part = figures.wasted_month / now if now else 0.0
        wasted = wording.money(figures.wasted_month, currency)
        tiles.append(("of it never used", wasted, wording.share(part)))
        if best is not None:
            saved = wording.money(best.saved, currency)
            part = best.saved / now if now else 0.0
            tiles.append(("PLA would save per month", saved, wording.share(part)))
    elif best is not None:
        tiles = [("PLA would give per month", wording.money(best.month, currency), "")]
    risky = sum(w.at_risk >= RISK_SHARE or w.kills > 0 for w in assessment.workloads)
    tiles.append(("workloads at risk", str(risky), "of " + str(len(history.workloads))))
    yield '<section class="tiles">'
    for label, value, more in tiles:
        yield f"<div><b>{escape(value)}</b> <i>{escape(more)}</i><span>{label}</span></div>"
    yield "</section>"
    if assessment.notes:
        lines = "".join(f"<li>{escape(note)}</li>" for note in assessment.notes)
        yield f'<section class="notes"><ul>{lines}</ul></section>'


def _comparison(assessment: Assessment) -> Iterator[str]:
    totals, currency = assessment.figures.totals, assessment.question.currency
    spec = assessment.outcomes.spec
    yield "<section><h2>Ways to size it, on the same days</h2>"
    yield (
        f"<p>Judged from {_day(spec.start_s)} to {_day(spec.end_s)}: PLA learnt from the time "
        "before only, and every amount was decided before the usage that it met.</p>"
    )
    rows = [(TITLES[n], t.month, 0.0, wording.money(t.month, currency)) for n, t in totals.items()]
    yield charts.bars(rows, "Money per month by policy")
    head = ["", "per month", "saved", *_too_small(assessment), "changes per day"]
    yield _table(head, [_total_row(name, one, assessment) for name, one in totals.items()])
    yield "</section>"


def _too_small(assessment: Assessment) -> list[str]:
    return [f"{name} too small" for name in assessment.history.resources]


def _total_row(name: str, total: Total, assessment: Assessment) -> list[str]:
    currency = assessment.question.currency
    changes = total.changes_per_day
    return [
        TITLES[name],
        wording.money(total.month, currency),
        wording.money(total.saved, currency) if name != NOW else "",
        *(wording.share(value) for value in total.violations.values()),
        f"{changes:.1f}" if changes == changes else "",
    ]


def _namespaces(assessment: Assessment) -> Iterator[str]:
    if not assessment.figures.comparable:
        return
    currency = assessment.question.currency
    rows = [
        (
            str(row["namespace"]),
            float(row.get(NOW, 0.0)),
            float(row["wasted"]),
            f"{wording.money(row['wasted'], currency)} of "
            f"{wording.money(row.get(NOW, 0.0), currency)}",
        )
        for row in namespaces(assessment)
    ]
    yield "<section><h2>Where it is wasted</h2><p>Per month, by namespace or host: "
    yield '<em class="key whole">given</em> <em class="key part">never used</em></p>'
    yield charts.bars(rows[:NAMESPACES], "Waste by namespace")
    if len(rows) > NAMESPACES:
        yield f"<p>and {len(rows) - NAMESPACES} more.</p>"
    yield "</section>"


def _worst(assessment: Assessment) -> Iterator[str]:
    shown = [w for w in assessment.workloads if any(c.outcomes for c in w.cells)][:WORST]
    yield f"<section><h2>The worst {len(shown)}</h2><p>"
    keys = (("used", "used"), (NOW, "given"), ("pla", "PLA"))
    yield " ".join(f'<em class="key {name}">{words}</em>' for name, words in keys)
    yield " — per instance, the busiest one's usage.</p>"
    for workload in shown:
        cells = [cell for cell in workload.cells if cell.outcomes]
        cell = max(cells, key=lambda c: c.wasted_month if c.comparable else 0.0)
        yield f"<h3>{escape(workload.uri)}</h3>{_facts(workload, assessment)}"
        yield _curve(cell, assessment)
    yield "</section>"


def _facts(workload: Workload, assessment: Assessment) -> str:
    currency = assessment.question.currency
    words = []
    if assessment.figures.comparable:
        now = wording.money(workload.month(NOW), currency)
        words.append(f"{now} per month, {wording.money(workload.wasted_month, currency)} unused")
    for name in ("pla", "vpa", "krr"):
        if name in assessment.figures.totals:
            words.append(f"{TITLES[name]} {wording.money(workload.month(name), currency)}")
    return f'<p class="facts">{escape("; ".join(words))}</p>'


def _curve(cell: Cell, assessment: Assessment) -> str:
    history, outcomes = assessment.history, assessment.outcomes
    column = history.resources.index(cell.resource)
    row = history.workloads.index(cell.workload)
    steps = len(outcomes.spec.decision_times_s)
    amounts = policies.amounts(outcomes, history)
    lines = {n: amounts[n][:, column, row] for n in (NOW, "pla") if n in amounts}
    lines["used"] = history.usage[-steps:, column, row]
    known = [values[np.isfinite(values)] for values in lines.values()]
    top = max((float(values.max()) for values in known if len(values)), default=0.0) * 1.05
    ticks = [(top * part, wording.amount(top * part, cell.resource)) for part in (0.0, 0.5, 1.0)]
    moments = [_day(outcomes.spec.start_s), _day(outcomes.spec.end_s)]
    drawn = charts.curves(lines, f"{cell.resource} of {cell.workload}", ticks, moments)
    return f"<figure><figcaption>{cell.resource}</figcaption>{drawn}</figure>"


def _risky(assessment: Assessment) -> Iterator[str]:
    cells = [c for w in assessment.workloads for c in w.cells]
    ranked = sorted(cells, key=lambda c: (-c.kills, -max(_known(c.at_risk), _known(c.held))))
    ranked = [c for c in ranked if c.kills or max(_known(c.at_risk), _known(c.held)) > 0][:WORST]
    if not ranked:
        return
    yield "<section><h2>Most at risk</h2><p>"
    yield f"At risk: time with {RISK:.0%} or more of what it is given in use. Held down: "
    yield "throttled, starved or at its limit. Whole history.</p>"
    head = ["workload", "resource", "given", "highest use", "at risk", "held down", "kills"]
    rows = [
        [
            c.workload,
            c.resource,
            wording.amount(c.request if c.request == c.request else c.limit, c.resource),
            wording.amount(c.used_max, c.resource),
            wording.share(c.at_risk),
            wording.share(c.held),
            str(c.kills),
        ]
        for c in ranked
    ]
    yield _table(head, rows) + "</section>"


def _method(assessment: Assessment) -> Iterator[str]:
    question = assessment.question
    yield "<section><h2>How this was computed</h2><p>"
    yield (
        f"Money is of requests (of limits where there is no request), not of bills: amount × "
        f"instances × price × 730 h, at {question.prices['cpu']:g} {escape(question.currency)} per "
        f"core-hour and {question.prices['memory']:g} per GiB-hour, averaged over the judged days. "
        f"Usage is the highest of each {question.step_s // 60} min, so waste is a lower bound. "
        "Too small: share of steps with more use than the amount. PLA is replayed with its live "
        f"decision code in tier {escape(question.tier)}; VPA and KRR from their published "
        "formulas, followed at once. What was used under today's limits is taken as the demand: "
        "of what is held down the true demand is higher.</p></section>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(words)}</th>" for words in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(words)}</td>" for words in row) + "</tr>" for row in rows
    )
    table = f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _day(epoch_s: int) -> str:
    """`2026-10-10 12:00 UTC`."""
    return moment(epoch_s).replace("T", " ").replace(":00Z", " UTC")


def _known(value: float) -> float:
    return value if value == value else 0.0
