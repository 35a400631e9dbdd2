"""The database behind the store: opening it, transactions, and failures in words.

SQLite runs in WAL mode, so that readers (API, command line) and the writing tick never wait for
each other, with `synchronous=FULL`: in WAL mode `NORMAL` may lose the last transactions in a power
cut, and a pause that a person was told is in force must not be one of them. Its price is one
fsync per transaction, a few milliseconds for the few transactions of a tick.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from pla.ports import StoreError
from pla.store import schema
from pla.store.failures import explained

BUSY_TIMEOUT_S = 5.0
_STATEMENT_TIMEOUT_S = 30.0
# A leader that is stopped inside a transaction must not keep its locks: the server ends it.
_IDLE_TIMEOUT_S = 10.0
_WAL_ATTEMPTS = 50
_BEGIN = "pla_begin"
_CURE = "store.url takes sqlite:////absolute/path/store.db or postgresql://user@host/database"


class Database:
    """A database at `url`, its schema brought up to date.

    Attributes:
        where: the file, or the URL without its password, for messages.

    Raises:
        StoreError: it cannot be opened, or was written by a newer PLA.
    """

    def __init__(self, url: str) -> None:
        parsed = _parsed(url)
        is_file = parsed.get_backend_name() == "sqlite"
        self.where = _checked_file(parsed) if is_file else parsed.render_as_string()
        self._engine = _sqlite_engine(parsed) if is_file else _postgres_engine(parsed)
        try:
            if is_file:
                self._use_wal()
            with self.write() as connection:
                schema.prepare(connection, self.where)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one snapshot, no lock. Raises StoreError."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; an exception inside it undoes all of it. Raises StoreError.

        On SQLite it is the only writing one from its first moment on.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def insert(self, table: Table) -> Any:
        """An INSERT that knows `on_conflict_do_update`, in the database's own dialect."""
        if self._engine.dialect.name == "sqlite":
            return sqlite.insert(table)
        return postgresql.insert(table)

    def shrink_log(self) -> None:
        """Give the write-ahead log's disk space back (SQLite; PostgreSQL does so by itself)."""
        if self._engine.dialect.name == "sqlite":
            with self._transaction(None) as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _transaction(self, begin: str | None) -> Iterator[Connection]:
        try:
            with (
                self._engine.connect().execution_options(**{_BEGIN: begin}) as connection,
                connection.begin(),
            ):
                yield connection
        except SQLAlchemyError as error:
            raise explained(error, self.where) from error

    def _use_wal(self) -> None:
        """Switch the file to WAL; the mode is a property of the file and stays.

        Setting it takes an exclusive lock for which SQLite does not wait: so ask first, and if
        other processes are at it too, ask again.
        """
        for attempt in range(_WAL_ATTEMPTS):
            try:
                with self._transaction(None) as connection:
                    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
                    if mode != "wal":
                        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                return
            except StoreError as error:
                if "database is locked" not in str(error) or attempt == _WAL_ATTEMPTS - 1:
                    raise
                time.sleep(BUSY_TIMEOUT_S / _WAL_ATTEMPTS)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except ArgumentError:
        # The text may hold a password in a place where nobody looks for one: not repeated.
        raise StoreError(f"store.url is not a database URL; {_CURE}") from None
    if backend == "postgres":
        backend, parsed = "postgresql", parsed.set(drivername="postgresql")
    if backend not in ("sqlite", "postgresql"):
        raise StoreError(f"store.url: {backend!r} is no database PLA can use; {_CURE}")
    if backend == "postgresql":
        if importlib.util.find_spec("psycopg") is None:
            raise StoreError(
                f"store.url {parsed.render_as_string()}: PostgreSQL's driver is not installed; "
                "pip install 'predictive-load-analyzer[postgres]'"
            )
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def _checked_file(url: URL) -> str:
    if not url.database or url.database == ":memory:":
        raise StoreError(f"store.url: SQLite needs a file that outlives the process; {_CURE}")
    path = Path(url.database).absolute()
    if not path.parent.is_dir():
        raise StoreError(
            f"{path}: the directory {path.parent} does not exist; create it, or correct PLA_HOME "
            "or store.url"
        )
    return str(path)


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # Python's driver would begin transactions where it likes; `begin` below does it.
        connection.isolation_level = None
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        statement = connection.get_execution_options().get(_BEGIN)
        if statement is not None:
            connection.exec_driver_sql(statement)

    return engine


def _postgres_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        # A server that was restarted meanwhile costs a new connection, not a failed tick.
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": int(BUSY_TIMEOUT_S),
            "tcp_user_timeout": int(_IDLE_TIMEOUT_S * 1000),
            "application_name": "pla",
        },
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            for name, seconds in (
                ("lock_timeout", BUSY_TIMEOUT_S),
                ("statement_timeout", _STATEMENT_TIMEOUT_S),
                ("idle_in_transaction_session_timeout", _IDLE_TIMEOUT_S),
            ):
                cursor.execute(f"SET {name} = {int(seconds * 1000)}")
        connection.commit()

    return engine
