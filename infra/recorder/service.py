"""A service that does real work per request, at the Poisson arrivals its rate file asks for.

Usage: python -m infra.recorder.service SPEC.json, where SPEC holds: name, work, cost (units of work
per request), rates (path of raw float32, one per bin), bin_s, t0_monotonic_s, data (its folder),
memory (see `Memory`), arrivals (path or null).
"""

from __future__ import annotations

import collections
import json
import math
import random
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from infra.recorder import work

TICK_S = 0.1
LATEST_S = 3.0  # requests that are later than this are dropped, as a load balancer's queue would
EXIT_FULL = 3


class Memory:
    """What it keeps: `base_mb` from the start, `per_request_kb` for `ttl_s` or up to `cap_mb`.

    `at_cap` is `evict` (a cache: the oldest go), or `exit` (a leak: it dies and is restarted).
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._base = bytearray(b"\1") * int(spec.get("base_mb", 0) * 2**20)
        self._per_request = int(spec.get("per_request_kb", 0) * 1024)
        self._ttl_s = float(spec.get("ttl_s", 0) or math.inf)
        self._cap = int(spec.get("cap_mb", 64) * 2**20)
        self._exits = spec.get("at_cap") == "exit"
        self._kept: collections.deque[tuple[float, bytearray]] = collections.deque()
        self._size = 0

    def keep(self, now_s: float, requests: int) -> None:
        """Keeps the state of new requests, drops the old; the blocks are large and get unmapped."""
        size = self._per_request * requests
        if size:
            self._kept.append((now_s, bytearray(b"\1") * size))
            self._size += size
        while self._kept and (
            self._kept[0][0] < now_s - self._ttl_s or (self._size > self._cap and not self._exits)
        ):
            self._size -= len(self._kept.popleft()[1])
        if self._size > self._cap and self._exits:
            sys.exit(EXIT_FULL)


def poisson(rng: random.Random, mean: float) -> int:
    """A Poisson count: exact below 30, rounded normal above."""
    if mean <= 0:
        return 0
    if mean > 30:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def read_rates(path: Path) -> array[float]:
    """Rates per real second, one per bin."""
    rates = array("f")
    rates.frombytes(path.read_bytes())
    return rates


class ArrivalCounter:
    """Appends `bin,name,count` lines for served requests, one line per finished bin."""

    def __init__(self, path: str | None, name: str) -> None:
        self._file = Path(path).open("a", buffering=1) if path else None  # noqa: SIM115
        self._name, self._bin, self._count = name, -1, 0

    def add(self, bin_index: int, count: int) -> None:
        """Counts `count` requests served in a bin; bins never go backwards."""
        if bin_index != self._bin:
            if self._file and self._count:
                self._file.write(f"{self._bin},{self._name},{self._count}\n")
            self._bin, self._count = bin_index, 0
        self._count += count


def serve(spec: dict[str, Any]) -> None:
    """Serves until killed or the rates end, on an absolute schedule of 0.1 s ticks."""
    rng = random.Random(f"{spec['name']}-{spec.get('seed', 0)}-{spec.get('start', 0)}")
    unit = work.KINDS[spec["work"]](Path(spec["data"]), rng).unit
    memory, counter = Memory(spec["memory"]), ArrivalCounter(spec["arrivals"], spec["name"])
    rates, bin_s, t0, cost = (
        read_rates(Path(spec["rates"])),
        spec["bin_s"],
        spec["t0_monotonic_s"],
        spec["cost"],
    )
    next_s = time.monotonic()
    while True:
        next_s += TICK_S
        now_s = time.monotonic()
        if now_s < next_s:
            time.sleep(next_s - now_s)
        elif now_s - next_s > LATEST_S:
            next_s = now_s
        bin_index = int((next_s - t0) / bin_s) if next_s >= t0 else 0
        if bin_index >= len(rates):
            return
        requests = poisson(rng, rates[bin_index] * TICK_S)
        for _ in range(requests):
            units = cost * rng.lognormvariate(-0.125, 0.5)
            for _ in range(int(units) + (rng.random() < units % 1)):
                unit()
        memory.keep(next_s, requests)
        if next_s >= t0:
            counter.add(bin_index, requests)


if __name__ == "__main__":
    serve(json.loads(Path(sys.argv[1]).read_text()))
