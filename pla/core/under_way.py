"""Resizes that a platform has accepted and not yet put in force: what they hold, what comes.

What is not finite is no amount: a platform that says so has said nothing.
"""

from __future__ import annotations

import numpy as np

from pla.core.fleet import Floats


def coming(current: Floats, pending: Floats) -> Floats:
    """What there will be if nothing more is asked: the accepted amount, where there is one [unit].

    Not finite where the amount in force is not.

    Args:
        current: amounts in force, any shape [unit].
        pending: amounts accepted and not yet in force, the same shape; NaN = none [unit].
    """
    accepted = np.isfinite(pending)
    if not accepted.any():
        return current
    return np.where(accepted & np.isfinite(current), pending, current)


def held(current: Floats, pending: Floats) -> Floats:
    """What is kept from others [unit]; 0 = nothing. Arguments are those of `coming`.

    While a resize is under way it holds both ends: growth has been promised already, and what a
    shrink gives back is not back yet.
    """
    known = np.isfinite(current) & (current >= 0)
    both = current if known.all() else np.where(known, current, 0.0)
    accepted = np.isfinite(pending)
    return np.where(accepted, np.maximum(both, pending), both) if accepted.any() else both
