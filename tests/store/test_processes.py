"""Several real processes on one store: racing, killed in mid-transaction, stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pla.store import machine_timeline

PROGRAM = '''
import sys, time
from sqlalchemy import event
import pla.store.database
from pla.ports import Decision, LeaseLost, StoreError
from pla.store import SqlStore, machine_timeline

pla.store.database._IDLE_TIMEOUT_S = 2.0

class MachineClock:
    def now_s(self): return time.time()
    def monotonic_s(self): return time.monotonic()

def say(*words):
    print(*words, flush=True)

def hear():
    return sys.stdin.readline().strip()

role, url, holder, ttl_s = *sys.argv[1:4], float(sys.argv[4])
decision = Decision(1.0, 1, holder, "sim://w", "cpu", 1.0, 2.0, 2.0, "why", "planned", "", "7")

def opened():
    return SqlStore(url, MachineClock(), machine_timeline())

def race():
    """Open, all at the same time, then try for the lease at once."""
    say("ready"); hear()
    store = opened()
    lease = store.acquire("tick", holder, ttl_s)
    say("none" if lease is None else lease.epoch)

def lead():
    """Take the lease and write on command."""
    store = opened()
    lease = store.acquire("tick", holder, ttl_s)
    say("none" if lease is None else lease.epoch)
    while hear():
        try:
            store.begin("tick", lease, [decision])
            say("written")
        except LeaseLost:
            say("lost")

def pause_writing():
    """Wait for a word in mid-transaction, with rows written and not committed."""
    store = opened()
    lease = store.acquire("tick", holder, ttl_s)
    @event.listens_for(store._database._engine, "commit")
    def stand_still(connection):
        say("in transaction"); hear()
    try:
        store.begin("tick", lease, [decision] * 2000)
        say("written")
    except (LeaseLost, StoreError) as error:
        say(type(error).__name__)

{"race": race, "lead": lead, "pause_writing": pause_writing}[role]()
'''

Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def spawn(store_url: str) -> Iterator[Spawn]:
    """Starts a process in a role; what still runs at the end is killed."""
    children: list[subprocess.Popen[str]] = []

    def start(role: str, holder: str, ttl_s: float) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, role, store_url, holder, str(ttl_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def hear(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def tell(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin is not None
    child.stdin.write(line + "\n")
    child.stdin.flush()


def test_processes_that_start_at_once_make_one_store_and_one_leader(spawn: Spawn) -> None:
    children = [spawn("race", f"holder-{n}", 60.0) for n in range(4)]
    assert [hear(child) for child in children] == ["ready"] * 4
    for child in children:
        tell(child, "go")
    assert sorted(hear(child) for child in children) == ["1", "none", "none", "none"]


@pytest.mark.faults
def test_a_leader_stopped_beyond_its_lease_writes_nothing(
    spawn: Spawn, open_store: Any, machine_clock: Any
) -> None:
    leader = spawn("lead", "leader", 1.0)
    assert hear(leader) == "1"
    leader.send_signal(signal.SIGSTOP)
    standby = spawn("lead", "standby", 60.0)
    while (answer := hear(standby)) == "none":
        standby = spawn("lead", "standby", 60.0)
    assert answer == "2"
    leader.send_signal(signal.SIGCONT)
    tell(leader, "write")
    assert hear(leader) == "lost"
    tell(standby, "write")
    assert hear(standby) == "written"
    assert [d.instance for d in open_store().decisions(None, 10)] == ["standby"]


@pytest.mark.faults
def test_a_leader_stopped_with_nobody_to_take_over_writes_nothing_either(
    spawn: Spawn, open_store: Any, machine_clock: Any
) -> None:
    leader = spawn("lead", "leader", 1.0)
    assert hear(leader) == "1"
    leader.send_signal(signal.SIGSTOP)
    machine_clock.wait(1.1)
    leader.send_signal(signal.SIGCONT)
    tell(leader, "write")
    assert hear(leader) == "lost"
    assert open_store().decisions(None, 10) == []


@pytest.mark.faults
def test_a_process_killed_in_mid_transaction_leaves_the_former_state(
    spawn: Spawn, open_store: Any, machine_clock: Any
) -> None:
    store = open_store(clock=machine_clock)
    store.save_state("calibration", b"before")
    child = spawn("pause_writing", "worker", 0.5)
    assert hear(child) == "in transaction"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert store.decisions(None, 10) == []
    assert store.load_state("calibration") == b"before"
    while store.acquire("tick", "successor", 60.0) is None:
        machine_clock.wait(0.1)
    store.save_state("calibration", b"after")
    assert store.load_state("calibration") == b"after"


@pytest.mark.faults
@pytest.mark.postgres
@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
def test_a_leader_stopped_in_mid_transaction_keeps_no_lock_on_the_server(
    spawn: Spawn, open_store: Any, machine_clock: Any
) -> None:
    store = open_store(clock=machine_clock, timeline=machine_timeline())
    leader = spawn("pause_writing", "leader", 0.5)
    assert hear(leader) == "in transaction"
    leader.send_signal(signal.SIGSTOP)
    # Waits for the row's lock until the server ends the standing transaction (2 s here).
    lease = store.acquire("tick", "successor", 60.0)
    assert lease is not None
    assert lease.epoch == 2
    leader.send_signal(signal.SIGCONT)
    tell(leader, "go on")
    assert hear(leader) == "StoreError"
    assert store.decisions(None, 10) == []
