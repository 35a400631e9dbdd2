"""When ticks are due, by the schedule that Prefect holds, also while Prefect is away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import anyio
import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.server.schemas.schedules import (
    SCHEDULE_TYPES,
    CronSchedule,
    IntervalSchedule,
    RRuleSchedule,
)
from pydantic import TypeAdapter

Schedule = IntervalSchedule | CronSchedule | RRuleSchedule
_SCHEDULE: TypeAdapter[Schedule] = TypeAdapter(SCHEDULE_TYPES)

ANCHOR = datetime(2020, 1, 1, tzinfo=UTC)
"""Ticks are aligned to it, and so to whole minutes and hours, as usage steps are."""

ANSWER_WITHIN_S = 4.0


class PrefectAway(Exception):
    """Prefect's API does not answer, or answers that it cannot. Says how.

    Attributes:
        certain: nobody listens; otherwise it may just be slow.
    """

    def __init__(self, words: str, certain: bool) -> None:
        super().__init__(words)
        self.certain = certain


@dataclass(frozen=True, slots=True)
class Timetable:
    """The schedules in force; none of them if people paused them."""

    schedules: tuple[Schedule, ...]

    @staticmethod
    def every(interval_s: float) -> Timetable:
        """The timetable of a fresh deployment, before Prefect could be asked."""
        interval = timedelta(seconds=interval_s)
        return Timetable((IntervalSchedule(interval=interval, anchor_date=ANCHOR),))

    async def next_after(self, time_s: float) -> float | None:
        """The first time after `time_s` at which a tick is due [epoch s]; None if there is none."""
        start = datetime.fromtimestamp(time_s + 1e-3, UTC)
        found = [await schedule.get_dates(n=1, start=start) for schedule in self.schedules]
        times = [dates[0].timestamp() for dates in found if dates]
        return min(times, default=None)


async def read_timetable(client: PrefectClient, deployment: str) -> Timetable:
    """What Prefect now holds for `deployment` ("flow/name").

    Pausing the deployment, a schedule of it, its work pool or its queue all empty it, and so does
    deleting it: whatever keeps Prefect from starting runs.

    Raises:
        PrefectAway: the API did not answer in time, or failed.
    """
    try:
        with anyio.fail_after(ANSWER_WITHIN_S):
            found = await client.read_deployment_by_name(deployment)
            if found.paused or await _held_back(client, found):
                return Timetable(())
    except ObjectNotFound:
        return Timetable(())
    except (httpx.TransportError, TimeoutError) as error:
        certain = isinstance(error, httpx.ConnectError)
        raise PrefectAway(str(error) or "no answer in time", certain) from error
    except httpx.HTTPStatusError as error:
        if error.response.status_code < 500:
            raise
        raise PrefectAway(f"HTTP status {error.response.status_code}", certain=False) from error
    return Timetable(_active(found))


async def _held_back(client: PrefectClient, deployment: DeploymentResponse) -> bool:
    pool = deployment.work_pool_name
    if pool is None:
        return False
    if (await client.read_work_pool(pool)).is_paused:
        return True
    queues = await client.read_work_queues(work_pool_name=pool)
    return any(q.is_paused for q in queues if q.name == deployment.work_queue_name)


def _active(deployment: DeploymentResponse) -> tuple[Schedule, ...]:
    schedules: Sequence[object] = [
        item.schedule.model_dump() for item in deployment.schedules if item.active
    ]
    return tuple(_SCHEDULE.validate_python(item) for item in schedules)
