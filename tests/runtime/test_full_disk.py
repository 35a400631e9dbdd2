"""A full disk while ticking: nothing is changed without a record, and it recovers by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from pla import snapshot

World = Any
T = TypeVar("T")

pytestmark = [pytest.mark.mlflow, pytest.mark.faults]


@pytest.fixture
def disk(world: World, small_disk: Path) -> Path:
    """The store is on a disk of 1 MiB, the rest of the home elsewhere."""
    world.store_url = f"sqlite:///{small_disk / 'store.db'}"
    return small_disk


def fill(disk: Path) -> None:
    with (disk / "ballast").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def make_room(disk: Path) -> None:
    (disk / "ballast").unlink()


def check_everything_is_on_record(world: World) -> None:
    recorded = {(d.instance, d.resource, round(d.target, 6)) for d in world.decisions()}
    assert world.journal
    for entry in world.journal:
        assert (entry.instance, entry.resource, round(entry.target, 6)) in recorded, entry


def test_full_before_a_tick(world: World, disk: Path) -> None:
    runtime = world.open()
    assert world.tick(runtime).applied > 0
    in_force = world.amounts()
    fill(disk)
    world.clock.wall_s += 4 * 3600
    for _ in range(2):
        report = world.tick(runtime)
        assert len(report.plan) > 0
        assert report.outcomes == []
        assert f"{disk / 'store.db'}: the disk is full; free some space" in report.errors[0]
        assert report.errors[0].startswith("nothing is changed")
    np.testing.assert_array_equal(world.amounts(), in_force)
    make_room(disk)
    report = world.tick(runtime)
    assert report.leader
    assert report.applied > 0
    assert report.errors == []
    check_everything_is_on_record(world)


def test_full_between_lease_and_record(world: World, disk: Path) -> None:
    runtime = world.open()
    world.tick(runtime)
    in_force = world.amounts()
    on_record = len(world.decisions())

    def step(name: str, work: Callable[[], T]) -> T:
        if name == "actuate":
            fill(disk)
        return work()

    world.clock.wall_s += 4 * 3600
    report = world.tick(runtime, step)
    assert report.leader
    assert len(report.plan) > 0
    assert report.outcomes == []
    assert report.errors[0].startswith(f"nothing was changed: {disk / 'store.db'}: ")
    np.testing.assert_array_equal(world.amounts(), in_force)
    make_room(disk)
    assert len(world.decisions()) == on_record
    assert world.tick(runtime).applied > 0
    check_everything_is_on_record(world)


def test_full_between_change_and_outcome(world: World, disk: Path) -> None:
    runtime = world.open()
    world.tick(runtime)
    world.clock.wall_s += 4 * 3600
    world.on_resize = lambda: fill(disk)
    report = world.tick(runtime)
    world.on_resize = None
    assert report.applied > 0
    noted = "changes were made, their outcomes could not be noted: "
    assert any(line.startswith(f"{noted}{disk / 'store.db'}: ") for line in report.errors)
    make_room(disk)
    # On record as planned: a change without an outcome, never an outcome without a record.
    check_everything_is_on_record(world)
    lost = [d for d in world.decisions() if d.status == "planned"]
    assert len(lost) == report.applied
    assert world.tick(runtime).leader
    check_everything_is_on_record(world)


def test_full_for_the_snapshot(world: World, small_disk: Path) -> None:
    runtime = world.open(home=small_disk)
    path = small_disk / "snapshot.arrow"
    world.tick(runtime)
    before = snapshot.read(path).schema.metadata[b"at_s"]
    fill(small_disk)
    world.clock.wall_s += 4 * 3600
    report = world.tick(runtime)
    assert report.applied > 0, "people's view is lost, not the resources"
    assert len(report.errors) == 1
    assert report.errors[0].startswith(f"{path}: no snapshot could be written: ")
    assert "No space left" in report.errors[0]
    assert snapshot.read(path).schema.metadata[b"at_s"] == before
    assert sorted(p.name for p in small_disk.iterdir()) == ["ballast", "snapshot.arrow"]
    make_room(small_disk)
    report = world.tick(runtime)
    assert report.errors == []
    assert float(snapshot.read(path).schema.metadata[b"at_s"]) == report.at_s
