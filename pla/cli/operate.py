"""Commands that run PLA: up, train, tick, plan, decisions, restore."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from pla.cli.console import (
    ConfigOption,
    JsonOption,
    amount,
    err,
    load_settings,
    out,
    print_json,
)
from pla.clock import SystemClock
from pla.core.plan import DONE, Outcome, OutcomeStatus, Skip, describe
from pla.platforms import connect_actuators
from pla.runtime import Runtime
from pla.store import SqlStore
from pla.tick import TickReport


def up(
    config: ConfigOption = None,
    ticks: Annotated[
        int | None, typer.Option(min=1, help="End, with exit 0, after this many ticks.")
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the Prefect UI in a browser.")
    ] = True,
) -> None:
    """Run everything on this machine: Prefect, MLflow, the worker (and the simulated cluster)."""
    # By name, at the edge: nothing in `pla` imports a flow.
    supervisor = importlib.import_module("flows.up")
    raise typer.Exit(supervisor.up(load_settings(config), ticks, browser, config))


def train(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Retrain once: history, challenger, backtest, MLflow, gate."""
    retrain = importlib.import_module("pla.training.retrain")
    report = retrain.run(load_settings(config), reason="pla train", progress=err.print)
    if as_json:
        print_json(report.to_dict())
    else:
        out.print(report.words(), highlight=False)


def tick(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Run one tick now, and print what it changed."""
    runtime = Runtime.open(load_settings(config))
    try:
        report = runtime.tick()
    finally:
        runtime.close()
    _print(report, as_json)
    if report.paused or not report.leader:
        why = "actuation is paused" if report.paused else "this process does not lead"
        err.print(f"[yellow]nothing was changed: {why}[/]", highlight=False)
    failed = any(o.status is OutcomeStatus.FAILED for o in report.outcomes)
    raise typer.Exit(1 if failed or report.errors else 0)


def plan(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print what the next tick would change and why; changes nothing."""
    runtime = Runtime.open(load_settings(config))
    try:
        report = runtime.dry_run()
    finally:
        runtime.close()
    _print(report, as_json)


def decisions(
    workload: Annotated[str | None, typer.Argument(help="Only of this workload.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the newest decisions on record, and what became of them."""
    settings = load_settings(config)
    with SqlStore(settings.store_url, SystemClock()) as store:
        rows = store.decisions(workload, limit)
    if as_json:
        print_json([{name: getattr(row, name) for name in row.__slots__} for row in rows])
        return
    table = Table("when", "instance", "resource", "from", "to", "outcome", "why")
    for row in rows:
        when = datetime.fromtimestamp(row.at_s, UTC).strftime("%m-%d %H:%M:%S")
        table.add_row(
            when,
            row.instance,
            row.resource,
            amount(row.current, row.resource),
            amount(row.target, row.resource),
            row.status,
            row.reason,
        )
    out.print(table)


def restore(
    workload: Annotated[list[str] | None, typer.Argument(help="Workload URIs.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every workload.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put original sizes back; needs only the platform, nothing else of PLA.

    A worker that runs would resize them again: stop it first.
    """
    if bool(workload) == everything:
        raise typer.BadParameter("name workloads, or --all")
    outcomes = [
        outcome
        for actuator in connect_actuators(load_settings(config))
        for outcome in actuator.restore(None if everything else workload)
    ]
    if as_json:
        print_json([_restored(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            action = outcome.action
            out.print(
                f"{action.instance} {action.resource}: {amount(action.current, action.resource)} "
                f"-> {amount(action.target, action.resource)} {outcome.status.value} "
                f"{outcome.message}",
                highlight=False,
            )
    raise typer.Exit(0 if all(outcome.status in DONE for outcome in outcomes) else 1)


def _restored(outcome: Outcome) -> dict[str, object]:
    action = outcome.action
    return {
        "instance": action.instance,
        "workload": action.workload,
        "resource": action.resource,
        "current": action.current,
        "target": action.target,
        "status": outcome.status.value,
        "message": outcome.message,
    }


# -- printing ------------------------------------------------------------------------------


def _print(report: TickReport, as_json: bool) -> None:
    if as_json:
        print_json(_as_dict(report))
        return
    for line in report.errors:
        err.print(f"[yellow]{escape(line)}[/]", highlight=False, soft_wrap=True)
    out.print(changes_table(report))
    out.print(skips_line(report), highlight=False)


def changes_table(report: TickReport) -> Table:
    """The plan's changes, largest first, with their reasons in words."""
    when = datetime.fromtimestamp(report.cutoff_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    table = Table(
        "workload",
        "resource",
        "now",
        "target",
        "why",
        title=f"Plan at {when} UTC, model {report.model_version}",
    )
    for row in _rows(report):
        table.add_row(
            str(row["workload"]),
            str(row["resource"]),
            amount(float(row["current"]), str(row["resource"])),  # type: ignore[arg-type]
            amount(float(row["target"]), str(row["resource"])),  # type: ignore[arg-type]
            str(row["why"]),
        )
    return table


def _rows(report: TickReport) -> list[dict[str, object]]:
    fleet, changes = report.fleet, report.plan
    relative = np.abs(np.log((changes.target + 1e-12) / (changes.current + 1e-12)))
    rows = []
    for index in np.argsort(-relative, kind="stable").tolist():
        instance = int(changes.instance[index])
        rows.append(
            {
                "instance": fleet.instances.ids[instance],
                "workload": fleet.workloads.ids[int(fleet.instances.workload[instance])],
                "resource": fleet.resources[int(changes.resource[index])],
                "current": float(changes.current[index]),
                "target": float(changes.target[index]),
                "why": describe(int(changes.reason[index])),
            }
        )
    return rows


def skips_line(report: TickReport) -> str:
    """How many wanted changes wait, and why."""
    counts: dict[Skip, int] = {}
    for _, _, _, why in report.plan.skips():
        counts[why] = counts.get(why, 0) + 1
    if not counts:
        return f"{len(report.plan)} changes; nothing is held back."
    parts = ", ".join(f"{count} {why.value}" for why, count in counts.items())
    return f"{len(report.plan)} changes; held back: {parts}."


def _as_dict(report: TickReport) -> dict[str, object]:
    fleet = report.fleet
    return {
        "at_s": report.at_s,
        "cutoff_s": report.cutoff_s,
        "model_version": report.model_version,
        "leader": report.leader,
        "paused": report.paused,
        "changes": _rows(report),
        "skipped": [
            {
                "instance": fleet.instances.ids[instance],
                "resource": fleet.resources[resource],
                "target": target,
                "why": why.value,
            }
            for instance, resource, target, why in report.plan.skips()
        ],
        "outcomes": [
            {
                "instance": o.action.instance,
                "resource": o.action.resource,
                "status": o.status.value,
                "amount": o.amount,
                "message": o.message,
            }
            for o in report.outcomes
        ],
        "errors": report.errors,
    }
