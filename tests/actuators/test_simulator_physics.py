from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actuators.simulator.memory import Memory
from actuators.simulator.physics import (
    Behaviour,
    Physics,
    behaviour,
    fill_step,
    held_down,
    queue_step,
)
from pla.core.resources import CATALOGUE

STEP_S = 300.0
amounts = st.floats(0, 1e3, allow_nan=False)


def one(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_every_resource_type_of_the_catalogue_has_a_behaviour() -> None:
    found = {spec.name: behaviour(spec) for spec in CATALOGUE}
    assert found == {
        "cpu": Behaviour.QUEUES,
        "memory": Behaviour.KILLS,
        "storage": Behaviour.FILLS,
        "network_rx": Behaviour.QUEUES,
        "network_tx": Behaviour.QUEUES,
        "gpu": Behaviour.QUEUES,
    }


@given(demand=amounts, rate=amounts, waiting=st.floats(0, 1e6), bound_s=st.floats(0, 1e4))
def test_work_is_served_waits_or_is_lost_and_nothing_else(
    demand: float, rate: float, waiting: float, bound_s: float
) -> None:
    before = one(waiting)
    step = queue_step(one(demand), one(rate * STEP_S), before, one(bound_s), STEP_S)
    got = step.used * STEP_S + step.backlog + step.lost
    np.testing.assert_allclose(got, demand * STEP_S + waiting, rtol=1e-9, atol=1e-6)
    assert step.used[0] <= rate * (1 + 1e-12)
    assert step.backlog[0] <= max(bound_s * demand, waiting)
    assert step.lost[0] >= 0 and step.backlog[0] >= 0
    assert 0 <= step.throttled_s[0] <= STEP_S
    assert (step.backlog[0] + step.lost[0] > 0) <= (step.throttled_s[0] == STEP_S)


def test_a_backlog_drains_with_what_is_spare() -> None:
    # 2 cores, 1 wanted, 100 core-seconds waiting: 1 core to spare, gone after 100 s.
    step = queue_step(one(1.0), one(2.0 * STEP_S), one(100.0), one(600.0), STEP_S)
    assert step.used[0] == pytest.approx(1.0 + 100 / 300)
    assert (step.backlog[0], step.lost[0]) == (0.0, 0.0)
    assert step.throttled_s[0] == pytest.approx(100.0)


def test_beyond_the_bound_work_is_lost() -> None:
    # 3 wanted, 1 served: 600 core-seconds are left over, 100 s x 3 cores may wait.
    step = queue_step(one(3.0), one(1.0 * STEP_S), one(0.0), one(100.0), STEP_S)
    assert (step.used[0], step.backlog[0], step.lost[0]) == (1.0, 300.0, 300.0)


def test_an_idle_step_gives_up_nothing_that_waits() -> None:
    step = queue_step(one(0.0), one(0.1 * STEP_S), one(90.0), one(600.0), STEP_S)
    assert step.lost[0] == 0.0
    assert step.backlog[0] == pytest.approx(60.0)


def test_a_disk_fills_and_only_new_failures_count() -> None:
    first = fill_step(one(120.0), one(100.0), one(0.0))
    assert (first.used[0], first.short[0], first.failed[0]) == (100.0, 20.0, 20.0)
    second = fill_step(one(150.0), one(100.0), first.short)
    assert (second.used[0], second.short[0], second.failed[0]) == (100.0, 50.0, 30.0)
    grown = fill_step(one(150.0), one(200.0), second.short)
    assert (grown.used[0], grown.short[0], grown.failed[0]) == (150.0, 0.0, 0.0)


def test_usage_at_the_amount_or_throttled_does_not_show_the_demand() -> None:
    used, amount = one(0.95, 0.94, 0.5, 0.0), one(1.0, 1.0, 1.0, 0.0)
    throttled = one(0.0, 0.05, 0.06, 0.0)
    assert held_down(used, amount, throttled).tolist() == [True, False, True, False]


def memory_at(level: float, **physics: Any) -> Memory:
    memory = Memory(1, Physics(**physics))
    memory.level[:] = level
    return memory


def test_memory_within_its_amount_is_what_is_demanded() -> None:
    memory = memory_at(50.0)
    memory.open_step(0.0, STEP_S, one(90.0))
    assert memory.level_at(np.array([0]), 150.0, one(100.0))[0] == pytest.approx(70.0)
    step = memory.close_step(one(100.0))
    assert (step.used[0], bool(step.killed[0]), step.up_s[0]) == (90.0, False, STEP_S)


def test_memory_above_its_amount_is_a_kill_and_a_restart() -> None:
    # 50 -> 150 in 300 s crosses 100 at 150 s; back at 180 s with 0.3 x 150 = 45; at the end, 120 s
    # of 600 s later, it wants (0.3 + 0.7 x 0.2) x 150 = 66.
    memory = memory_at(50.0)
    memory.open_step(0.0, STEP_S, one(150.0))
    step = memory.close_step(one(100.0))
    assert bool(step.killed[0]) and step.up_s[0] == 270.0
    assert step.used[0] == pytest.approx((150 * 75 + 120 * 55.5) / 300)
    assert memory.level[0] == pytest.approx(66.0)
    # It ramps on: 420 s of 600 s after the restart, still below the amount.
    memory.open_step(STEP_S, 2 * STEP_S, one(110.0))
    step = memory.close_step(one(100.0))
    assert not step.killed[0]
    assert step.used[0] == pytest.approx((0.3 + 0.7 * 0.7) * 110)


def test_a_resize_in_mid_step_that_comes_in_time_saves_it() -> None:
    row = np.array([0])
    memory = memory_at(50.0)
    memory.open_step(0.0, STEP_S, one(150.0))
    memory.check(row, 149.0, one(100.0))
    assert not memory.close_step(one(200.0)).killed[0]


def test_a_resize_in_mid_step_that_comes_late_does_not() -> None:
    row = np.array([0])
    memory = memory_at(50.0)
    memory.open_step(0.0, STEP_S, one(150.0))
    memory.check(row, 151.0, one(100.0))
    assert memory.level_at(row, 160.0, one(200.0))[0] == 0.0  # restarting
    assert memory.close_step(one(200.0)).killed[0]


def test_a_restart_that_lasts_longer_than_the_step_spills_into_the_next() -> None:
    memory = memory_at(99.0, restart_s=400.0)
    memory.open_step(0.0, STEP_S, one(101.0))  # crosses 100 at 150 s, down until 550 s
    assert memory.close_step(one(100.0)).up_s[0] == 150.0
    memory.open_step(STEP_S, 2 * STEP_S, one(101.0))
    step = memory.close_step(one(100.0))
    assert step.up_s[0] == 50.0 and not step.killed[0]
    assert step.used[0] == pytest.approx(memory.level[0] * 50 / 300)


@given(
    demands=st.lists(st.floats(0, 1e3), min_size=1, max_size=12),
    amount=st.floats(1, 500),
    restart_s=st.floats(0, 1000),
)
def test_memory_never_exceeds_its_amount(
    demands: list[float], amount: float, restart_s: float
) -> None:
    memory = memory_at(0.0, restart_s=restart_s)
    for index, demand in enumerate(demands):
        memory.open_step(index * STEP_S, (index + 1) * STEP_S, one(demand))
        step = memory.close_step(one(amount))
        assert 0 <= step.used[0] <= amount * (1 + 1e-9)
        assert 0 <= step.up_s[0] <= STEP_S
        assert step.killed[0] or demand <= amount or step.used[0] <= amount
        if demand <= amount and not step.killed[0] and step.up_s[0] == STEP_S:
            assert step.used[0] <= demand
