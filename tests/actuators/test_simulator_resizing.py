from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from actuators.simulator import Faults, SimulatedCluster
from actuators.simulator.admission import Verdict
from actuators.simulator.applied import AppliedResize
from pla.core.plan import Resize

STEP_S = 300
START_S = 1_760_313_600
MIB = 1024.0**2

Build = Callable[..., SimulatedCluster]


def resize(instance: str, resource: str, target: float, version: str = "") -> Resize:
    return Resize(instance, "", resource, float("nan"), target, 0, version)


def names(verdicts: Iterable[Verdict]) -> list[str]:
    return [verdict.status.name for verdict in verdicts]


@pytest.fixture
def cluster(build_cluster: Build) -> SimulatedCluster:
    """Three workloads of 1 core and 100 MiB (60 MiB used) on one node of 4 cores and 400 MiB."""
    used = {"cpu": [[0.5] * 3] * 4, "memory": [[60 * MIB] * 3] * 4}
    request = {"cpu": [1.0] * 3, "memory": [100 * MIB] * 3}
    return build_cluster(used, request, node_capacity={"cpu": 4.0, "memory": 400 * MIB})


def test_a_resize_is_in_force_at_once_without_a_lead(cluster: SimulatedCluster) -> None:
    verdict = cluster.resize([resize("w0-0", "cpu", 1.5)])[0]
    assert (verdict.status.name, verdict.amount) == ("APPLIED", 1.5)
    assert cluster.current()[0].tolist() == [1.5, 100 * MIB]
    assert cluster.stats().resizes[0].tolist() == [1, 0, 0]


def test_amounts_are_rounded_up_to_the_quantum(cluster: SimulatedCluster) -> None:
    verdict = cluster.resize([resize("w0-0", "cpu", 1.2001)])[0]
    assert verdict.amount == pytest.approx(1.201)
    again = cluster.resize([resize("w0-0", "cpu", 1.2001)])[0]
    assert (again.status.name, cluster.stats().resizes[0, 0]) == ("APPLIED", 1)


