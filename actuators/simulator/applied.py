"""Resizes that took effect, as records for whoever keeps a journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actuators.simulator.amounts import Change
from actuators.simulator.memory import Rows
from pla.core.fleet import Floats


@dataclass(frozen=True, slots=True)
class AppliedResize:
    """A resize that took effect at `at_s`, from `current` to `target`.

    `version` is the precondition it was accepted under, "" = none.
    """

    at_s: float
    instance: str
    workload: str
    resource: str
    current: float
    target: float
    version: str


def records(
    change: Change,
    before: Floats,
    at_s: float,
    resources: Sequence[str],
    instance_ids: Sequence[str],
    workload_ids: Sequence[str],
    workload: Rows,
) -> list[AppliedResize]:
    """One record per row of `change`; `before` and `workload` (its rows) have shape (change,)."""
    columns = (change.instance, workload, change.resource, before, change.target)
    rows = zip(*(column.tolist() for column in columns), change.version, strict=True)
    return [
        AppliedResize(
            at_s=at_s,
            instance=instance_ids[instance],
            workload=workload_ids[owner],
            resource=resources[resource],
            current=old,
            target=new,
            version=version,
        )
        for instance, owner, resource, old, new, version in rows
    ]
