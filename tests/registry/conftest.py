"""Real MLflow: a database opened directly, and a server in a process of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.testbed.mlflow import MlflowServer
from pla.ports import Forecaster
from pla.registry import DataRange, MlflowRegistry


class FixedForecaster:
    """What the bundles of these tests hold: a number, and the version they were loaded as."""

    def __init__(self, path: Path, model_version: str) -> None:
        content = json.loads((path / "bundle.json").read_text())
        self.quantiles = (0.5,)
        self.peak: float = content["peak"]
        self.model_version = model_version


@pytest.fixture(scope="session")
def file_uri(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that clients open directly."""
    copy = tmp_path_factory.mktemp("mlflow-file") / "mlflow.db"
    shutil.copy(migrated_database, copy)
    return f"sqlite:///{copy}"


@pytest.fixture(scope="session")
def server(
    migrated_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MlflowServer]:
    directory = tmp_path_factory.mktemp("mlflow-server")
    database = directory / "mlflow.db"
    shutil.copy(migrated_database, database)
    running = MlflowServer(database, directory)
    try:
        running.start()
        yield running
    finally:
        running.kill()


@pytest.fixture(params=["file", "server"])
def tracking_uri(request: pytest.FixtureRequest) -> str:
    uri: str
    if request.param == "file":
        uri = request.getfixturevalue("file_uri")
    else:
        uri = request.getfixturevalue("server").uri
    return uri


@pytest.fixture
def names(request: pytest.FixtureRequest) -> dict[str, str]:
    """A registered model and an experiment of the test's own, in the shared MLflow."""
    test = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return {"model_name": f"model-{test}", "experiment": f"experiment-{test}"}


OpenRegistry = Callable[..., MlflowRegistry]


@pytest.fixture
def open_registry(names: dict[str, str], tmp_path: Path) -> OpenRegistry:
    """A registry on the test's model; keywords replace its arguments."""

    def open_it(uri: str, **arguments: Any) -> MlflowRegistry:
        def load(path: Path, version: str) -> Forecaster:
            return FixedForecaster(path, version)  # type: ignore[return-value]

        usual: dict[str, Any] = {"cache": tmp_path / "models", "load_bundle": load, **names}
        return MlflowRegistry(uri, **(usual | arguments))

    return open_it


@pytest.fixture
def registry(open_registry: OpenRegistry, tracking_uri: str) -> MlflowRegistry:
    return open_registry(tracking_uri)


@pytest.fixture
def client(tracking_uri: str) -> Any:
    """MLflow's own client, as other people's tools use it."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[[float], Path]:
    def make(peak: float) -> Path:
        folder = tmp_path / f"trained-{peak}"
        (folder / "cpu").mkdir(parents=True)
        (folder / "bundle.json").write_text(json.dumps({"peak": peak}))
        (folder / "cpu" / "model.ubj").write_bytes(bytes(range(256)) * 40)
        return folder

    return make


@pytest.fixture
def data() -> DataRange:
    return DataRange(
        source="recording/usage.parquet",
        start_s=0.0,
        end_s=86_400.0,
        workloads=60,
        rows=1000,
        sha256="ab" * 32,
    )


@pytest.fixture
def register(
    make_bundle: Callable[[float], Path], data: DataRange
) -> Callable[[MlflowRegistry, float], str]:
    """Register a bundle that holds a number; returns its version."""

    def do(registry: MlflowRegistry, peak: float) -> str:
        return registry.register(
            make_bundle(peak), params={"rounds": 100}, metrics={"excess": peak}, data=data
        )

    return do
