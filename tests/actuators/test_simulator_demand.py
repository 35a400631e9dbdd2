from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actuators.simulator.demand import Demand

STEP_S = 300
START_S = 1_760_313_600
DAY = 288


def demand_of(values: np.ndarray) -> Demand:
    names = [f"w{row}" for row in range(values.shape[2])]
    return Demand.from_arrays(names, ("cpu",), values, start_s=START_S, step_s=STEP_S)


def test_gaps_are_filled_forward_and_stay_visible_in_the_record() -> None:
    demand = demand_of(np.array([[[np.nan]], [[2.0]], [[np.nan]], [[3.0]]]))
    assert [demand.at(step)[0, 0] for step in range(4)] == [0.0, 2.0, 2.0, 3.0]
    recorded = [demand.recorded(step)[0, 0] for step in range(4)]
    np.testing.assert_array_equal(recorded, [np.nan, 2.0, np.nan, 3.0])
    assert demand.created_s().tolist() == [START_S + STEP_S]


def test_after_the_end_the_last_seven_days_repeat_at_their_weekday_and_time() -> None:
    steps = 10 * DAY
    demand = demand_of(np.arange(steps, dtype=np.float32)[:, None, None])
    for later in (0, 1, 7 * DAY - 1, 7 * DAY, 23 * DAY + 17):
        stands_in = int(demand.at(steps + later)[0, 0])
        assert steps - 7 * DAY <= stands_in < steps
        assert (steps + later - stands_in) % (7 * DAY) == 0


def test_a_trace_of_less_than_a_week_repeats_whole_days() -> None:
    demand = demand_of(np.arange(2 * DAY + 40, dtype=np.float32)[:, None, None])
    assert int(demand.at(2 * DAY + 40)[0, 0]) == 40
    short = demand_of(np.arange(10, dtype=np.float32)[:, None, None])
    assert int(short.at(13)[0, 0]) == 3


def test_a_cell_without_any_sample_does_not_exist() -> None:
    values = np.full((2, 2, 2), np.nan)
    values[:, 0, :] = 1.0
    values[:, 1, 0] = 5e6
    demand = Demand.from_arrays(
        ["a", "b"], ("cpu", "memory"), values, start_s=START_S, step_s=STEP_S
    )
    assert demand.support.tolist() == [[True, True], [True, False]]


def test_tiling_multiplies_workloads_and_shares_the_arrays() -> None:
    demand = demand_of(np.array([[[1.0, 10.0]], [[2.0, 20.0]]]))
    tiled = demand.tiled(5, seed=1)
    assert tiled.values is demand.values
    assert len(set(tiled.names)) == 5
    ratio = tiled.at(1) / tiled.at(0)
    np.testing.assert_allclose(ratio, 2.0)
    factor = tiled.at(0)[0] / demand.at(0)[0][[0, 1, 0, 1, 0]]
    assert (factor >= 0.5).all() and (factor <= 2.0).all() and len(set(factor)) == 5
    np.testing.assert_array_equal(tiled.at(0), demand.tiled(5, seed=1).at(0))


def test_a_trace_file_gives_demand_and_requests(trace_file: Path) -> None:
    demand = Demand.from_trace([trace_file], STEP_S)
    assert demand.resources == ("cpu", "memory")
    assert demand.names == ("app-0", "app-1", "app-2", "app-3")
    assert (demand.start_s, demand.steps) == (START_S, 8 * DAY)
    np.testing.assert_array_equal(demand.request[0], [1.0, 1.0, 1.0, np.nan])
    assert np.isnan(demand.request[1]).all()
    assert np.isnan(demand.recorded(510)[0, 1]) and not np.isnan(demand.recorded(510)[0, 0])
    assert demand.at(510)[0, 1] == demand.at(499)[0, 1]


@pytest.mark.parametrize(
    ("values", "names", "start_s", "words"),
    [
        ([[[-1.0]]], ["a"], START_S, "negative"),
        ([[[np.inf]]], ["a"], START_S, "infinite"),
        ([[[1.0, 1.0]]], ["a", "a"], START_S, "'a' stands twice"),
        ([[[1.0]]], ["a"], START_S + 1, "multiple"),
        ([[[1.0]]], ["a", "b"], START_S, "shape"),
    ],
)
def test_what_is_no_demand_is_refused_in_words(
    values: Any, names: Any, start_s: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Demand.from_arrays(names, ("cpu",), np.array(values), start_s=start_s, step_s=STEP_S)
