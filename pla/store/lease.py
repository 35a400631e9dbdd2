"""Leadership: one holder at a time, and a former holder that writes nothing.

How expiry is judged, and why no wall clock takes part. A wall clock jumps: forward, and a living
leader would be replaced while it still acts; back, and a dead one would stay in office for hours.
Two hosts' wall clocks also differ. So:

- The holder counts on its own monotonic clock, from *before* the database round trip: its lease
  ends no later for itself than for anybody else. It stops acting at `Lease.expires_s`, whatever
  the database says. (The monotonic clock goes on while a process is stopped by a signal, so a
  leader stopped for longer than its lease finds it expired.)
- Another process takes over in one of three cases: the lease was released; or the row's deadline
  has passed on a monotonic clock that both share (`machine_timeline`); or it has itself watched
  the row stand still for the holder's whole ttl, counted on its own monotonic clock from *after*
  it first read that state. The last is how Kubernetes' leader election judges; it costs a
  newcomer from another machine one ttl of waiting, and needs no agreement on what time it is.
- Rows are read and written under SQLite's write lock or PostgreSQL's row lock, and every takeover
  raises the epoch: whoever comes late finds an epoch that is not its own.

What remains: a machine that is suspended with its monotonic clock standing still does not see its
lease end. The epoch keeps it from writing here; on the platforms, their own preconditions do.
"""

from __future__ import annotations

import os
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select

from pla.ports import Clock, Lease, LeaseLost
from pla.store.database import Database
from pla.store.schema import LEASES

# Clocks of two machines run at rates that differ by less than 0.1 % (NTP slews 0.05 %).
_DRIFT = 1.01
_PROCESS = uuid.uuid4().hex


def machine_timeline() -> str | None:
    """Names the monotonic clock that all processes of this machine share until it reboots.

    For stores that are given the machine's own clock (`time.monotonic`), never a simulation's.
    None where the kernel does not tell.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # A time namespace shifts the monotonic clock.
        return f"{boot} {Path('/proc/self/ns/time').readlink()}"
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A state of the row, and when it was first seen (own monotonic clock) [s]."""

    epoch: int
    renewals: int
    at_s: float


class LeaseKeeper:
    """Takes, renews, checks and releases leases in `database`."""

    def __init__(self, database: Database, clock: Clock, timeline: str | None) -> None:
        self._database = database
        self._clock = clock
        self._timeline = timeline or ""
        self._sightings: dict[str, _Sighting] = {}
        self._lock = threading.Lock()

    def acquire(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """See `pla.ports.Store.acquire`."""
        if not holder or not ttl_s > 0:
            raise ValueError(f"lease {name!r}: needs a holder and a ttl above 0, got {ttl_s} s")
        started_s = self._clock.monotonic_s()
        with self._database.write() as connection:
            row = self._row(connection, name)
            mine = row.holder == holder and row.process == _process()
            if not mine and not self._free(name, row):
                return None
            epoch = row.epoch if mine else row.epoch + 1
            expires_s = started_s + ttl_s
            connection.execute(
                LEASES.update()
                .where(LEASES.c.name == name)
                .values(
                    holder=holder,
                    process=_process(),
                    epoch=epoch,
                    renewals=row.renewals + 1,
                    ttl_s=ttl_s,
                    timeline=self._timeline,
                    deadline_s=expires_s,
                    renewed_at_s=self._clock.now_s(),
                )
            )
        return Lease(holder=holder, epoch=epoch, expires_s=expires_s)

    def release(self, name: str, lease: Lease) -> None:
        """Give `lease` up, so that another need not wait for its end; nothing if it is lost."""
        with self._database.write() as connection:
            connection.execute(
                LEASES.update()
                .where(
                    LEASES.c.name == name,
                    LEASES.c.holder == lease.holder,
                    LEASES.c.epoch == lease.epoch,
                )
                .values(holder="", process="", renewals=LEASES.c.renewals + 1)
            )

    def check(self, name: str, lease: Lease) -> None:
        """See `pla.ports.Store.check`."""
        with self._database.read() as connection:
            self.require(connection, name, lease, lock=False)

    def require(self, connection: Connection, name: str, lease: Lease, lock: bool = True) -> None:
        """Raise LeaseLost unless `lease` is in force; with `lock`, until the transaction ends."""
        query = select(LEASES.c.holder, LEASES.c.epoch).where(LEASES.c.name == name)
        row = connection.execute(query.with_for_update() if lock else query).first()
        if row is None or (row.holder, row.epoch) != (lease.holder, lease.epoch):
            successor = "nobody" if row is None or not row.holder else row.holder
            raise LeaseLost(
                f"lease {name!r} of {lease.holder} (epoch {lease.epoch}) was lost: "
                f"{successor} holds it now (epoch {0 if row is None else row.epoch})"
            )
        # After the wait for the lock, which may have outlasted the lease.
        self.require_unexpired(name, lease)

    def require_unexpired(self, name: str, lease: Lease) -> None:
        """Raise LeaseLost if `lease` has run out on the own monotonic clock."""
        late_s = self._clock.monotonic_s() - lease.expires_s
        if late_s >= 0:
            raise LeaseLost(
                f"lease {name!r} of {lease.holder} (epoch {lease.epoch}) ran out "
                f"{late_s:.1f} s ago; nothing may be written until it is taken again"
            )

    def _row(self, connection: Connection, name: str) -> Row[Any]:
        """The lease's row, locked; made if there is none."""
        query = select(LEASES).where(LEASES.c.name == name).with_for_update()
        row = connection.execute(query).first()
        if row is not None:
            return row
        nobody = {"name": name, "holder": "", "process": "", "timeline": ""}
        numbers = {"epoch": 0, "renewals": 0, "ttl_s": 0.0, "deadline_s": 0.0, "renewed_at_s": 0.0}
        connection.execute(
            self._database.insert(LEASES).values(**nobody, **numbers).on_conflict_do_nothing()
        )
        return connection.execute(query).one()

    def _free(self, name: str, row: Row[Any]) -> bool:
        if not row.holder:
            return True
        now_s = self._clock.monotonic_s()
        if self._timeline and row.timeline == self._timeline:
            return bool(now_s >= row.deadline_s)
        with self._lock:
            seen = self._sightings.get(name)
            if seen is None or (seen.epoch, seen.renewals) != (row.epoch, row.renewals):
                self._sightings[name] = _Sighting(row.epoch, row.renewals, now_s)
                return False
        return bool(now_s - seen.at_s >= row.ttl_s * _DRIFT)


def _process() -> str:
    """This process, and no other that bears the same holder's name (or was forked from it)."""
    return f"{_PROCESS}:{os.getpid()}"
