"""What PLA and its peers would have set on the newest part, which no model has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from pla.assess.discovery import Progress
from pla.assess.history import History, Singles
from pla.backtest import run as replays
from pla.backtest.spec import Replayed, Spec
from pla.sections import RetrainSettings
from pla.settings import Settings
from pla.training.errors import TooLittleHistory
from pla.training.on_trace import trained_on

HOLDOUT_S = 3 * 86_400
"""The newest three days are scored, or the last quarter where there is less than twelve days."""
MINIMUM_S = 24 * 3600
MAX_ROWS = 200_000
"""Training rows per resource: fewer than a live retraining takes, for an answer in minutes."""
PEERS = {"vpa": "VPA", "krr": "KRR"}
"""Peers' policies by the name of their baseline, and as people write them."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The scored part.

    Attributes:
        spec: its period and cycle.
        replayed: by policy: `pla` (absent where there is too little to learn from), `vpa`, `krr`.
        untrained: why PLA is absent, in words; empty if it is not.
    """

    spec: Spec
    replayed: Mapping[str, Replayed]
    untrained: str


def require_enough(history: History) -> None:
    """Raises TooLittleHistory if there is less than a day; says how much there is."""
    seen_s = int(history.live.sum()) * history.step_s
    if seen_s >= MINIMUM_S - 2 * history.step_s:
        return
    there = f"{seen_s / 60:.0f} min" if seen_s < 7200 else f"{seen_s / 3600:.1f} h"
    raise TooLittleHistory(
        f"{there} of history are there, an assessment needs {MINIMUM_S / 3600:.0f} h (better 14 "
        "days): three quarters to learn from, the last quarter to judge on; come back later, or "
        "widen --days"
    )


def replay(history: History, tier: str, progress: Progress) -> Outcomes:
    """PLA through the live system's own tick, and the peers beside it, as `pla backtest` does.

    The model learns from what lies before the scored part, and decides every step from samples
    before it.

    Raises:
        TooLittleHistory: see `require_enough`.
    """
    require_enough(history)
    spec = spec_of(history, tier)
    trace = history.trace()
    replayed: dict[str, Replayed] = {}
    untrained = ""
    settings = Settings(retrain=RetrainSettings(max_rows=MAX_ROWS))
    try:
        progress("training", 0.0)
        forecaster = trained_on(trace, spec, settings)
    except TooLittleHistory as error:
        untrained = str(error)
    else:
        shown = partial(_titled, progress, "PLA")
        replayed["pla"] = replays.replay_predictive(trace, spec, forecaster, settings, shown)
    for name, title in PEERS.items():
        shown = partial(_titled, progress, title)
        replayed[name] = replays.replay_baseline(name, trace, spec, shown)
    return Outcomes(spec, replayed, untrained)


def _titled(progress: Progress, title: str, _: str, share: float) -> None:
    """A replay's progress under the name that people know."""
    progress(title, share)


def spec_of(history: History, tier: str) -> Spec:
    """The scored period: three days, or a quarter of what there is."""
    step_s = history.step_s
    scored_s = min(HOLDOUT_S, history.steps * step_s // 4) // step_s * step_s
    start_s = history.end_s - scored_s
    return Spec(
        resources=history.resources,
        train_until_s=start_s,
        start_s=start_s,
        end_s=history.end_s,
        tick_s=step_s,
        lead_s=0,
        hold_s=step_s,
        tier=tier,
    )


def amounts(outcomes: Outcomes, history: History) -> dict[str, Singles]:
    """Per policy what an instance has in each scored step, shape (step, resource, workload).

    `now` is what it was allotted. Where a policy has no opinion yet, nothing was changed.
    """
    scored = len(outcomes.spec.decision_times_s)
    now = history.allotted[-scored:]
    return {"now": now} | {
        name: np.where(np.isnan(one.amounts), now, one.amounts)
        for name, one in outcomes.replayed.items()
    }
