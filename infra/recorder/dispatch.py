"""What happens on schedule: job launches, deploys, restarts, and reviving what has died."""

from __future__ import annotations

import random
import re
import threading
import time
from pathlib import Path

from infra.recorder.catalogue import Event
from infra.recorder.clock import Clock
from infra.recorder.fleet import Fleet
from infra.recorder.rates import BIN_TRACE_S, Demand
from infra.recorder.service import TICK_S, ArrivalCounter, poisson

REVIVE_S = 1.0
SIZES = ("s",) * 6 + ("m",) * 3 + ("l",)


class Jobs(threading.Thread):
    """Tells the job agents when to start which command."""

    def __init__(
        self,
        fleet: Fleet,
        demands: dict[str, Demand],
        clock: Clock,
        spool: Path,
        seed: int,
        stop: threading.Event,
    ) -> None:
        super().__init__(name="jobs", daemon=True)
        self._fleet, self._clock, self._stop_event = fleet, clock, stop
        self._demands = {n: d for n, d in demands.items() if fleet.sites[n].workload.kind == "job"}
        self._rng = random.Random(f"{seed}-jobs")
        self._due = {n: d.launches.cumsum() for n, d in self._demands.items()}
        self._counters = {
            n: ArrivalCounter(
                str(spool / f"arrivals-{n}.csv") if fleet.sites[n].workload.pool else None, n
            )
            for n in self._demands
        }
        self.dropped = 0

    def run(self) -> None:
        """An absolute schedule of 0.1 s ticks; cron launches are exact, the others Poisson."""
        last, next_s = -1, self._clock.t0_s
        while not self._stop_event.wait(max(0.0, next_s - time.monotonic())):
            index = int((next_s - self._clock.t0_s) * self._clock.stretch / BIN_TRACE_S)
            for name, demand in self._demands.items():
                if index >= len(demand.rate):
                    return
                exact = int(self._due[name][index] - (self._due[name][last] if last >= 0 else 0))
                count = exact + poisson(self._rng, float(demand.rate[index]) * TICK_S)
                self._counters[name].add(index, sum(self._launch(name) for _ in range(count)))
            last = index
            next_s += TICK_S

    def _launch(self, name: str) -> bool:
        site = self._fleet.sites[name]
        line = str(self._fleet.options(name)["command"]).replace("{corpus}", f"{site.run}/corpus")
        line = line.replace("{size}", self._rng.choice(SIZES))
        line = re.sub(r"\{socket:([\w-]+)\}", rf"{site.run}/\1", line)
        launched = self._fleet.launch(site.workload, line)
        self.dropped += not launched
        return launched


class Schedule(threading.Thread):
    """Carries out deploys and restarts in their order and revives the dead once a second."""

    def __init__(self, fleet: Fleet, clock: Clock, stop: threading.Event) -> None:
        super().__init__(name="schedule", daemon=True)
        self._fleet, self._clock, self._stop_event = fleet, clock, stop
        self._events: list[tuple[float, str, Event]] = sorted(
            (
                (clock.real_s(event.day), name, event)
                for name, site in fleet.sites.items()
                for event in site.workload.events
            ),
            key=lambda due: due[:2],
        )

    def run(self) -> None:
        """Runs until stopped."""
        while not self._stop_event.wait(REVIVE_S):
            now_s = time.monotonic() - self._clock.t0_s
            while self._events and self._events[0][0] <= now_s:
                _, name, event = self._events.pop(0)
                self._fleet.apply(name, event)
            self._fleet.revive()
