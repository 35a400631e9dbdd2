"""The simulated cluster behind its real HTTP interface, in a thread, at a time that stands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actuators.simulator import ManualClock, open_cluster
from actuators.simulator.server import SimulatorServer


@contextmanager
def served(trace: Path, step_s: int, now_s: int) -> Iterator[str]:
    """The address of a cluster whose history is `trace` before `now_s` [epoch s]."""
    cluster = open_cluster(trace, step_s=step_s, start_s=now_s)
    server = SimulatorServer(cluster, ManualClock(float(now_s)))
    thread = threading.Thread(target=server.serve, name="simulator", daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.stop()
        thread.join(30)
