"""Child processes: leashed to their parent, restarted, and stopped with everything they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.local.children import FIRST_BACKOFF_S, STEADY_AFTER_S, Child, Program
from pla.clock import SystemClock

SLEEP = "import time; time.sleep(600)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready', flush=True)
time.sleep(600)
"""


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time_s = 1000.0

    def now_s(self) -> float:
        return self.time_s

    def monotonic_s(self) -> float:
        return self.time_s


def program(folder: Path, code: str, grace_s: float = 8.0, nice: int = 0) -> Program:
    return Program(
        name="child",
        command=[sys.executable, "-c", code],
        log=folder / "logs" / "child.log",
        grace_s=grace_s,
        nice=nice,
    )


def alive(pid: int) -> bool:
    """Whether `pid` runs; a zombie does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def until(what: str, look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline, f"not within a minute: {what}"
        time.sleep(0.05)


def stop(child: Child) -> None:
    child.ask_to_stop()
    until("the child stops", child.gone)


def test_stops_at_sigterm_and_keeps_its_output(tmp_path: Path) -> None:
    child = Child(program(tmp_path, "print('hello'); " + SLEEP), SystemClock())
    child.start()
    stop(child)
    assert child.exit_code == -signal.SIGTERM


def test_what_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    child = Child(program(tmp_path, STUBBORN, grace_s=0.2), SystemClock())
    child.start()
    until("it ignores SIGTERM by now", lambda: "ready" in child.last_words())
    stop(child)
    assert child.exit_code == -signal.SIGKILL


def test_what_it_started_is_stopped_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        f"grandchild = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}])\n"
        "print(grandchild.pid, flush=True)\n"
        "grandchild.wait()\n"
    )
    child = Child(program(tmp_path, code), SystemClock())
    child.start()
    until("the grandchild is ready", lambda: "ready" in child.last_words())
    grandchild = int(child.last_words().split()[0])
    assert alive(grandchild)
    stop(child)
    until("the grandchild is gone", lambda: not alive(grandchild))


def test_what_ends_is_started_again_after_growing_pauses(tmp_path: Path) -> None:
    clock = SetClock()
    child = Child(program(tmp_path, "raise SystemExit(3)"), clock)
    child.start()
    pauses = []
    for _ in range(3):
        until("it ended", lambda: child.exit_code is not None)
        line = child.revive()
        assert line is not None
        assert "exit code 3" in line
        assert str(child.program.log) in line
        asked_s = clock.time_s
        while child.revive() is None:
            clock.time_s += 0.25
        pauses.append(clock.time_s - asked_s)
    assert pauses == [1.0, 2.0, 4.0]


def test_what_ran_steadily_is_started_again_soon(tmp_path: Path) -> None:
    clock = SetClock()
    child = Child(program(tmp_path, SLEEP), clock)
    child.start()
    for _ in range(2):
        clock.time_s += STEADY_AFTER_S + 1
        child.kill()
        until("it ended", lambda: child.exit_code is not None)
        assert child.revive() is not None
        assert child.revive() is None
        clock.time_s += FIRST_BACKOFF_S
        assert "started again" in str(child.revive())
    stop(child)


def test_a_running_child_needs_no_revival(tmp_path: Path) -> None:
    child = Child(program(tmp_path, SLEEP), SystemClock())
    child.start()
    assert child.revive() is None
    stop(child)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's leash is Linux's")
def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    code = f"""
        import os, sys, time
        from pathlib import Path
        from flows.local.children import Child, Program
        from pla.clock import SystemClock
        command = [sys.executable, "-c", {SLEEP!r}]
        child = Child(Program("child", command, Path({str(tmp_path / "log")!r})), SystemClock())
        child.start()
        print(child.pid, flush=True)
        time.sleep(600)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until("the child is gone", lambda: not alive(pid))


def test_a_child_may_be_made_to_step_back(tmp_path: Path) -> None:
    code = "import os, time; print('nice', os.nice(0), flush=True); time.sleep(600)"
    child = Child(program(tmp_path, code, nice=3), SystemClock())
    child.start()
    until("it says how nice it is", lambda: "nice" in child.last_words())
    assert child.last_words() == f"nice {min(os.nice(0) + 3, 19)}"
    stop(child)
