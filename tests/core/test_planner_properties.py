"""Properties of all plans, over crowded nodes, mixed tiers and states, and NaN anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pla.core.fleet import Fleet, Floats, InstanceState, Mode, Tier
from pla.core.plan import Plan, Reason, Recommendation, Skip
from pla.core.planner import plan
from pla.core.resources import BY_NAME, compressible, quanta, whole
from pla.core.situation import Rules

RULES = Rules()
NOW_S = 1_800_000_000.0
NAN = float("nan")
ALL = tuple(BY_NAME)

Make = Callable[..., Any]


PEOPLE = (Reason.OVERRIDE, Reason.FORECAST | Reason.MAXIMUM)
REASONS = (
    Reason.FORECAST,
    Reason.FORECAST | Reason.OVERRIDE | Reason.OVERRIDE_FLOOR,
    Reason.FORECAST | Reason.STALE_HOLD,
    *PEOPLE,
)


def advice(target: Floats, reason: Any) -> Recommendation:
    return Recommendation(target, target, target, target, reason)


def changes(found: Plan) -> dict[tuple[int, int], float]:
    """{(instance, resource): target}."""
    keys = zip(found.instance.tolist(), found.resource.tolist(), strict=True)
    return dict(zip(keys, found.target.tolist(), strict=True))


def skipped(found: Plan) -> dict[tuple[int, int], Skip]:
    return {(instance, resource): why for instance, resource, _, why in found.skips()}


class Case(NamedTuple):
    fleet: Fleet
    target: Floats
    supported: Any
    last_change_s: Floats
    reason: Any


def case(seed: int, make_fleet: Make, tight: float) -> Case:
    """Instances of all resources on crowded nodes, tiers and states mixed; NaN anywhere.

    Some have changes under way, and some targets are a person's.
    """
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
    pending = np.ceil(current / quantum * random.choice([0.3, 0.9, 1.0, 1.5, 4.0], shape)) * quantum
    pending = np.where(random.random(shape) < random.choice([0.0, 0.2]), pending, NAN)
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
    table = dataclasses.replace(fleet.instances, pending=pending)
    fleet = dataclasses.replace(fleet, instances=table)
    present = fleet.workload_current()
    factor = random.choice(
        [0.0, 0.1, 0.5, 0.79, 0.8, 0.95, 1.0, 1.0, 1.2, 3.0, 50.0], present.shape
    )
    target = np.ceil(np.nan_to_num(present) * factor / quantum) * quantum
    target = np.where(random.random(present.shape) < 0.1, NAN, target)
    last = random.choice([-np.inf, NOW_S - 1e4, NOW_S - 300, NOW_S - 10], shape)
    reason = random.choice(np.array(REASONS, dtype=np.int32), present.shape)
    return Case(fleet, target, random.random(present.shape) < 0.9, last, reason)


def run(found: Case) -> Plan:
    wishes = advice(found.target, found.reason)
    return plan(wishes, found.fleet, found.supported, found.last_change_s, NOW_S, RULES)


def accepted(before: Case, done: Plan, at_s: float = NOW_S) -> Case:
    """The same fleet after every change of `done` has been accepted, and is not yet in force."""
    table = before.fleet.instances
    pending, last = table.pending.copy(), before.last_change_s.copy()
    pending[done.instance, done.resource] = done.target
    last[done.instance, done.resource] = at_s
    instances = dataclasses.replace(table, pending=pending)
    fleet = dataclasses.replace(before.fleet, instances=instances)
    return before._replace(fleet=fleet, last_change_s=last)


def applied(before: Case, done: Plan) -> Case:
    """The same fleet after every change of `done` has been carried out, at the same time."""
    after = accepted(before, done)
    table = after.fleet.instances
    current, pending = table.current.copy(), table.pending.copy()
    current[done.instance, done.resource] = done.target
    pending[done.instance, done.resource] = NAN
    instances = dataclasses.replace(table, current=current, pending=pending)
    return after._replace(fleet=dataclasses.replace(after.fleet, instances=instances))


def coming(fleet: Fleet) -> Floats:
    """What each cell will have, shape (instance, resource)."""
    table = fleet.instances
    return np.where(np.isnan(table.pending), table.current, table.pending)


def ends(fleet: Fleet) -> Floats:
    """The larger end of what each cell has and will have, shape (instance, resource)."""
    return np.fmax(fleet.instances.current, fleet.instances.pending)


def held(fleet: Fleet) -> Floats:
    """What is held on each node, by a loop, shape (node, resource)."""
    total = np.zeros(fleet.nodes.capacity.shape)
    both = np.nan_to_num(ends(fleet))
    for row in range(len(fleet.instances)):
        if fleet.instances.node[row] >= 0 and fleet.instances.state[row] != InstanceState.STOPPED:
            total[fleet.instances.node[row]] += both[row]
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


@given(SEEDS, TIGHT, st.sampled_from([0.0, 2.0, 1e5]))
def test_planning_again_while_it_is_under_way_is_empty(
    make_fleet: Make, seed: int, tight: float, later_s: float
) -> None:
    """At any later time: as long as targets, nodes and amounts in force are the same."""
    before = case(seed, make_fleet, tight)
    found = run(before)
    later = plan(
        advice(before.target, before.reason),
        accepted(before, found).fleet,
        before.supported,
        accepted(before, found).last_change_s,
        NOW_S + later_s,
        RULES,
    )
    # What had to wait for its cooldown may come now, but nothing comes twice.
    assert not set(changes(found)) & set(changes(later))
    grown = {(i, r) for (i, r), t in changes(later).items() if t > coming(before.fleet)[i, r]}
    assert not grown


@given(SEEDS, TIGHT)
def test_nothing_is_promised_twice(make_fleet: Make, seed: int, tight: float) -> None:
    before = case(seed, make_fleet, tight)
    capacity = np.nan_to_num(before.fleet.nodes.capacity, nan=np.inf)
    slack = 1e-6 * quanta(ALL)
    was = held(before.fleet)
    # None of the plan's shrinks has come true yet.
    becomes = held(accepted(before, run(before)).fleet)
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
            short[i, r] = before.target[rows[i], r] - ends(fleet)[i, r]
    for (i, r), lack in short.items():
        lacking.setdefault((node[i], r), []).append((priority[i], lack))
    for (i, r), target in got.items():
        if target > ends(fleet)[i, r] and node[i] >= 0:
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
    gap = np.abs(before.target[rows] - coming(before.fleet))
    gap[np.isnan(before.fleet.instances.current)] = NAN
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
    # Between what it will have and what it wants, and by half a quantum at least.
    was = coming(fleet)[found.instance, found.resource]
    assert (found.target >= np.minimum(was, goal) - 1e-6 * quantum).all()
    assert (found.target <= np.maximum(was, goal) + 1e-6 * quantum).all()
    assert (np.abs(found.target - was) > quantum * 0.499).all()

    shrinks = found.target < was
    assert not (shrinks & (state == InstanceState.RESIZING)).any()
    assert not (shrinks & (was != found.current)).any()
    person = np.isin(before.reason[rows, found.resource], np.array(PEOPLE))
    assert (goal < RULES.shrink_deadband * found.current)[shrinks & ~person].all()
    slow = shrinks & ~(person & compressible(ALL)[found.resource])
    elapsed = NOW_S - before.last_change_s[found.instance, found.resource]
    assert (elapsed >= np.array([t.cooldown_s for t in tier]))[slow].all()
    least = found.current * (1 - np.array([t.max_shrink_fraction for t in tier]))
    one_less = np.floor(found.current - 0.5)
    least = np.where(whole(ALL)[found.resource], np.minimum(least, one_less), least)
    assert (found.target >= least - 1e-6 * quantum)[slow].all()
    assert (found.target == goal)[shrinks & ~slow].all()
    first_growth = np.flatnonzero(~shrinks)
    assert not shrinks[first_growth[0] :].any() if len(first_growth) else True


@given(SEEDS, TIGHT)
def test_growth_is_only_ever_kept_back_by_who_may_not_act_and_full_nodes(
    make_fleet: Make, seed: int, tight: float
) -> None:
    before = case(seed, make_fleet, tight)
    rows = before.fleet.instances.workload
    for (i, r), why in skipped(run(before)).items():
        if before.target[rows[i], r] > coming(before.fleet)[i, r]:
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
        pending=table.pending[order],
    )

    def totals(found: Plan, of: Fleet) -> Floats:
        total = np.zeros((3, len(of.nodes) + 1, len(ALL)))
        tier = of.workloads.tier[of.instances.workload[found.instance]]
        priority = np.array([tier.priority for tier in of.tiers])[tier]
        cell = priority, of.instances.node[found.instance], found.resource
        was = coming(of)[found.instance, found.resource]
        np.add.at(total, cell, found.target - was)
        return total

    one = before._replace(fleet=fleet)
    other = one._replace(
        fleet=dataclasses.replace(fleet, instances=turned),
        last_change_s=before.last_change_s[order],
    )
    np.testing.assert_allclose(
        totals(run(one), one.fleet), totals(run(other), other.fleet), rtol=1e-9, atol=1e-9
    )
