"""Missing, stale, late and absurd data: fail static, then fail safe, and never spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pla.core.fleet import UsageBlock
from pla.core.plan import Reason

MIB = 2.0**20
STEP_S = 300

MakeWorld = Callable[..., Any]


def amounts(world: Any) -> Any:
    return world.platforms[0].amounts


# -- stale ---------------------------------------------------------------------------------


def test_while_the_source_is_down_nothing_shrinks_and_it_says_so(
    make_world: MakeWorld, source_error: Exception
) -> None:
    world = make_world([[0.1, 20 * MIB]], [[4.0, 400 * MIB]], history=3)
    world.source.broken = source_error
    for _ in range(20):
        report = world.run()
        assert report.errors == ["http://prometheus:9090 does not answer; is it up?"]
    assert amounts(world).tolist() == [[4.0, 400 * MIB]]
    assert report.recommendation.reason[0, 0] & Reason.STALE_HOLD


def test_a_night_time_size_does_not_meet_the_morning_blind(
    make_world: MakeWorld, source_error: Exception
) -> None:
    busy: list[bool] = [True]
    world = make_world(
        lambda _: [[3.0 if busy else 0.2, (300 if busy else 30) * MIB]],
        [[4.0, 400 * MIB]],
        history=12,
    )
    world.tick()
    busy.clear()
    world.run(40)
    # Memory keeps the day's peak, because running into its cap kills; CPU has gone down.
    assert amounts(world)[0, 0] < 1.0
    assert amounts(world)[0, 1] >= 300 * MIB
    world.source.broken = source_error
    before = amounts(world).copy()
    world.run(9)  # 2700 s: not yet longer than 3 x stale_after
    np.testing.assert_array_equal(amounts(world), before)
    report = world.run()
    assert amounts(world)[0, 0] == 3.0
    assert amounts(world)[0, 1] == before[0, 1]
    assert report.recommendation.reason[0, 0] == Reason.STALE_HOLD | Reason.STALE_RAISE


def test_a_peak_from_before_a_restart_counts_as_well(
    make_world: MakeWorld, source_error: Exception
) -> None:
    world = make_world([[0.2, 40 * MIB]], [[0.5, 50 * MIB]], history=6)
    world.state.saved_peaks = {"sim://sim-0": [3.0, None], "sim://gone": [9.0, 9.0]}
    world.tick()
    world.source.broken = source_error
    world.run(12)
    assert amounts(world)[0].tolist() == [3.0, 50 * MIB]


def test_when_data_come_back_it_goes_on(make_world: MakeWorld, source_error: Exception) -> None:
    world = make_world([[0.1, 20 * MIB]], [[4.0, 400 * MIB]], history=3)
    world.source.broken = source_error
    world.run(5)
    world.source.broken = None
    report = world.run()
    assert report.errors == []
    assert not np.isnan(world.state.window.recent(9)).any()  # the outage has been filled
    assert amounts(world)[0, 0] == 2.0


def test_one_step_without_a_sample_stops_a_shrink(make_world: MakeWorld) -> None:
    world = make_world([[0.1, 20 * MIB]], [[4.0, 400 * MIB]], history=3)

    def newest_missing(block: UsageBlock) -> UsageBlock:
        block.values[-1] = np.nan
        return block

    world.source.spoil = newest_missing
    world.run()
    assert amounts(world).tolist() == [[4.0, 400 * MIB]]
    world.source.spoil = None
    world.run()
    assert (amounts(world) < [[4.0, 400 * MIB]]).all()


def test_a_workload_that_was_never_seen_keeps_what_it_has(make_world: MakeWorld) -> None:
    world = make_world([[0.1, 20 * MIB]], [[4.0, 400 * MIB]])

    def nothing(block: UsageBlock) -> UsageBlock:
        block.values[:] = np.nan
        return block

    world.source.spoil = nothing
    world.run(20)
    assert amounts(world).tolist() == [[4.0, 400 * MIB]]


def test_a_late_sample_is_taken_in(make_world: MakeWorld) -> None:
    world = make_world([[3.0, 20 * MIB]], [[4.0, 400 * MIB]], history=3)
    late = [True]

    def newest_missing(block: UsageBlock) -> UsageBlock:
        if late:
            block.values[-1] = np.nan
        return block

    world.source.spoil = newest_missing
    world.run()
    assert np.isnan(world.state.window.lag(0)).all()
    late.clear()
    world.run()
    assert not np.isnan(world.state.window.recent(2)).any()


def test_a_clock_that_jumps_back_loses_nothing_and_shrinks_nothing(make_world: MakeWorld) -> None:
    world = make_world([[0.1, 20 * MIB]], [[4.0, 400 * MIB]], history=6)
    world.tick()
    before = amounts(world).copy()
    world.clock.wall_s -= 1200
    (words,) = world.tick().errors
    assert words.startswith("the clock went back by 1200 s")
    # What lies before the new present is read again; what lies behind it comes again.
    assert world.state.window.end_s == world.clock.wall_s
    assert world.state.window.lag(0)[0, 0] == np.float32(0.1)
    np.testing.assert_array_equal(amounts(world), before)


def test_the_first_tick_reads_the_whole_history(make_world: MakeWorld) -> None:
    world = make_world([[0.3, 20 * MIB]], [[4.0, 400 * MIB]], history=3 * 288)
    world.restart(back_fill_s=0)
    world.tick()
    window = world.state.window
    assert not np.isnan(window.recent(window.steps)).any()
    assert [bool(np.isnan(window.hour_max(ago)[0, 0])) for ago in (0, 71, 72)] == [
        False,
        False,
        True,
    ]
    # The amounts of days ago are not known: only the newest step can be held down by them.
    world = make_world([[0.3, 20 * MIB]], [[0.3, 400 * MIB]], history=3 * 288)
    world.restart(back_fill_s=0)
    world.tick()
    assert world.state.window.recent_censored(576).sum() == 1


# -- absurd --------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.inf, -np.inf, -1.0, 1e30, 3e38])
def test_a_bad_series_is_for_all_others_as_if_it_were_not_there(
    make_world: MakeWorld, bad: float
) -> None:
    need = np.array([[2.0, 200 * MIB], [0.5, 80 * MIB], [3.0, 90 * MIB]])
    start = need * np.array([[0.7], [0.7], [2.0]])

    def replay(value: float) -> list[Any]:
        def spoil(block: UsageBlock) -> UsageBlock:
            block.values[:, :, 2] = value
            return block

        platform = {"capacity": [[12.0, 1500 * MIB]], "tier": [1, 2, 0]}
        world = make_world(need, start, platform=platform, history=12)
        world.source.spoil = spoil
        return [(world.run().recommendation.target, amounts(world).copy()) for _ in range(8)]

    for (target, amount), (other, same) in zip(replay(np.nan), replay(bad), strict=True):
        np.testing.assert_array_equal(target, other)
        np.testing.assert_array_equal(amount, same)
        np.testing.assert_array_equal(amount[2], start[2])
    assert (amount[:2] >= need[:2]).all()


@pytest.mark.parametrize("bad", [-1.0, np.inf, 1e30])
def test_a_single_absurd_sample_is_a_gap(make_world: MakeWorld, bad: float) -> None:
    world = make_world([[2.0, 200 * MIB]], [[2.2, 220 * MIB]], history=12)
    world.tick()

    def spoil(block: UsageBlock) -> UsageBlock:
        block.values[-1] = bad
        return block

    world.source.spoil = spoil
    report = world.run()
    assert np.isnan(world.state.window.lag(0)).all()
    assert np.isnan(report.situation.usage).all()
    assert len(report.plan) == 0
    assert (world.state.stored_peak() <= [[2.2, 220 * MIB]]).all()


def test_no_instance_uses_twice_what_the_largest_node_has(make_world: MakeWorld) -> None:
    world = make_world(
        [[2.0, 200 * MIB]],
        [[2.2, 220 * MIB]],
        platform={"capacity": [[8.0, 1000 * MIB]]},
        history=12,
    )

    def spoil(block: UsageBlock) -> UsageBlock:
        block.values[-1, 0] = 17.0
        return block

    world.source.spoil = spoil
    assert len(world.run().plan) == 0
    assert np.isnan(world.state.window.lag(0)[0, 0])


# -- a source that misbehaves --------------------------------------------------------------


def wide(block: UsageBlock) -> UsageBlock:
    values = np.zeros((block.steps, 2, 7), dtype=np.float32)
    return UsageBlock(values, values > 0, np.zeros((block.steps, 7), bool), block.end_s, STEP_S)


def ahead(block: UsageBlock) -> UsageBlock:
    return UsageBlock(block.values, block.censored, block.killed, block.end_s + 10**9, STEP_S)


def another_grid(block: UsageBlock) -> UsageBlock:
    return UsageBlock(block.values, block.censored, block.killed, block.end_s, 60)


@pytest.mark.parametrize("spoil", [wide, ahead, another_grid])
def test_an_answer_to_another_question_is_not_used(
    make_world: MakeWorld, spoil: Callable[[UsageBlock], UsageBlock]
) -> None:
    world = make_world([[0.1, 20 * MIB]], [[4.0, 400 * MIB]], history=6)
    world.tick()
    before, values = amounts(world).copy(), world.state.window.values
    world.source.spoil = spoil
    report = world.run()
    (error,) = report.errors
    assert error.startswith("metrics source ToySource: asked for (2, 1) cells in 300 s steps")
    np.testing.assert_array_equal(amounts(world), before)
    np.testing.assert_array_equal(world.state.window.values, values)


def test_a_defect_of_a_source_does_not_end_the_tick(make_world: MakeWorld) -> None:
    world = make_world([[0.1, 20 * MIB]], [[4.0, 400 * MIB]], history=3)
    world.source.broken = KeyError("result")
    report = world.run()
    assert report.errors == ["metrics source ToySource: KeyError: 'result'"]
    assert amounts(world).tolist() == [[4.0, 400 * MIB]]


def test_workloads_whose_source_is_silent_are_named_once(make_world: MakeWorld) -> None:
    world = make_world([[0.1, 20 * MIB]] * 3, [[4.0, 400 * MIB]] * 3, history=3)

    def partly(block: UsageBlock) -> UsageBlock:
        words = "http://other:9090 timed out; its workloads are held"
        block.values[:, :, :2] = np.nan
        block.unavailable.update({0: words, 1: words})
        return block

    world.source.spoil = partly
    world.run()
    report = world.run()
    assert report.errors == ["http://other:9090 timed out; its workloads are held"]
    assert amounts(world)[:, 0].tolist()[:2] == [4.0, 4.0]
    assert amounts(world)[2, 0] < 4.0


# -- learning ------------------------------------------------------------------------------


def test_the_calibration_learns_from_each_closed_window_once(make_world: MakeWorld) -> None:
    world = make_world([[0.5, 50 * MIB]], [[4.0, 400 * MIB]], interval_s=10, history=6)
    learnt: list[int] = []
    update = world.state.calibration.update

    def count(*args: Any) -> None:
        learnt.append(world.state.window.end_s)
        update(*args)

    world.state.calibration.update = count
    for _ in range(4):
        for _ in range(5):
            world.tick()
            world.pass_s(10)
        world.clock.wall_s -= 50
        world.live()
    world.tick()
    assert len(learnt) == len(set(learnt)) == 4


def test_the_calibration_still_learns_when_workloads_come_and_go(
    make_world: MakeWorld, make_platform: MakeWorld
) -> None:
    world = make_world([[0.5, 50 * MIB]], [[4.0, 400 * MIB]], history=6)
    seen: list[Any] = []
    world.state.calibration.update = lambda forecast, peak, held, tier: seen.append(
        (forecast.peak[:, 0, -1].copy(), peak[:, 0].copy())
    )
    world.run()
    newcomer = make_platform(world.clock, [[0.7, 50 * MIB]], [[1.0, 99 * MIB]], name="new")
    world.platforms.insert(0, newcomer)
    world.run()
    ((forecast, peak),) = seen
    # Row 0 is new: no forecast was made for it. Row 1 is the old workload.
    assert np.isnan(forecast[0])
    assert forecast[1] == pytest.approx(0.5)
    assert peak.tolist() == pytest.approx([0.7, 0.5])


def test_a_forecast_of_the_former_model_teaches_the_new_one_nothing(make_world: MakeWorld) -> None:
    world = make_world([[0.5, 50 * MIB]], [[4.0, 400 * MIB]], history=6)
    world.run()
    other = type(world.forecaster)(hours=2)
    world.forecaster = other
    world.state.calibration = other.new_calibration(
        world.settings.core_tiers(), world.settings.resources
    )
    report = world.run()
    assert report.errors == []
    assert report.model_version == "baseline:rolling-max-2h"
