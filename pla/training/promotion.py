"""The gate: whether a challenger may become the champion.

DESIGN 5: only if, on the most recent held-out period, it costs less at equal coverage than the
champion and than every baseline, and no tier's coverage is worse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WORST_RESOURCE = 1.05
"""No single resource may cost more than this multiple of the rival's, whatever the others save."""

MISS_ALLOWANCE = 1.2
"""A miss rate up to this multiple of the nominal one is as promised (DESIGN 5)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the held-out period says of one policy.

    Attributes:
        name: `challenger`, `champion 7`, or a baseline's name.
        excess: per resource, the least cost - 1 at which the promise holds, margins swept; inf
            where no margin in the sweep reaches it.
        misses: per (tier, resource), share of hold windows whose peak exceeded the forecast at
            the tier's quantile; empty for baselines.
    """

    name: str
    excess: Mapping[str, float]
    misses: Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer, with its reasons in words; the first is the decisive one."""

    promote: bool
    reasons: tuple[str, ...]


def judge(
    challenger: Candidate,
    champion: Candidate | None,
    baselines: Sequence[Candidate],
    nominal: Mapping[str, float],
    windows: Mapping[str, int],
) -> Verdict:
    """Whether `challenger` goes into force.

    Args:
        challenger: the newly trained model.
        champion: the model in force, None before the first.
        baselines: the peers' policies on the same period.
        nominal: the promised miss rate per tier (1 - quantile).
        windows: how many hold windows each tier had per resource.
    """
    rivals = [*baselines] if champion is None else [champion, *baselines]
    against = [_dearer(challenger, rival) for rival in rivals]
    faults = [fault for fault in against if fault]
    faults += _coverage_faults(challenger, champion, nominal, windows)
    if faults:
        return Verdict(False, tuple(faults))
    words = ", ".join(
        f"{_ratio(challenger, rival):.2f} x {rival.name}"
        for rival in sorted(rivals, key=lambda r: _ratio(challenger, r))[-3:]
    )
    return Verdict(True, (f"costs less at equal coverage: {words}",))


def _ratio(challenger: Candidate, rival: Candidate) -> float:
    """Geometric mean over resources of the two excesses' ratio; 0 where only the rival fails."""
    logs = []
    for resource, excess in challenger.excess.items():
        other = rival.excess.get(resource, math.inf)
        if math.isinf(excess):
            return math.inf
        if math.isinf(other):
            continue
        logs.append(math.log(max(excess, 1e-9) / max(other, 1e-9)))
    return math.exp(sum(logs) / len(logs)) if logs else 0.0


def _dearer(challenger: Candidate, rival: Candidate) -> str | None:
    """Why `challenger` is not cheaper than `rival`, or None."""
    ratio = _ratio(challenger, rival)
    if ratio >= 1:
        return f"costs {ratio:.2f} x {rival.name} at equal coverage"
    for resource, excess in challenger.excess.items():
        other = rival.excess.get(resource, math.inf)
        if excess > WORST_RESOURCE * other:
            return f"{resource}: costs {excess / other:.2f} x {rival.name} at equal coverage"
    return None


def _coverage_faults(
    challenger: Candidate,
    champion: Candidate | None,
    nominal: Mapping[str, float],
    windows: Mapping[str, int],
) -> list[str]:
    """Tiers whose misses exceed both the promise and the champion's, beyond chance.

    Chance: two standard deviations of a binomial count of that many windows.
    """
    faults = []
    for (tier, resource), missed in challenger.misses.items():
        promised = nominal[tier]
        chance = 2 * math.sqrt(promised * (1 - promised) / max(windows.get(tier, 1), 1))
        allowed = MISS_ALLOWANCE * promised + chance
        if champion is not None:
            allowed = max(allowed, champion.misses.get((tier, resource), 0.0))
        if missed > allowed:
            faults.append(
                f"{tier} {resource}: {missed:.2%} of hold windows exceeded the forecast, "
                f"{allowed:.2%} are allowed"
            )
    return faults
