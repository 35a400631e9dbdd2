"""Which late runs are worth making: unit tests without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from flows.warm.superseded import split, superseded_by

NOW = datetime(2026, 10, 12, 12, 0, tzinfo=UTC)
DEPLOYMENT = uuid4()


def run(due_in_s: float, scheduled: bool = True, deployment: UUID = DEPLOYMENT) -> FlowRun:
    return FlowRun(
        flow_id=uuid4(),
        deployment_id=deployment,
        auto_scheduled=scheduled,
        expected_start_time=NOW + timedelta(seconds=due_in_s),
    )


def test_of_late_runs_the_newest_is_kept() -> None:
    late = [run(-15), run(-10), run(-5)]
    kept, superseded = split(late, NOW)
    assert kept == [late[2].id]
    assert set(superseded) == {late[0].id, late[1].id}


def test_what_is_not_due_yet_supersedes_nothing() -> None:
    runs = [run(-1), run(4), run(9)]
    assert split(runs, NOW) == ([item.id for item in runs], [])


def test_a_run_due_this_very_moment_supersedes_its_predecessor() -> None:
    former, due = run(-5), run(0)
    assert superseded_by(former, [former, due], NOW)
    assert not superseded_by(due, [former, due], NOW)


@pytest.mark.parametrize(
    "other", [run(-1, scheduled=False), run(-1, deployment=uuid4())], ids=["asked for", "foreign"]
)
def test_only_runs_of_the_same_schedule_supersede(other: FlowRun) -> None:
    late = run(-10)
    assert not superseded_by(late, [late, other], NOW)


def test_a_run_that_somebody_asked_for_is_never_dropped() -> None:
    asked_for = run(-60, scheduled=False)
    assert not superseded_by(asked_for, [asked_for, run(-5)], NOW)
