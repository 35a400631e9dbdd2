"""`pla.ports.Store` on SQLAlchemy: SQLite in one file, or PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

from sqlalchemy import Table, select

from pla.ports import Clock, Decision, Lease, Override
from pla.store import decision_rows, people_rows
from pla.store.database import Database
from pla.store.lease import LeaseKeeper
from pla.store.people_rows import EVERYTHING, AuditEntry
from pla.store.schema import OVERRIDES, PAUSES, STATES

_VACUUM_ROWS = 10_000


class SqlStore:
    """The store at `url`; every method is one transaction and may be called from any thread.

    Every method raises StoreError when the database fails; what it was writing is then undone.

    `clock` must be the machine's in a live system, also while it steers a simulation: leases end
    in real time. `timeline` names the monotonic clock that `clock` reads (`machine_timeline()`
    for the machine's); None: its readings are compared with nobody else's, which is always safe
    and makes a takeover wait for one ttl from first sight of the dead leader's lease.

    Raises:
        StoreError: the database cannot be opened, or was written by a newer PLA.
    """

    def __init__(self, url: str, clock: Clock, timeline: str | None = None) -> None:
        self._clock = clock
        self._database = Database(url)
        self._leases = LeaseKeeper(self._database, clock, timeline)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def where(self) -> str:
        """The file, or the URL without its password."""
        return self._database.where

    def close(self) -> None:
        """Close all connections; the store can still be used and opens new ones."""
        self._database.close()

    # -- leadership ------------------------------------------------------------------------

    def acquire(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """Take or renew the lease `name` for `ttl_s`; None while another holder's is in force.

        `holder` names a process to people; a second process of the same name is another holder.
        Renewing keeps the epoch, taking over raises it.

        Raises:
            ValueError: no holder, or a ttl that is not above 0.
        """
        return self._leases.acquire(name, holder, ttl_s)

    def release(self, name: str, lease: Lease) -> None:
        """Give `lease` up at an orderly end, so that a successor need not wait for its end."""
        self._leases.release(name, lease)

    def check(self, name: str, lease: Lease) -> None:
        """Raise LeaseLost if `lease` has run out, or another holds it now."""
        self._leases.check(name, lease)

    # -- decisions -------------------------------------------------------------------------

    def begin(self, name: str, lease: Lease, decisions: Sequence[Decision]) -> list[int]:
        """Write decisions before they are carried out, only if `lease` is in force.

        Returns their row numbers, in order. No decisions, no transaction.

        Raises:
            LeaseLost: another holds it, or it ran out, be it while this was writing; nothing is
                written then.
        """
        if not decisions:
            return []
        with self._database.write() as connection:
            self._leases.require(connection, name, lease)
            numbers = decision_rows.insert(connection, decisions)
            self._leases.require_unexpired(name, lease)
        return numbers

    def settle(self, results: Sequence[tuple[int, str, float, str]]) -> None:
        """Write what became of begun decisions: (row, status, amount reached [unit], message).

        It states what has happened, so it needs no lease; a row that has its outcome keeps it.
        """
        if results:
            with self._database.write() as connection:
                decision_rows.settle(connection, results)

    def decisions(self, workload: str | None, limit: int) -> list[Decision]:
        """The newest decisions (of `workload`, None = all), newest first."""
        with self._database.read() as connection:
            return decision_rows.newest(connection, workload, limit)

    def last_changes(self, since_s: float) -> Mapping[tuple[str, str], float]:
        """Time of the newest change per (instance, resource) at or after `since_s` [epoch s].

        Counts what was applied or accepted, and what was planned and lost its outcome.
        """
        with self._database.read() as connection:
            return decision_rows.last_changes(connection, since_s)

    def vacuum(self, before_s: float) -> int:
        """Delete decisions made, and overrides ended, before `before_s` [epoch s].

        In portions, so that a tick never waits long for the lock. The file keeps its size and
        the space is used again. Returns how many rows were deleted.
        """
        with self._database.write() as connection:
            deleted = people_rows.delete_overrides_before(connection, before_s)
        portion = _VACUUM_ROWS
        while portion == _VACUUM_ROWS:
            with self._database.write() as connection:
                portion = decision_rows.delete_before(connection, before_s, _VACUUM_ROWS)
            deleted += portion
        self._database.shrink_log()
        return deleted

    # -- people ----------------------------------------------------------------------------

    def paused(self) -> bool:
        """Whether all actuation is paused."""
        with self._database.read() as connection:
            return people_rows.is_paused(connection)

    def set_paused(self, paused: bool, by: str, why: str) -> None:
        """Pause or resume all actuation; audited in the same transaction."""
        now_s = self._clock.now_s()
        row = {"scope": EVERYTHING, "paused": paused, "at_s": now_s, "by": by, "why": why}
        with self._database.write() as connection:
            connection.execute(self._replace(PAUSES, row))
            what = "pause" if paused else "resume"
            people_rows.append_audit(connection, now_s, by, what, {"why": why})

    def overrides(self, now_s: float) -> list[Override]:
        """Overrides in force at `now_s` [epoch s]."""
        with self._database.read() as connection:
            return people_rows.overrides(connection, now_s)

    def put_override(self, override: Override) -> None:
        """Write or replace the override of its workload and resource; audited with it.

        An `until_s` that has passed withdraws it.

        Raises:
            ValueError: it cannot be obeyed (a floor above the ceiling, ...).
        """
        row = asdict(people_rows.checked(override))
        with self._database.write() as connection:
            connection.execute(self._replace(OVERRIDES, row))
            people_rows.append_audit(connection, self._clock.now_s(), override.by, "override", row)

    def audit(self, at_s: float, by: str, what: str, detail: Mapping[str, Any]) -> None:
        """Append to the audit trail; `detail` is kept as JSON."""
        with self._database.write() as connection:
            people_rows.append_audit(connection, at_s, by, what, detail)

    def audit_trail(self, limit: int) -> list[AuditEntry]:
        """The newest `limit` audit entries, newest first."""
        with self._database.read() as connection:
            return people_rows.audit_trail(connection, limit)

    # -- state -----------------------------------------------------------------------------

    def load_state(self, key: str) -> bytes | None:
        """The blob `key` (calibration, stored peaks), None if there is none."""
        with self._database.read() as connection:
            value = connection.execute(select(STATES.c.value).where(STATES.c.key == key)).scalar()
        return None if value is None else bytes(value)

    def save_state(self, key: str, value: bytes, guard: tuple[str, Lease] | None = None) -> None:
        """Replace the blob `key`; with `guard` = (name, lease) only if that lease is in force.

        Raises:
            LeaseLost: `guard` is not in force; the former blob stays.
        """
        row = {"key": key, "value": value, "at_s": self._clock.now_s()}
        with self._database.write() as connection:
            if guard is not None:
                self._leases.require(connection, *guard)
            connection.execute(self._replace(STATES, row))
            if guard is not None:
                self._leases.require_unexpired(*guard)

    def _replace(self, table: Table, row: Mapping[str, Any]) -> Any:
        """An INSERT of `row` that replaces the one with the same primary key."""
        return (
            self._database.insert(table)
            .values(row)
            .on_conflict_do_update(index_elements=list(table.primary_key), set_=row)
        )
