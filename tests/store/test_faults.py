"""What can go wrong with the database: named, with its cure, and nothing is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pla.ports import StoreError
from pla.store import SqlStore

pytestmark = pytest.mark.faults


def fill(directory: Path) -> Path:
    """Leave no byte free in `directory`'s file system."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    return ballast


def test_a_full_disk_loses_nothing_and_recovers(
    small_disk: Path, clock: Any, decision: Any
) -> None:
    path = small_disk / "store.db"
    with SqlStore(f"sqlite:///{path}", clock) as store:
        lease = store.acquire("tick", "a", 30.0)
        assert lease is not None
        store.begin("tick", lease, [decision(instance="before")])
        store.save_state("calibration", b"before")
        ballast = fill(small_disk)
        with pytest.raises(StoreError, match="disk is full; free some space") as failure:
            store.begin("tick", lease, [decision(instance=f"i{n}") for n in range(2000)])
        assert str(path) in str(failure.value)
        with pytest.raises(StoreError, match="disk is full"):
            store.save_state("calibration", bytes(500_000))
        assert [d.instance for d in store.decisions(None, 10)] == ["before"]
        assert store.load_state("calibration") == b"before"
        ballast.unlink()
        store.begin("tick", lease, [decision(instance="after")])
        assert [d.instance for d in store.decisions(None, 10)] == ["after", "before"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_new_store_on_a_full_disk(small_disk: Path, clock: Any) -> None:
    fill(small_disk)
    with pytest.raises(StoreError, match=r"store\.db: .*(full|cannot be opened)"):
        SqlStore(f"sqlite:///{small_disk / 'store.db'}", clock)


def test_a_disk_that_turns_read_only(small_disk: Path, clock: Any) -> None:
    url = f"sqlite:///{small_disk / 'store.db'}"
    with SqlStore(url, clock) as store:
        store.save_state("key", b"kept")
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    with pytest.raises(StoreError, match=r"store\.db: (cannot be written|cannot be opened)"):
        SqlStore(url, clock).save_state("key", b"lost")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    with SqlStore(url, clock) as store:
        assert store.load_state("key") == b"kept"


def test_a_file_that_is_no_database(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "store.db"
    path.write_text("# notes\n" * 1000)
    with pytest.raises(StoreError, match=r"store\.db: the file is not an SQLite database; move"):
        SqlStore(f"sqlite:///{path}", clock)
    assert path.read_text().startswith("# notes")


def test_a_damaged_file(tmp_path: Path, clock: Any, decision: Any) -> None:
    path = tmp_path / "store.db"
    with SqlStore(f"sqlite:///{path}", clock) as store:
        lease = store.acquire("tick", "a", 30.0)
        assert lease is not None
        store.begin("tick", lease, [decision(instance=f"i{n}") for n in range(5000)])
        store.vacuum(0.0)
    with path.open("r+b") as file:  # all pages but the first, which holds the schema
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(StoreError, match=r"store\.db: the file is damaged; stop PLA, move it"):
        SqlStore(f"sqlite:///{path}", clock).decisions(None, 5000)


def test_a_file_locked_by_another(
    tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pla.store.database.BUSY_TIMEOUT_S", 0.1)
    path = tmp_path / "store.db"
    with SqlStore(f"sqlite:///{path}", clock) as store, closing(sqlite3.connect(path)) as other:
        store.set_paused(True, "ada", "incident")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"store\.db: is locked by another process"):
            store.set_paused(False, "bob", "over")
        assert store.paused()  # reading never waits
        other.rollback()
        store.set_paused(False, "bob", "over")
        assert not store.paused()


def test_a_missing_directory(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "nowhere" / "store.db"
    with pytest.raises(StoreError, match=f"{path.parent} does not exist; create it, or correct"):
        SqlStore(f"sqlite:///{path}", clock)
    assert not path.parent.exists()


def test_a_directory_in_place_of_the_file(tmp_path: Path, clock: Any) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        SqlStore(f"sqlite:///{tmp_path}", clock)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "is not a database URL"),
        ("/var/lib/pla/store.db", "is not a database URL"),
        ("mysql://pla@db/pla", "'mysql' is no database PLA can use"),
        ("nonsense://x", "'nonsense' is no database PLA can use"),
        ("sqlite://", "SQLite needs a file"),
        ("sqlite:///:memory:", "SQLite needs a file"),
    ],
)
def test_a_wrong_url(url: str, words: str, clock: Any) -> None:
    with pytest.raises(StoreError, match=words) as failure:
        SqlStore(url, clock)
    assert "store.url takes sqlite:////absolute" in str(failure.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server_that_is_not_there(scheme: str, clock: Any) -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/.*cannot be reached, or") as failure:
        SqlStore(f"{scheme}://pla:secret@127.0.0.1:1/pla", clock)
    assert "secret" not in str(failure.value)


@pytest.mark.postgres
def test_a_database_that_does_not_exist(postgres_url: str, clock: Any) -> None:
    words = r'/absent\?.*: .*check that it runs, and host.* and database .*"absent" does not exist'
    with pytest.raises(StoreError, match=words):
        SqlStore(postgres_url.replace("/postgres?", "/absent?"), clock)


@pytest.mark.postgres
def test_a_table_locked_by_another_client(
    postgres_url: str, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    monkeypatch.setattr("pla.store.database.BUSY_TIMEOUT_S", 0.2)
    with SqlStore(postgres_url, clock) as store:
        store.acquire("tick", "a", 30.0)
        with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
            other.execute("SELECT * FROM leases FOR UPDATE")
            with pytest.raises(StoreError, match="locked by another client for too long"):
                store.acquire("tick", "a", 30.0)
        assert store.acquire("tick", "a", 30.0) is not None


@pytest.mark.postgres
def test_a_server_that_ends_our_connection_is_found_again(postgres_url: str, clock: Any) -> None:
    import psycopg

    with SqlStore(postgres_url, clock) as store:
        store.set_paused(True, "ada", "incident")
        with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'pla' AND datname = current_database()"
            )
        assert store.paused()
