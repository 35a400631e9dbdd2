"""What one line of the catalogue says, and how the tables write it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.recorder.rates import Profile

MIB = 2**20


@dataclass(frozen=True)
class Event:
    """A deploy or restart at a trace time; `change` is merged into the workload's options."""

    day: float
    kind: str = "restart"
    change: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Workload:
    """One line of the catalogue.

    `kind` is service, job, nginx, postgres, redis, memcached or java; `options` are those of the
    kind; `pool` puts its arrivals into the arrival trace.
    """

    name: str
    kind: str
    program: str
    tier: str
    cpu_request_cores: float
    memory_request_mib: int
    profile: Profile
    options: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    pool: bool = False


def deploy(day: float, **change: Any) -> Event:
    """A new version from trace day `day` on."""
    return Event(day, "deploy", change)


def restart(day: float) -> Event:
    """A restart without change."""
    return Event(day)


def service(
    name: str,
    tier: str,
    cpu: float,
    mib: int,
    profile: Profile,
    work: str,
    cost: float = 1.0,
    events: tuple[Event, ...] = (),
    pool: bool = False,
    **memory: Any,
) -> Workload:
    """A service of our own: `work` is a kind of `work.py`, `cost` the units of it per request."""
    return Workload(
        name,
        "service",
        f"python:{work}",
        tier,
        cpu,
        mib,
        profile,
        {"work": work, "cost": cost, "memory": memory},
        events,
        pool,
    )


def cache(per_request_kb: float, ttl_s: float, cap_mb: float = 200) -> dict[str, Any]:
    """Memory kept per request for `ttl_s` real seconds."""
    return {"per_request_kb": per_request_kb, "ttl_s": ttl_s, "cap_mb": cap_mb}


def leak(per_request_kb: float, cap_mb: float) -> dict[str, Any]:
    """Memory kept per request for ever; at `cap_mb` the service dies and is restarted."""
    return {"per_request_kb": per_request_kb, "cap_mb": cap_mb, "at_cap": "exit"}
