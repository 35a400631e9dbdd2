"""The seven steps of a tick as Prefect tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from prefect.cache_policies import NO_CACHE
from prefect.tasks import Task

T = TypeVar("T")

STEPS = ("observe", "collect", "featurise", "forecast", "recommend", "plan", "actuate")


def _do(work: Callable[[], Any]) -> Any:
    return work()


TASKS = {
    name: Task(
        _do,
        name=name,
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        log_prints=False,
    )
    for name in STEPS
}


def as_task(name: str, work: Callable[[], T]) -> T:
    """Run the tick's step `name` as a task of its own, so that Prefect's UI shows it."""
    return cast(T, TASKS[name](work))
