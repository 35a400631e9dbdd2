"""Plans and recommendations for one small case at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pla.core.fleet import Fleet
from pla.core.plan import Plan, Reason, Recommendation, Skip
from pla.core.planner import plan
from pla.core.policy import recommend
from pla.core.situation import Rules, Will

RULES = Rules()
NOW_S = 1_800_000_000.0
NAN = float("nan")

Make = Callable[..., Any]


@dataclass(frozen=True)
class Planned:
    """A plan, and what it holds by (instance, resource)."""

    plan: Plan

    @property
    def changes(self) -> dict[tuple[int, int], float]:
        """The targets of all changes."""
        keys = zip(self.plan.instance.tolist(), self.plan.resource.tolist(), strict=True)
        return dict(zip(keys, self.plan.target.tolist(), strict=True))

    @property
    def skipped(self) -> dict[tuple[int, int], Skip]:
        """Why the others are not made."""
        return {(instance, resource): why for instance, resource, _, why in self.plan.skips()}


@pytest.fixture(scope="session")
def planned() -> Callable[..., Planned]:
    """`planned(fleet, target, supported=..., last_s=..., why=...)`: the plan for workload targets.

    `target` (workload, resource) [unit]; `last_s` the time of the last change, the plan's own
    time being 1.8e9; `why` the reason of the targets.
    """

    def build(
        fleet: Fleet,
        target: Any,
        *,
        supported: Any = None,
        last_s: Any = -np.inf,
        why: Reason = Reason.FORECAST,
    ) -> Planned:
        cells = (len(fleet.workloads), len(fleet.resources))
        goal = np.asarray(target, dtype=np.float64).reshape(cells)
        reason = np.full(cells, why, dtype=np.int32)
        can = fleet.workloads.support if supported is None else np.broadcast_to(supported, cells)
        changed = np.array(np.broadcast_to(last_s, fleet.instances.current.shape), dtype=float)
        advice = Recommendation(goal, goal, goal, goal, reason)
        return Planned(plan(advice, fleet, can, changed, NOW_S, RULES))

    return build


@pytest.fixture(scope="session")
def advise(make_fleet: Make, make_situation: Make, make_forecast: Make) -> Make:
    """`advise(current, usage, forecast, resource=..., will=..., ...)` for one workload and cell.

    Returns (target, reason). `fleet` and `situation` take what those fixtures take.
    """

    def ask(
        current: float,
        usage: float,
        forecast: float,
        *,
        resource: str = "cpu",
        will: dict[str, float] | None = None,
        fleet: dict[str, Any] | None = None,
        **situation: Any,
    ) -> tuple[float, Reason]:
        table = make_fleet([[current]], resources=(resource,), **(fleet or {}))
        wishes = {name: np.full((1, 1), NAN) for name in ("fix", "floor", "ceiling")}
        wishes |= {name: np.full((1, 1), value) for name, value in (will or {}).items()}
        advice = recommend(
            make_forecast([[forecast]]),
            make_situation(table, usage, **situation),
            table,
            Will(**wishes),
            RULES,
        )
        return float(advice.target[0, 0]), Reason(int(advice.reason[0, 0]))

    return ask
