"""What every baseline is made for."""

from __future__ import annotations

from dataclasses import dataclass

from pla.core.fleet import Floats


@dataclass(frozen=True, slots=True)
class Setting:
    """The fleet that a policy serves.

    Attributes:
        resources: names of the resource axis.
        workloads: number of rows.
        step_s: width of a step [s].
        request: amounts that the owner wrote down, (workload, resource) [unit]; NaN = none.
    """

    resources: tuple[str, ...]
    workloads: int
    step_s: int
    request: Floats
