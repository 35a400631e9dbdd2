"""What an assessment is asked: which time, which platform, which prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

RESOURCES = ("cpu", "memory")
"""What is assessed: the resources that have a price, a request and rules of the peers."""

PRICE_CPU = 0.03
"""Money per core-hour, unless said otherwise; about what clouds ask on demand."""
PRICE_MEMORY = 0.004
"""Money per GiB-hour, likewise."""
HOURS_PER_MONTH = 730.0

PER_UNIT = {"cpu": 1.0, "memory": 1024.0**-3}
"""Priced units per unit of the resource: cores per core, GiB per byte."""

SCHEMES = {"k8s": "k8s", "libvirt": "kvm", "sim": "sim"}
"""URI scheme of each platform's workloads."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        start_s, end_s: the time to look at [epoch s], multiples of `step_s`.
        step_s: width of a step, and time between two decisions [s]; divides an hour.
        platform: one of `SCHEMES`; None = all of them that the server tells of.
        prices: money per core-hour and GiB-hour, by resource.
        currency: the word for money.
        tier: of every workload.
    """

    start_s: int
    end_s: int
    step_s: int = 300
    platform: str | None = None
    prices: Mapping[str, float] = field(
        default_factory=lambda: {"cpu": PRICE_CPU, "memory": PRICE_MEMORY}
    )
    currency: str = "USD"
    tier: str = "standard"

    @property
    def days(self) -> float:
        """How much time is asked for [d]."""
        return (self.end_s - self.start_s) / 86_400

    def month(self, resource: str) -> float:
        """Money per month for one unit (core, byte) of `resource` held all the time."""
        return self.prices[resource] * PER_UNIT[resource] * HOURS_PER_MONTH
