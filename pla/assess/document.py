"""An assessment as plain data (JSON) and as rows (CSV)."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pla.assess.assessment import Assessment, namespace_of
from pla.assess.figures import TITLES, Cell
from pla.core.resources import BY_NAME

CELL_COLUMNS = (
    "request", "limit", "instances", "used_mean", "used_p95", "used_max", "at_risk", "held",
    "kills", "wasted_month",
)  # fmt: skip


def to_dict(assessment: Assessment) -> dict[str, Any]:
    """Everything that was found, with units in the keys' documentation of the README."""
    spec, history = assessment.outcomes.spec, assessment.history
    question = assessment.question
    return {
        "server": assessment.server,
        "packs": list(assessment.packs),
        "history": {
            "start": moment(history.start_s),
            "end": moment(history.end_s),
            "step_s": history.step_s,
        },
        "scored": {"start": moment(spec.start_s), "end": moment(spec.end_s), "tier": spec.tier},
        "prices": {"currency": question.currency, **question.prices},
        "units": {name: BY_NAME[name].unit for name in history.resources},
        "total": {
            "workloads": len(history.workloads),
            "wasted_month": assessment.figures.wasted_month
            if assessment.figures.comparable
            else None,
            "policies": {name: asdict(one) for name, one in assessment.figures.totals.items()},
        },
        "namespaces": namespaces(assessment),
        "workloads": [
            {
                "workload": workload.uri,
                "namespace": workload.namespace,
                "resources": {cell.resource: _cell(cell) for cell in workload.cells},
            }
            for workload in assessment.workloads
        ],
        "notes": list(assessment.notes),
    }


def namespaces(assessment: Assessment) -> list[dict[str, Any]]:
    """Money per namespace, the most wasteful first; of what can be compared."""
    sums: dict[str, dict[str, float]] = {}
    for workload in assessment.workloads:
        own = sums.setdefault(workload.namespace, dict.fromkeys(("workloads", "wasted"), 0.0))
        own["workloads"] += 1
        own["wasted"] += workload.wasted_month
        for cell in workload.cells:
            if cell.comparable or not assessment.figures.comparable:
                for policy, outcome in cell.outcomes.items():
                    own[policy] = own.get(policy, 0.0) + outcome.month
    ranked = sorted(sums.items(), key=lambda item: (-item[1]["wasted"], item[0]))
    return [{"namespace": name, **own} for name, own in ranked]


def write_csv(path: Path, assessment: Assessment) -> int:
    """One row per workload and resource, worst workload first; returns the rows.

    Raises:
        OSError: it cannot be written.
    """
    policies = [name for name in TITLES if name in assessment.figures.totals]
    header = ["workload", "namespace", "resource", "unit", *CELL_COLUMNS]
    for name in policies:
        header += [f"{name}_amount", f"{name}_violations", f"{name}_month"]
    rows = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for workload in assessment.workloads:
            for cell in workload.cells:
                writer.writerow(_row(cell, policies))
                rows += 1
    return rows


def moment(epoch_s: int) -> str:
    """In UTC, ISO 8601."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat().replace("+00:00", "Z")


def _cell(cell: Cell) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in CELL_COLUMNS} | {
        "policies": {name: asdict(one) for name, one in cell.outcomes.items()}
    }


def _row(cell: Cell, policies: list[str]) -> Iterator[object]:
    yield _guarded(cell.workload)
    yield _guarded(namespace_of(cell.workload))
    yield cell.resource
    yield BY_NAME[cell.resource].unit
    for name in CELL_COLUMNS:
        yield _number(getattr(cell, name))
    for name in policies:
        outcome = cell.outcomes.get(name)
        for field in ("amount", "violations", "month"):
            yield _number(getattr(outcome, field)) if outcome else ""


def _number(value: float) -> object:
    return "" if isinstance(value, float) and not math.isfinite(value) else value


def _guarded(text: str) -> str:
    """A name that a spreadsheet would take for a formula gets a quote in front."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
