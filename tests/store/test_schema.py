"""The schema's version: made once, brought forward, never downgraded."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, inspect, text

from pla.ports import StoreError
from pla.store import SCHEMA_VERSION, schema


@pytest.fixture
def connect(store_url: str) -> Any:
    return lambda: create_engine(store_url).begin()


def test_a_new_database_gets_the_tables(open_store: Any, connect: Any) -> None:
    open_store()
    with connect() as connection:
        assert set(inspect(connection).get_table_names()) >= set(schema.METADATA.tables)
        assert connection.scalar(text("SELECT version FROM schema_version")) == SCHEMA_VERSION


def test_opening_again_keeps_what_is_there(open_store: Any) -> None:
    open_store().save_state("key", b"value")
    assert open_store().load_state("key") == b"value"


def test_a_newer_schema_is_refused_and_left_alone(open_store: Any, connect: Any) -> None:
    open_store().save_state("key", b"value")
    with connect() as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    with pytest.raises(StoreError, match=r"newer PLA \(schema 99, this one knows 1\); upgrade"):
        open_store()
    with connect() as connection:
        assert connection.scalar(text("SELECT version FROM schema_version")) == 99
        assert connection.scalar(text("SELECT count(*) FROM states")) == 1


def test_an_older_schema_is_brought_forward_step_by_step(open_store: Any, connect: Any) -> None:
    open_store().audit(1.0, "ada", "old entry", {})

    def add_column(connection: Connection) -> None:
        connection.execute(text("ALTER TABLE audit ADD COLUMN host TEXT"))

    def fill_it(connection: Connection) -> None:
        connection.execute(text("UPDATE audit SET host = 'here'"))

    with connect() as connection:
        schema.prepare(connection, "db", SCHEMA_VERSION + 2, {1: add_column, 2: fill_it})
    with connect() as connection:
        assert connection.scalar(text("SELECT version FROM schema_version")) == 3
        assert connection.execute(text("SELECT what, host FROM audit")).one() == (
            "old entry",
            "here",
        )


def test_every_version_has_its_migration() -> None:
    assert sorted(schema.MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_somebody_elses_tables_are_not_touched(open_store: Any, connect: Any) -> None:
    with connect() as connection:
        connection.execute(text("CREATE TABLE decisions (theirs TEXT)"))
    with pytest.raises(StoreError, match="already exists"):
        open_store()
    with connect() as connection:
        assert inspect(connection).get_table_names() == ["decisions"]
