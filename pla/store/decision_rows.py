"""Decisions as rows: what was planned, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, Column, Connection, Row, bindparam, cast, func, literal, select, text

from pla.core.plan import OutcomeStatus
from pla.ports import Decision
from pla.store.schema import DECISIONS

PLANNED = "planned"
# `planned` is a change whose outcome was lost with its process: it may have been made.
_CHANGED = (OutcomeStatus.APPLIED.value, OutcomeStatus.ACCEPTED.value, PLANNED)


def insert(connection: Connection, decisions: Sequence[Decision]) -> list[int]:
    """Write `decisions` (at least one); returns their row numbers, in order."""
    numbers = _new_numbers(connection, len(decisions))
    values = [_values(*pair) for pair in zip(numbers, decisions, strict=True)]
    if connection.dialect.name == "postgresql":
        columns = list(DECISIONS.columns)
        rows = _as_table(columns, values)
        names = [column.name for column in columns]
        connection.execute(DECISIONS.insert().from_select(names, select(rows)))
    else:
        _many(connection, DECISIONS.insert(), values)
    return numbers


def settle(connection: Connection, results: Sequence[tuple[int, str, float, str]]) -> None:
    """Write the outcomes `(row, status, amount, message)`; a row that has its outcome keeps it."""
    values = [
        {"id": int(row), "status": status, "amount": _known(amount), "message": _storable(message)}
        for row, status, amount, message in results
    ]
    named = DECISIONS.c
    update = DECISIONS.update().where(named.status == PLANNED)
    if connection.dialect.name == "postgresql":
        rows = _as_table([named.id, named.status, named.amount, named.message], values)
        new = {name: rows.c[name] for name in ("status", "amount", "message")}
        connection.execute(update.where(named.id == rows.c.id).values(new))
    else:
        # The names of the table's own columns are taken in an UPDATE's parameters.
        new = {name: bindparam(f"new_{name}") for name in ("status", "amount", "message")}
        _many(
            connection,
            update.where(named.id == bindparam("new_id")).values(new),
            [{f"new_{name}": value for name, value in row.items()} for row in values],
        )


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


def _many(connection: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """`statement` once per row (SQLite), with the driver's own `executemany`.

    SQLAlchemy's would build each row's parameters anew, which takes longer than writing them.
    """
    compiled = statement.compile(dialect=connection.dialect)
    order, constant = compiled.positiontup, compiled.params
    connection.exec_driver_sql(
        str(compiled),
        [tuple(row[name] if name in row else constant[name] for name in order) for row in rows],
    )


def _as_table(columns: Sequence[Column[Any]], rows: Sequence[Mapping[str, Any]]) -> Any:
    """`rows` as one array parameter per column (PostgreSQL): one round trip, one statement."""
    arrays = [
        cast(literal([row[column.name] for row in rows], ARRAY(column.type)), ARRAY(column.type))
        for column in columns
    ]
    return (
        func.unnest(*arrays)
        .table_valued(*(column.name for column in columns), name="new")
        .render_derived()
    )


def _values(number: int, decision: Decision) -> dict[str, Any]:
    # float() and int(): the drivers do not take numpy's scalars.
    return {
        "id": number,
        "at_s": float(decision.at_s),
        "epoch": int(decision.epoch),
        "instance": decision.instance,
        "workload": decision.workload,
        "resource": decision.resource,
        "current": _known(decision.current),
        "target": _known(decision.target),
        "amount": _known(decision.amount),
        "reason": decision.reason,
        "status": decision.status,
        "message": _storable(decision.message),
        "model_version": decision.model_version,
    }


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
    return message.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
