"""A runtime on real parts: MLflow, SQLite, and the simulated cluster, whose time is set by hand."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actuators.simulator import ClusterOptions, SimulatorActuator, SimulatorSource, open_cluster
from actuators.simulator.applied import AppliedResize
from infra.testbed import usage_trace
from infra.testbed.mlflow import MlflowServer
from pla.core.fleet import UsageBlock
from pla.crew import Crew
from pla.forecasting.bundle import Bundle
from pla.ports import Decision, Override
from pla.registry import DataRange, MlflowRegistry
from pla.runtime import Runtime
from pla.settings import Settings
from pla.store import SqlStore
from pla.tick import Ports, StepWrapper, TickReport, run_step
from pla.training.dataset import build
from pla.training.fit import fit

STEP_S = 300
START_S = 1_700_006_400 // 86_400 * 86_400
STEPS = 3 * 288
RESOURCES = ("cpu", "memory")
DATA = DataRange("a trace", float(START_S), float(START_S + 1), 12, 100, "ab" * 32)


def _usage() -> Any:
    """Three days of twelve restless workloads, shape (step, resource, workload)."""
    random = np.random.default_rng(3)
    level = 0.2 * (1 + np.arange(12))
    wave = 1.3 + np.sin(2 * np.pi * np.arange(STEPS) / 48)
    noise = random.gamma(8.0, 1 / 8, (STEPS, 12))
    cpu = level * wave[:, None] * noise
    memory = 2e8 * level * (wave[:, None] + 0.05 * noise)
    return np.stack([cpu, memory], axis=1).astype(np.float32)


@pytest.fixture(scope="session")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "usage.parquet"
    usage_trace.write(path, [f"w{row:02d}" for row in range(12)], _usage(), START_S, STEP_S)
    return path


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """A small model of the trace's first two days."""
    values = _usage()[:576]
    none = np.zeros(values.shape, dtype=np.bool_)
    block = UsageBlock(values, none, none[:, 0], START_S + 576 * STEP_S, STEP_S)
    dataset = build(block, RESOURCES, 0, STEP_S)
    return fit(dataset, (0.5, 0.95, 0.99), rounds=10, threads=1)


class HandClock:
    """Wall time is set by hand; the monotonic clock, by which leases end, is the machine's."""

    def __init__(self, now_s: float) -> None:
        self.wall_s = now_s

    def now_s(self) -> float:
        return self.wall_s

    def monotonic_s(self) -> float:
        return time.monotonic()


def let_the_watch_finish() -> None:
    """Ticks come seconds apart: by then a look at the registry has ended."""
    for thread in threading.enumerate():
        if thread.name == "champion-watch":
            thread.join(60)


