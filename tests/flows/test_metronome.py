"""The worker's own timer, with nobody at the address of Prefect's API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import cast

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.local.ports import free_port
from flows.warm.host import Host
from flows.warm.metronome import Metronome
from flows.warm.timetable import Timetable
from pla.clock import SystemClock
from pla.tick import StepWrapper, TickReport, run_step

ENOUGH = 5


class Errorless:
    """All that the metronome reads of a report."""

    errors: tuple[str, ...] = ()


class RecordingRuntime:
    """Notes when it ticks; the second tick fails."""

    def __init__(self) -> None:
        self.began_s: list[float] = []

    def tick(self, step: StepWrapper = run_step) -> TickReport:
        self.began_s.append(time.time())
        if len(self.began_s) == 2:
            raise RuntimeError("this tick fails, the next is due all the same")
        return cast(TickReport, Errorless())

    def deploy(self, workload: str, version: str, step: StepWrapper = run_step) -> TickReport:
        raise NotImplementedError

    def close(self) -> None:
        pass


@pytest.fixture
def nobody() -> Iterator[str]:
    url = f"http://127.0.0.1:{free_port('127.0.0.1')}/api"
    with temporary_settings({PREFECT_API_URL: url}):
        yield url


def metronome(runtime: RecordingRuntime, url: str) -> Metronome:
    clock = SystemClock()
    return Metronome(Host(runtime, clock), "a/b", url, 0.2, clock, first_answer_within_s=0.0)


async def run_for(works: Metronome, seconds: float, then: asyncio.Event | None = None) -> None:
    """Run the metronome until `then` is set (None: at once), and for `seconds` more."""
    task = asyncio.create_task(works.run())
    if then is not None:
        await asyncio.wait_for(then.wait(), 60)
    await asyncio.wait([task], timeout=seconds)
    assert not task.done(), task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_ticks_on_schedule_without_prefect_and_survives_a_failing_tick(
    nobody: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> list[float]:
        runtime = RecordingRuntime()
        works = metronome(runtime, nobody)
        task = asyncio.create_task(works.run())
        while len(runtime.began_s) < ENOUGH:
            await asyncio.sleep(0.02)
            assert not task.done(), task.result()
        task.cancel()
        assert works.away.is_set()
        assert not works.answers.is_set()
        return runtime.began_s

    began_s = asyncio.run(asyncio.wait_for(scenario(), 60))
    # Never before its time, and no time twice: each begins in an interval of its own.
    slots = [int(moment / 0.2) for moment in began_s]
    assert len(set(slots)) == len(slots)
    assert sum("does not answer" in line for line in caplog.messages) == 1


def test_what_was_paused_before_the_outage_stays_paused(nobody: str) -> None:
    async def scenario() -> list[float]:
        runtime = RecordingRuntime()
        works = metronome(runtime, nobody)
        works._timetable = Timetable(())  # what Prefect said last
        await run_for(works, 1.0, then=works.away)
        return runtime.began_s

    assert asyncio.run(scenario()) == []


def test_waits_for_the_first_answer_before_it_ticks_alone(nobody: str) -> None:
    async def scenario() -> list[float]:
        runtime = RecordingRuntime()
        clock = SystemClock()
        works = Metronome(Host(runtime, clock), "a/b", nobody, 0.2, clock, 3600.0)
        await run_for(works, 1.0)
        assert not works.away.is_set()
        return runtime.began_s

    assert asyncio.run(scenario()) == []
