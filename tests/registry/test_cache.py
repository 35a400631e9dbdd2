"""The cache of bundles on disk, without MLflow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pla.ports import RegistryError
from pla.registry.cache import KEEP, BundleCache, Origin, checksum
from pla.registry.connection import without_password


@pytest.fixture
def cache(tmp_path: Path) -> BundleCache:
    return BundleCache(tmp_path / "models")


def origin(version: str) -> Origin:
    return Origin(model="m", version=version, run_id="r", created_ms=1)


def entries(cache: BundleCache) -> set[str]:
    return {entry.name for entry in cache.directory.iterdir()}


def fetch(content: str) -> Callable[[Path], Path]:
    def download(directory: Path) -> Path:
        folder = directory / "bundle"
        folder.mkdir()
        (folder / "a").write_text(content)
        return folder

    return download


def test_the_checksum_is_that_of_what_sha256sum_prints(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_text("2")
    (tmp_path / "a").write_text("1")
    printed = "".join(
        f"{hashlib.sha256(text).hexdigest()}  {name}\n"
        for name, text in [("a", b"1"), ("sub/b", b"2")]
    )
    assert checksum(tmp_path) == hashlib.sha256(printed.encode()).hexdigest()


def test_what_was_put_is_found_again(cache: BundleCache) -> None:
    assert cache.find("1") is None
    put = cache.put(origin("1"), None, fetch("x"))
    assert cache.find("1") == put
    assert (put.path / "a").read_text() == "x"


def test_putting_again_replaces_it_whole(cache: BundleCache) -> None:
    cache.put(origin("1"), None, fetch("x"))
    put = cache.put(origin("1"), None, fetch("y"))
    assert (put.path / "a").read_text() == "y"
    assert entries(cache) == {"1"}


def test_a_failing_download_leaves_the_former_one(cache: BundleCache) -> None:
    cache.put(origin("1"), None, fetch("x"))

    def broken(directory: Path) -> Path:
        (directory / "half").write_text("x")
        raise RegistryError("connection lost")

    with pytest.raises(RegistryError, match="connection lost"):
        cache.put(origin("1"), None, broken)
    with pytest.raises(RegistryError, match="arrived damaged"):
        cache.put(origin("1"), "0" * 64, fetch("y"))
    found = cache.find("1")
    assert found is not None
    assert (found.path / "a").read_text() == "x"
    assert entries(cache) == {"1"}


@pytest.mark.parametrize("damage", ["bundle/a", "origin.json"])
def test_damage_is_noticed(cache: BundleCache, damage: str) -> None:
    cache.put(origin("1"), None, fetch("x"))
    (cache.directory / "1" / damage).write_text("{}")
    assert cache.find("1") is None


def test_a_file_too_many_is_damage(cache: BundleCache) -> None:
    put = cache.put(origin("1"), None, fetch("x"))
    (put.path / "b").write_text("")
    assert cache.find("1") is None


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = BundleCache(tmp_path / "file" / "models")
    with pytest.raises(RegistryError, match="models: model version 1 cannot be kept there"):
        cache.put(origin("1"), None, fetch("x"))


def test_the_least_recently_used_go(cache: BundleCache) -> None:
    for number in range(KEEP):
        cache.put(origin(str(number)), None, fetch("x"))
        os.utime(cache.directory / str(number), (number, number))
    assert cache.find("0") is not None  # used just now
    cache.put(origin("new"), None, fetch("x"))
    assert entries(cache) == {"0", "new", *map(str, range(2, KEEP))}


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("https://ada:se:cr@et@mlflow/x", "https://ada:***@mlflow/x"),
        ("postgresql://ada@db/mlflow", "postgresql://ada@db/mlflow"),
        ("sqlite:////var/lib/mlflow.db", "sqlite:////var/lib/mlflow.db"),
    ],
)
def test_passwords_are_not_shown(uri: str, shown: str) -> None:
    assert without_password(uri) == shown
