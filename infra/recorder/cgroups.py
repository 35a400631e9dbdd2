"""Accounting groups: one per workload, by cgroup v1 where there is one, else by walking /proc.

Nothing here limits a program: no quota and no memory limit is ever set, so what is measured is
demand.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CONTROLLERS = ("cpuacct", "cpu", "memory")
RECORDER = "recorder"
CPU_SHARES = 40_960  # of the recorder's parent group; one ordinary process weighs 1,024
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Reading:
    """CPU seconds used since the group began, and the working set in bytes."""

    cpu_s: float
    memory_bytes: float


class Groups(Protocol):
    """What the launcher and the sampler need of either kind of accounting."""

    kind: str

    def create(self, name: str) -> None:
        """Makes the group of one workload."""

    def wrap(self, name: str, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` in the group."""
        ...

    def started(self, name: str, pid: int) -> None:
        """Told of every process that was started with `wrap`."""

    def read(self, name: str) -> Reading:
        """What the group has used so far."""
        ...

    def remove_all(self) -> None:
        """Removes what was created; every program must have been stopped."""


def _own_group(controller: str, mount: Path) -> Path:
    """The group this process is in: ours are created below it and are charged to it as well."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            own = mount / path.lstrip("/")
            return own if own.is_dir() else mount
    raise OSError(f"this process is in no {controller} cgroup")


class CgroupV1:
    """One cgroup per workload below one parent, in each of cpuacct, cpu and memory."""

    kind = "cgroup v1: cpuacct, cpu, memory"

    def __init__(self, parent: str, root: Path = Path("/sys/fs/cgroup")) -> None:
        """Creates the parent group; OSError where cgroup v1 is not available or not writable."""
        self._parents = {c: _own_group(c, root / c) / parent for c in CONTROLLERS}
        self._names: list[str] = []
        self._home = self._parents["cpu"].parent
        try:
            for path in self._parents.values():
                path.mkdir()
            (self._parents["cpu"] / "cpu.shares").write_text(str(CPU_SHARES))
            # The sampler must be as punctual as the recorded programs.
            own = self._parents["cpu"] / RECORDER
            own.mkdir()
            (own / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            self.remove_all()
            raise

    def create(self, name: str) -> None:
        """Makes the groups of one workload."""
        for parent in self._parents.values():
            (parent / name).mkdir(exist_ok=True)
        self._names.append(name)

    def wrap(self, name: str, command: Sequence[str]) -> list[str]:
        """A shell enters the group and becomes `command`; preexec_fn is not safe with threads."""
        enter = " && ".join(
            f"echo $$ > '{p / name / 'cgroup.procs'}'" for p in self._parents.values()
        )
        return ["/bin/sh", "-c", f'{enter} && exec "$@"', "sh", *command]

    def started(self, name: str, pid: int) -> None:
        """Nothing to do: the process entered its group by itself."""

    def read(self, name: str) -> Reading:
        """The working set is usage less inactive file pages, the kubelet's definition."""
        cpu_ns = int((self._parents["cpuacct"] / name / "cpuacct.usage").read_bytes())
        memory = self._parents["memory"] / name
        usage = int((memory / "memory.usage_in_bytes").read_bytes())
        stat = (memory / "memory.stat").read_bytes()
        at = stat.index(b"total_inactive_file ") + len(b"total_inactive_file ")
        inactive = int(stat[at : stat.index(b"\n", at)])
        return Reading(cpu_ns / 1e9, float(max(0, usage - inactive)))

    def remove_all(self) -> None:
        """Removes the groups; retries for five seconds where a last process is still exiting."""
        with contextlib.suppress(OSError):
            (self._home / "cgroup.procs").write_text(str(os.getpid()))
        deadline = time.monotonic() + 5.0
        for parent in self._parents.values():
            for path in [*(parent / name for name in (*self._names, RECORDER)), parent]:
                while path.is_dir():
                    try:
                        path.rmdir()
                    except OSError:
                        if time.monotonic() > deadline:
                            break
                        time.sleep(0.05)


class ProcessTrees:
    """The fallback: a workload is the tree of processes below the ones started for it.

    CPU is utime + stime of the living plus what they have collected from their dead children;
    memory is the sum of proportional set sizes (PSS). A process that detaches from its parent would
    be lost; none of the recorded ones does.
    """

    kind = "process trees in /proc"

    def __init__(self) -> None:
        self._roots: dict[str, list[int]] = {}
        self._retired_s: dict[str, float] = {}
        self._last_s: dict[tuple[str, int], float] = {}

    def create(self, name: str) -> None:
        """Registers a workload."""
        self._roots.setdefault(name, [])
        self._retired_s.setdefault(name, 0.0)

    def wrap(self, name: str, command: Sequence[str]) -> list[str]:
        """The command as it is."""
        return list(command)

    def started(self, name: str, pid: int) -> None:
        """Adds the root of a tree."""
        self._roots[name].append(pid)

    def read(self, name: str) -> Reading:
        """Sums over all living trees of the workload, plus the last value of those that ended."""
        memory = 0.0
        cpu_s = 0.0
        for root in list(self._roots[name]):
            tree = _descendants(root)
            used = sum(_cpu_s(pid) for pid in tree)
            if not tree:
                self._retired_s[name] += self._last_s.pop((name, root), 0.0)
                self._roots[name].remove(root)
                continue
            used = max(used, self._last_s.get((name, root), 0.0))
            self._last_s[(name, root)] = used
            cpu_s += used
            memory += sum(_pss_bytes(pid) for pid in tree)
        return Reading(self._retired_s[name] + cpu_s, memory)

    def remove_all(self) -> None:
        """Nothing was created outside this process."""


def _descendants(root: int) -> list[int]:
    """The living processes of a tree, root first."""
    tree, queue = [], [root]
    while queue:
        pid = queue.pop()
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        tree.append(pid)
        queue.extend(int(child) for child in children)
    return tree


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) * _TICK_S


def _pss_bytes(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1]) * 1024
    except OSError:
        return 0.0
    return 0.0


def open_groups(parent: str) -> Groups:
    """Cgroups where they can be made, else process trees."""
    try:
        return CgroupV1(parent)
    except OSError:
        return ProcessTrees()