@dataclass
class World:
    """A platform, a store and a registry, and the runtimes that work on them.

    Attributes:
        home: of every runtime; `store_url` and `mlflow_uri` are the next runtime's.
        journal: every resize that took effect on the platform.
    """

    home: Path
    trace: Path
    store_url: str
    mlflow_uri: str
    journal: list[AppliedResize] = field(default_factory=list)
    on_resize: Callable[[], None] | None = None
    runtimes: list[Runtime] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = HandClock(float(START_S + 576 * STEP_S))
        self.cluster = open_cluster(
            self.trace,
            step_s=STEP_S,
            start_s=int(self.clock.wall_s),
            options=ClusterOptions(lead_s=0.0, node_headroom=4.0),
            journal=self._applied,
        )

    def settings(self, **sections: Any) -> Settings:
        tick = {"interval_s": STEP_S, "step_s": STEP_S, "stale_after_s": 900, "lease_ttl_s": 300}
        tree: dict[str, Any] = {
            "home": self.home,
            "resources": RESOURCES,
            "tick": tick | sections.pop("tick", {}),
            "store": {"url": self.store_url},
            "mlflow": {"tracking_uri": self.mlflow_uri},
        }
        return Settings.model_validate(tree | sections)

    def open(self, holder: str = "one", wait_s: float = 60.0, **sections: Any) -> Runtime:
        """A runtime, as `Runtime.open` puts it together, on the cluster in this process."""
        settings = self.settings(**sections)
        tiers = settings.core_tiers()
        store = SqlStore(settings.store_url, self.clock)
        ports = Ports(
            source=SimulatorSource(self.cluster, self.clock),
            actuators=(SimulatorActuator(self.cluster, self.clock, tiers),),
            store=store,
            crew=Crew(self.clock),
            clock=self.clock,
        )
        runtime = Runtime(settings, ports, store, self.registry(settings), holder)
        runtime.start_with_champion(wait_s)
        let_the_watch_finish()
        self.runtimes.append(runtime)
        return runtime

    def registry(self, settings: Settings | None = None) -> MlflowRegistry:
        uri = self.mlflow_uri if settings is None else settings.mlflow_uri
        return MlflowRegistry(uri, cache=self.home / "models")

    def tick(self, runtime: Runtime, step: StepWrapper = run_step) -> TickReport:
        """A step later, a tick."""
        self.clock.wall_s += STEP_S
        report = runtime.tick(step)
        let_the_watch_finish()
        return report

    def amounts(self) -> Any:
        """What is in force on the platform, shape (instance, resource)."""
        return self.cluster.current().copy()

    def decisions(self) -> list[Decision]:
        """Everything on record, newest first."""
        with SqlStore(self.store_url, self.clock) as store:
            return store.decisions(None, 10_000)

    def overrides(self) -> list[Override]:
        """Those in force now."""
        with SqlStore(self.store_url, self.clock) as store:
            return store.overrides(self.clock.now_s())

    def _applied(self, resizes: Sequence[AppliedResize]) -> None:
        self.journal.extend(resizes)
        if self.on_resize is not None:
            self.on_resize()


@pytest.fixture
def world(tmp_path: Path, trace: Path, migrated_database: Path) -> Iterator[World]:
    """Runtimes at which `mlflow_uri` is a database of the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(migrated_database, home / "mlflow.db")
    store_url = f"sqlite:///{home / 'store.db'}"
    made = World(home, trace, store_url, f"sqlite:///{home / 'mlflow.db'}")
    yield made
    let_the_watch_finish()
    for runtime in made.runtimes:
        runtime.close()


@pytest.fixture
def server(migrated_database: Path, tmp_path: Path) -> Iterator[MlflowServer]:
    """A real MLflow server of the test's own, which it may kill and start."""
    directory = tmp_path / "mlflow-server"
    directory.mkdir()
    shutil.copy(migrated_database, directory / "mlflow.db")
    running = MlflowServer(directory / "mlflow.db", directory)
    try:
        running.start()
        yield running
    finally:
        running.kill()


Register = Callable[..., str]


@pytest.fixture
def register(bundle: Bundle, tmp_path: Path) -> Register:
    """`register(world, spoil=..., **fields)`: the bundle, with other fields; its version.

    `spoil` changes the bundle's folder before it is registered.
    """

    def do(world: World, spoil: Callable[[Path], None] | None = None, **fields: Any) -> str:
        folder = tmp_path / "trained"
        dataclasses.replace(bundle, **fields).save(folder)
        if spoil is not None:
            spoil(folder)
        return world.registry().register(folder, params={}, metrics={}, data=DATA)

    return do


@pytest.fixture
def artifacts() -> Callable[[World, str], Path]:
    """`artifacts(world, version)`: the registered bundle's folder in the artifact store."""

    def find(world: World, version: str) -> Path:
        from mlflow import MlflowClient

        client = MlflowClient(world.mlflow_uri, world.mlflow_uri)
        run_id = client.get_model_version("pla-forecaster", version).run_id
        assert run_id is not None
        uri = str(client.get_run(run_id).info.artifact_uri)
        return Path(uri.removeprefix("file://")) / "bundle"

    return find
