"""Reads every group once per sample interval on an absolute schedule; appends to the spool."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.recorder.cgroups import Groups, Reading
from infra.recorder.clock import Clock

# A sample later than this share of its interval is missing; its reading starts the next interval.
LATE_SHARE = 0.15
STORAGE_EVERY = 10
LOADGEN = "load-generator"  # a group of its own, not part of the trace


def folder_bytes(folder: Path) -> int:
    """Bytes allocated below a folder; files that vanish meanwhile do not count."""
    total, queue = 0, [str(folder)]
    while queue:
        try:
            with os.scandir(queue.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        queue.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def host_ticks() -> list[int]:
    """The machine's clock ticks so far: user, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


class Sampler:
    """Appends one JSON line per sample: its number, lateness, and per workload cores and bytes."""

    def __init__(
        self,
        groups: Groups,
        names: Sequence[str],
        storage: Mapping[str, Path],
        clock: Clock,
        spool: Path,
    ) -> None:
        self._groups, self._names, self._storage, self._clock = groups, names, storage, clock
        self._spool = spool / "samples.jsonl"
        self.missed = 0

    def run(self, stop: threading.Event) -> int:
        """Samples until the end or until stopped; returns the number of the last sample."""
        k, clock = 0, self._clock
        stop.wait(max(0.0, clock.t0_s - time.monotonic()))
        previous = self._read()
        with self._spool.open("a", buffering=1) as spool:
            while k < clock.samples and not stop.is_set():
                k += 1
                due_s = clock.t0_s + k * clock.sample_s
                if stop.wait(max(0.0, due_s - time.monotonic())):
                    return k - 1
                late_s = time.monotonic() - due_s
                if late_s > clock.sample_s:  # whole intervals were slept through
                    k += int(late_s / clock.sample_s)
                now = self._read()
                if late_s > LATE_SHARE * clock.sample_s:
                    self.missed += 1
                    spool.write(
                        json.dumps({"k": k, "late_s": round(late_s, 4), "missed": True}) + "\n"
                    )
                else:
                    spool.write(self._line(k, late_s, previous, now))
                previous = now
        return k

    def _read(self) -> list[tuple[float, Reading]]:
        return [(time.monotonic(), self._groups.read(name)) for name in self._names]

    def _load_cpu_s(self) -> float:
        """CPU seconds of the load generator, which is no part of the trace."""
        return round(self._groups.read(LOADGEN).cpu_s, 4)

    def _line(
        self,
        k: int,
        late_s: float,
        previous: list[tuple[float, Reading]],
        now: list[tuple[float, Reading]],
    ) -> str:
        cores = [
            round(max(0.0, b.cpu_s - a.cpu_s) / (tb - ta), 7)
            for (ta, a), (tb, b) in zip(previous, now, strict=True)
        ]
        storage = {
            name: folder_bytes(folder)
            for i, (name, folder) in enumerate(self._storage.items())
            if (k + i) % STORAGE_EVERY == 0
        }
        line = {
            "k": k,
            "late_s": round(late_s, 4),
            "cpu_cores": cores,
            "memory_bytes": [int(r.memory_bytes) for _, r in now],
            "storage_bytes": storage,
            "load_generator_cpu_s": self._load_cpu_s(),
            "host_ticks": host_ticks(),
        }
        return json.dumps(line, separators=(",", ":")) + "\n"
