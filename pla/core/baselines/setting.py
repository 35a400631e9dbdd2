"""What every baseline is made for."""

from __future__ import annotations

from dataclasses import dataclass

from pla.core.fleet import Floats
from pla.core.resources import BY_NAME, ResourceSpec

GIB = 1024.0**3


@dataclass(frozen=True, slots=True)
class Setting:
    """The fleet that a policy serves.

    Attributes:
        resources: names of the resource axis.
        workloads: number of rows.
        step_s: width of a step [s]; divides an hour.
        request: amounts that the owner wrote down, (workload, resource) [unit]; NaN = none.
    """

    resources: tuple[str, ...]
    workloads: int
    step_s: int
    request: Floats


def rule_unit(spec: ResourceSpec) -> float:
    """How much of a resource stands for one core, or one byte, in a peer's constants [unit].

    The peers know CPU and memory only. CPU's rule serves compressible resources, memory's the
    others, with buckets and floors in proportion to the resource's own floor: a core stands for
    1 MB/s of network bandwidth, a byte for a byte of storage. What comes in whole devices has no
    floor: one device stands for 1 GiB. The amounts are not rounded to whole devices here.
    """
    if spec.whole:
        return spec.quantum / GIB
    return spec.floor / BY_NAME["cpu" if spec.compressible else "memory"].floor
