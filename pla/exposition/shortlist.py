"""Which workloads have series of their own: a bounded number, those most at risk first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Floats
from pla.exposition.overview import Cells

STAY_S = 3600.0
"""A workload that has got its series keeps them so long, whatever becomes of it.

Otherwise the worst thousand of a large fleet, which are others in every tick, would become series
of the whole fleet within hours: the number of series must be bounded over time, too.
"""


class Shortlist:
    """Chooses at most `limit` workloads, and remembers whom it chose."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._since_s: dict[str, float] = {}

    def choose(self, ids: tuple[str, ...], cells: Cells, now_s: float) -> NDArray[np.int64]:
        """Rows of the workloads to show, ascending; `now_s` grows from call to call [s]."""
        if len(ids) <= self.limit:
            self._since_s.clear()
            return np.arange(len(ids))
        if self.limit == 0:
            return np.arange(0)
        kept = {name: s for name, s in self._since_s.items() if now_s - s < STAY_S}
        severity = severity_of(cells)
        if kept:
            # One pass over the names; a dictionary of them all would cost ten times as much.
            stays = [row for row, name in enumerate(ids) if name in kept][: self.limit]
            severity[stays] = np.inf
        rows = np.sort(np.argsort(-severity, kind="stable")[: self.limit])
        self._since_s = {ids[row]: kept.get(ids[row], now_s) for row in rows.tolist()}
        return rows


def severity_of(cells: Cells) -> Floats:
    """How badly each workload needs looking at, shape (workload,); larger is worse.

    The largest share of an amount in force that forecast or usage want, over its resources.
    Those at risk come before all others; where nothing is known it is 0.
    """
    need = np.fmax(cells.forecast, cells.usage)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(cells.current > 0, need / cells.current, np.nan)
    # Half of the scale for those at risk, so that a tiny amount in force does not hide them.
    bounded = np.nan_to_num(share / (1.0 + share))
    return np.asarray(np.max(bounded + cells.at_risk, axis=1, initial=0.0), dtype=np.float64)
