"""The book of ticks: no schedule time is served twice, and a clock that jumps stops nothing."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from flows.warm import host as hosts
from flows.warm.host import Host
from pla.tick import StepWrapper, TickReport, run_step

REPORT = cast(TickReport, object())


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def now_s(self) -> float:
        return self.time_s

    def monotonic_s(self) -> float:
        return self.time_s


class CountingRuntime:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.inside = threading.Semaphore(1)

    def tick(self, step: StepWrapper = run_step) -> TickReport:
        self._alone("tick")
        return REPORT

    def deploy(self, workload: str, version: str, step: StepWrapper = run_step) -> TickReport:
        self._alone(f"deploy {workload} {version}")
        return REPORT

    def close(self) -> None:
        self.calls.append("close")

    def _alone(self, call: str) -> None:
        assert self.inside.acquire(blocking=False), "two at the same time"
        threading.Event().wait(0.02)
        self.calls.append(call)
        self.inside.release()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def runtime() -> CountingRuntime:
    return CountingRuntime()


@pytest.fixture
def host(runtime: CountingRuntime, clock: SetClock) -> Host:
    return Host(runtime, clock)


def test_a_time_that_a_tick_has_passed_is_served(host: Host, runtime: CountingRuntime) -> None:
    assert host.tick(due_s=1000.0) is REPORT
    assert host.tick(due_s=1000.0) is None
    assert host.tick(due_s=995.0) is None
    assert runtime.calls == ["tick"]


def test_the_next_time_is_a_tick_of_its_own(host: Host, clock: SetClock) -> None:
    host.tick(due_s=1000.0)
    clock.time_s = 1005.1
    assert host.tick(due_s=1005.0) is REPORT


def test_a_tick_that_somebody_asks_for_is_always_made(host: Host) -> None:
    host.tick(due_s=1000.0)
    assert host.tick() is REPORT


def test_a_clock_set_back_does_not_stop_the_ticks(host: Host, clock: SetClock) -> None:
    host.tick()
    clock.time_s -= 3600
    assert host.tick(due_s=clock.time_s) is REPORT


def test_ticks_and_deploys_never_overlap(host: Host, runtime: CountingRuntime) -> None:
    threads = [threading.Thread(target=host.tick) for _ in range(4)]
    threads += [threading.Thread(target=host.deploy, args=("sim://a", "v2")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(runtime.calls) == ["deploy sim://a v2"] * 4 + ["tick"] * 4


def test_a_warm_process_yields_its_host_and_keeps_it(host: Host, runtime: Any) -> None:
    hosts.bind(host)
    try:
        with hosts.current() as found:
            assert found is host
        assert runtime.calls == []
    finally:
        hosts.bind(None)
