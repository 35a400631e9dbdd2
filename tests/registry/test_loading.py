"""Loading: download, cache, damage, and an MLflow that is away."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pla.ports import RegistryError
from pla.registry import MlflowRegistry

pytestmark = pytest.mark.mlflow


def peak(registry: MlflowRegistry, version: str) -> Any:
    forecaster: Any = registry.load(version)
    assert forecaster.model_version == version
    return forecaster.peak


def destroy_artifacts(client: Any, names: dict[str, str], version: str) -> Path:
    """The bundle's folder in a store of plain files; it is moved away."""
    run_id = client.get_model_version(names["model_name"], version).run_id
    folder = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://")) / "bundle"
    return Path(shutil.move(folder, folder.with_name("moved")))


def test_a_bundle_is_downloaded_into_the_cache(
    registry: MlflowRegistry, register: Any, tmp_path: Path
) -> None:
    version = register(registry, 1.5)
    assert peak(registry, version) == 1.5
    files = {p.name for p in (tmp_path / "models" / version / "bundle").rglob("*") if p.is_file()}
    assert files == {"bundle.json", "model.ubj"}
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [version]


@pytest.mark.parametrize("tracking_uri", ["file"], indirect=True)
def test_a_cached_bundle_is_not_downloaded_again(
    registry: MlflowRegistry, register: Any, client: Any, names: dict[str, str]
) -> None:
    version = register(registry, 1.5)
    registry.load(version)
    destroy_artifacts(client, names, version)
    assert peak(registry, version) == 1.5


@pytest.mark.faults
def test_a_damaged_cache_is_replaced(
    registry: MlflowRegistry, register: Any, tmp_path: Path
) -> None:
    version = register(registry, 1.5)
    registry.load(version)
    cached = tmp_path / "models" / version / "bundle" / "bundle.json"
    cached.write_text('{"peak": 666}')
    assert peak(registry, version) == 1.5
    shutil.rmtree(cached.parent)
    assert peak(registry, version) == 1.5


@pytest.mark.faults
@pytest.mark.parametrize("tracking_uri", ["file"], indirect=True)
def test_a_damaged_download_is_refused(
    registry: MlflowRegistry, register: Any, client: Any, names: dict[str, str], tmp_path: Path
) -> None:
    version = register(registry, 1.5)
    moved = destroy_artifacts(client, names, version)
    with pytest.raises(RegistryError, match=f"downloading version {version}"):
        registry.load(version)
    (moved / "cpu" / "model.ubj").write_bytes(b"cut off")
    moved.rename(moved.with_name("bundle"))
    with pytest.raises(RegistryError, match=f"version {version} .* arrived damaged: its checksum"):
        registry.load(version)
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("tracking_uri", ["file"], indirect=True)
def test_a_bundle_this_code_cannot_use(
    open_registry: Any, tracking_uri: str, register: Any, tmp_path: Path
) -> None:
    def refuse(path: Path, version: str) -> Any:
        raise KeyError("quantiles")

    registry = open_registry(tracking_uri, load_bundle=refuse)
    version = register(registry, 1.5)
    words = rf"version {version} .*models/{version}/bundle\) cannot be used: KeyError: 'quantiles'"
    with pytest.raises(RegistryError, match=words):
        registry.load(version)


@pytest.mark.parametrize("tracking_uri", ["file"], indirect=True)
def test_the_same_number_of_another_registration_is_another_bundle(
    open_registry: Any, tracking_uri: str, register: Any
) -> None:
    here = open_registry(tracking_uri)
    there = open_registry(tracking_uri, model_name="set-up-anew")
    assert register(here, 1.0) == register(there, 2.0) == "1"
    assert peak(here, "1") == 1.0
    assert peak(there, "1") == 2.0  # from the same cache directory
    assert peak(here, "1") == 1.0


@pytest.mark.parametrize("tracking_uri", ["file"], indirect=True)
def test_a_version_registered_by_other_means_is_loaded(
    registry: MlflowRegistry, register: Any, make_bundle: Any, client: Any, names: dict[str, str]
) -> None:
    register(registry, 1.0)
    by_hand = client.create_model_version(names["model_name"], str(make_bundle(4.0)))
    assert peak(registry, str(by_hand.version)) == 4.0


@pytest.mark.faults
@pytest.mark.parametrize("tracking_uri", ["server"], indirect=True)
def test_a_server_that_dies_while_polled_and_comes_back(
    registry: MlflowRegistry, open_registry: Any, register: Any, server: Any, tmp_path: Path
) -> None:
    first, second = register(registry, 1.0), register(registry, 2.0)
    registry.promote(first, by="gate")
    registry.load(first)
    server.kill()
    try:
        words = rf"MLflow at {server.uri} does not answer .*check that it runs"
        with pytest.raises(RegistryError, match=words):
            registry.champion_version()
        with pytest.raises(RegistryError, match=words):
            registry.promote(second, by="ada")
        assert peak(registry, first) == 1.0  # from the cache
        restarted = open_registry(server.uri)  # a new process's registry has the cache, too
        assert peak(restarted, first) == 1.0
        with pytest.raises(RegistryError, match=words):
            registry.load(second)
    finally:
        server.start()
    assert registry.champion_version() == first
    assert peak(registry, second) == 2.0


@pytest.mark.faults
def test_a_server_that_accepts_and_is_silent(
    open_registry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = open_registry(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(RegistryError, match="does not answer"):
            registry.champion_version()


@pytest.mark.faults
def test_a_database_that_is_none(open_registry: Any, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("# notes\n" * 1000)
    with pytest.raises(RegistryError, match=rf"MLflow at sqlite:///{path} .*not a database"):
        open_registry(f"sqlite:///{path}").champion_version()


FIRST_CALLS = """
import os, sys, threading
from pathlib import Path
from pla.registry import MlflowRegistry
assert "mlflow" not in sys.modules, "importing pla.registry must be cheap"
registry = MlflowRegistry(sys.argv[1], cache=Path(sys.argv[2]))
answers = []
def ask(): answers.append(registry.champion_version())
threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
limits = [os.environ["MLFLOW_HTTP_REQUEST_" + name] for name in ("TIMEOUT", "MAX_RETRIES")]
print(answers, *limits)
"""


def test_first_calls_from_several_threads(file_uri: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CALLS, file_uri, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[None, None, None, None] 10 1"
