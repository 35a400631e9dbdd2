"""Which workloads have series: bounded in every tick and over time, those at risk first."""

from __future__ import annotations

import numpy as np

from pla.exposition.overview import Cells
from pla.exposition.shortlist import STAY_S, Shortlist


def cells(forecast: list[float], at_risk: list[bool] | None = None) -> Cells:
    """Each workload has 1 core."""
    shape = (len(forecast), 1)
    one = np.ones(shape)
    risk = np.array(at_risk or [value > 1 for value in forecast]).reshape(shape)
    wanted = np.array(forecast, dtype=np.float64).reshape(shape)
    return Cells(one, one, np.full(shape, np.nan), wanted, risk, one)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"w{row}" for row in range(count))


def test_a_small_fleet_is_shown_whole() -> None:
    assert Shortlist(5).choose(names(3), cells([0.1, 3.0, 0.5]), 0.0).tolist() == [0, 1, 2]


def test_those_at_risk_come_first_then_the_fullest() -> None:
    wanted = cells([0.5, 0.99, 0.2, 0.1], [False, False, False, True])
    assert Shortlist(2).choose(names(4), wanted, 0.0).tolist() == [1, 3]


def test_nothing_known_comes_last() -> None:
    assert Shortlist(1).choose(names(2), cells([np.nan, 0.01]), 0.0).tolist() == [1]


def test_who_has_series_keeps_them_for_a_while() -> None:
    shortlist = Shortlist(1)
    assert shortlist.choose(names(2), cells([2.0, 0.1]), 0.0).tolist() == [0]
    assert shortlist.choose(names(2), cells([0.1, 2.0]), STAY_S - 1).tolist() == [0]
    assert shortlist.choose(names(2), cells([0.1, 2.0]), STAY_S + 1).tolist() == [1]


def test_a_workload_that_is_gone_makes_room() -> None:
    shortlist = Shortlist(1)
    shortlist.choose(("a", "b"), cells([2.0, 0.1]), 0.0)
    assert shortlist.choose(("b", "c"), cells([0.1, 0.2]), 10.0).tolist() == [1]


def test_series_are_bounded_over_a_day_of_restless_workloads() -> None:
    shortlist, random = Shortlist(10), np.random.default_rng(1)
    shown: set[int] = set()
    for minute in range(24 * 60):
        rows = shortlist.choose(
            names(500), cells(random.gamma(2.0, 1.0, 500).tolist()), 60.0 * minute
        )
        assert len(rows) == 10
        shown.update(rows.tolist())
    assert len(shown) <= 10 * 24


def test_none_at_all() -> None:
    assert Shortlist(0).choose(names(3), cells([1.0, 2.0, 3.0]), 0.0).tolist() == []
