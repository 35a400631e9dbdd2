"""A database's failure in words: what is wrong, where, and what to do about it."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pla.ports import StoreError

NOTHING_WRITTEN = "nothing of this transaction was written"

# By the beginning of SQLite's error name (https://sqlite.org/rescode.html).
_SQLITE = {
    "SQLITE_FULL": "the disk is full; free some space there, or move the store with store.url",
    "SQLITE_READONLY": "cannot be written; check its permissions and whether its disk is "
    "mounted read-only, or move the store with store.url",
    "SQLITE_CORRUPT": "the file is damaged; stop PLA, move it away together with its -wal and "
    "-shm files, and start again with an empty one or a backup",
    "SQLITE_NOTADB": "the file is not an SQLite database; move it away, or name another with "
    "store.url",
    "SQLITE_BUSY": "is locked by another process for too long; end what holds it (`fuser FILE` "
    "shows it), or use PostgreSQL",
    "SQLITE_LOCKED": "is locked by another connection of this process",
    "SQLITE_CANTOPEN": "cannot be opened; check that its directory exists and is writable "
    "(SQLite writes -wal and -shm files beside it)",
    "SQLITE_IOERR": "its disk fails to read or write; check that it is mounted, whole and not full",
    "SQLITE_PERM": "may not be read; check its permissions",
}

# By SQLSTATE or its class (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_POSTGRES = {
    "53100": "the server's disk is full; free some space there",
    "53300": "the server has no connection left; raise max_connections or end idle clients",
    "25006": "the server is read-only (a replica?); name the primary in store.url",
    "25P03": "the server ended the transaction, which stood still for too long",
    "55P03": "is locked by another client for too long; look into pg_locks for what holds it",
    "57014": "the server gave the statement up; look for what blocks it in pg_stat_activity",
    "57P": "the server is starting, stopping or was stopped; try again when it is up",
    "28": "the server refuses the login; check user and password of store.url",
    "3D000": "the database does not exist; create it with `createdb`, or correct store.url",
    "42501": "the user lacks a right; grant it all rights on the schema, or correct store.url",
    "XX001": "the server reports damaged data; restore a backup",
    "XX002": "the server reports a damaged index; REINDEX it, or restore a backup",
    # The driver gives no code for a connection that failed; the server's words are in the detail.
    "": "the server cannot be reached, or refuses the connection; check that it runs, and host, "
    "port, user, password and database of store.url",
}


def explained(error: SQLAlchemyError, where: str) -> StoreError:
    """`error` as a StoreError that names the database `where`, the trouble and the cure."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    detail = " ".join(str(cause or error).split())
    return StoreError(f"{where}: {_cure(cause)} ({detail}); {NOTHING_WRITTEN}")


def _cure(cause: BaseException | None) -> str:
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", None) or ""
        return next(
            (words for start, words in _SQLITE.items() if name.startswith(start)),
            "refuses the statement",
        )
    state = getattr(cause, "sqlstate", "unknown") or ""
    if state == "":
        return _POSTGRES[""]
    return next(
        (words for start, words in _POSTGRES.items() if start and state.startswith(start)),
        "refuses the statement",
    )
