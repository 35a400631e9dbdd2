"""After a worker died: what it left running or waiting becomes CRASHED or CANCELLED at once.

Prefect would leave a RUNNING run until its automation finds that heartbeats stopped, and a run
that was fetched but not begun for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Set
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkerStatus
from prefect.states import Cancelled, Crashed

log = logging.getLogger(__name__)

OWNER = "prefect.worker.name"
UNFINISHED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


async def reconcile(
    client: PrefectClient, pool: str, me: str, held: Set[UUID], why: str
) -> list[FlowRun]:
    """End every unfinished run of `pool` whose worker is gone; returns them.

    A run is let be if it is one of `held`, or if another worker of the pool that is online has
    it (or may have: a run bears no name yet in the moment after it was fetched).

    Args:
        client: a client of Prefect's API.
        pool: the work pool.
        me: this worker's name; a former worker of this name is dead.
        held: the runs of this process.
        why: what happened, for the message that people see on the run.
    """
    workers = await client.read_workers_for_work_pool(pool)
    online = {w.name for w in workers if w.status == WorkerStatus.ONLINE and w.name != me}
    ended = []
    for run in await _unfinished(client, pool):
        owner = run.labels.get(OWNER)
        if run.id in held or owner in online or (owner is None and online):
            continue
        await client.set_flow_run_state(run.id, _verdict(run, why))
        log.warning("run %s was %s: %s", run.name, run.state_name, why)
        ended.append(run)
    return ended


async def _unfinished(client: PrefectClient, pool: str) -> list[FlowRun]:
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED))
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=states),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
    )


def _verdict(run: FlowRun, why: str) -> State[None]:
    if run.state_type == StateType.RUNNING:
        return Crashed(message=why)
    return Cancelled(message=why)
