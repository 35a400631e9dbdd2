"""Late runs: of those that a schedule made, only the newest that is due is worth making."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.states import Cancelled

MESSAGE = "superseded: it was late, and a newer scheduled run was already due"


def superseded_by(run: FlowRun, others: Sequence[FlowRun], now: datetime) -> bool:
    """Whether one of `others` is due, newer than `run`, and of the same schedule.

    Only what a schedule made is ever superseded: a run that a person or an event asked for is not.
    """
    due = run.expected_start_time
    if not run.auto_scheduled or due is None:
        return False
    return any(
        other.auto_scheduled
        and other.deployment_id == run.deployment_id
        and other.expected_start_time is not None
        and due < other.expected_start_time <= now
        for other in others
    )


def split(runs: Sequence[FlowRun], now: datetime) -> tuple[list[UUID], list[UUID]]:
    """Ids of the runs worth making, and of those that others of `runs` supersede."""
    late: set[UUID] = {run.id for run in runs if superseded_by(run, runs, now)}
    return [run.id for run in runs if run.id not in late], list(late)


async def drop(
    client: PrefectClient, fetched: list[WorkerFlowRunResponse], now: datetime
) -> list[WorkerFlowRunResponse]:
    """What is left of `fetched` once superseded runs are cancelled, in Prefect too."""
    kept, late = split([item.flow_run for item in fetched], now)
    for run_id in late:
        await client.set_flow_run_state(run_id, Cancelled(message=MESSAGE))
    return [item for item in fetched if item.flow_run.id in kept]
