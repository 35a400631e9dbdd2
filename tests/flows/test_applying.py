"""Declaring deployments: idempotent, and never over what people set in Prefect's UI."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.applying import apply
from flows.deployments import RETRAIN, TICK, declared
from flows.warm.timetable import PrefectAway, Timetable, read_timetable
from pla.settings import Settings

pytestmark = pytest.mark.prefect


@pytest.fixture
def declare(bench: Any) -> Iterator[Callable[[Settings], list[str]]]:
    """`flows.applying.apply` against the test's server; returns what was written."""
    with temporary_settings({PREFECT_API_URL: bench.server.api_url}):
        yield lambda settings: asyncio.run(apply(settings))


@pytest.fixture
def timetable(bench: Any) -> Iterator[Callable[[], Timetable]]:
    """`read_timetable` of the tick against the test's server."""

    async def read() -> Timetable:
        async with get_client() as client:
            for _ in range(10):
                try:
                    return await read_timetable(client, TICK)
                except PrefectAway:  # "database is locked", on a machine that is busy
                    await asyncio.sleep(1.0)
        pytest.fail("Prefect's server does not answer")

    with temporary_settings({PREFECT_API_URL: bench.server.api_url}):
        yield lambda: asyncio.run(read())


def schedule_of(deployment: Any) -> tuple[float, bool]:
    """Interval [s] of the deployment's only schedule, and whether it is active."""
    (schedule,) = deployment["schedules"]
    return schedule["schedule"]["interval"], schedule["active"]


def patch_schedule(bench: Any, **change: Any) -> None:
    """Change the tick's schedule as the UI does."""
    deployment = bench.deployment(TICK)
    (schedule,) = deployment["schedules"]
    path = f"deployments/{deployment['id']}/schedules/{schedule['id']}"
    bench.server.call("PATCH", path, **change)


def test_all_is_declared_once(bench: Any, declare: Callable[[Settings], list[str]]) -> None:
    settings = bench.configure(interval_s=60)
    assert len(declare(settings)) == 6  # two pools, three deployments, one automation
    assert declare(settings) == []
    for item in declared(settings):
        found = bench.deployment(item.full_name)
        assert found["work_pool_name"] == item.pool
        assert found["entrypoint"] == item.entrypoint
    assert schedule_of(bench.deployment(TICK)) == (60.0, True)
    parameters = bench.deployment("on-deploy/on-deploy")["parameter_openapi_schema"]
    assert parameters["required"] == ["workload", "version"]
    assert bench.server.call("GET", "work_pools/pla-warm")["type"] == "pla-warm"
    assert bench.server.call("GET", "work_pools/pla-retrain")["type"] == "process"


def test_a_schedule_that_people_changed_stays(
    bench: Any, declare: Callable[[Settings], list[str]]
) -> None:
    settings = bench.configure(interval_s=60)
    declare(settings)
    patch_schedule(bench, schedule={"interval": 20, "anchor_date": "2020-01-01T00:00:00Z"})
    patch_schedule(bench, active=False)
    assert declare(settings) == []
    assert schedule_of(bench.deployment(TICK)) == (20.0, False)


def test_a_new_interval_in_the_file_takes_effect_and_a_pause_outlives_it(
    bench: Any, declare: Callable[[Settings], list[str]]
) -> None:
    declare(bench.configure(interval_s=60))
    patch_schedule(bench, active=False)
    assert declare(bench.configure(interval_s=30)) == [f"deployment {TICK} schedule"]
    assert schedule_of(bench.deployment(TICK)) == (30.0, False)
    assert schedule_of(bench.deployment(RETRAIN))[1]


def test_a_server_that_forgot_what_was_applied_keeps_its_schedules(
    bench: Any, declare: Callable[[Settings], list[str]]
) -> None:
    declare(bench.configure(interval_s=60))
    for variable in bench.server.call("POST", "variables/filter"):
        bench.server.call("DELETE", f"variables/{variable['id']}")
    declare(bench.configure(interval_s=30))
    assert schedule_of(bench.deployment(TICK)) == (60.0, True)


def test_every_way_to_pause_empties_the_timetable(
    bench: Any,
    declare: Callable[[Settings], list[str]],
    timetable: Callable[[], Timetable],
) -> None:
    assert timetable().schedules == (), "there is no deployment yet"
    declare(bench.configure(interval_s=60))
    assert asyncio.run(timetable().next_after(1_000_000_030.0)) == 1_000_000_080.0
    deployment = bench.deployment(TICK)["id"]
    pool = bench.server.call("GET", "work_pools/pla-warm")
    call = bench.server.call
    pauses: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
        (lambda: patch_schedule(bench, active=False), lambda: patch_schedule(bench, active=True)),
        (
            lambda: call("POST", f"deployments/{deployment}/pause_deployment"),
            lambda: call("POST", f"deployments/{deployment}/resume_deployment"),
        ),
        (
            lambda: call("PATCH", "work_pools/pla-warm", is_paused=True),
            lambda: call("PATCH", "work_pools/pla-warm", is_paused=False),
        ),
        (
            lambda: call("PATCH", f"work_queues/{pool['default_queue_id']}", is_paused=True),
            lambda: call("PATCH", f"work_queues/{pool['default_queue_id']}", is_paused=False),
        ),
    ]
    for pause, resume in pauses:
        pause()
        assert timetable().schedules == ()
        resume()
        assert len(timetable().schedules) == 1


def test_a_pause_made_in_the_ui_outlives_the_worker(bench: Any, server: Any) -> None:
    worker = bench.start()
    bench.wait_for_ticks(1)
    patch_schedule(bench, active=False)
    server.wait_for(
        "no run is open",
        lambda: not server.states("PENDING") + server.states("RUNNING"),
    )
    bench.end(worker, signal.SIGTERM)
    ticks = len(bench.journal())
    bench.start()
    server.wait_for("the second worker", lambda: bench.log().count("started!") == 2)
    assert schedule_of(bench.deployment(TICK)) == (3.0, False)
    assert server.states("SCHEDULED") == []
    assert len(bench.journal()) == ticks
    patch_schedule(bench, active=True)
    bench.wait_for_ticks(ticks + 1)


def test_an_interval_set_in_the_ui_takes_effect(bench: Any, server: Any) -> None:
    bench.start()
    bench.wait_for_ticks(1)
    patch_schedule(bench, schedule={"interval": 7, "anchor_date": "2020-01-01T00:00:00Z"})

    def sevens() -> bool:
        rows = server.query(
            "select strftime('%s', expected_start_time) from flow_run "
            "where state_type = 'COMPLETED' order by expected_start_time desc limit 3"
        )
        due = [int(row[0]) for row in rows]
        return len(due) == 3 and due[0] - due[1] == due[1] - due[2] == 7

    server.wait_for("three runs in a row seven seconds apart", sevens)
