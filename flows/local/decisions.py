"""Follows what the worker does: its snapshot after each tick, and the decisions on record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pla import snapshot
from pla.clock import SystemClock
from pla.ports import Decision
from pla.settings import Settings
from pla.store import SqlStore

NEWEST = 1000
"""How many decisions are looked through for those of one tick."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick, as the worker published it, and what it changed."""

    at_s: float
    cutoff_s: int
    model_version: str
    leader: bool
    errors: tuple[str, ...]
    decisions: tuple[Decision, ...]


class Follower:
    """Sees every tick after its making that leaves a snapshot, each once."""

    def __init__(self, settings: Settings) -> None:
        self._path: Path = settings.home / "snapshot.arrow"
        self._store_url = settings.store_url
        self._store: SqlStore | None = None
        self._seen = self._stamp()

    def next(self) -> Tick | None:
        """The newest tick, if it was not seen yet.

        Raises:
            StoreError: the store cannot be read.
        """
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return None
        self._seen = stamp
        facts = snapshot.read(self._path).schema.metadata
        at_s = float(facts[b"at_s"])
        return Tick(
            at_s=at_s,
            cutoff_s=int(facts[b"cutoff_s"]),
            model_version=facts[b"model_version"].decode(),
            leader=facts[b"leader"] == b"True",
            errors=tuple(facts[b"errors"].decode().splitlines()),
            decisions=self._decisions(at_s),
        )

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()

    def _decisions(self, at_s: float) -> tuple[Decision, ...]:
        if self._store is None:
            self._store = SqlStore(self._store_url, SystemClock())
        newest = self._store.decisions(None, NEWEST)
        return tuple(decision for decision in newest if decision.at_s == at_s)

    def _stamp(self) -> tuple[int, int] | None:
        """What differs between two snapshots: they are renamed over one another."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns
