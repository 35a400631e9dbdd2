from __future__ import annotations

import time

import pytest

from actuators.simulator.clock import ManualClock, SimulatedClock


def test_a_simulated_clock_runs_at_its_speed_from_its_anchor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 107.0)
    clock = SimulatedClock(1000.0, speed=60.0, anchor_s=100.0)
    assert clock.now_s() == 1000.0 + 7 * 60
    assert clock.monotonic_s() == 107.0  # leases and deadlines are real


def test_a_manual_clock_goes_only_where_it_is_moved_and_never_back() -> None:
    clock = ManualClock(1000.0)
    clock.move_to(1300.0)
    assert (clock.now_s(), clock.monotonic_s()) == (1300.0, 300.0)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.move_to(1299.0)


def test_a_clock_without_speed_is_refused() -> None:
    with pytest.raises(ValueError, match="ManualClock"):
        SimulatedClock(0.0, speed=0.0)
