"""What a step does to a workload that wants more, or less, than it was given.

Four behaviours, derived from the catalogue, so that a new resource type needs no change here:

- *queues* (CPU, network; GPU with no queue): work is served at the amount in force at most; what
  is not served waits in a bounded backlog, and beyond the bound it is lost;
- *kills* (memory, in `memory.py`): a level above the amount is an out-of-memory kill;
- *fills* (storage): the level stops at the amount, and writes beyond it fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import numpy as np

from pla.core.fleet import Bools, Floats
from pla.core.resources import ResourceSpec

CENSORED_USAGE = 0.95
"""Usage of at least this share of the amount does not show what the workload wants."""

CENSORED_THROTTLED = 0.05
"""Nor does a step of which more than this share was throttled."""


class Behaviour(Enum):
    """What happens when demand exceeds the amount."""

    QUEUES = "queues"
    KILLS = "kills"
    FILLS = "fills"


def behaviour(spec: ResourceSpec) -> Behaviour:
    """How a resource type behaves when it is short."""
    if spec.growth_only:
        return Behaviour.FILLS
    if spec.compressible or spec.whole:
        return Behaviour.QUEUES
    return Behaviour.KILLS


@dataclass(frozen=True, slots=True)
class Physics:
    """The constants of the simulated platform.

    Attributes:
        restart_s: how long an instance is down after an out-of-memory kill [s].
        ramp_s: how long its memory takes from the base back to the whole demand [s].
        base_fraction: share of its memory demand that it holds right after a restart.
        backlog_s: per resource, how many seconds' worth of its present demand may wait [s];
            a resource that is absent has no queue.
    """

    restart_s: float = 30.0
    ramp_s: float = 600.0
    base_fraction: float = 0.3
    backlog_s: Mapping[str, float] = field(
        default_factory=lambda: {"cpu": 600.0, "network_rx": 10.0, "network_tx": 10.0}
    )

    def __post_init__(self) -> None:
        if self.restart_s < 0 or self.ramp_s <= 0 or not 0 <= self.base_fraction <= 1:
            raise ValueError(
                f"physics: restart_s ({self.restart_s}) must be >= 0, ramp_s ({self.ramp_s}) > 0 "
                f"and base_fraction ({self.base_fraction}) within 0..1"
            )


class QueueStep(NamedTuple):
    """One step of a queueing resource; every array has the demand's shape.

    `used` is the mean rate served [unit], `backlog` what waits at the end and `lost` what was
    given up, both [unit x s]; `throttled_s` is how long work had to wait [s].
    """

    used: Floats
    backlog: Floats
    lost: Floats
    throttled_s: Floats


def queue_step(
    demand: Floats, capacity: Floats, backlog: Floats, bound_s: Floats, step_s: float
) -> QueueStep:
    """Serve `demand` [unit] and the `backlog` [unit x s] with `capacity` [unit x s] for a step.

    Conservation: demand x step_s + backlog = used x step_s + backlog' + lost.

    A backlog that was within its bound stays when the demand falls (the bound follows the demand):
    work that was once let in is given up only for newer work, never for idleness.
    """
    work = demand * step_s + backlog
    served = np.minimum(work, capacity)
    left = work - served
    kept = np.minimum(left, np.maximum(bound_s * demand, backlog))
    # With rate = capacity / step_s above the demand, a backlog drains in backlog / (rate - demand).
    spare = np.maximum(capacity / step_s - demand, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        drain_s = np.where(backlog > 0, np.minimum(backlog / spare, step_s), 0.0)
    throttled_s = np.where(left > 0, step_s, drain_s)
    return QueueStep(served / step_s, kept, left - kept, throttled_s)


class FillStep(NamedTuple):
    """One step of a filling resource: level reached [unit], what is missing, what newly failed."""

    used: Floats
    short: Floats
    failed: Floats


def fill_step(demand: Floats, amount: Floats, short: Floats) -> FillStep:
    """Fill up to `amount`; `short` is what was missing after the former step [unit].

    What failed is tried again until there is room, so only what is newly missing counts as failed.
    """
    missing = np.maximum(demand - amount, 0.0)
    return FillStep(np.minimum(demand, amount), missing, np.maximum(missing - short, 0.0))


def held_down(used: Floats, amount: Floats, throttled_share: Floats) -> Bools:
    """Whether usage shows the amount in force instead of what the workload wants (DESIGN 4)."""
    at_limit = (used >= CENSORED_USAGE * amount) & (used > 0)
    return np.asarray(at_limit | (throttled_share > CENSORED_THROTTLED), dtype=np.bool_)
