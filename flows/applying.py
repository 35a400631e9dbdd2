"""Brings a Prefect server in line with `flows.deployments`, and leaves alone what people changed.

What was last written is remembered on the server, in the variable `pla_applied`, as fingerprints:
a part is written again only if its declaration has changed since.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any
from uuid import UUID

from prefect.automations import AutomationCore
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    VariableCreate,
    VariableUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema
from prefect.workers.base import BaseWorker

from flows.deployments import RETRAIN, Declared, declared, pools, zombie_automation
from flows.warm.timetable import Timetable
from pla.clock import SystemClock
from pla.settings import Settings

VARIABLE = "pla_applied"

TO_FETCH_S = 2.5
"""What a worker may need to find a run and make it ready: a poll, and some requests."""

Fingerprints = dict[str, str]


async def apply(settings: Settings) -> list[str]:
    """Bring Prefect in line with `settings`; returns a line per thing that was written.

    Raises:
        httpx.HTTPError: Prefect does not answer, or refuses.
    """
    written: list[str] = []
    async with get_client() as client:
        applied = await _remembered(client)
        wanted: Fingerprints = {}
        for name, worker in pools(settings).items():
            written += await _apply_pool(client, name, worker)
        for item in declared(settings):
            written += await _apply_deployment(client, item, applied, wanted)
        guarded = await client.read_deployment_by_name(RETRAIN)
        written += await _apply_automation(client, zombie_automation(guarded.id), applied, wanted)
        if wanted != applied:
            await _remember(client, wanted)
    return written


def fingerprint(value: Any) -> str:
    """A short hash of a value that JSON can express, sets and whatever has a text included."""
    text = json.dumps(
        value,
        sort_keys=True,
        default=lambda item: sorted(item) if isinstance(item, set) else str(item),
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# -- work pools ----------------------------------------------------------------------------


async def _apply_pool(
    client: PrefectClient, name: str, worker: type[BaseWorker[Any, Any, Any]]
) -> list[str]:
    try:
        await client.read_work_pool(name)
    except ObjectNotFound:
        template = worker.get_default_base_job_template()
        pool = WorkPoolCreate(name=name, type=worker.type, base_job_template=template)
        try:
            await client.create_work_pool(pool)
        except ObjectAlreadyExists:
            return []  # another worker started at the same time
        return [f"work pool {name} ({worker.type})"]
    return []


# -- deployments ---------------------------------------------------------------------------


async def _apply_deployment(
    client: PrefectClient, item: Declared, applied: Fingerprints, wanted: Fingerprints
) -> list[str]:
    definition = _definition(item)
    schedule = None if item.schedule is None else item.schedule.model_dump(mode="json")
    whole, timing = item.full_name, f"{item.full_name} schedule"
    parts = {whole: fingerprint(definition), timing: fingerprint(schedule)}
    wanted |= parts
    try:
        found = await client.read_deployment_by_name(item.full_name)
    except ObjectNotFound:
        await _create(client, item, definition)
        return [f"deployment {item.full_name}"]
    # Unknown is not changed: it may be what people set, on a server that forgot the variable.
    changed = [name for name, value in parts.items() if applied.get(name, value) != value]
    if whole in changed:
        await client.update_deployment(found.id, DeploymentUpdate(**definition))
    if timing in changed:
        await _reschedule(client, item, found)
    return [f"deployment {name}" for name in changed]


def _definition(item: Declared) -> dict[str, Any]:
    """Everything of a deployment but its schedule and whether it is paused."""
    return {
        "description": item.description,
        "entrypoint": item.entrypoint,
        "work_pool_name": item.pool,
        "parameter_openapi_schema": parameter_schema(item.flow).model_dump(exclude_unset=True),
        "enforce_parameter_schema": True,
        "pull_steps": [],
    }


async def _create(client: PrefectClient, item: Declared, definition: dict[str, Any]) -> None:
    schedules = []
    if item.schedule is not None:
        schedules = [DeploymentScheduleCreate(schedule=item.schedule, active=True)]
    flow_id = await client.create_flow_from_name(item.flow.name)
    await _keep_clear_of_next(item)
    deployment_id = await client.create_deployment(
        flow_id=flow_id, name=item.name, schedules=schedules, **definition
    )
    if schedules:
        await _schedule_now(client, deployment_id)


async def _reschedule(client: PrefectClient, item: Declared, found: DeploymentResponse) -> None:
    """Put the schedule of pla.yaml in force; one that is paused now stays paused."""
    active = any(schedule.active for schedule in found.schedules) or not found.schedules
    await _keep_clear_of_next(item)
    for schedule in found.schedules:
        await client.delete_deployment_schedule(found.id, schedule.id)
    if item.schedule is not None:
        wanted = DeploymentScheduleCreate(schedule=item.schedule, active=active)
        await client.create_deployment_schedules(found.id, [wanted])
        await _schedule_now(client, found.id)


async def _keep_clear_of_next(item: Declared) -> None:
    """Let a time pass that comes too soon: a run made just before it is due starts late."""
    if item.schedule is None or item.schedule.interval.total_seconds() <= TO_FETCH_S:
        return
    timetable = Timetable.every(item.schedule.interval.total_seconds())
    now_s = SystemClock().now_s()
    due_s = await timetable.next_after(now_s)
    if due_s is not None and due_s - now_s < TO_FETCH_S:
        await asyncio.sleep(due_s - now_s)


async def _schedule_now(client: PrefectClient, deployment_id: UUID) -> None:
    """Have the next runs made at once; Prefect's scheduler would come by seconds later."""
    await client.request(
        "POST",
        "/deployments/{id}/schedule",
        path_params={"id": str(deployment_id)},
        json={"min_runs": 3},
    )


# -- the automation ------------------------------------------------------------------------


async def _apply_automation(
    client: PrefectClient, item: AutomationCore, applied: Fingerprints, wanted: Fingerprints
) -> list[str]:
    wanted[item.name] = fingerprint(item.model_dump())
    found = await client.read_automations_by_name(item.name)
    if found and applied.get(item.name) == wanted[item.name]:
        return []
    if found:
        await client.update_automation(
            found[0].id, item.model_copy(update={"enabled": found[0].enabled})
        )
    else:
        await client.create_automation(item)
    return [f"automation {item.name!r}"]


# -- what was written last -----------------------------------------------------------------


async def _remembered(client: PrefectClient) -> Fingerprints:
    variable = await client.read_variable_by_name(VARIABLE)
    if variable is None or not isinstance(variable.value, str):
        return {}
    remembered: Fingerprints = json.loads(variable.value)
    return remembered


async def _remember(client: PrefectClient, fingerprints: Fingerprints) -> None:
    value = json.dumps(fingerprints)
    if await client.read_variable_by_name(VARIABLE) is None:
        await client.create_variable(VariableCreate(name=VARIABLE, value=value))
    else:
        await client.update_variable(VariableUpdate(name=VARIABLE, value=value))
