"""`pla backtest`: a recorded trace replayed through the tick, beside every peer's policy.

XGBoost and its imports take seconds: only a run that trains loads them, never `--help`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from pla.backtest import report as reporting
from pla.backtest import run as replays
from pla.backtest.evaluation import Result, evaluate
from pla.backtest.run import PREDICTIVE
from pla.backtest.spec import Replayed, Spec
from pla.cli.console import ConfigOption, JsonOption, err, fail, out, print_json
from pla.core.fleet import tier_index
from pla.core.scoring import RATES
from pla.settings import Settings, load
from pla.sources import trace as traces

STRATA_RATE = 0.01
"""Violation rate at which the table of strata is."""


def backtest(
    trace: Annotated[list[Path], typer.Argument(help="Usage traces (Parquet).")],
    train_until: Annotated[str, typer.Option(help="Train on samples before this (UTC).")],
    start: Annotated[str, typer.Option(help="First decision (UTC).")],
    end: Annotated[str, typer.Option(help="No decision from here on (UTC).")],
    resource: Annotated[str, typer.Option(help="Comma-separated.")] = "cpu,memory",
    tick: Annotated[str, typer.Option(help="Time between decisions.")] = "5m",
    lead: Annotated[str, typer.Option(help="From a decision to its effect.")] = "0s",
    hold: Annotated[str, typer.Option(help="What an amount must cover.")] = "5m",
    policy: Annotated[str, typer.Option(help="predictive, NAME,NAME or all.")] = "predictive",
    tier: Annotated[
        str, typer.Option(help="Tier of every workload; several, comma-separated, side by side.")
    ] = "standard",
    workloads: Annotated[
        Path | None, typer.Option(help="File that names the workloads to use, one a line.")
    ] = None,
    allocations: Annotated[
        Path | None, typer.Option(help="Write the amounts in force (Parquet).")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay traces, and print what each policy would have cost and violated."""
    settings = load(config)
    try:
        spec = Spec(
            resources=tuple(name.strip() for name in resource.split(",")),
            train_until_s=moment_s(train_until, "--train-until"),
            start_s=moment_s(start, "--start"),
            end_s=moment_s(end, "--end"),
            tick_s=duration_s(tick, "--tick"),
            lead_s=duration_s(lead, "--lead"),
            hold_s=duration_s(hold, "--hold"),
            tier=tier.split(",")[0].strip(),
        )
        specs = [replace(spec, tier=name.strip()) for name in tier.split(",")]
        promises = [_promise(one, settings) for one in specs]
        policies = list(replays.policies_of(policy))
        chosen = workloads.read_text(encoding="utf-8").split() if workloads else None
        _check_folder_of(allocations)
        loaded = traces.load(trace, spec.resources, spec.tick_s, chosen)
    except (ValueError, OSError) as error:
        raise typer.Exit(fail(error, 2)) from None
    if loaded.duplicates:
        err.print(f"{loaded.duplicates} samples stand twice in the trace: the larger counts")
    try:
        replayed = _replay(loaded, specs, policies, settings)
    except ValueError as error:
        raise typer.Exit(fail(error, 2)) from None
    usage = replays.actual(loaded, spec)
    promise = dict(zip((_predictive(one, specs) for one in specs), promises, strict=True))
    results = [
        result
        for one in replayed
        for result in evaluate(one, usage, spec, promise.get(one.policy, promises[0]))
    ]
    if allocations is not None:
        try:
            rows = reporting.write_allocations(allocations, replayed, spec, loaded)
        except OSError as error:
            raise typer.Exit(fail(f"--allocations {allocations}: {error}", 1)) from None
        err.print(f"{allocations}: {rows} rows")
    if as_json:
        print_json({"results": [r.to_dict() for r in results], "ratios": _ratios(results)})
        return
    for name in spec.resources:
        out.print(_table(results, name))
        out.print(_strata_table(results, name))
    _print_forecast(results)


def _check_folder_of(allocations: Path | None) -> None:
    """Before the replay, which takes long: raises ValueError if it could not be written."""
    if allocations is None:
        return
    if allocations.is_dir():
        raise ValueError(f"--allocations {allocations}: is a directory; name a file in it")
    if not allocations.absolute().parent.is_dir():
        raise ValueError(f"--allocations {allocations}: its directory does not exist; create it")


def _promise(spec: Spec, settings: Settings) -> float:
    tiers = settings.core_tiers()
    return 1 - tiers[tier_index(tiers, spec.tier)].quantile


def _predictive(spec: Spec, specs: list[Spec]) -> str:
    """The row's name: with its tier where there are several."""
    return PREDICTIVE if len(specs) == 1 else f"{PREDICTIVE}:{spec.tier}"


def _replay(
    trace: traces.Trace, specs: list[Spec], policies: list[str], settings: Settings
) -> list[Replayed]:
    replayed = []
    with Progress(console=err, transient=True) as bar:
        for name in policies:
            task = bar.add_task(name, total=1.0)

            def advance(policy: str, share: float, task: int = task) -> None:
                bar.update(task, completed=share)  # type: ignore[arg-type]

            if name != PREDICTIVE:
                replayed.append(replays.replay_baseline(name, trace, specs[0], advance))
                continue
            from pla.training.on_trace import trained_on

            bar.update(task, description=f"{PREDICTIVE}: training")
            forecaster = trained_on(trace, specs[0], settings)
            for spec in specs:
                row = _predictive(spec, specs)
                bar.update(task, description=row)
                replayed.append(
                    replays.replay_predictive(trace, spec, forecaster, settings, advance, row)
                )
    return replayed


def moment_s(text: str, option: str) -> int:
    """A date or date and time as epoch seconds; without a zone it is UTC.

    Raises:
        ValueError: it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{option} {text!r}: write 2013-08-11 or 2013-08-11T12:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


def duration_s(text: str, option: str) -> int:
    """`5m`, `30s`, `1h` or `0s` as seconds.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"(\d+)(s|m|h|d)", text)
    if match is None:
        raise ValueError(f"{option} {text!r}: write 30s, 5m, 1h or 0s")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]


def _table(results: list[Result], resource: str) -> Table:
    table = Table(
        "policy",
        *(f"{rate:.1%}" for rate in RATES),
        "violations",
        "excess",
        "attained",
        "severity",
        "slack",
        "resizes/d",
        "ahead",
        title=f"{resource}: excess at SLO attainment (95 % of workloads), margins tuned; then "
        "as shipped, against the tier's promise",
    )
    for result in (r for r in results if r.resource == resource):
        score = result.score
        table.add_row(
            result.policy,
            *(_number(result.excess(rate)) for rate in RATES),
            f"{score.violation_rate:.2%}",
            _number(score.excess),
            f"{score.attainment:.1%}",
            f"{score.severity:.2%}",
            _number(score.relative_slack),
            f"{score.churn_p50:.0f}",
            f"{score.proactive:.1%}",
        )
    return table


def _strata_table(results: list[Result], resource: str) -> Table:
    rows = [result for result in results if result.resource == resource]
    kinds = list(rows[0].strata)
    table = Table(
        "policy",
        *(f"{kind} ({len(rows[0].strata[kind].rows)})" for kind in kinds),
        title=f"{resource}: excess at SLO attainment of {STRATA_RATE:.0%}, each kind of workload "
        "with a margin of its own",
    )
    for result in rows:
        excesses = (result.excess(STRATA_RATE, stratum=kind) for kind in kinds)
        table.add_row(result.policy, *(_number(excess) for excess in excesses))
    return table


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1e6 else "-"


def _ratios(results: list[Result]) -> list[dict[str, object]]:
    """PLA's excess relative to the best tuned baseline's, per resource and rate."""
    found: list[dict[str, object]] = []
    for ours in (r for r in results if r.policy.startswith(PREDICTIVE)):
        for rate in RATES:
            rival = reporting.best_baseline(results, ours.resource, rate)
            if rival is not None:
                ratio, low, high = reporting.interval(ours, rival, rate)
                found.append(
                    {
                        "policy": ours.policy,
                        "resource": ours.resource,
                        "rate": rate,
                        "best_baseline": rival.policy,
                        "ratio": ratio,
                        "low": low,
                        "high": high,
                    }
                )
    return found


def _print_forecast(results: list[Result]) -> None:
    for row in _ratios(results):
        out.print(
            f"{row['resource']} at {row['rate']:.1%}: {row['policy']} needs {row['ratio']:.2f} "
            f"[{row['low']:.2f}, {row['high']:.2f}] of the excess of the best tuned baseline, "
            f"{row['best_baseline']}",
            highlight=False,
        )
    for result in {r.resource: r for r in results if r.coverage}.values():
        parts = ", ".join(f"{q:g}: {c:.4f}" for q, c in result.coverage.items())
        out.print(
            f"{result.resource} forecast coverage {parts}; weighted quantile loss "
            f"{result.quantile_loss:.3f}, MASE of the median {result.mase:.2f}",
            highlight=False,
        )
