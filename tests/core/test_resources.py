"""The catalogue, and rounding to quanta."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pla.core import resources

NAMES = tuple(resources.BY_NAME)


def test_every_entry_is_usable() -> None:
    columns = [s.used_column for s in resources.CATALOGUE]
    columns += [s.allocated_column for s in resources.CATALOGUE]
    assert len(set(columns)) == len(columns)
    assert len({s.name for s in resources.CATALOGUE}) == len(resources.CATALOGUE)
    assert len({s.label for s in resources.CATALOGUE}) == len(resources.CATALOGUE)
    for spec in resources.CATALOGUE:
        assert spec.quantum > 0
        assert spec.floor >= 0
        assert resources.round_up(np.array([spec.floor]), (spec.name,))[0] == spec.floor
        if spec.whole:
            assert spec.quantum == 1.0
        if spec.kills:
            assert not spec.compressible


def test_only_memory_gets_a_workload_killed_and_only_storage_cannot_shrink() -> None:
    assert [n for n, kills in zip(NAMES, resources.kills(NAMES), strict=True) if kills] == [
        "memory"
    ]
    grows = zip(NAMES, resources.growth_only(NAMES), strict=True)
    assert [name for name, only in grows if only] == ["storage"]


def test_an_unknown_resource_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'ram'.*cpu, memory, storage"):
        resources.specs(["cpu", "ram"])


def test_columns_follow_the_order_that_was_asked_for() -> None:
    assert resources.floors(["memory", "cpu"]).tolist() == [10 * 2**20, 0.01]
    assert resources.quanta(["gpu", "network_rx"]).tolist() == [1.0, 1000.0]
    assert resources.compressible(["memory", "cpu"]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("name", "amount", "up", "down"),
    [
        ("cpu", 0.3, 0.3, 0.3),
        ("cpu", 0.3001, 0.301, 0.3),
        ("cpu", 1e-12, 0.0, 0.0),
        ("memory", 2.0**20, 2.0**20, 2.0**20),
        ("memory", 2.0**20 + 1, 2.0**21, 2.0**20),
        ("gpu", 1.2, 2.0, 1.0),
        ("network_rx", 999.0, 1000.0, 0.0),
    ],
)
def test_rounding(name: str, amount: float, up: float, down: float) -> None:
    assert resources.round_up(np.array([amount]), (name,))[0] == pytest.approx(up, abs=1e-15)
    assert resources.round_down(np.array([amount]), (name,))[0] == pytest.approx(down, abs=1e-15)


def test_what_is_unknown_stays_unknown() -> None:
    unknown = np.full((2, len(NAMES)), np.nan)
    assert np.isnan(resources.round_up(unknown, NAMES)).all()
    assert np.isnan(resources.round_down(unknown, NAMES)).all()


@given(st.sampled_from(NAMES), st.floats(0, 1e6))
def test_rounding_stays_within_a_quantum_and_is_idempotent(name: str, quanta: float) -> None:
    quantum = resources.BY_NAME[name].quantum
    amount = np.array([quanta * quantum])
    up, down = resources.round_up(amount, (name,)), resources.round_down(amount, (name,))
    slack = 1e-8 * quantum
    assert amount[0] - slack <= up[0] <= amount[0] + quantum
    assert amount[0] - quantum <= down[0] <= amount[0] + slack
    assert resources.round_up(up, (name,)) == up
    assert resources.round_down(down, (name,)) == down
    assert resources.round_down(up, (name,)) == up
