"""The store's tables, and how an older database becomes one of today."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    inspect,
    select,
    text,
)

from pla.ports import StoreError

SCHEMA_VERSION = 1

METADATA = MetaData()

# SQLite numbers rows by itself only in a column of type INTEGER.
_ROW = BigInteger().with_variant(Integer, "sqlite")

SCHEMA = Table(
    "schema_version",
    METADATA,
    Column("version", Integer, nullable=False),
)

LEASES = Table(
    "leases",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),  # empty: nobody's
    Column("process", Text, nullable=False),  # tells two processes of one name apart
    Column("epoch", BigInteger, nullable=False),
    Column("renewals", BigInteger, nullable=False),  # changes whenever the holder shows life
    Column("ttl_s", Double, nullable=False),
    Column("timeline", Text, nullable=False),  # whose monotonic clock `deadline_s` is; may be empty
    Column("deadline_s", Double, nullable=False),
    Column("renewed_at_s", Double, nullable=False),  # wall time, for people only
)

# A number that is not known (NaN) is NULL: SQLite stores it so anyway.
DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", _ROW, primary_key=True, autoincrement=True),
    Column("at_s", Double, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("instance", Text, nullable=False),
    Column("workload", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("current", Double),
    Column("target", Double),
    Column("amount", Double),
    Column("reason", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Index("decisions_workload", "workload", "id"),
    Index("decisions_at", "at_s"),
    # A row number names one decision for ever, also after the newest rows were deleted.
    sqlite_autoincrement=True,
)

PAUSES = Table(
    "pauses",
    METADATA,
    Column("scope", Text, primary_key=True),  # `*` is everything
    Column("paused", Boolean, nullable=False),
    Column("at_s", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
)

OVERRIDES = Table(
    "overrides",
    METADATA,
    Column("workload", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("fix", Double),
    Column("floor", Double),
    Column("ceiling", Double),
    Column("until_s", Double, nullable=False),
    Column("why", Text, nullable=False),
    Column("by", Text, nullable=False),
)

STATES = Table(
    "states",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("at_s", Double, nullable=False),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("id", _ROW, primary_key=True, autoincrement=True),
    Column("at_s", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False),  # JSON
    sqlite_autoincrement=True,
)

Migration = Callable[[Connection], None]

MIGRATIONS: Mapping[int, Migration] = {}
"""From a schema version to the next one: `MIGRATIONS[1]` makes 2 out of 1."""

# Any constant will do, as long as every PLA takes the same one.
_POSTGRES_LOCK = 0x504C41


def prepare(
    connection: Connection,
    where: str,
    version: int = SCHEMA_VERSION,
    migrations: Mapping[int, Migration] = MIGRATIONS,
) -> None:
    """Bring the database to schema `version`, in the caller's (writing) transaction.

    Two processes that start at once must not both create the tables: SQLite's write lock sees
    to that; PostgreSQL needs a lock of its own.

    Raises:
        StoreError: the database was written by a newer PLA; it names the database `where`.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
    found = _found_version(connection)
    if found is None:
        METADATA.create_all(connection, checkfirst=False)
        connection.execute(SCHEMA.insert().values(version=version))
        return
    if found > version:
        raise StoreError(
            f"{where}: was written by a newer PLA (schema {found}, this one knows {version}); "
            "upgrade this PLA, or give it a database of its own with store.url"
        )
    for step in range(found, version):
        migrations[step](connection)
    if found < version:
        connection.execute(SCHEMA.update().values(version=version))


def _found_version(connection: Connection) -> int | None:
    """The schema version of the database; None if it holds no store yet."""
    if not inspect(connection).has_table(SCHEMA.name):
        return None
    return connection.execute(select(SCHEMA.c.version)).scalar_one_or_none()
