"""What people want and did, as rows: pauses, overrides, the audit trail."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from pla.ports import Override
from pla.store.schema import AUDIT, OVERRIDES, PAUSES

EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit trail: when [epoch s], who, what, and its particulars."""

    at_s: float
    by: str
    what: str
    detail: Mapping[str, Any]


def is_paused(connection: Connection) -> bool:
    """Whether everything is paused."""
    query = select(PAUSES.c.paused).where(PAUSES.c.scope == EVERYTHING)
    return bool(connection.execute(query).scalar())


def overrides(connection: Connection, now_s: float) -> list[Override]:
    """Overrides in force at `now_s`, by workload and resource."""
    query = (
        select(OVERRIDES)
        .where(OVERRIDES.c.until_s > now_s)
        .order_by(OVERRIDES.c.workload, OVERRIDES.c.resource)
    )
    return [Override(**row) for row in connection.execute(query).mappings()]


def checked(override: Override) -> Override:
    """`override`, if it can be obeyed.

    Raises:
        ValueError: an amount is negative or not a number, a floor is above the ceiling, or it
            says nothing at all.
    """
    where = f"override of {override.workload} {override.resource}"
    amounts = {
        "fix": override.fix,
        "floor": override.floor,
        "ceiling": override.ceiling,
    }
    given = {name: value for name, value in amounts.items() if value is not None}
    for name, value in given.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{where}: {name} is {value}; give an amount of at least 0")
    if not given:
        raise ValueError(f"{where}: gives neither fix nor floor nor ceiling")
    if math.isnan(override.until_s):
        raise ValueError(f"{where}: until_s is not a number")
    if given.get("floor", 0.0) > given.get("ceiling", math.inf):
        raise ValueError(f"{where}: floor {override.floor} is above ceiling {override.ceiling}")
    return override


def delete_overrides_before(connection: Connection, before_s: float) -> int:
    """Delete overrides that ended before `before_s`; returns how many."""
    ended = OVERRIDES.delete().where(OVERRIDES.c.until_s < before_s)
    return connection.execute(ended).rowcount


def append_audit(
    connection: Connection, at_s: float, by: str, what: str, detail: Mapping[str, Any]
) -> None:
    """Append to the audit trail; what JSON does not know is written as text."""
    text = json.dumps(dict(detail), default=str, ensure_ascii=True)
    connection.execute(AUDIT.insert().values(at_s=float(at_s), by=by, what=what, detail=text))


def audit_trail(connection: Connection, limit: int) -> list[AuditEntry]:
    """The newest `limit` entries, newest first."""
    query = select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
    return [
        AuditEntry(row.at_s, row.by, row.what, json.loads(row.detail))
        for row in connection.execute(query)
    ]
