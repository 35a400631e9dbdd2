"""What people want: overrides and the global pause, out of the store, in the core's terms."""

from __future__ import annotations

import numpy as np

from pla.core.fleet import Fleet
from pla.core.situation import Will
from pla.ports import StoreError, TickStore


def read(store: TickStore, fleet: Fleet, now_s: float, errors: list[str]) -> tuple[Will, bool]:
    """Overrides in force and whether actuation is paused.

    A store that cannot be read counts as paused: nobody knows what people forbade meanwhile.
    """
    try:
        overrides = store.overrides(now_s)
        paused = store.paused()
    except StoreError as error:
        errors.append(f"nothing is changed while overrides and pauses are unknown: {error}")
        return Will.none(len(fleet.workloads), len(fleet.resources)), True
    will = Will.none(len(fleet.workloads), len(fleet.resources))
    if not overrides:
        return will, paused
    row = {name: index for index, name in enumerate(fleet.workloads.ids)}
    column = {name: index for index, name in enumerate(fleet.resources)}
    will = Will(will.fix.copy(), will.floor.copy(), will.ceiling.copy())
    for override in overrides:
        if override.workload not in row or override.resource not in column:
            continue
        cell = row[override.workload], column[override.resource]
        for array, value in (
            (will.fix, override.fix),
            (will.floor, override.floor),
            (will.ceiling, override.ceiling),
        ):
            if value is not None and not 0 <= value < np.inf:
                errors.append(
                    f"override of {override.workload} {override.resource} by {override.by}: "
                    f"{value} is no amount; set it anew"
                )
            else:
                array[cell] = np.nan if value is None else value
    return will, paused
