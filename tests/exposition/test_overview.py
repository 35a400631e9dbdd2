"""The fleet's sums, by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pla.core.fleet import Fleet, Forecast, InstanceState, Mode
from pla.core.situation import Situation
from pla.exposition.overview import Cells, Overview, cells_of, overview_of
from pla.tick import TickReport

MakeFleet = Callable[..., Fleet]
MakeSituation = Callable[..., Situation]
MakeForecast = Callable[..., Forecast]


@pytest.fixture
def look(make_situation: MakeSituation, make_forecast: MakeForecast) -> Callable[..., Any]:
    """`look(fleet, usage, forecast, ...)`: cells and overview of a tick that saw this."""

    def build(
        fleet: Fleet, usage: Any, forecast: Any, unmet: Any = (), **situation: Any
    ) -> tuple[Cells, Overview]:
        seen = make_situation(fleet, usage, **situation)
        report = SimpleNamespace(
            fleet=fleet,
            situation=seen,
            forecast=make_forecast(forecast),
            recommendation=SimpleNamespace(target=seen.current),
            plan=SimpleNamespace(unmet=np.reshape(unmet, (-1, len(fleet.resources)))),
        )
        cells = cells_of(cast(TickReport, report))
        return cells, overview_of(cast(TickReport, report), cells, stale_after_s=300.0)

    return build


def test_amounts_count_each_live_copy(make_fleet: MakeFleet, look: Callable[..., Any]) -> None:
    # Two copies of the first workload run, a third one is stopped; the second has another tier.
    stopped = [InstanceState.RUNNING, InstanceState.RUNNING, InstanceState.STOPPED, 0]
    fleet = make_fleet(
        [[2.0], [2.0], [2.0], [5.0]], workload=[0, 0, 0, 1], tier=[0, 1], state=stopped
    )
    _, sums = look(fleet, [[0.5], [1.0]], [[1.0], [4.0]])
    assert sums.amounts["current"][:, 0].tolist() == [4.0, 5.0, 0.0]
    assert sums.amounts["usage"][:, 0].tolist() == [1.0, 1.0, 0.0]
    assert sums.amounts["forecast"][:, 0].tolist() == [2.0, 4.0, 0.0]
    assert sums.amounts["idle"][:, 0].tolist() == [3.0, 4.0, 0.0]


def test_unknown_usage_leaves_nothing_idle(make_fleet: MakeFleet, look: Callable[..., Any]) -> None:
    _, sums = look(make_fleet([[2.0], [3.0]]), [[np.nan], [1.0]], [[1.0], [1.0]])
    assert sums.amounts["idle"][1, 0] == 2.0
    assert sums.amounts["current"][1, 0] == 5.0


@pytest.mark.parametrize(
    ("usage", "forecast", "censored", "at_risk"),
    [(0.5, 0.9, False, 0), (0.5, 1.1, False, 1), (1.2, 0.9, False, 1), (0.5, 0.9, True, 1)],
)
def test_at_risk_is_short_or_held_down(
    make_fleet: MakeFleet,
    look: Callable[..., Any],
    usage: float,
    forecast: float,
    censored: bool,
    at_risk: int,
) -> None:
    cells, sums = look(make_fleet([[1.0]]), [[usage]], [[forecast]], censored=censored)
    assert sums.at_risk.sum() == at_risk == cells.at_risk.sum()


def test_ages(make_fleet: MakeFleet, look: Callable[..., Any]) -> None:
    fleet = make_fleet(np.ones((4, 1)), support=[[True], [True], [True], [False]])
    ages = [[30.0], [400.0], [np.inf], [9999.0]]
    _, sums = look(fleet, np.full((4, 1), 0.5), np.full((4, 1), 0.5), age_s=ages)
    assert (sums.oldest_s[0], sums.stale[0], sums.unseen[0]) == (400.0, 1, 1)
    _, nobody = look(fleet, np.full((4, 1), 0.5), np.full((4, 1), 0.5), age_s=np.inf)
    assert np.isnan(nobody.oldest_s[0])


def test_modes_and_nodes(make_fleet: MakeFleet, look: Callable[..., Any]) -> None:
    fleet = make_fleet(np.ones((3, 1)), tier=[0, 1, 1], mode=[Mode.ENFORCE, Mode.OBSERVE, 0])
    _, sums = look(fleet, np.full((3, 1), 0.5), np.full((3, 1), 0.5), unmet=[[2.0], [0.0], [1.0]])
    assert sums.workloads.tolist() == [[0, 0, 1], [2, 0, 0], [0, 0, 0]]
    assert (sums.unmet[0], sums.short_nodes[0]) == (3.0, 2)


def test_no_workload_at_all(make_fleet: MakeFleet, look: Callable[..., Any]) -> None:
    cells, sums = look(make_fleet(np.empty((0, 1))), np.empty((0, 1)), np.empty((0, 1)))
    assert sums.workloads.sum() == 0
    assert cells.current.shape == (0, 1)
