"""The load generator: one program, in a group of its own, sends real requests to the servers.

Usage: python -m infra.recorder.loadgen SPEC.json. One thread per server keeps an absolute schedule
of 0.1 s ticks and sends a Poisson number of requests in each. PostgreSQL gets pgbench at `-R` the
current rate, a new run every four seconds.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from infra.recorder.loadclients import CLIENTS, Client
from infra.recorder.service import LATEST_S, TICK_S, ArrivalCounter, poisson, read_rates

PGBENCH_S = 4
RECONNECT_S = 0.3


class ByteCounter:
    """Appends `sample,name,received,sent` per sample interval; bytes as the client counts them."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file, self._name = file, name
        self._sample, self._received, self._sent = -1, 0, 0

    def add(self, sample: int, received: int, sent: int) -> None:
        """Counts into sample interval `sample` (the sample at its end)."""
        if sample != self._sample:
            if self._sample >= 0:
                self._file.write(f"{self._sample},{self._name},{self._received},{self._sent}\n")
            self._sample, self._received, self._sent = sample, 0, 0
        self._received += received
        self._sent += sent


class Target:
    """One server under load."""

    def __init__(self, target: dict[str, Any], spec: dict[str, Any], net: TextIO) -> None:
        self._target, self._spec = target, spec
        self._rng = random.Random(f"{spec['seed']}-load-{target['name']}")
        self._rates = read_rates(Path(target["rates"]))
        self._arrivals = ArrivalCounter(target["arrivals"], target["name"])
        self._bytes = ByteCounter(net, target["name"])
        self._client: Client | None = None

    def rate(self, at_s: float) -> float | None:
        """Requests per real second at a monotonic time; None after the end."""
        index = max(0, int((at_s - self._spec["t0_monotonic_s"]) / self._spec["bin_s"]))
        return self._rates[index] if index < len(self._rates) else None

    def run(self) -> None:
        """Sends until the rates end. Requests later than three seconds are dropped."""
        t0, next_s = self._spec["t0_monotonic_s"], time.monotonic()
        while True:
            next_s += TICK_S
            now_s = time.monotonic()
            if now_s < next_s:
                time.sleep(next_s - now_s)
            elif now_s - next_s > LATEST_S:
                next_s = now_s
            rate = self.rate(next_s)
            if rate is None:
                return
            served, received, sent = self._send(poisson(self._rng, rate * TICK_S))
            if next_s >= t0:
                self._arrivals.add(int((next_s - t0) / self._spec["bin_s"]), served)
                self._bytes.add(int((next_s - t0) / self._spec["sample_s"]) + 1, received, sent)

    def _send(self, requests: int) -> tuple[int, int, int]:
        served = received = sent = 0
        for _ in range(requests):
            try:
                if self._client is None:
                    self._client = CLIENTS[self._target["kind"]](self._target, self._rng)
                got, gave = self._client.request()
            except OSError:
                if self._client is not None:
                    self._client.close()
                self._client = None
                time.sleep(RECONNECT_S)
                break
            served, received, sent = served + 1, received + got, sent + gave
        return served, received, sent


class Database(Target):
    """A PostgreSQL server under pgbench; a deploy may replace the script while it runs."""

    def run(self) -> None:
        """One pgbench run after the other, until the rates end."""
        next_s = time.monotonic()
        while True:
            rate = self.rate(next_s)
            if rate is None:
                return
            if rate >= 0.05:
                self._pgbench(rate)
            next_s = max(next_s + PGBENCH_S, time.monotonic())
            time.sleep(max(0.0, next_s - time.monotonic()))

    def _pgbench(self, rate: float) -> None:
        script = Path(self._target["script"]).read_text()
        chosen = (
            ["-f", str(Path(self._target["scripts"]) / f"{script}.sql")]
            if script.startswith("report")
            else ["-b", script]
        )
        command = [
            self._target["pgbench"],
            "-h",
            self._target["socket"],
            "-U",
            "postgres",
            "-n",
            "-c",
            "2",
            "-j",
            "1",
            "-M",
            "prepared",
            "-T",
            str(PGBENCH_S),
            "-R",
            f"{rate:.3f}",
            "-s",
            str(self._target["scale"]),
            *chosen,
            "postgres",
        ]
        subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False
        )


def main(spec: dict[str, Any]) -> None:
    """Runs one thread per target until all rates end."""
    with Path(spec["net"]).open("a", buffering=1) as net:
        targets = [
            (Database if t["kind"] == "postgres" else Target)(t, spec, net) for t in spec["targets"]
        ]
        threads = [threading.Thread(target=target.run) for target in targets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
