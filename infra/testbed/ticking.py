"""A runtime that ticks in this process, on the recording, at a time that is set by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actuators.simulator import (
    ManualClock,
    SimulatedCluster,
    SimulatorActuator,
    SimulatorSource,
    open_cluster,
)
from infra.testbed.processes import free_port
from pla.crew import Crew
from pla.registry import MlflowRegistry
from pla.runtime import Runtime
from pla.settings import Settings, load
from pla.store import SqlStore
from pla.tick import Ports, TickReport


@dataclass
class Ticking:
    """A runtime whose series are served, and the simulated cluster that it acts on.

    Attributes:
        url: of its `/metrics`.
    """

    runtime: Runtime
    cluster: SimulatedCluster
    clock: ManualClock
    url: str

    def tick(self, ticks: int = 1) -> TickReport:
        """A step later, a tick, `ticks` times; the last report."""
        for _ in range(ticks):
            self.clock.move_to(self.clock.now_s() + self.runtime.settings.tick.step_s)
            self.cluster.advance(self.clock.now_s())
            report = self.runtime.tick()
        return report


@contextmanager
def ticking(home: Path, mlflow_database: Path, **metrics: Any) -> Iterator[Ticking]:
    """A runtime on the shipped recording under the baseline; it exposes what `metrics` says.

    `mlflow_database` is migrated, and may be empty.
    """
    metrics = {"host": "127.0.0.1", "port": free_port()} | metrics
    settings = Settings.model_validate(
        load().model_dump(exclude={"home", "metrics"}, exclude_unset=True)
        | {
            "home": home,
            "metrics": metrics,
            "mlflow": {"tracking_uri": f"sqlite:///{mlflow_database}"},
        }
    )
    cluster = open_cluster(
        settings.simulator.trace, step_s=settings.tick.step_s, resources=settings.resources
    )
    clock = ManualClock(cluster.now_s)
    store = SqlStore(settings.store_url, clock)
    ports = Ports(
        source=SimulatorSource(cluster, clock),
        actuators=(SimulatorActuator(cluster, clock, settings.core_tiers()),),
        store=store,
        crew=Crew(clock),
        clock=clock,
    )
    registry = MlflowRegistry(settings.mlflow_uri, cache=home / "models")
    runtime = Runtime(settings, ports, store, registry, "one")
    runtime.start_with_champion(wait_s=60.0)
    runtime.expose()
    try:
        yield Ticking(runtime, cluster, clock, f"http://127.0.0.1:{metrics['port']}/metrics")
    finally:
        runtime.close()