@pytest.mark.parametrize(
    ("action", "status", "words"),
    [
        (resize("w0-0", "cpu", math.nan), "FAILED", "nan is no amount"),
        (resize("w0-0", "cpu", math.inf), "FAILED", "inf is no amount"),
        (resize("w0-0", "cpu", 0.001), "FAILED", "below the floor of 0.01"),
        (resize("w0-0", "cpu", -1.0), "FAILED", "below the floor"),
        (resize("w{9}-0", "cpu", 1.0), "FAILED", "no instance 'w{9}-0'"),
        (resize("w0-0", "gpu", 1.0), "UNSUPPORTED", "no resource 'gpu'"),
        (resize("w0-0", "cpu", 4.5), "INFEASIBLE", "more than the whole node has"),
        (resize("w0-0", "cpu", 2.5), "DEFERRED", "no room for 2.5"),
        (resize("w0-0", "memory", 50 * MIB), "DEFERRED", "in use"),
        (resize("w0-0", "cpu", 0.5, version="7"), "CONFLICT", "has changed"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words_and_changes_nothing(
    cluster: SimulatedCluster, action: Resize, status: str, words: str
) -> None:
    before = cluster.current()
    verdict = cluster.resize([action])[0]
    assert verdict.status.name == status
    assert words in verdict.message
    np.testing.assert_array_equal(cluster.current(), before)
    assert np.isnan(cluster.originals()).all()


def test_a_cell_that_the_workload_does_not_have_is_unsupported(build_cluster: Build) -> None:
    nan = float("nan")
    cluster = build_cluster(
        {"cpu": [[0.1, 0.1]] * 2, "memory": [[1e8, nan]] * 2},
        {"cpu": [1.0, 1.0], "memory": [2e8, nan]},
    )
    assert np.isnan(cluster.current()[1, 1])
    assert names(cluster.resize([resize("w1-0", "memory", 2e8)])) == ["UNSUPPORTED"]


def test_a_volume_never_shrinks(build_cluster: Build) -> None:
    cluster = build_cluster({"storage": [[50 * MIB]] * 2}, {"storage": [100 * MIB]})
    verdict = cluster.resize([resize("w0-0", "storage", 80 * MIB)])[0]
    assert verdict.status.name == "INFEASIBLE"


def test_room_goes_to_who_comes_first_and_what_is_given_back_counts(
    cluster: SimulatedCluster,
) -> None:
    # 1 core is free: the first takes 0.8, the second finds 0.2, and the third frees 0.5 for a
    # fourth one.
    verdicts = cluster.resize(
        [
            resize("w0-0", "cpu", 1.8),
            resize("w1-0", "cpu", 1.3),
            resize("w2-0", "cpu", 0.5),
            resize("w1-0", "cpu", 1.6),
        ]
    )
    assert names(verdicts) == ["APPLIED", "DEFERRED", "APPLIED", "APPLIED"]
    assert cluster.current()[:, 0].tolist() == [1.8, 1.6, 0.5]


def test_a_change_needs_the_version_it_was_planned_with(cluster: SimulatedCluster) -> None:
    version = str(cluster.revisions()[0])
    both = [resize("w0-0", "cpu", 1.2, version), resize("w0-0", "memory", 120 * MIB, version)]
    assert names(cluster.resize(both)) == ["APPLIED", "APPLIED"]  # one plan, two resources
    late = cluster.resize([resize("w0-0", "cpu", 1.4, version)])[0]
    assert late.status.name == "CONFLICT"
    assert names(cluster.resize([resize("w0-0", "cpu", 1.4, late.version)])) == ["APPLIED"]
    # What is in force already is no conflict, whoever did it.
    assert names(cluster.resize([resize("w0-0", "cpu", 1.4, version)])) == ["APPLIED"]


def test_a_lead_time_passes_before_the_amount_is_in_force(build_cluster: Build) -> None:
    applied: list[AppliedResize] = []
    cluster = build_cluster(
        {"cpu": [[0.5], [2.0]]}, {"cpu": [1.0]}, lead_s=100.0, journal=applied.extend
    )
    assert names(cluster.resize([resize("w0-0", "cpu", 2.0, "0")])) == ["ACCEPTED"]
    assert names(cluster.resize([resize("w0-0", "cpu", 2.0, "0")])) == ["ACCEPTED"]
    assert cluster.resizing().tolist() == [True] and cluster.current()[0, 0] == 1.0
    assert cluster.next_event_s() == START_S + 100.0
    cluster.advance(START_S + 99.0)
    assert cluster.current()[0, 0] == 1.0 and not applied
    cluster.advance(START_S + STEP_S)
    assert cluster.current()[0, 0] == 2.0 and not cluster.resizing().any()
    only = AppliedResize(START_S + 100.0, "w0-0", "sim://w0", "cpu", 1.0, 2.0, "0")
    assert applied == [only]
    # 100 s at 1 core and 200 s at 2: 500 of the 600 core-seconds were served.
    stats = cluster.stats()
    assert stats.amount_integral[0, 0] == pytest.approx(500.0)
    assert stats.usage_integral[0, 0] == pytest.approx(500.0)


def test_the_later_of_two_resizes_under_way_counts(build_cluster: Build) -> None:
    cluster = build_cluster({"cpu": [[0.5]] * 3}, {"cpu": [1.0]}, lead_s=10.0)
    cluster.resize([resize("w0-0", "cpu", 2.0)])
    cluster.advance(START_S + 5)
    cluster.resize([resize("w0-0", "cpu", 3.0)])
    cluster.resize([resize("w0-0", "cpu", 2.0)])
    cluster.advance(START_S + 11)
    assert cluster.current()[0, 0] == 1.0  # the first one was replaced, though it wanted the same
    cluster.advance(START_S + 15)
    assert cluster.current()[0, 0] == 2.0
    assert cluster.stats().resizes[0, 0] == 1


def test_room_under_way_is_promised_to_nobody_else(build_cluster: Build) -> None:
    cluster = build_cluster(
        {"cpu": [[0.5, 0.5]] * 2}, {"cpu": [1.0, 1.0]}, node_capacity={"cpu": 3.0}, lead_s=10.0
    )
    verdicts = cluster.resize([resize("w0-0", "cpu", 0.4), resize("w1-0", "cpu", 2.2)])
    # The shrink frees its room only when it is in force.
    assert names(verdicts) == ["ACCEPTED", "DEFERRED"]
    cluster.advance(START_S + 10)
    assert names(cluster.resize([resize("w1-0", "cpu", 2.2)])) == ["ACCEPTED"]
    assert names(cluster.resize([resize("w0-0", "cpu", 1.0)])) == ["DEFERRED"]


def test_memory_that_grew_meanwhile_stops_a_shrink_under_way(build_cluster: Build) -> None:
    cluster = build_cluster(
        {"memory": [[40 * MIB], [40 * MIB], [90 * MIB]]}, {"memory": [100 * MIB]}, lead_s=400.0
    )
    assert names(cluster.resize([resize("w0-0", "memory", 50 * MIB)])) == ["ACCEPTED"]
    cluster.advance(START_S + 2 * STEP_S)
    assert cluster.current()[0, 0] == 100 * MIB
    assert not cluster.resizing().any() and cluster.stats().kills[0] == 0
    assert np.isnan(cluster.originals()).all()


def test_injected_refusals_have_their_shares_and_their_words(build_cluster: Build) -> None:
    cluster = build_cluster(
        {"cpu": [[0.1] * 400] * 2},
        {"cpu": [1.0] * 400},
        faults=Faults(deferred=0.3, failed=0.1, seed=5),
    )
    verdicts = cluster.resize([resize(f"w{n}-0", "cpu", 1.5) for n in range(400)])
    found = names(verdicts)
    assert 90 <= found.count("DEFERRED") <= 150 and 20 <= found.count("FAILED") <= 60
    assert {v.message for v in verdicts if v.status.name == "DEFERRED"} == {"injected: not now"}
    with pytest.raises(ValueError, match="shares"):
        Faults(deferred=0.8, failed=0.3)


def test_restore_puts_the_originals_back_and_forgets_them(cluster: SimulatedCluster) -> None:
    cluster.resize([resize("w0-0", "cpu", 1.9), resize("w1-0", "memory", 90 * MIB)])
    cluster.resize([resize("w0-0", "cpu", 1.7)])
    assert cluster.originals()[0, 0] == 1.0  # the first amount, not the one in between
    back = cluster.restore(["sim://w0", "sim://nobody"])
    assert [(a.workload, v.status.name) for a, v in back] == [
        ("sim://nobody", "FAILED"),
        ("sim://w0", "APPLIED"),
    ]
    assert cluster.current()[0, 0] == 1.0 and cluster.current()[1, 1] == 90 * MIB
    assert len(cluster.restore(None)) == 1
    assert np.isnan(cluster.originals()).all()
    assert cluster.restore(None) == []


def test_restore_shrinks_before_it_grows(cluster: SimulatedCluster) -> None:
    cluster.resize([resize("w0-0", "cpu", 0.2), resize("w1-0", "cpu", 2.8)])
    assert names(verdict for _, verdict in cluster.restore(None)) == ["APPLIED", "APPLIED"]
    assert cluster.current()[:, 0].tolist() == [1.0, 1.0, 1.0]
