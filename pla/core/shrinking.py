"""Shrink slowly: deadband, cooldown and the largest single step, and where they do not hold.

They protect a workload from noise in a forecast, and must not disobey a person. Where a person's
fix, ceiling or maximum sets the target (`imposed`):

- the deadband does not hold: what somebody wrote down is no noise;
- cooldown and steps hold for what is incompressible (memory, devices) only. To take much of that
  at once kills or breaks the workload, whoever wished it; in steps, usage is seen in between, and
  what turns out to be in use is kept. A lack of CPU or bandwidth only slows, and a person who caps
  them sees that happen in the next tick.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pla.core.changes import Skipped, Wanted
from pla.core.fleet import Bools, Fleet, Floats
from pla.core.plan import Reason, Skip, imposed
from pla.core.resources import compressible, multiples, quanta, whole
from pla.core.situation import Rules


def slow_shrinks(
    wanted: Wanted,
    fleet: Fleet,
    last_change_s: Floats,
    now_s: float,
    rules: Rules,
    skipped: Skipped,
) -> Wanted:
    """`wanted` without the shrinks that have to wait, the others limited to one step each.

    Args:
        wanted: changes; growth passes as it is.
        fleet: whose tiers say how slow.
        last_change_s: time of the last change, shape (instance, resource); -inf = never [epoch s].
        now_s: the tick's time [epoch s].
        rules: the policy's constants.
        skipped: gets what is left out, and why.
    """
    workload = fleet.instances.workload[wanted.instance]
    cooldown = fleet.by_tier("cooldown_s")[workload]
    fraction = fleet.by_tier("max_shrink_fraction")[workload]

    person = imposed(wanted.reason)
    at_once = person & compressible(fleet.resources)[wanted.resource]
    shrinks = wanted.shrinks
    small = shrinks & ~person & (wanted.target >= rules.shrink_deadband * wanted.current)
    cell = wanted.instance * len(fleet.resources) + wanted.resource
    elapsed = now_s - last_change_s.take(cell)
    cooling = ~at_once & (elapsed < cooldown)
    # Two plans at one time must not add up, even without a cooldown.
    waits = shrinks & (cooling | (elapsed == 0))
    stepwise = shrinks & ~at_once
    keep = ~(small | waits)
    wanted = skipped.drop(wanted, (small, Skip.DEADBAND), (waits, Skip.COOLDOWN))
    return _in_steps(wanted, stepwise[keep], fraction[keep], fleet, skipped)


def _in_steps(
    wanted: Wanted, stepwise: Bools, fraction: Floats, fleet: Fleet, skipped: Skipped
) -> Wanted:
    """The `stepwise` ones of `wanted` take at most `fraction` of the amount in force, each."""
    least = wanted.current * (1.0 - fraction)
    limited = stepwise & (wanted.target < least)
    if not limited.any():
        return wanted
    stepped = _one_step(least, wanted, fleet)
    limited &= stepped > wanted.target
    wanted = replace(
        wanted,
        target=np.where(limited, stepped, wanted.target),
        reason=np.where(limited, wanted.reason | Reason.SHRINK_LIMITED, wanted.reason).astype(
            np.int32
        ),
    )
    # Rounded up, a tiny amount may be back where it was: nothing can be taken.
    half = quanta(fleet.resources)[wanted.resource] / 2
    stays = limited & (wanted.target > wanted.current - half)
    return skipped.drop(wanted, (stays, Skip.SHRINK_LIMIT))


def _one_step(least: Floats, wanted: Wanted, fleet: Fleet) -> Floats:
    """`least` in whole quanta, but of whole devices at least one is taken, shape (change,) [unit].

    Otherwise a few devices, of which the tier's share is less than one, would stay for ever.
    """
    quantum = quanta(fleet.resources)[wanted.resource]
    counts = np.ceil(least / quantum - 1e-9)
    # Of a broken amount (2.3) the rest counts as one if it is half a device or more.
    one_less = np.floor(wanted.current / quantum - 0.5)
    devices = whole(fleet.resources)[wanted.resource]
    return multiples(np.where(devices, np.minimum(counts, one_less), counts), quantum)
