"""What outlives a process: lease, decisions, overrides, pauses, state blobs, audit trail.

`SqlStore` implements `pla.ports.Store` on SQLite or PostgreSQL.
"""

from pla.store.lease import machine_timeline
from pla.store.people_rows import AuditEntry
from pla.store.schema import SCHEMA_VERSION
from pla.store.sql_store import SqlStore

__all__ = ["SCHEMA_VERSION", "AuditEntry", "SqlStore", "machine_timeline"]
