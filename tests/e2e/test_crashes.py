"""A worker that dies, or is stopped and continues, loses nothing and doubles nothing.

Everything is read from outside: the platform's own journal, and the store's file by SQLite.
"""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

World = Any
Line = Callable[[subprocess.Popen[str], Callable[[str], bool]], str]

pytestmark = pytest.mark.faults


def acted(line: str) -> bool:
    return line.startswith("tick True") and not line.endswith(" 0\n")


def check_history(world: World) -> None:
    """The journal is one unbroken chain per cell, and every entry has its decision on record."""
    journal, decisions = world.journal(), world.decisions()
    assert [entry["seq"] for entry in journal] == sorted({entry["seq"] for entry in journal})
    in_force: dict[tuple[str, str], float] = {}
    for entry in journal:
        cell = entry["instance"], entry["resource"]
        if cell in in_force:
            assert entry["from"] == pytest.approx(in_force[cell]), f"a lost change before {entry}"
        assert entry["to"] != entry["from"], f"a doubled change: {entry}"
        in_force[cell] = entry["to"]
    recorded = {(d["instance"], d["resource"], round(d["target"], 6)) for d in decisions}
    for entry in journal:
        key = entry["instance"], entry["resource"], round(entry["to"], 6)
        assert key in recorded, f"a change without a decision: {entry}"
    starts = {(e["instance"], e["resource"], round(e["from"], 6)) for e in journal}
    reached = starts | {(e["instance"], e["resource"], round(e["to"], 6)) for e in journal}
    for decision in decisions:
        key = decision["instance"], decision["resource"], round(decision["current"], 6)
        if decision["status"] == "applied":
            assert key in reached, f"planned from a state that never was: {decision}"


def kill_at_random(world: World, line_of: Line, pause_s: Callable[[float], None], n: int) -> None:
    chance = random.Random(42)
    for _ in range(n):
        process = world.ticker(interval_s=0.0)
        line_of(process, acted)
        pause_s(chance.uniform(0.0, 0.8))
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        check_history(world)
    process = world.ticker(interval_s=0.0)
    line_of(process, acted)
    line_of(process, acted)
    check_history(world)


def test_kill_9_in_mid_tick_loses_and_doubles_nothing(
    world: World, line_of: Line, pause_s: Callable[[float], None]
) -> None:
    kill_at_random(world, line_of, pause_s, 4)


@pytest.mark.slow
def test_kill_9_twenty_times(world: World, line_of: Line, pause_s: Callable[[float], None]) -> None:
    kill_at_random(world, line_of, pause_s, 20)


def test_a_leader_that_was_stopped_and_continues_writes_nothing(
    world: World, line_of: Line, pause_s: Callable[[float], None]
) -> None:
    leader = world.ticker()
    line_of(leader, acted)
    standby = world.ticker()
    line_of(standby, lambda line: line.startswith("tick False"))
    world.stop(leader)
    line_of(standby, acted)  # it has taken over: the lease ran out
    before = len(world.decisions())
    epochs = {d["epoch"] for d in world.decisions()}
    assert len(epochs) == 2
    leader.send_signal(signal.SIGCONT)
    for _ in range(4):
        line_of(standby, acted)
    later = world.decisions()[before:]
    assert later
    assert {d["epoch"] for d in later} == {max(epochs)}
    check_history(world)
    # What the stopped one had begun is on record, and nothing but the standby has acted since.
    line_of(leader, lambda line: line.startswith("tick False"))
