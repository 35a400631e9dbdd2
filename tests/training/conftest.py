"""A platform with two days of history, an MLflow database, and what a first retraining left."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.testbed import usage_trace
from infra.testbed.simulator import served
from pla.core.fleet import UsageBlock
from pla.forecasting.bundle import Bundle
from pla.registry import DataRange, MlflowRegistry
from pla.settings import Settings
from pla.training import retrain
from pla.training.dataset import build
from pla.training.fit import fit

STEP_S = 300
START_S = 1_700_006_400 // 86_400 * 86_400
STEPS, WORKLOADS = 2 * 288, 32
RESOURCES = ("cpu", "memory")
END_S = START_S + STEPS * STEP_S


def usage() -> Any:
    """Two days of steep waves of two hours, which lags tell and a maximum is late or dear for."""
    random = np.random.default_rng(11)
    level = 0.5 * 10.0 ** random.uniform(-0.5, 0.5, WORKLOADS)
    phase = random.integers(0, 24, WORKLOADS)
    saw = (np.arange(STEPS)[:, None] + phase) % 24 / 24
    noise = 1 + 0.02 * random.standard_normal((STEPS, WORKLOADS))
    cpu = level * (0.3 + 2 * saw) * noise
    return np.stack([cpu, 3e8 * cpu], axis=1).astype(np.float32)


@dataclass
class World:
    """A platform with two days of history, and an MLflow database.

    Attributes:
        tree: pla.yaml.
        said: progress of the newest retraining.
    """

    tree: dict[str, Any]
    said: list[str] = field(default_factory=list)

    def settings(self, **sections: Any) -> Settings:
        changed = {name: self.tree[name] | keys for name, keys in sections.items()}
        return Settings.model_validate(self.tree | changed)

    def retrain(self, reason: str = "test", **sections: Any) -> retrain.RetrainReport:
        self.said.clear()
        return retrain.run(self.settings(**sections), reason, self.said.append)

    @property
    def registry(self) -> MlflowRegistry:
        return MlflowRegistry(
            self.tree["mlflow"]["tracking_uri"],
            "forecaster",
            cache=Path(self.tree["home"]) / "models",
            experiment="training",
        )

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        uri = self.tree["mlflow"]["tracking_uri"]
        return MlflowClient(uri, uri)

    def aliases(self) -> dict[str, str]:
        found = self.client.get_registered_model("forecaster").aliases
        return {alias: str(version) for alias, version in found.items()}

    def bundle_files(self, version: str) -> Path:
        run = self.client.get_run(self.client.get_model_version("forecaster", version).run_id)
        return Path(run.info.artifact_uri.removeprefix("file://")) / "bundle"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster whose clock stands at the trace's end."""
    path = tmp_path_factory.mktemp("trace") / "usage.parquet"
    names = [f"w{row:02d}" for row in range(WORKLOADS)]
    usage_trace.write(path, names, usage(), START_S, STEP_S)
    with served(path, STEP_S, END_S) as url:
        yield url


@pytest.fixture(scope="module")
def before_holdout() -> UsageBlock:
    """What the platform's workloads used before the last half day."""
    return block(usage()[: STEPS - 144], END_S - 144 * STEP_S)


def block(values: Any, end_s: int) -> UsageBlock:
    none = np.zeros(values.shape, dtype=np.bool_)
    return UsageBlock(values, none, none[:, 0], end_s, STEP_S)


def make_world(folder: Path, migrated_database: Path, platform: str) -> World:
    shutil.copy(migrated_database, folder / "mlflow.db")
    return World(
        {
            "home": str(folder),
            "resources": RESOURCES,
            "tick": {"interval_s": STEP_S, "step_s": STEP_S, "stale_after_s": 900},
            "simulator": {"enabled": True, "url": platform},
            "retrain": {
                "history_days": 2,
                "holdout_days": 0.5,
                "rounds": 30,
                "threads": 1,
                "minimum_history_hours": 24,
            },
            "mlflow": {
                "tracking_uri": f"sqlite:///{folder / 'mlflow.db'}",
                "model_name": "forecaster",
                "experiment": "training",
            },
        }
    )


@pytest.fixture(scope="module")
def trained(
    migrated_database: Path, platform: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[World, retrain.RetrainReport]:
    """A world after its first retraining."""
    world = make_world(tmp_path_factory.mktemp("first"), migrated_database, platform)
    return world, world.retrain("no champion yet")


@pytest.fixture
def world(trained: tuple[World, retrain.RetrainReport], tmp_path: Path, platform: str) -> World:
    """A copy of the world after its first retraining, to do with as one likes."""
    home = Path(trained[0].tree["home"])
    # The artifacts stay where the run says they are: tests that harm them use another run's.
    return make_world(tmp_path, home / "mlflow.db", platform)


@pytest.fixture(scope="module")
def poor() -> Bundle:
    """A model that has learnt one round of noise."""
    random = np.random.default_rng(0)
    values = (0.5 + random.random((STEPS, 2, WORKLOADS))).astype(np.float32)
    return fit(build(block(values, END_S), RESOURCES, 0, STEP_S), rounds=1, threads=1)


@pytest.fixture
def promote(poor: Bundle, tmp_path: Path) -> Callable[..., str]:
    """`promote(world, **fields)`: make the poor model, with other fields, champion by hand."""

    def do(world: World, **fields: Any) -> str:
        dataclasses.replace(poor, **fields).save(tmp_path / "poor")
        data = DataRange("noise", float(START_S), float(END_S), WORKLOADS, 1, "0" * 64)
        version = world.registry.register(tmp_path / "poor", params={}, metrics={}, data=data)
        world.registry.promote(version, by="ada")
        return version

    return do
