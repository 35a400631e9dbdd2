"""Plans of fleets that nobody should have: absurd amounts, empty nodes, crowds on one node."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pla.core import contention
from pla.core.fleet import Fleet, Floats, InstanceState, Mode, Tier
from pla.core.plan import Plan, Reason, Recommendation, Skip
from pla.core.planner import plan
from pla.core.resources import BY_NAME, quanta
from pla.core.situation import Rules

RULES = Rules()
NOW_S = 1_800_000_000.0
NAN = float("nan")
ALL = tuple(BY_NAME)
ABSURD = (0.0, -1.0, 1e-300, 1e-12, 1e30, 1e300, 1.7e308, np.inf, -np.inf, NAN)

Make = Callable[..., Any]


def tiers(*priorities: int, shrink: float = 0.5) -> tuple[Tier, ...]:
    return tuple(Tier(f"t{row}", p, 0.9, 0, 0, shrink) for row, p in enumerate(priorities))


def plan_for(fleet: Fleet, target: Any, last_s: Any = -np.inf, why: Any = Reason.FORECAST) -> Plan:
    cells = (len(fleet.workloads), len(fleet.resources))
    goal = np.array(np.broadcast_to(target, cells), dtype=np.float64)
    reason = np.array(np.broadcast_to(why, cells), dtype=np.int32)
    last = np.array(np.broadcast_to(last_s, fleet.instances.current.shape), dtype=np.float64)
    advice = Recommendation(goal, goal, goal, goal, reason)
    return plan(advice, fleet, fleet.workloads.support, last, NOW_S, RULES)


def sprinkled(random: np.random.Generator, sane: Floats, share: float) -> Floats:
    """`sane` with a share of absurd values in it."""
    absurd = random.choice(ABSURD, sane.shape)
    return np.where(random.random(sane.shape) < share, absurd, sane)


# -- absurd values anywhere ----------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.3, 1.0]))
def test_absurd_values_anywhere_break_nothing(make_fleet: Make, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    count, nodes = int(random.integers(1, 30)), int(random.integers(1, 4))
    shape, quantum = (count, len(ALL)), quanta(ALL)
    sane = random.integers(1, 5000, shape) * quantum
    fleet = make_fleet(
        sprinkled(random, sane, share),
        resources=ALL,
        tiers=tiers(0, 1, 1),
        tier=random.integers(0, 3, count),
        state=random.integers(0, 5, count),
        node=random.integers(-1, nodes, count),
        capacity=sprinkled(random, 1e5 * np.ones((nodes, len(ALL))) * quantum, share),
    )
    pending = sprinkled(random, np.where(random.random(shape) < 0.5, sane * 2, NAN), share)
    table = dataclasses.replace(fleet.instances, pending=pending)
    fleet = dataclasses.replace(fleet, instances=table)
    last = sprinkled(random, np.full(shape, NOW_S - 1e3), share)
    why = random.choice([1, Reason.OVERRIDE, Reason.MAXIMUM], shape)
    target = sprinkled(random, random.integers(1, 9000, shape) * quantum, share)
    found = plan_for(fleet, target, last, why)
    assert np.isfinite(found.target).all()
    assert np.isfinite(found.current).all()
    wished = target[found.instance, found.resource]
    assert np.isfinite(wished).all()
    kinds = [why for *_, why in found.skips()]
    assert len(kinds) + len(found) <= np.isfinite(target).sum()
    assert not np.isnan(found.unmet).any()


@given(st.integers(0, 2**32 - 1), st.sampled_from(["current", "pending", "capacity"]))
def test_absurd_values_of_one_node_change_nothing_on_another(
    make_fleet: Make, seed: int, what: str
) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 30))
    node = np.arange(count) % 2
    current = np.round(random.uniform(0.1, 3.0, (count, 1)), 3)
    target = np.round(current * random.choice([0.5, 1.0, 1.5, 2.0], (count, 1)), 3)
    capacity = np.array([[np.ceil(1.2 * current[node == row].sum())] for row in range(2)])
    values = {"current": current, "pending": np.full((count, 1), NAN), "capacity": capacity}

    def far() -> dict[int, float]:
        fleet = make_fleet(values["current"], node=node, capacity=values["capacity"])
        table = dataclasses.replace(fleet.instances, pending=values["pending"])
        found = plan_for(dataclasses.replace(fleet, instances=table), target)
        pairs = zip(found.instance.tolist(), found.target.tolist(), strict=True)
        return {row: amount for row, amount in pairs if node[row] == 1}

    before = far()
    spoiled = values[what].copy()
    mine = slice(0, 1) if what == "capacity" else np.flatnonzero(node == 0)
    spoiled[mine] = random.choice(ABSURD, spoiled[mine].shape)
    values[what] = spoiled
    assert far() == before


def test_an_unlimited_amount_holds_no_room(make_fleet: Make) -> None:
    # A container without a limit: nothing was promised to it, and nothing is kept for it.
    found = plan_for(make_fleet([[np.inf], [1.0]], node=0, capacity=[[4.0]]), 3.0)
    assert (found.instance.tolist(), found.target.tolist()) == ([1], [3.0])


@pytest.mark.parametrize("capacity", [0.0, -5.0, -np.inf])
def test_a_node_without_capacity_gives_nothing_and_still_takes_back(
    make_fleet: Make, capacity: float
) -> None:
    fleet = make_fleet([[1.0], [2.0]], node=0, capacity=[[capacity]])
    found = plan_for(fleet, [[2.0], [1.0]])
    assert (found.instance.tolist(), found.target.tolist()) == ([1], [1.0])
    assert [why for *_, why in found.skips()] == [Skip.NODE_FULL]
    assert found.unmet.tolist() == [[1.0]]


@pytest.mark.parametrize("capacity", [np.inf, NAN])
def test_without_a_limit_there_is_always_room(make_fleet: Make, capacity: float) -> None:
    fleet = make_fleet([[1.0], [1e308], [1e308]], node=0, capacity=[[capacity]])
    for last_s in (-np.inf, NOW_S):
        found = plan_for(fleet, [[7.0], [1e308], [1e308]], last_s)
        assert found.target.tolist() == [7.0]


def test_from_nothing_to_something_and_back(make_fleet: Make) -> None:
    fleet = make_fleet([[0.0], [2.0]], resources=("gpu",), node=0, capacity=[[4.0]])
    found = plan_for(fleet, [[2.0], [0.0]])
    assert dict(zip(found.instance.tolist(), found.target.tolist(), strict=True)) == {0: 2, 1: 1}


# -- crowds --------------------------------------------------------------------------------


def by_hand(
    asks: list[tuple[int, int, Fraction]], free: dict[int, Fraction]
) -> dict[int, Fraction]:
    """What each of `asks` (row, node, quanta) gets, in exact numbers: in order, until one lacks."""
    left, given = dict(free), {}
    for row, node, wish in asks:
        slack = Fraction(contention.SLACK)
        got = wish if wish <= left[node] + slack else Fraction(math.floor(left[node] + slack))
        given[row] = got
        left[node] = left[node] - wish if got == wish else Fraction(0)
    return given


@given(st.integers(0, 2**32 - 1), st.sampled_from([(300, 1), (300, 40), (40, 3)]))
def test_grants_are_those_of_exact_arithmetic(
    make_fleet: Make, seed: int, size: tuple[int, int]
) -> None:
    """Broken amounts beside wishes beyond all measure, on many nodes at once."""
    random = np.random.default_rng(seed)
    count, nodes = size
    node = random.integers(0, nodes, count)
    current = random.choice([1.0, 0.25, 0.0005, 1.00075], count)
    # A multiple of 1/4096 quantum, so that floats hold it exactly.
    wish = np.round(random.uniform(0, 3, count), 3) + random.choice([0, 2.0**-12, 1e12], count)
    order = random.integers(0, 3, count)
    held = np.bincount(node, current, minlength=nodes)
    room = np.round(random.uniform(0, 1.5, nodes) * 1.5 * count / nodes, 3)
    fleet = make_fleet(
        current[:, None],
        tiers=tiers(1, 2, 1),
        tier=order,
        node=node,
        capacity=(held + room)[:, None],
    )
    rows = np.arange(count, dtype=np.int32)
    never = np.zeros((count, 1), dtype=np.bool_)
    got = contention.grant(fleet, rows, np.zeros(count, dtype=np.int32), wish, never)

    priority = np.array([1, 2, 1])[order]
    ranked = sorted(rows.tolist(), key=lambda row: (-priority[row], wish[row], row))
    asks = [(row, int(node[row]), Fraction(wish[row]) * 1000) for row in ranked if wish[row] > 0]
    free = {
        n: max(Fraction(held[n] + room[n]) - Fraction(held[n]), Fraction(0)) * 1000
        for n in range(nodes)
    }
    exact = by_hand(asks, free)
    found = {row: got[row] * 1000 for row in exact}
    for row, amount in exact.items():
        assert found[row] == pytest.approx(float(amount), rel=1e-9, abs=2e-6), row


@pytest.mark.parametrize("priorities", [(1, 1), (2, 1)])
def test_thousands_on_one_node_share_it_to_the_last_quantum(
    make_fleet: Make, priorities: tuple[int, int]
) -> None:
    count = 6000
    current = np.full((count, 1), 0.0333)
    fleet = make_fleet(
        current,
        tiers=tiers(*priorities),
        tier=np.arange(count) % 2,
        node=0,
        capacity=[[float(current.sum()) + 50.0]],
    )
    found = plan_for(fleet, 0.0533)
    assert len(found) == 2500
    taken = (found.target - found.current).sum()
    assert taken == pytest.approx(50.0, abs=1e-6)
    assert found.unmet[0, 0] == pytest.approx(count * 0.02 - 50.0, abs=1e-3)
    first = fleet.workloads.tier[found.instance] == 0
    assert first.all() == (priorities == (2, 1))


def test_a_large_fleet_loses_no_quantum_to_rounding(make_fleet: Make) -> None:
    """On 300 nodes, 20 wishes beyond all measure each: on every node the first still fits."""
    nodes, each, spare = 300, 20, 70_000.0
    current = np.tile([0.3003, *[0.2] * (each - 1)], nodes)[:, None]
    node = np.repeat(np.arange(nodes), each)
    held = np.bincount(node, current[:, 0], minlength=nodes)
    fleet = make_fleet(
        current,
        tiers=tiers(2, 1),
        tier=np.tile([0, *[1] * (each - 1)], nodes),
        node=node,
        capacity=(held + spare + 0.1007)[:, None],
    )
    target = np.tile([0.4, *[1e9] * (each - 1)], nodes)[:, None]
    found = plan_for(fleet, target)
    got = {int(row): goal for row, goal in zip(found.instance, found.target, strict=True)}
    for row in range(0, nodes * each, each):
        assert got[row] == 0.4
        lower = [got[other] for other in range(row + 1, row + each) if other in got]
        # All that is left, to the last quantum: 100.7 - 99.7 beyond `spare`.
        assert lower == [pytest.approx(0.2 + spare + 0.001, rel=0, abs=1e-4)]


# -- mixed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(InstanceState))
@pytest.mark.parametrize("mode", list(Mode))
def test_paused_stands_above_everything(make_fleet: Make, state: InstanceState, mode: Mode) -> None:
    fleet = make_fleet([[1.0], [1.0]], paused=True, state=state, mode=mode)
    pending = dataclasses.replace(fleet.instances, pending=np.array([[2.0], [NAN]]))
    fleet = dataclasses.replace(fleet, instances=pending)
    for target in (0.1, 0.9, 5.0):
        assert len(plan_for(fleet, target, why=Reason.OVERRIDE)) == 0
