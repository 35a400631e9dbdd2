"""What a tick did, in the words that people read in Prefect's UI."""

from __future__ import annotations

from datetime import UTC, datetime

from pla.core.plan import DONE, describe
from pla.tick import TickReport

MOST_ROWS = 25


def run_name(report: TickReport) -> str:
    """The flow run's name: the end of the newest usage step that the tick knew."""
    return f"cutoff {datetime.fromtimestamp(report.cutoff_s, UTC):%Y-%m-%d %H:%M:%S}"


def words(report: TickReport) -> str:
    """One line: what was planned, applied and held back, and by which model."""
    held_back = len(report.plan.skipped_instance)
    parts = [
        f"{len(report.plan)} planned",
        f"{report.applied} applied",
        f"{held_back} held back",
        f"model {report.model_version}",
    ]
    if not report.leader:
        parts.append("standby: another worker leads")
    if report.paused:
        parts.append("actuation is paused")
    if report.errors:
        parts.append(f"{len(report.errors)} errors")
    return ", ".join(parts)


def table(report: TickReport) -> str:
    """The changes as a Markdown table, at most `MOST_ROWS` of them."""
    lines = [
        "| instance | resource | from | to | outcome | why |",
        "|---|---|---:|---:|---|---|",
    ]
    for outcome in report.outcomes[:MOST_ROWS]:
        action = outcome.action
        status = outcome.status.value
        if outcome.status not in DONE:
            status = f"**{status}** {outcome.message}"
        lines.append(
            f"| {action.instance} | {action.resource} | {action.current:.6g} "
            f"| {action.target:.6g} | {status} | {describe(action.reason)} |"
        )
    more = len(report.outcomes) - MOST_ROWS
    if more > 0:
        lines.append(f"\n… and {more} more; `pla decisions` lists them all.")
    return "\n".join(lines)
