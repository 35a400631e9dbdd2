"""`pla assess`: read a metrics server, and say what its fleet is given, uses, wastes and risks.

XGBoost and its imports take seconds: they are loaded once a server has answered to a valid call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from pla.cli.backtest import duration_s, moment_s
from pla.cli.console import JsonOption, err, fail, out, print_json
from pla.clock import SystemClock
from pla.ports import SourceError
from pla.sources.prometheus import PrometheusOptions

if TYPE_CHECKING:
    from pla.assess.assessment import Assessment
    from pla.assess.question import Question

DAY_S = 86_400
TOP = 20
TIMEOUT_S = 300.0
"""A day of hundreds of workloads takes a server longer than a live tick would wait."""

OPTIONS = {
    "sources.url": "--prometheus",
    "sources.bearer_token_file": "--bearer-token-file",
    "sources.username": "--username",
    "sources.ca_file": "--ca-file",
    "sources.match": "--match",
}
"""A source's errors name keys of pla.yaml, which this command does without."""


def assess(
    prometheus: Annotated[str, typer.Option(help="Base URL of the server, http://HOST:9090.")],
    platform: Annotated[
        str | None, typer.Option(help="k8s, libvirt or sim; without it, all there are.")
    ] = None,
    days: Annotated[float, typer.Option(help="How much history to read.")] = 14.0,
    price_cpu: Annotated[float, typer.Option(min=0, help="Money per core-hour.")] = 0.03,
    price_memory: Annotated[float, typer.Option(min=0, help="Money per GiB-hour.")] = 0.004,
    currency: Annotated[str, typer.Option(help="The word for money.")] = "USD",
    step: Annotated[str, typer.Option(help="Width of a step; divides an hour.")] = "5m",
    until: Annotated[str | None, typer.Option(help="End of the history (UTC); now.")] = None,
    cluster: Annotated[str, typer.Option(help="Name of the cluster in URIs.")] = "cluster",
    match: Annotated[
        str, typer.Option(help='Label matchers for every series, e.g. cluster="prod".')
    ] = "",
    bearer_token_file: Annotated[Path | None, typer.Option()] = None,
    username: Annotated[str | None, typer.Option(help="Basic authentication.")] = None,
    password_file: Annotated[Path | None, typer.Option()] = None,
    tenant: Annotated[str | None, typer.Option(help="X-Scope-OrgID, for Mimir.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Authority to trust (PEM).")] = None,
    as_json: JsonOption = False,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write every workload and resource.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write one page with pictures.")
    ] = None,
) -> None:
    """Assess a fleet from its metrics alone: waste, risk and money. Reads only, needs no config."""
    options = PrometheusOptions(
        url=prometheus,
        labels={"cluster": cluster},
        match=match,
        headers={"X-Scope-OrgID": tenant} if tenant else {},
        bearer_token_file=bearer_token_file,
        username=username,
        password_file=password_file,
        ca_file=ca_file,
        timeout_s=TIMEOUT_S,
    )
    try:
        question = _question(platform, days, step, until, (price_cpu, price_memory), currency)
        for option, path in (("--csv", csv_file), ("--html", html_file)):
            _check_folder_of(option, path)
    except ValueError as error:
        raise typer.Exit(fail(error, 2)) from None
    assessment = _assess(options, question)
    _write(assessment, csv_file, html_file)
    for note in assessment.notes:
        err.print(f"[yellow]note:[/] {note}", highlight=False, soft_wrap=True)
    if as_json:
        from pla.assess.document import to_dict

        print_json(to_dict(assessment))
        return
    out.print(_workloads_table(assessment))
    out.print(_totals_table(assessment))


