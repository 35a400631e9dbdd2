"""The flow `predict-and-actuate`: one tick, its seven steps as tasks."""

from __future__ import annotations

import logging
from typing import Any

import httpx
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.states import Cancelled, Completed

from flows import summary
from flows.steps import as_task
from flows.warm import host
from pla.tick import TickReport

log = logging.getLogger(__name__)


@flow(name="predict-and-actuate", persist_result=False)
def predict_and_actuate(reason: str = "schedule") -> State[Any]:
    """Forecast every workload's demand and resize what needs it.

    Args:
        reason: why this run was asked for; shown with the run.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    with host.current() as warm:
        report = warm.tick(as_task, _due_s(run))
    if report is None:
        return Cancelled(message="superseded: a tick was made after this run was due")
    for line in report.errors:
        get_run_logger().warning(line)
    if run is not None and context is not None:
        _tell(report, run, context.client)
    return Completed(message=summary.words(report))


def _due_s(run: FlowRun | None) -> float | None:
    """When a scheduled run was due [epoch s]; None for a run that somebody asked for."""
    if run is None or not run.auto_scheduled or run.expected_start_time is None:
        return None
    return run.expected_start_time.timestamp()


def _tell(report: TickReport, run: FlowRun, client: Any) -> None:
    """Name the run by its cutoff; keep a table of the changes where there were any."""
    assert isinstance(client, SyncPrefectClient)
    try:
        client.set_flow_run_name(run.id, summary.run_name(report))
        if report.outcomes:
            create_markdown_artifact(
                key="changes", markdown=summary.table(report), description=summary.words(report)
            )
    except httpx.HTTPError as error:
        # The tick is done: that it cannot be told of now must not make it a failed one.
        log.warning("the run's name and table of changes could not be written: %s", error)
