"""`WarmWorker`: a Prefect worker that runs scheduled flow runs in its own process.

Scheduling, history and UI stay Prefect's; model, window and connections stay in memory. One run
at a time; of runs that are late because an earlier one took long, only the newest is made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import anyio.abc
import httpx
from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import Abort, Pause
from prefect.flow_engine import run_flow
from prefect.states import Cancelled
from prefect.workers.base import (
    BaseJobConfiguration,
    BaseVariables,
    BaseWorker,
    BaseWorkerResult,
)

from flows.warm import superseded
from flows.warm.threads import in_thread
from pla.ports import Clock

log = logging.getLogger(__name__)

WORKER_TYPE = "pla-warm"
PREFETCH_S = 10.0
CHECK_AHEAD_S = 0.3
"""A run is checked against pauses this long before it is due."""

PAUSED = "not started: its schedule was paused after the worker had fetched it"


class UnknownFlow(Exception):
    """A run of a flow that no warm worker holds. Names the flow and what to do."""


class Running:
    """The flow runs that this process executes now, whichever worker object started them."""

    def __init__(self) -> None:
        self._tasks: dict[UUID, asyncio.Task[State[Any] | None]] = {}

    def ids(self) -> set[UUID]:
        """Their ids."""
        return set(self._tasks)

    async def execute(self, flow: Flow[..., Any], flow_run: FlowRun) -> State[Any] | None:
        """Run `flow` for `flow_run` in a thread; None if Prefect refused to start it.

        A caller that is cancelled leaves the run to finish.
        """
        task = asyncio.ensure_future(in_thread(lambda: _run(flow, flow_run), flow_run.name))
        self._tasks[flow_run.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(flow_run.id, None))
        return await asyncio.shield(task)

    async def finish(self, seconds: float) -> None:
        """Wait for all of them, at most `seconds`."""
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=seconds)


def _run(flow: Flow[..., Any], flow_run: FlowRun) -> State[Any] | None:
    try:
        state = run_flow(
            flow, flow_run=flow_run, parameters=flow_run.parameters, return_type="state"
        )
    except (Abort, Pause) as refusal:
        log.info("run %s was not started: %s", flow_run.name, refusal)
        return None
    assert isinstance(state, State)
    return state


class WarmWorkerResult(BaseWorkerResult):
    """How a run in this process ended; its state is Prefect's business already."""


class WarmWorker(BaseWorker[BaseJobConfiguration, BaseVariables, WarmWorkerResult]):
    """Runs the flows it was given, in this process, one run at a time."""

    type = WORKER_TYPE
    job_configuration = BaseJobConfiguration
    job_configuration_variables = BaseVariables
    _display_name = "PLA warm worker"
    _description = "Runs PLA's flows in a process that keeps model and connections in memory."

    def __init__(
        self,
        work_pool_name: str,
        flows: Mapping[str, Flow[..., Any]],
        running: Running,
        clock: Clock,
        name: str | None = None,
    ) -> None:
        super().__init__(work_pool_name, name=name, prefetch_seconds=PREFETCH_S)
        self._flows = flows
        self._running = running
        self._clock = clock
        self._turn = asyncio.Lock()
        self._waiting: dict[UUID, FlowRun] = {}
        self._flow_names: dict[UUID, str] = {}

    def held(self) -> set[UUID]:
        """Ids of the runs that this worker has fetched and not finished."""
        return self._submitting_flow_run_ids | set(self._waiting) | self._running.ids()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> WarmWorkerResult:
        """Wait until `flow_run` is due and it is its turn; then run it, unless it is obsolete."""
        flow = await self._flow_of(flow_run)
        if task_status is not None:
            # No process of its own that could be killed to cancel the run.
            task_status.started(0)
        self._waiting[flow_run.id] = flow_run
        try:
            await self._until(flow_run, CHECK_AHEAD_S)
            why = await self._paused(flow_run)
            await self._until(flow_run, 0.0)
            async with self._turn:
                if superseded.superseded_by(flow_run, list(self._waiting.values()), self._now()):
                    why = superseded.MESSAGE
                if why is None:
                    await self._running.execute(flow, flow_run)
                else:
                    await self.client.set_flow_run_state(flow_run.id, Cancelled(message=why))
        except httpx.TransportError as error:
            # Its state is found out by `reconcile` once Prefect answers again.
            log.warning("run %s: Prefect did not answer: %s", flow_run.name, error)
        finally:
            del self._waiting[flow_run.id]
        return WarmWorkerResult(status_code=0, identifier=str(flow_run.id))

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        fetched = await super()._get_scheduled_flow_runs()
        return await superseded.drop(self.client, fetched, self._now())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_s(), UTC)

    async def _until(self, flow_run: FlowRun, ahead_s: float) -> None:
        """Sleep until `ahead_s` before `flow_run` is due."""
        due = flow_run.expected_start_time
        if due is not None:
            await asyncio.sleep(max(due.timestamp() - ahead_s - self._clock.now_s(), 0.0))

    async def _paused(self, flow_run: FlowRun) -> str | None:
        """Why a scheduled run that was fetched in time is not wanted any more."""
        if not flow_run.auto_scheduled or flow_run.deployment_id is None:
            return None
        deployment = await self.client.read_deployment(flow_run.deployment_id)
        active = any(schedule.active for schedule in deployment.schedules)
        return None if active and not deployment.paused else PAUSED

    async def _flow_of(self, flow_run: FlowRun) -> Flow[..., Any]:
        name = self._flow_names.get(flow_run.flow_id)
        if name is None:
            name = (await self.client.read_flow(flow_run.flow_id)).name
            self._flow_names[flow_run.flow_id] = name
        if name not in self._flows:
            held = ", ".join(self._flows)
            raise UnknownFlow(
                f"flow {name!r} cannot run in work pool {self._work_pool_name!r}, which runs "
                f"{held} only: give its deployment another work pool"
            )
        return self._flows[name]
