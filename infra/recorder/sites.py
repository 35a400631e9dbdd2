"""Where one workload lives during a run."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from infra.recorder.catalogue import Workload


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Site:
    """Where one workload lives during a run: a private folder and a loopback port."""

    workload: Workload
    folder: Path
    run: Path
    port: int
    stop_signal: int = signal.SIGTERM

    @property
    def data(self) -> Path:
        """What counts as its storage."""
        return self.folder / "data"
