"""A private VictoriaMetrics for tests: own folder, a loopback port, Debian's program."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infra.testbed.debian import Unavailable, program
from infra.testbed.openmetrics import Series
from infra.testbed.processes import free_port, serving

__all__ = ["Series", "Unavailable", "VictoriaMetrics", "victoriametrics"]


@dataclass(frozen=True)
class VictoriaMetrics:
    """A running server; `url` is where it answers."""

    url: str

    def load(self, series: Iterable[Series]) -> None:
        """Import `series` without what is not finite, and have queries see them."""
        text = io.StringIO()
        for one in series:
            # Its JSON knows neither NaN nor infinities.
            finite = np.isfinite(one.values)
            line = {
                "metric": {"__name__": one.name, **one.labels},
                "values": one.values[finite].tolist(),
                "timestamps": [round(at_s * 1000) for at_s in one.times[finite].tolist()],
            }
            text.write(json.dumps(line) + "\n")
        self._post("/api/v1/import", text.getvalue().encode())
        self._post("/internal/force_flush", b"")
        self._post("/internal/resetRollupResultCache", b"")

    def _post(self, path: str, body: bytes) -> None:
        request = urllib.request.Request(f"{self.url}{path}", data=body, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()


@contextmanager
def victoriametrics(folder: Path) -> Iterator[VictoriaMetrics]:
    """A server over `folder` that lives as long as the context.

    Raises:
        Unavailable: it cannot be had or does not start.
    """
    server = program("victoria-metrics", "victoria-metrics")
    folder.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_port()}"
    command: list[str | Path] = [
        server,
        f"-storageDataPath={folder / 'data'}",
        f"-httpListenAddr={address}",
        "-retentionPeriod=100y",
        "-search.latencyOffset=0s",
    ]
    with serving(command, folder / "victoria-metrics.log", f"http://{address}/health"):
        yield VictoriaMetrics(f"http://{address}")
