"""Decisions as rows: what was planned, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import ARRAY, Column, Connection, Row, bindparam, cast, func, literal, select, text

from pla.core.plan import OutcomeStatus
from pla.ports import Decision
from pla.store.schema import DECISIONS

Values = tuple[Any, ...]

PLANNED = "planned"
# `planned` is a change whose outcome was lost with its process: it may have been made.
_CHANGED = (OutcomeStatus.APPLIED.value, OutcomeStatus.ACCEPTED.value, PLANNED)


def insert(connection: Connection, decisions: Sequence[Decision]) -> list[int]:
    """Write `decisions` (at least one); returns their row numbers, in order."""
    numbers = _new_numbers(connection, len(decisions))
    rows = [_values(*pair) for pair in zip(numbers, decisions, strict=True)]
    columns = list(DECISIONS.columns)
    names = [column.name for column in columns]
    if connection.dialect.name == "postgresql":
        new = select(_as_table(columns, rows))
        connection.execute(DECISIONS.insert().from_select(names, new))
    else:
        _many(connection, DECISIONS.insert(), names, rows)
    return numbers


def settle(connection: Connection, results: Sequence[tuple[int, str, float, str]]) -> None:
    """Write the outcomes `(row, status, amount, message)`; a row that has its outcome keeps it."""
    rows = [
        (int(row), status, _known(amount), _storable(message))
        for row, status, amount, message in results
    ]
    named = DECISIONS.c
    columns = [named.id, named.status, named.amount, named.message]
    update = DECISIONS.update().where(named.status == PLANNED)
    if connection.dialect.name == "postgresql":
        table = _as_table(columns, rows)
        new = {column.name: table.c[column.name] for column in columns[1:]}
        connection.execute(update.where(named.id == table.c.id).values(new))
    else:
        # The names of the table's own columns are taken in an UPDATE's parameters.
        new = {column.name: bindparam(f"new_{column.name}") for column in columns[1:]}
        update = update.where(named.id == bindparam("new_id")).values(new)
        _many(connection, update, [f"new_{column.name}" for column in columns], rows)


def newest(connection: Connection, workload: str | None, limit: int) -> list[Decision]:
    """The newest decisions (of `workload`, None = all), newest first.

    By row number: it grows also while the wall clock jumps back.
    """
    query = select(DECISIONS).order_by(DECISIONS.c.id.desc()).limit(limit)
    if workload is not None:
        query = query.where(DECISIONS.c.workload == workload)
    return [_decision(row) for row in connection.execute(query)]


def last_changes(connection: Connection, since_s: float) -> Mapping[tuple[str, str], float]:
    """Time of the newest change per (instance, resource) at or after `since_s` [epoch s]."""
    key = (DECISIONS.c.instance, DECISIONS.c.resource)
    query = (
        select(*key, func.max(DECISIONS.c.at_s))
        .where(DECISIONS.c.at_s >= since_s, DECISIONS.c.status.in_(_CHANGED))
        .group_by(*key)
    )
    return {(instance, resource): at_s for instance, resource, at_s in connection.execute(query)}


def delete_before(connection: Connection, before_s: float, limit: int) -> int:
    """Delete at most `limit` decisions made before `before_s`; returns how many."""
    old = select(DECISIONS.c.id).where(DECISIONS.c.at_s < before_s).limit(limit)
    return connection.execute(DECISIONS.delete().where(DECISIONS.c.id.in_(old))).rowcount


def _new_numbers(connection: Connection, count: int) -> list[int]:
    """`count` row numbers that nothing bears or ever bore, ascending.

    Taken before the insert: asking for them back row by row takes five times as long as writing.
    """
    if connection.dialect.name == "postgresql":
        sequence = func.pg_get_serial_sequence(DECISIONS.name, "id")
        query = select(func.nextval(sequence)).select_from(func.generate_series(1, count))
        return sorted(int(number) for number in connection.execute(query).scalars())
    # Nobody else writes meanwhile (BEGIN IMMEDIATE); SQLite notes the largest number by itself.
    newest = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
    last = connection.execute(newest, {"name": DECISIONS.name}).scalar() or 0
    return list(range(last + 1, last + 1 + count))


def _many(
    connection: Connection, statement: Any, names: Sequence[str], rows: Sequence[Values]
) -> None:
    """`statement` once per row (SQLite), with the driver's own `executemany`.

    SQLAlchemy's would build each row's parameters anew, which takes longer than writing them.
    `names` are the parameters that a row's values are for; the others are constants.
    """
    compiled = statement.compile(dialect=connection.dialect)
    order = compiled.positiontup
    if list(order) != list(names):
        others = [name for name in order if name not in names]
        constants = tuple(compiled.params[name] for name in others)
        pick = itemgetter(*([*names, *others].index(name) for name in order))
        rows = [pick(row + constants) for row in rows]
    connection.exec_driver_sql(str(compiled), list(rows))


def _as_table(columns: Sequence[Column[Any]], rows: Sequence[Values]) -> Any:
    """`rows` as one array parameter per column (PostgreSQL): one round trip, one statement."""
    arrays = [
        cast(literal(list(values), ARRAY(column.type)), ARRAY(column.type))
        for column, values in zip(columns, zip(*rows, strict=True), strict=True)
    ]
    return (
        func.unnest(*arrays)
        .table_valued(*(column.name for column in columns), name="new")
        .render_derived()
    )


def _values(number: int, decision: Decision) -> Values:
    """The row of `decision`, in the order of the table's columns."""
    # float() and int(): the drivers do not take numpy's scalars.
    return (
        number,
        float(decision.at_s),
        int(decision.epoch),
        decision.instance,
        decision.workload,
        decision.resource,
        _known(decision.current),
        _known(decision.target),
        _known(decision.amount),
        decision.reason,
        decision.status,
        _storable(decision.message),
        decision.model_version,
    )


def _decision(row: Row[Any]) -> Decision:
    return Decision(
        at_s=row.at_s,
        epoch=row.epoch,
        instance=row.instance,
        workload=row.workload,
        resource=row.resource,
        current=_number(row.current),
        target=_number(row.target),
        amount=_number(row.amount),
        reason=row.reason,
        status=row.status,
        message=row.message,
        model_version=row.model_version,
    )


def _known(amount: float) -> float | None:
    return None if math.isnan(amount) else float(amount)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _storable(message: str) -> str:
    """`message` without what no database takes: a platform may say anything."""
    if message.isascii() and "\0" not in message:
        return message
    return message.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
