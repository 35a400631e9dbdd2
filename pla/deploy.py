"""Room for a new version of a workload, before its own usage is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pla.core.fleet import Tier
from pla.ports import Override
from pla.settings import Settings
from pla.tick_state import TickState

BY = "on-deploy"


def floors(
    state: TickState, settings: Settings, workload: str, version: str, now_s: float
) -> list[Override]:
    """A floor per resource: the predecessor's seven-day peak plus the tier's headroom.

    They end after one `policy.recent_peak_s`: by then the new version's own usage is known.

    Raises:
        ValueError: no platform lists such a workload.
    """
    if workload not in state.ids:
        raise ValueError(f"deploy of {workload!r}: no platform lists such a workload")
    peaks = state.stored_peak()[state.ids.index(workload)]
    factor = 1 + _tier_of(state, workload, settings.core_tiers()).headroom
    return [
        Override(
            workload=workload,
            resource=resource,
            fix=None,
            floor=peak * factor,
            ceiling=None,
            until_s=now_s + settings.policy.recent_peak_s,
            why=f"deploy of version {version}: at least its predecessor's peak",
            by=BY,
        )
        for resource, peak in zip(settings.resources, peaks.tolist(), strict=True)
        if not np.isnan(peak)
    ]


def without_those_of_people(
    wanted: Sequence[Override], in_force: Sequence[Override], errors: list[str]
) -> list[Override]:
    """`wanted` but for the cells that a person has an override on: it stays, which is said.

    An override replaces that of its cell: a deploy must not lift what a person has set.
    """
    theirs = {(o.workload, o.resource): o for o in in_force if o.by != BY}
    free = []
    for override in wanted:
        person = theirs.get((override.workload, override.resource))
        if person is None:
            free.append(override)
        else:
            errors.append(
                f"{override.workload} {override.resource}: the override by {person.by} "
                f"({person.why}) stays; the deploy's floor of {override.floor:g} is not set"
            )
    return free


def _tier_of(state: TickState, workload: str, tiers: Sequence[Tier]) -> Tier:
    for part in state.parts.values():
        if workload in part.workloads.ids:
            return tiers[int(part.workloads.tier[part.workloads.ids.index(workload)])]
    raise ValueError(f"deploy of {workload!r}: no platform lists such a workload")
