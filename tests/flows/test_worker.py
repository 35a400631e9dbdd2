"""The warm worker against a real Prefect server: schedules, lateness, death, and outages."""

from __future__ import annotations

import itertools
import json
import signal
from datetime import datetime
from typing import Any

import pytest

pytestmark = pytest.mark.prefect

STEPS = ["observe", "collect", "featurise", "forecast", "recommend", "plan", "actuate"]
SUPERSEDED = "superseded"


def when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def overlaps(runs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Pairs of runs of which the second began before the first ended."""
    begun = sorted((r for r in runs if r["run_count"]), key=lambda run: run["start_time"])
    return [
        (former["name"], later["name"])
        for former, later in itertools.pairwise(begun)
        if former["end_time"] is None or when(later["start_time"]) < when(former["end_time"])
    ]


def test_a_deployment_really_runs_on_schedule(bench: Any, server: Any) -> None:
    """Guards the bounds on FastAPI and SQLAlchemy: with later ones nothing is ever scheduled."""
    bench.start()
    server.wait_for("4 completed runs", lambda: len(server.states("COMPLETED")) >= 4)
    completed = server.states("COMPLETED")
    assert all(run["auto_scheduled"] for run in completed)
    assert all(json.loads(run["parameters"]) == {} for run in completed)
    assert all(run["name"].startswith("cutoff 20") for run in completed)
    assert "0 planned, 0 applied" in completed[0]["message"]
    assert not overlaps(server.runs())


def test_the_seven_steps_are_tasks_of_the_run(bench: Any, server: Any) -> None:
    bench.start()
    run = server.wait_for("a completed run", lambda: server.states("COMPLETED"))[0]

    def steps() -> list[str] | None:
        rows = server.query(
            "select name from task_run where flow_run_id = ? and state_type = 'COMPLETED' "
            "order by start_time",
            run["id"],
        )
        return [row[0] for row in rows] if len(rows) == len(STEPS) else None

    assert server.wait_for("seven completed tasks", steps) == STEPS


def test_a_long_tick_supersedes_the_runs_it_makes_late(bench: Any, server: Any) -> None:
    bench.ticks_last(7.0)  # at an interval of 3 s
    bench.start()
    bench.wait_for_ticks(2)
    bench.ticks_last(0.0)
    superseded = server.wait_for(
        "superseded runs", lambda: [r for r in server.states("CANCELLED") if r["message"]]
    )
    assert all(run["message"].startswith(SUPERSEDED) for run in superseded)
    assert all(run["run_count"] == 0 for run in superseded), "one of them was run"
    newest = max(run["expected_start_time"] for run in superseded)
    server.wait_for(
        "a later completed run",
        lambda: [r for r in server.states("COMPLETED") if r["expected_start_time"] > newest],
    )
    assert not overlaps(server.runs())
    ticks = bench.journal()
    assert all(a["ended"] <= b["began"] for a, b in itertools.pairwise(ticks))


def test_what_a_killed_worker_left_is_ended_by_the_next(bench: Any, server: Any) -> None:
    bench.ticks_last(600.0)
    worker = bench.start()
    server.wait_for(
        "a running and a waiting run",
        lambda: server.states("RUNNING") and server.states("PENDING"),
    )
    bench.end(worker, signal.SIGKILL)
    left = server.states("RUNNING") + server.states("PENDING")
    bench.ticks_last(0.0)
    bench.start()
    server.wait_for("a completed run", lambda: server.states("COMPLETED"))
    after = {run["id"]: run for run in server.runs()}
    for run in left:
        verdict = "CRASHED" if run["state_type"] == "RUNNING" else "CANCELLED"
        assert after[run["id"]]["state_type"] == verdict
        assert after[run["id"]]["message"] == "the worker that had it is gone"


def test_a_stopped_worker_finishes_its_run_and_gives_the_others_back(
    bench: Any, server: Any
) -> None:
    bench.ticks_last(3.0)
    worker = bench.start()
    server.wait_for(
        "a running and a waiting run",
        lambda: server.states("RUNNING") and server.states("PENDING"),
    )
    running = server.states("RUNNING")[0]
    assert bench.end(worker, signal.SIGTERM) == 0
    after = {run["id"]: run["state_type"] for run in server.runs()}
    assert after[running["id"]] == "COMPLETED"
    assert not {"RUNNING", "PENDING"} & set(after.values())
    assert bench.journal("close"), "the runtime was not closed"


def test_ticks_go_on_while_prefect_is_away(bench: Any, server: Any) -> None:
    bench.start()
    server.wait_for("2 completed runs", lambda: len(server.states("COMPLETED")) >= 2)
    server.kill()

    def alone() -> list[dict[str, Any]]:
        return [tick for tick in bench.journal() if tick["own_timer"]]

    try:
        bench.wait_for("4 ticks by its own timer", lambda: len(alone()) >= 4)
    finally:
        server.start()
    last_alone = alone()[-1]["began"]
    server.wait_for(
        "runs of Prefect's again",
        lambda: [
            run
            for run in server.states("COMPLETED")
            if when(run["start_time"] + "+00:00").timestamp() > last_alone
        ],
    )
    log = bench.log()
    # Once per change of state; a server that is slow to come back may be away twice.
    assert log.count("does not answer") == log.count("answers again") >= 1
    # No schedule time was served twice: what was ticked for meanwhile is not run again.
    ticks = bench.journal()
    assert all(a["ended"] <= b["began"] for a, b in itertools.pairwise(ticks))
    slots = 1 + (ticks[-1]["began"] - ticks[0]["began"]) / 3.0
    assert len(ticks) <= slots + 1
    server.wait_for(
        "no run of before the outage is open",
        lambda: (
            not [
                run
                for run in server.states("RUNNING") + server.states("PENDING")
                if when(run["expected_start_time"] + "+00:00").timestamp() < last_alone
            ]
        ),
    )


@pytest.mark.faults
def test_prefect_that_is_down_from_the_start_delays_the_ticks_and_is_followed_once_up(
    bench: Any, server: Any
) -> None:
    server.kill()
    try:
        bench.start("--first-answer-within", "2")
        bench.wait_for_ticks(3)
        assert all(tick["own_timer"] for tick in bench.journal())
        assert f"{bench.server.api_url} does not answer" in bench.log()
    finally:
        server.start()
    runs = server.wait_for("2 completed runs", lambda: server.states("COMPLETED")[1:])
    assert all(run["auto_scheduled"] for run in runs)
    assert "answers again" in bench.log()
    assert not overlaps(server.runs())
    ticks = bench.journal()
    assert all(a["ended"] <= b["began"] for a, b in itertools.pairwise(ticks))


def test_on_deploy_runs_warm_with_the_parameters_it_was_given(bench: Any, server: Any) -> None:
    bench.start()
    bench.wait_for_ticks(1)
    deployment = bench.deployment("on-deploy/on-deploy")
    parameters = {"workload": "sim://shop", "version": "v2"}
    server.call("POST", f"deployments/{deployment['id']}/create_flow_run", parameters=parameters)
    run = server.wait_for("it completed", lambda: server.states("COMPLETED", "on-deploy"))[0]
    assert json.loads(run["parameters"]) == parameters
    assert run["name"] == "sim://shop v2"
    deploys = bench.journal("deploy")
    assert [(line["workload"], line["version"]) for line in deploys] == [("sim://shop", "v2")]


def test_a_second_worker_of_the_same_name_is_refused(bench: Any, server: Any) -> None:
    bench.start()
    bench.wait_for_ticks(1)
    assert bench.start().wait(60) == 1
    assert "runs already" in bench.log()
