"""Several platforms' parts as one fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pla.core.fleet import ControlledValues, Fleet, NodeTable, Tier
from pla.core.plan import Outcome, Resize
from pla.observation import Observation, merge, row_map
from pla.ports import FleetPart

RESOURCES = ("cpu", "memory")
TIERS = (
    Tier("critical", 2, 0.99, 0, 0, 1, controlled_values={"cpu": ControlledValues.REQUESTS}),
    Tier("standard", 1, 0.9, 0, 0, 1),
)

Make = Callable[..., Any]


@dataclass
class Platform:
    """An actuator that is only asked for what it can do."""

    scheme: str
    supports: frozenset[str] = frozenset(RESOURCES)
    enforces: frozenset[str] = frozenset(RESOURCES)

    def list(self, resources: Sequence[str]) -> FleetPart:
        raise NotImplementedError

    def apply(self, actions: Sequence[Resize], deadline_s: float) -> Iterator[Outcome]:
        raise NotImplementedError

    def restore(self, workloads: Sequence[str] | None) -> Iterator[Outcome]:
        raise NotImplementedError


def part_of(fleet: Fleet) -> FleetPart:
    return FleetPart(fleet.workloads, fleet.instances, fleet.nodes)


def merged(parts: list[FleetPart], owners: list[Platform], silent: list[bool]) -> Observation:
    return merge(parts, owners, silent, RESOURCES, TIERS)


@pytest.fixture
def parts(make_fleet: Make) -> list[FleetPart]:
    """Two platforms: 2 workloads on 2 nodes, and 1 workload of 2 instances on 1 node and none."""
    common: dict[str, Any] = {"resources": RESOURCES, "tiers": TIERS}
    first = make_fleet(
        [[1.0, 10.0], [2.0, 20.0]], node=[1, 0], capacity=[[8, 80], [9, 90]], tier=[0, 1], **common
    )
    second = make_fleet(
        [[3.0, 30.0], [3.0, 30.0]],
        workload=[0, 0],
        node=[0, -1],
        capacity=[[7, 70]],
        support=[[True, False]],
        **common,
    )
    return [part_of(first), part_of(second)]


def test_rows_are_shifted_and_owners_remembered(parts: list[FleetPart]) -> None:
    found = merged(parts, [Platform("sim"), Platform("k8s")], [False, False])
    assert found.fleet.instances.workload.tolist() == [0, 1, 2, 2]
    assert found.fleet.instances.node.tolist() == [1, 0, 2, -1]
    assert found.fleet.instances.current[:, 0].tolist() == [1, 2, 3, 3]
    assert found.fleet.nodes.capacity[:, 0].tolist() == [8, 9, 7]
    assert found.fleet.workloads.tier.tolist() == [0, 1, 1]
    assert found.owner.tolist() == [0, 0, 1]
    assert [owner.scheme for owner in found.owners] == ["sim", "k8s"]
    assert found.fleet.workload_current()[:, 0].tolist() == [1, 2, 3]


def test_an_amount_goes_back_to_the_instance_it_came_from(parts: list[FleetPart]) -> None:
    found = merged(parts, [Platform("sim"), Platform("k8s")], [False, False])
    names = [name for part in parts for name in part.instances.ids]
    assert found.fleet.instances.ids == tuple(names)
    assert found.fleet.workloads.ids == tuple(n for part in parts for n in part.workloads.ids)


def test_resizable_is_what_exists_and_its_platform_supports(parts: list[FleetPart]) -> None:
    only_cpu = Platform("sim", supports=frozenset({"cpu", "gpu"}))
    found = merged(parts, [only_cpu, Platform("k8s")], [False, False])
    assert found.resizable.tolist() == [[True, False], [True, False], [True, False]]


def test_a_silent_platform_is_observed_but_not_acted_on(parts: list[FleetPart]) -> None:
    found = merged(parts, [Platform("sim"), Platform("k8s")], [True, False])
    assert found.resizable[:, 0].tolist() == [False, False, True]
    assert len(found.fleet.workloads) == 3


def test_capped_is_what_a_platform_enforces_where_the_tier_sets_a_limit(
    parts: list[FleetPart],
) -> None:
    found = merged(
        parts, [Platform("sim"), Platform("k8s", enforces=frozenset({"memory"}))], [False, False]
    )
    # Workload 0 is critical: its CPU request is no cap.
    assert found.capped.tolist() == [[False, True], [True, True], [False, True]]


def test_one_platform_is_taken_without_copies_of_its_names(parts: list[FleetPart]) -> None:
    found = merged(parts[:1], [Platform("sim")], [False])
    assert found.fleet.workloads.ids is parts[0].workloads.ids
    assert found.fleet.instances.ids is parts[0].instances.ids


def test_no_platform_at_all_is_an_empty_fleet() -> None:
    found = merged([], [], [])
    assert len(found.fleet.workloads) == len(found.fleet.instances) == len(found.fleet.nodes) == 0
    assert found.fleet.workload_current().shape == (0, 2)
    assert found.resizable.shape == found.capped.shape == (0, 2)


def test_a_platform_without_workloads_shifts_nothing(
    make_fleet: Make, parts: list[FleetPart]
) -> None:
    empty = part_of(make_fleet(np.empty((0, 2)), resources=RESOURCES, tiers=TIERS))
    found = merged([empty, parts[1]], [Platform("sim"), Platform("k8s")], [False, False])
    assert found.owner.tolist() == [1]
    assert found.fleet.instances.workload.tolist() == [0, 0]


def test_tables_that_do_not_fit_together_are_named(make_fleet: Make) -> None:
    good = make_fleet([[1.0, 1.0]], resources=RESOURCES, tiers=TIERS, node=0, capacity=[[1, 1]])
    with pytest.raises(ValueError, match=r"nodes.capacity has shape"):
        Fleet(RESOURCES, TIERS, good.workloads, good.instances, NodeTable(("n",), np.ones((1, 3))))
    with pytest.raises(ValueError, match=r"instances.node has rows outside"):
        Fleet(RESOURCES, TIERS, good.workloads, good.instances, NodeTable((), np.empty((0, 2))))
    with pytest.raises(ValueError, match=r"workloads.tier has rows outside"):
        Fleet(RESOURCES, (), good.workloads, good.instances, good.nodes)
    with pytest.raises(ValueError, match="unknown resource 'ram'"):
        Fleet(("cpu", "ram"), TIERS, good.workloads, good.instances, good.nodes)


def test_the_amount_of_a_workload_is_that_of_its_largest_live_instance(make_fleet: Make) -> None:
    current = [[4.0], [1.0], [np.nan], [2.0], [9.0]]
    fleet = make_fleet(current, workload=[1, 0, 0, 1, 2], state=[0, 0, 0, 0, 2])
    np.testing.assert_array_equal(fleet.workload_current(), [[1.0], [4.0], [np.nan]])


def test_row_map_finds_what_stayed() -> None:
    assert row_map(("a", "b", "c"), ("c", "x", "a")).tolist() == [2, -1, 0]
    assert row_map((), ("a",)).tolist() == [-1]
    assert row_map(("a",), ()).tolist() == []
