"""Every rule that turns a recommendation into changes (DESIGN 4), and properties of all plans."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pla.core.fleet import Fleet, Floats, InstanceState, Mode, Tier
from pla.core.plan import Plan, Reason, Recommendation, Skip
from pla.core.planner import plan
from pla.core.resources import BY_NAME, quanta
from pla.core.situation import Rules

RULES = Rules()
NOW_S = 1_800_000_000.0
MIB = 2.0**20
NAN = float("nan")
ALL = tuple(BY_NAME)

Make = Callable[..., Any]


def advice(target: Any, reason: int = Reason.FORECAST) -> Recommendation:
    amounts = np.asarray(target, dtype=np.float64)
    reasons = np.full(amounts.shape, reason, dtype=np.int32)
    return Recommendation(amounts, amounts, amounts, amounts, reasons)


def planned(fleet: Fleet, target: Any, *, supported: Any = None, last_s: Any = -np.inf) -> Plan:
    """The plan for workload targets (workload, resource), at `NOW_S`."""
    cells = (len(fleet.workloads), len(fleet.resources))
    goal = np.asarray(target, dtype=np.float64).reshape(cells)
    can = fleet.workloads.support if supported is None else np.broadcast_to(supported, cells)
    changed = np.array(np.broadcast_to(last_s, fleet.instances.current.shape), dtype=np.float64)
    return plan(advice(goal), fleet, can, changed, NOW_S, RULES)


def changes(found: Plan) -> dict[tuple[int, int], float]:
    """{(instance, resource): target}."""
    keys = zip(found.instance.tolist(), found.resource.tolist(), strict=True)
    return dict(zip(keys, found.target.tolist(), strict=True))


def skipped(found: Plan) -> dict[tuple[int, int], Skip]:
    return {(instance, resource): why for instance, resource, _, why in found.skips()}


# -- growth and shrink ---------------------------------------------------------------------


def test_nothing_to_do_is_an_empty_plan(make_fleet: Make) -> None:
    found = planned(make_fleet([[2.0], [3.0]]), [2.0, 3.0])
    assert len(found) == 0
    assert skipped(found) == {}


def test_growth_is_at_once_whatever_the_cooldown(make_fleet: Make) -> None:
    found = planned(make_fleet([[1.0]]), [1.5], last_s=NOW_S - 1)
    assert changes(found) == {(0, 0): 1.5}


@pytest.mark.parametrize(("target", "shrinks"), [(0.81, False), (0.8, False), (0.79, True)])
def test_a_shrink_only_below_four_fifths(make_fleet: Make, target: float, shrinks: bool) -> None:
    found = planned(make_fleet([[1.0]]), [target])
    assert changes(found) == ({(0, 0): target} if shrinks else {})
    assert skipped(found) == ({} if shrinks else {(0, 0): Skip.DEADBAND})


@pytest.mark.parametrize(("elapsed_s", "shrinks"), [(0, False), (599, False), (600, True)])
def test_a_shrink_only_after_the_cooldown(
    make_fleet: Make, elapsed_s: float, shrinks: bool
) -> None:
    found = planned(make_fleet([[1.0]]), [0.6], last_s=NOW_S - elapsed_s)
    assert changes(found) == ({(0, 0): 0.6} if shrinks else {})
    assert skipped(found) == ({} if shrinks else {(0, 0): Skip.COOLDOWN})


@pytest.mark.parametrize(("tier", "reached"), [(0, 0.7), (1, 0.5), (2, 0.3)])
def test_a_shrink_takes_at_most_the_tiers_share(
    make_fleet: Make, tier: int, reached: float
) -> None:
    found = planned(make_fleet([[1.0]], tier=tier), [0.1])
    assert changes(found)[0, 0] == pytest.approx(reached)
    assert found.reason[0] & Reason.SHRINK_LIMITED


def test_a_shrink_within_the_share_goes_all_the_way(make_fleet: Make) -> None:
    found = planned(make_fleet([[1.0]]), [0.6])
    assert not found.reason[0] & Reason.SHRINK_LIMITED


def test_devices_that_cannot_be_divided_that_small_stay_and_it_says_so(make_fleet: Make) -> None:
    found = planned(make_fleet([[3.0]], resources=("gpu",), tier=0), [1.0])
    assert changes(found) == {}
    assert skipped(found) == {(0, 0): Skip.SHRINK_LIMIT}
    assert changes(planned(make_fleet([[4.0]], resources=("gpu",)), [1.0])) == {(0, 0): 2.0}


def test_the_first_plan_may_shrink(make_fleet: Make) -> None:
    assert changes(planned(make_fleet([[1.0]]), [0.6], last_s=-np.inf)) == {(0, 0): 0.6}


def test_without_a_cooldown_two_plans_at_one_time_do_not_add_up(make_fleet: Make) -> None:
    tiers = (Tier("t", 1, 0.9, 0, cooldown_s=0, max_shrink_fraction=0.5),)
    fleet = make_fleet([[1.0]], tiers=tiers, tier=0)
    assert changes(planned(fleet, [0.1], last_s=NOW_S - 1)) == {(0, 0): 0.5}
    assert skipped(planned(fleet, [0.1], last_s=NOW_S)) == {(0, 0): Skip.COOLDOWN}


def test_less_than_half_a_quantum_is_no_change(make_fleet: Make) -> None:
    assert len(planned(make_fleet([[1.0]]), [1.0004])) == 0
    assert len(planned(make_fleet([[1.0]]), [1.001])) == 1


def test_shrinks_come_before_growth(make_fleet: Make) -> None:
    found = planned(make_fleet([[1.0], [4.0], [1.0], [4.0]]), [2.0, 2.5, 2.0, 2.5])
    assert found.instance.tolist() == [1, 3, 0, 2]


def test_all_instances_of_a_workload_get_its_target(make_fleet: Make) -> None:
    fleet = make_fleet([[1.0], [2.0], [3.0]], workload=[0, 0, 1])
    assert changes(planned(fleet, [2.0, 5.0])) == {(0, 0): 2.0, (2, 0): 5.0}


# -- who may act ---------------------------------------------------------------------------


@pytest.mark.parametrize("target", [2.0, 0.5])
def test_observe_only_recommends(make_fleet: Make, target: float) -> None:
    found = planned(make_fleet([[1.0]], mode=Mode.OBSERVE), [target])
    assert len(found) == 0
    assert list(found.skips()) == [(0, 0, target, Skip.OBSERVE)]


@pytest.mark.parametrize(
    ("fraction", "count", "chosen"), [(0.1, 30, 3), (0.1, 31, 4), (0.1, 1, 1), (1.0, 7, 7)]
)
def test_canary_acts_on_its_share_of_instances(
    make_fleet: Make, fraction: float, count: int, chosen: int
) -> None:
    tiers = (Tier("t", 1, 0.9, 0, 0, 1, canary_fraction=fraction),)
    fleet = make_fleet(
        np.ones((2 * count, 1)),
        tiers=tiers,
        tier=0,
        workload=np.tile([0, 1], count),
        mode=[Mode.CANARY, Mode.ENFORCE],
    )
    found = planned(fleet, [2.0, 2.0])
    acted = found.instance[fleet.instances.workload[found.instance] == 0]
    assert acted.tolist() == [2 * row for row in range(chosen)]
    assert len(found) == count + chosen
    assert set(skipped(found).values()) == ({Skip.CANARY} if chosen < count else set())


def test_canary_does_not_choose_an_instance_that_is_stopped(make_fleet: Make) -> None:
    tiers = (Tier("t", 1, 0.9, 0, 0, 1, canary_fraction=0.5),)
    states = [InstanceState.STOPPED, InstanceState.RUNNING, InstanceState.RUNNING]
    fleet = make_fleet(
        np.ones((3, 1)), tiers=tiers, tier=0, workload=[0] * 3, mode=Mode.CANARY, state=states
    )
    assert planned(fleet, [2.0]).instance.tolist() == [1]


def test_paused_workloads_are_left_alone(make_fleet: Make) -> None:
    found = planned(make_fleet([[1.0], [1.0]], paused=[True, False]), [2.0, 2.0])
    assert changes(found) == {(1, 0): 2.0}
    assert skipped(found) == {(0, 0): Skip.PAUSED}


def test_what_the_platform_cannot_resize_is_only_recommended(make_fleet: Make) -> None:
    fleet = make_fleet([[1.0, 1.0]], resources=("cpu", "gpu"))
    found = planned(fleet, [[2.0, 2.0]], supported=[[True, False]])
    assert changes(found) == {(0, 0): 2.0}
    assert skipped(found) == {(0, 1): Skip.UNSUPPORTED}


@pytest.mark.parametrize("state", [InstanceState.STOPPED, InstanceState.STARTING])
def test_an_instance_that_does_not_run_is_left_alone(
    make_fleet: Make, state: InstanceState
) -> None:
    assert skipped(planned(make_fleet([[1.0]], state=state), [2.0])) == {(0, 0): Skip.NOT_RUNNING}


def test_a_resize_under_way_stops_a_shrink_but_not_growth(make_fleet: Make) -> None:
    fleet = make_fleet([[1.0], [1.0]], state=InstanceState.RESIZING)
    found = planned(fleet, [2.0, 0.5])
    assert changes(found) == {(0, 0): 2.0}
    assert skipped(found) == {(1, 0): Skip.RESIZING}


def test_a_skip_says_the_first_reason_that_stands(make_fleet: Make) -> None:
    fleet = make_fleet([[1.0]], mode=Mode.OBSERVE, paused=True, state=InstanceState.STOPPED)
    assert skipped(planned(fleet, [2.0], supported=False)) == {(0, 0): Skip.UNSUPPORTED}


# -- contention ----------------------------------------------------------------------------


def test_the_higher_tier_is_satisfied_first(make_fleet: Make) -> None:
    fleet = make_fleet([[1.0], [1.0], [1.0]], tier=[2, 0, 1], node=0, capacity=[[5.0]])
    found = planned(fleet, [2.0, 2.5, 2.5])
    assert changes(found) == {(1, 0): 2.5, (2, 0): 1.5}
    assert found.reason[found.instance == 2] & Reason.NODE_SHORT
    assert skipped(found) == {(0, 0): Skip.NODE_FULL}
    assert found.unmet.tolist() == [[2.0]]


def test_a_lower_tier_gets_nothing_while_a_higher_one_lacks(make_fleet: Make) -> None:
    fleet = make_fleet([[1.0], [1.0]], tier=[0, 2], node=0, capacity=[[3.0]])
    found = planned(fleet, [100.0, 1.1])
    assert changes(found) == {(0, 0): 2.0}
    assert found.unmet[0, 0] == pytest.approx(98.1)


def test_tiers_of_equal_priority_share_by_size(make_fleet: Make) -> None:
    tiers = (Tier("a", 5, 0.9, 0, 0, 1), Tier("b", 5, 0.9, 0, 0, 1))
    fleet = make_fleet([[1.0], [1.0]], tiers=tiers, tier=[0, 1], node=0, capacity=[[3.0]])
    assert changes(planned(fleet, [3.0, 1.5])) == {(0, 0): 1.5, (1, 0): 1.5}


def test_within_a_tier_the_smallest_growth_comes_first(make_fleet: Make) -> None:
    fleet = make_fleet([[1.0], [1.0], [1.0]], node=0, capacity=[[4.0]])
    assert changes(planned(fleet, [2.0, 1.25, 1.5])) == {
        (0, 0): 1.25,
        (1, 0): 1.25,
        (2, 0): 1.5,
    }


def test_what_this_plan_takes_back_is_not_promised_yet(make_fleet: Make) -> None:
    fleet = make_fleet([[3.0], [1.0]], node=0, capacity=[[4.0]])
    found = planned(fleet, [1.5, 2.0])
    assert changes(found) == {(0, 0): 1.5}
    assert skipped(found) == {(1, 0): Skip.NODE_FULL}


def test_what_was_given_back_is_there_in_the_next_tick(make_fleet: Make) -> None:
    fleet = make_fleet([[1.5], [1.0]], node=0, capacity=[[4.0]])
    assert changes(planned(fleet, [1.5, 2.0], last_s=NOW_S - 5)) == {(1, 0): 2.0}


def test_each_node_and_resource_has_its_own_room(make_fleet: Make) -> None:
    fleet = make_fleet(
        [[1.0, 100 * MIB], [1.0, 100 * MIB]],
        resources=("cpu", "memory"),
        node=[0, 1],
        capacity=[[1.0, 300 * MIB], [4.0, 100 * MIB]],
    )
    found = planned(fleet, [[2.0, 200 * MIB], [2.0, 200 * MIB]])
    assert changes(found) == {(0, 1): 200 * MIB, (1, 0): 2.0}
    assert found.unmet.tolist() == [[1.0, 0.0], [0.0, 100 * MIB]]


def test_an_unlimited_resource_and_an_unbound_instance_are_not_trimmed(make_fleet: Make) -> None:
    fleet = make_fleet(
        [[1.0, 1.0], [1.0, 1.0]],
        resources=("cpu", "gpu"),
        node=[0, -1],
        capacity=[[1.5, NAN]],
    )
    found = planned(fleet, [[9.0, 9.0], [9.0, 9.0]])
    assert changes(found) == {(0, 0): 1.5, (0, 1): 9.0, (1, 0): 9.0, (1, 1): 9.0}


def test_stopped_instances_hold_nothing(make_fleet: Make) -> None:
    states = [InstanceState.STOPPED, InstanceState.RUNNING]
    fleet = make_fleet([[3.0], [1.0]], node=0, capacity=[[4.0]], state=states)
    assert changes(planned(fleet, [3.0, 4.0])) == {(1, 0): 4.0}


def test_starting_and_warm_instances_hold_what_they_have(make_fleet: Make) -> None:
    states = [InstanceState.STARTING, InstanceState.WARM, InstanceState.RUNNING]
    fleet = make_fleet([[1.0], [1.0], [1.0]], node=0, capacity=[[4.0]], state=states)
    assert changes(planned(fleet, [1.0, 1.0, 4.0])) == {(2, 0): 2.0}


def test_an_overcommitted_node_gets_no_worse(make_fleet: Make) -> None:
    fleet = make_fleet([[3.0], [3.0]], tier=[0, 0], node=0, capacity=[[4.0]])
    found = planned(fleet, [5.0, 2.25])
    assert changes(found) == {(1, 0): 2.25}


def test_devices_are_trimmed_to_whole_devices(make_fleet: Make) -> None:
    fleet = make_fleet([[1.0]], resources=("gpu",), node=0, capacity=[[3.5]])
    assert changes(planned(fleet, [8.0])) == {(0, 0): 3.0}


@pytest.mark.parametrize("absurd", [1e30, 1e300, np.inf])
def test_an_absurd_target_costs_other_nodes_nothing(make_fleet: Make, absurd: float) -> None:
    node, capacity = [0, 1, 1, 2], [[2.0], [3.0], [NAN]]
    fleet = make_fleet(np.ones((4, 1)), node=node, capacity=capacity)
    found = planned(fleet, [absurd, 1.75, 2.5, 7.0])
    first = {} if np.isinf(absurd) else {(0, 0): 2.0}
    assert changes(found) == first | {(1, 0): 1.75, (2, 0): 1.25, (3, 0): 7.0}


def test_no_target_is_no_change(make_fleet: Make) -> None:
    found = planned(make_fleet([[1.0], [NAN]], node=0, capacity=[[4.0]]), [NAN, 2.0])
    assert len(found) == 0
    assert skipped(found) == {}


# -- properties of all plans ---------------------------------------------------------------


class Case(NamedTuple):
    fleet: Fleet
    target: Floats
    supported: Any
    last_change_s: Floats


def case(seed: int, make_fleet: Make, tight: float) -> Case:
    """Instances of all resources on crowded nodes, tiers and states mixed; NaN anywhere."""
    random = np.random.default_rng(seed)
    instances, nodes = random.integers(1, 40), random.integers(1, 5)
    workload = random.integers(0, instances, instances)
    workload = np.unique(workload, return_inverse=True)[1]
    workloads, shape = workload.max() + 1, (instances, len(ALL))
    quantum = quanta(ALL)
    steps = random.choice([1, 2, 3, 10, 11, 13, 100, 101, 5000], shape)
    current = steps * quantum
    current = np.where(random.random(shape) < 0.1, current + 0.3 * quantum, current)
    current = np.where(random.random(shape) < 0.05, NAN, current)
    node = random.integers(-1, nodes, instances)
    held = np.zeros((nodes, len(ALL)))
    np.add.at(held, node[node >= 0], np.nan_to_num(current)[node >= 0])
    capacity = held * random.choice([0.9, 1.0, 1.0005, 1.1, 2.0], held.shape) * tight
    capacity = np.where(random.random(held.shape) < 0.1, NAN, capacity)
    tiers = tuple(
        Tier(
            f"t{row}",
            priority=int(random.integers(0, 3)),
            quantile=0.9,
            headroom=0.1,
            cooldown_s=float(random.choice([0.0, 300.0])),
            max_shrink_fraction=float(random.choice([0.01, 0.3, 0.5, 1.0])),
            canary_fraction=float(random.choice([0.1, 0.5, 1.0])),
        )
        for row in range(3)
    )
    fleet = make_fleet(
        current,
        resources=ALL,
        tiers=tiers,
        workload=workload,
        tier=random.integers(0, 3, workloads),
        mode=random.choice([0, 1, 2, 2, 2, 2], workloads),
        paused=random.random(workloads) < 0.1,
        state=random.choice([0, 0, 0, 0, 1, 2, 3, 4], instances),
        node=node,
        capacity=capacity,
    )
    present = fleet.workload_current()
    factor = random.choice(
        [0.0, 0.1, 0.5, 0.79, 0.8, 0.95, 1.0, 1.0, 1.2, 3.0, 50.0], present.shape
    )
    target = np.ceil(np.nan_to_num(present) * factor / quantum) * quantum
    target = np.where(random.random(present.shape) < 0.1, NAN, target)
    last = random.choice([-np.inf, NOW_S - 1e4, NOW_S - 300, NOW_S - 10], shape)
    return Case(fleet, target, random.random(present.shape) < 0.9, last)


def run(found: Case) -> Plan:
    return plan(
        advice(found.target), found.fleet, found.supported, found.last_change_s, NOW_S, RULES
    )


def applied(before: Case, done: Plan) -> Case:
    """The same fleet after every change of `done` has been carried out, at the same time."""
    current, last = before.fleet.instances.current.copy(), before.last_change_s.copy()
    current[done.instance, done.resource] = done.target
    last[done.instance, done.resource] = NOW_S
    instances = dataclasses.replace(before.fleet.instances, current=current)
    fleet = dataclasses.replace(before.fleet, instances=instances)
    return before._replace(fleet=fleet, last_change_s=last)


def held(fleet: Fleet) -> Floats:
    """What is held on each node, by a loop, shape (node, resource)."""
    total = np.zeros(fleet.nodes.capacity.shape)
    for row in range(len(fleet.instances)):
        if fleet.instances.node[row] >= 0 and fleet.instances.state[row] != InstanceState.STOPPED:
            total[fleet.instances.node[row]] += np.nan_to_num(fleet.instances.current[row])
    return total


SEEDS = st.integers(0, 2**32 - 1)
TIGHT = st.sampled_from([0.8, 1.0, 1.5])


@given(SEEDS, TIGHT)
def test_planning_again_right_after_applying_is_empty(
    make_fleet: Make, seed: int, tight: float
) -> None:
    before = case(seed, make_fleet, tight)
    after = applied(before, run(before))
    assert changes(run(after)) == {}


@given(SEEDS, TIGHT)
def test_nothing_is_promised_twice(make_fleet: Make, seed: int, tight: float) -> None:
    before = case(seed, make_fleet, tight)
    found = run(before)
    grows = found.target > found.current
    growth_only = dataclasses.replace(
        found, **{n: getattr(found, n)[grows] for n in ("instance", "resource", "target")}
    )
    capacity = np.nan_to_num(before.fleet.nodes.capacity, nan=np.inf)
    slack = 1e-6 * quanta(ALL)
    was = held(before.fleet)
    # Even if none of the plan's shrinks comes true.
    becomes = held(applied(before, growth_only).fleet)
    assert (becomes <= np.maximum(capacity, was) + slack).all()


@given(SEEDS, TIGHT)
def test_no_lower_tier_grows_while_a_higher_one_lacks(
    make_fleet: Make, seed: int, tight: float
) -> None:
    before = case(seed, make_fleet, tight)
    fleet, found = before.fleet, run(before)
    rows = fleet.instances.workload
    priority = np.array([tier.priority for tier in fleet.tiers])[fleet.workloads.tier[rows]]
    node = fleet.instances.node
    lacking: dict[tuple[int, int], list[tuple[int, float]]] = {}
    got = changes(found)
    short = {
        (i, r): before.target[rows[i], r] - got[i, r]
        for (i, r), reason in zip(got, found.reason.tolist(), strict=True)
        if reason & Reason.NODE_SHORT
    }
    for (i, r), why in skipped(found).items():
        if why is Skip.NODE_FULL:
            short[i, r] = before.target[rows[i], r] - fleet.instances.current[i, r]
    for (i, r), lack in short.items():
        lacking.setdefault((node[i], r), []).append((priority[i], lack))
    for (i, r), target in got.items():
        if target > fleet.instances.current[i, r] and node[i] >= 0:
            for other, lack in lacking.get((node[i], r), []):
                assert other <= priority[i] or lack < quanta(ALL)[r]
    total = np.zeros_like(found.unmet)
    for (i, r), lack in short.items():
        total[node[i], r] += lack
    np.testing.assert_allclose(found.unmet, total, rtol=1e-9)


@given(SEEDS, TIGHT)
def test_every_wanted_change_is_made_or_skipped_with_a_reason_and_no_other(
    make_fleet: Make, seed: int, tight: float
) -> None:
    before = case(seed, make_fleet, tight)
    found = run(before)
    rows = before.fleet.instances.workload
    gap = np.abs(before.target[rows] - before.fleet.instances.current)
    wanted = set(zip(*(axis.tolist() for axis in np.nonzero(gap > quanta(ALL) / 2)), strict=True))
    made, left = changes(found), skipped(found)
    assert len(made) == len(found)
    assert len(left) == len(found.skipped_why)
    assert set(made) | set(left) == wanted
    assert not set(made) & set(left)


@given(SEEDS, TIGHT)
def test_what_always_holds_of_a_change(make_fleet: Make, seed: int, tight: float) -> None:
    before = case(seed, make_fleet, tight)
    fleet, found = before.fleet, run(before)
    rows = fleet.instances.workload[found.instance]
    tier = [fleet.tiers[row] for row in fleet.workloads.tier[rows]]
    quantum = quanta(ALL)[found.resource]
    goal = before.target[rows, found.resource]
    mode = fleet.workloads.mode[rows]
    state = fleet.instances.state[found.instance]

    assert before.supported[rows, found.resource].all()
    assert not fleet.workloads.paused[rows].any()
    assert (mode != Mode.OBSERVE).all()
    assert not np.isin(state, [InstanceState.STOPPED, InstanceState.STARTING]).any()
    assert np.isfinite(found.target).all()
    np.testing.assert_array_equal(
        found.current, fleet.instances.current[found.instance, found.resource]
    )
    # Between what it has and what it wants, and by half a quantum at least.
    assert (found.target >= np.minimum(found.current, goal) - 1e-6 * quantum).all()
    assert (found.target <= np.maximum(found.current, goal) + 1e-6 * quantum).all()
    assert (np.abs(found.target - found.current) > quantum * 0.499).all()

    shrinks = found.target < found.current
    assert not (shrinks & (state == InstanceState.RESIZING)).any()
    assert (goal < RULES.shrink_deadband * found.current)[shrinks].all()
    elapsed = NOW_S - before.last_change_s[found.instance, found.resource]
    assert (elapsed >= np.array([t.cooldown_s for t in tier]))[shrinks].all()
    least = found.current * (1 - np.array([t.max_shrink_fraction for t in tier]))
    assert (found.target >= least - 1e-6 * quantum)[shrinks].all()
    first_growth = np.flatnonzero(~shrinks)
    assert not shrinks[first_growth[0] :].any() if len(first_growth) else True


@given(SEEDS, TIGHT)
def test_growth_is_only_ever_kept_back_by_who_may_not_act_and_full_nodes(
    make_fleet: Make, seed: int, tight: float
) -> None:
    before = case(seed, make_fleet, tight)
    rows = before.fleet.instances.workload
    for (i, r), why in skipped(run(before)).items():
        if before.target[rows[i], r] > before.fleet.instances.current[i, r]:
            assert why not in {Skip.DEADBAND, Skip.COOLDOWN, Skip.SHRINK_LIMIT, Skip.RESIZING}


@given(SEEDS, st.sampled_from([NAN, np.inf, 1e300, 1e30]))
def test_a_bad_target_changes_nothing_on_other_nodes(
    make_fleet: Make, seed: int, bad: float
) -> None:
    before = case(seed, make_fleet, 1.0)
    rows, node = before.fleet.instances.workload, before.fleet.instances.node
    target = before.target.copy()
    target[0] = bad
    nothing = before.target.copy()
    nothing[0] = NAN
    near = np.isin(node, node[rows == 0][node[rows == 0] >= 0]) | (rows == 0)
    good, worse = run(before), run(before._replace(target=target))

    def far(found: Plan) -> dict[tuple[int, int], float]:
        return {key: goal for key, goal in changes(found).items() if not near[key[0]]}

    assert far(good) == far(worse)
    if np.isnan(bad):
        assert not any(rows[i] == 0 for i, _ in changes(worse))
    elif np.isinf(bad):
        assert changes(worse) == changes(run(before._replace(target=nothing)))


@given(SEEDS)
def test_the_order_of_instances_decides_nothing_that_matters(make_fleet: Make, seed: int) -> None:
    """The same totals per node, priority and resource, in whatever order a platform lists."""
    before = case(seed, make_fleet, 1.0)
    fleet = before.fleet
    mode = np.full(len(fleet.workloads), Mode.ENFORCE, dtype=np.int8)
    fleet = dataclasses.replace(fleet, workloads=dataclasses.replace(fleet.workloads, mode=mode))
    order = np.random.default_rng(seed).permutation(len(fleet.instances))
    table = fleet.instances
    turned = dataclasses.replace(
        table,
        ids=tuple(table.ids[row] for row in order),
        workload=table.workload[order],
        node=table.node[order],
        current=table.current[order],
        state=table.state[order],
    )

    def totals(found: Plan, of: Fleet) -> Floats:
        total = np.zeros((3, len(of.nodes) + 1, len(ALL)))
        tier = of.workloads.tier[of.instances.workload[found.instance]]
        priority = np.array([tier.priority for tier in of.tiers])[tier]
        cell = priority, of.instances.node[found.instance], found.resource
        np.add.at(total, cell, found.target - found.current)
        return total

    one = before._replace(fleet=fleet)
    other = one._replace(
        fleet=dataclasses.replace(fleet, instances=turned),
        last_change_s=before.last_change_s[order],
    )
    np.testing.assert_allclose(
        totals(run(one), one.fleet), totals(run(other), other.fleet), rtol=1e-9, atol=1e-9
    )


def test_an_empty_fleet_has_an_empty_plan(make_fleet: Make) -> None:
    fleet = make_fleet(np.empty((0, 1)))
    found = planned(fleet, np.empty((0, 1)))
    assert len(found) == 0
    assert found.unmet.shape == (0, 1)
