"""Pauses, overrides, state blobs and the audit trail."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from pla.ports import Override
from pla.store import AuditEntry, SqlStore

NOW_S = 1_700_000_000.0
FIXED = Override(
    workload="sim://web",
    resource="cpu",
    fix=2.0,
    floor=None,
    ceiling=None,
    until_s=NOW_S + 3600,
    why="load test",
    by="ada",
)


def test_not_paused_until_somebody_pauses(open_store: Any) -> None:
    store, other = open_store(), open_store()
    assert not store.paused()
    store.set_paused(True, by="ada", why="incident 7")
    assert other.paused()
    other.set_paused(False, by="bob", why="over")
    assert not store.paused()
    assert store.audit_trail(10) == [
        AuditEntry(NOW_S, "bob", "resume", {"why": "over"}),
        AuditEntry(NOW_S, "ada", "pause", {"why": "incident 7"}),
    ]


def test_overrides_are_in_force_until_their_end(store: SqlStore) -> None:
    store.put_override(FIXED)
    assert store.overrides(NOW_S) == [FIXED]
    assert store.overrides(FIXED.until_s - 1) == [FIXED]
    assert store.overrides(FIXED.until_s) == []


def test_an_override_without_end(store: SqlStore) -> None:
    store.put_override(replace(FIXED, until_s=math.inf))
    assert store.overrides(1e12) == [replace(FIXED, until_s=math.inf)]
    assert store.vacuum(1e12) == 0


def test_an_override_replaces_that_of_its_workload_and_resource(store: SqlStore) -> None:
    banded = replace(FIXED, fix=None, floor=1.0, ceiling=4.0, by="bob")
    other = replace(FIXED, resource="memory", fix=2.0**30)
    for override in (FIXED, other, banded):
        store.put_override(override)
    assert store.overrides(NOW_S) == [banded, other]
    assert [entry.by for entry in store.audit_trail(10)] == ["bob", "ada", "ada"]
    assert store.audit_trail(1)[0].detail["ceiling"] == 4.0


def test_an_ended_override_is_withdrawn_and_later_vacuumed(store: SqlStore) -> None:
    store.put_override(FIXED)
    store.put_override(replace(FIXED, until_s=NOW_S - 1))
    assert store.overrides(NOW_S) == []
    assert store.vacuum(NOW_S) == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"fix": -1.0}, "fix is -1.0"),
        ({"fix": math.nan}, "fix is nan"),
        ({"fix": None}, "neither fix nor floor nor ceiling"),
        ({"fix": None, "floor": 2.0, "ceiling": 1.0}, "floor 2.0 is above ceiling 1.0"),
        ({"until_s": math.nan}, "until_s is not a number"),
    ],
)
def test_an_override_nobody_could_obey_is_refused(
    store: SqlStore, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        store.put_override(replace(FIXED, **fields))
    assert store.overrides(NOW_S) == []
    assert store.audit_trail(1) == []


def test_state_blobs(open_store: Any) -> None:
    store, other = open_store(), open_store()
    assert store.load_state("calibration/7") is None
    blob = bytes(range(256)) * 10_000
    store.save_state("calibration/7", b"first")
    store.save_state("calibration/7", blob)
    store.save_state("peaks", b"")
    assert other.load_state("calibration/7") == blob
    assert other.load_state("peaks") == b""


def test_state_guarded_by_a_lease(store: SqlStore, lease: Any) -> None:
    store.save_state("calibration/7", b"x", guard=("tick", lease))
    assert store.load_state("calibration/7") == b"x"


def test_audit_keeps_any_detail(store: SqlStore) -> None:
    detail = {"from": "6", "to": 7, "é": None, "path": object}
    store.audit(5.0, "somebody", "champion moved by hand", detail)
    (entry,) = store.audit_trail(10)
    assert (entry.at_s, entry.by, entry.what) == (5.0, "somebody", "champion moved by hand")
    assert entry.detail == {"from": "6", "to": 7, "é": None, "path": "<class 'object'>"}