def _question(
    platform: str | None,
    days: float,
    step: str,
    until: str | None,
    prices: tuple[float, float],
    currency: str,
) -> Question:
    """Raises ValueError for an option that cannot be; names it."""
    from pla.assess.question import SCHEMES, Question

    if platform is not None and platform not in SCHEMES:
        raise ValueError(f"--platform {platform!r}: there are {', '.join(SCHEMES)}")
    step_s = duration_s(step, "--step")
    if not 60 <= step_s <= 3600 or 3600 % step_s:
        raise ValueError(f"--step {step}: it must divide an hour, and be a minute at least")
    if not 1 <= days <= 400:
        raise ValueError(f"--days {days:g}: 1 to 400 are possible")
    now_s = SystemClock().now_s() if until is None else moment_s(until, "--until")
    end_s = int(now_s // step_s) * step_s
    return Question(
        start_s=end_s - round(days * DAY_S / step_s) * step_s,
        end_s=end_s,
        step_s=step_s,
        platform=platform,
        prices={"cpu": prices[0], "memory": prices[1]},
        currency=currency,
    )


def _check_folder_of(option: str, path: Path | None) -> None:
    """Before minutes of work: raises ValueError if `path` could not be written."""
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{option} {path}: is a directory; name a file in it")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"{option} {path}: its directory does not exist; create it")


def _assess(options: PrometheusOptions, question: Question) -> Assessment:
    from pla.assess.assessment import assess as run

    try:
        with _progress() as progress:
            return run(options, question, SystemClock(), progress)
    except SourceError as error:
        raise SourceError(_in_options(str(error))) from None


def _in_options(words: str) -> str:
    """A source's error in the words of this command's options."""
    for key, option in OPTIONS.items():
        words = words.replace(key, option)
    words = re.sub(r"\bpassword_file\b", "--password-file", words)
    return re.sub(r"(?<!-)\bbearer_token_file\b", "--bearer-token-file", words)


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error that shows what is being done."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        tasks: dict[str, object] = {}

        def show(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=1.0)
            bar.update(tasks[what], completed=share)  # type: ignore[arg-type]

        yield show


def _write(assessment: Assessment, csv_file: Path | None, html_file: Path | None) -> None:
    from pla.assess import document, page

    try:
        if csv_file is not None:
            rows = document.write_csv(csv_file, assessment)
            err.print(f"{csv_file}: {rows} rows", highlight=False)
        if html_file is not None:
            html_file.write_text(page.html(assessment), encoding="utf-8")
            err.print(f"{html_file}: open it in a browser", highlight=False)
    except OSError as error:
        raise typer.Exit(fail(f"{error}; choose another path", 1)) from None


def _workloads_table(assessment: Assessment) -> Table:
    """The worst first; amounts are of one instance."""
    from pla.assess import wording
    from pla.assess.figures import NOW, TITLES

    totals, currency = assessment.figures.totals, assessment.question.currency
    table = Table(
        "workload",
        "",
        *(f"{words}\n{more}" for words, more in (("request", "limit"), ("used p95", "max"))),
        "PLA",
        *(f"{TITLES[name]}\n/month" for name in totals),
        "wasted\n/month",
        "at risk\nheld",
        "kills",
        title=f"The worst {min(TOP, len(assessment.workloads))} of "
        f"{len(assessment.workloads)} workloads; money in {currency}",
    )
    for workload in assessment.workloads[:TOP]:
        for index, cell in enumerate(workload.cells):
            name, pla = cell.resource, cell.outcomes.get("pla")
            table.add_row(
                "" if index else workload.uri,
                name,
                f"{wording.amount(cell.request, name)}\n{wording.amount(cell.limit, name)}",
                f"{wording.amount(cell.used_p95, name)}\n{wording.amount(cell.used_max, name)}",
                wording.amount(pla.amount, name) if pla else wording.DASH,
                *(
                    f"{cell.outcomes[p].month:,.2f}" if p in cell.outcomes else wording.DASH
                    for p in totals
                ),
                f"{cell.wasted_month:,.2f}" if cell.comparable else wording.DASH,
                f"{wording.share(cell.at_risk)}\n{wording.share(cell.held)}",
                str(cell.kills or ""),
                end_section=cell is workload.cells[-1] and NOW in totals,
            )
    return table


def _totals_table(assessment: Assessment) -> Table:
    """Policies side by side on the part that none of them has seen."""
    from pla.assess import wording
    from pla.assess.document import moment
    from pla.assess.figures import NOW, TITLES

    spec, currency = assessment.outcomes.spec, assessment.question.currency
    resources = assessment.history.resources
    table = Table(
        "",
        *(f"{name}/month" for name in (*resources, "all")),
        "saved/month",
        *(f"{name} violations" for name in resources),
        "resizes/day",
        title=f"In total, judged from {moment(spec.start_s)} to {moment(spec.end_s)}",
    )
    for name, total in assessment.figures.totals.items():
        table.add_row(
            TITLES[name],
            *(wording.money(total.by_resource[r], currency) for r in resources),
            wording.money(total.month, currency),
            wording.money(total.saved, currency) if name != NOW else "",
            *(wording.share(total.violations[r]) for r in resources),
            f"{total.changes_per_day:.1f}" if name != NOW else "",
        )
    if assessment.figures.comparable:
        wasted = wording.money(assessment.figures.wasted_month, currency)
        table.caption = f"{wasted} per month are given and never used"
    return table
