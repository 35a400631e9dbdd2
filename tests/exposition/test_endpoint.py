"""What a scrape of a ticking process says, against the tick's own report."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from infra.testbed.debian import Unavailable, program
from infra.testbed.ticking import Ticking
from pla.core.plan import DONE, OutcomeStatus, Skip
from pla.ports import StoreError

pytestmark = pytest.mark.mlflow

Open = Callable[..., Ticking]
Scrape = Callable[[str], Any]


def test_sums_are_those_of_the_report(open_ticking: Open, scrape: Scrape) -> None:
    world = open_ticking()
    report = world.tick(3)
    seen = scrape(world.url)
    fleet = report.fleet
    for column, (resource, unit) in enumerate((("cpu", "core"), ("memory", "byte"))):
        for name, values in (
            ("current", report.situation.current),
            ("target", report.recommendation.target),
            ("usage", report.situation.usage),
        ):
            shown = seen.all(f"pla_fleet_{name}", resource=resource, unit=unit)
            assert sum(shown) == pytest.approx(np.nansum(values[:, column]))
    assert sum(seen.all("pla_workloads")) == len(fleet.workloads)
    assert seen("pla_instances") == len(fleet.instances)
    assert seen("pla_leader") == 1
    assert seen("pla_paused") == 0
    assert seen("pla_model_info", kind="baseline", version=report.model_version) == 1


def test_a_workload_has_series_of_its_own(open_ticking: Open, scrape: Scrape) -> None:
    world = open_ticking()
    report = world.tick(3)
    seen = scrape(world.url)
    for row, name in enumerate(report.fleet.workloads.ids):
        mine = {"workload": name, "resource": "memory"}
        assert seen("pla_workload_current", **mine) == report.situation.current[row, 1]
        assert seen("pla_workload_target", **mine) == report.recommendation.target[row, 1]
        assert seen("pla_workload_sample_age_seconds", **mine) == report.situation.age_s[row, 1]


def test_counters_count_every_tick(open_ticking: Open, scrape: Scrape) -> None:
    world = open_ticking()
    done, skipped, errors = 0, 0, 0
    for _ in range(4):
        report = world.tick()
        done += report.applied
        skipped += len(report.plan.skipped_why)
        errors += len(report.errors)
    seen = scrape(world.url)
    assert done > 0
    outcomes = (status.value for status in DONE)
    assert sum(sum(seen.all("pla_actions_total", outcome=name)) for name in outcomes) == done
    assert sum(seen.all("pla_skipped_changes_total")) == skipped
    assert seen("pla_ticks_total") == 4
    assert seen("pla_tick_errors_total") == errors
    assert seen("pla_tick_duration_seconds_count") == 4
    assert seen("pla_tick_step_duration_seconds_count", step="forecast") == 4
    # Every combination is there from the start, so that a first failure is a rise from zero.
    assert seen.labels("pla_actions_total", "outcome") == {s.value for s in OutcomeStatus}
    assert seen.labels("pla_skipped_changes_total", "why") == {s.name.lower() for s in Skip}


def test_forecasts_are_judged_when_their_window_closes(open_ticking: Open, scrape: Scrape) -> None:
    world = open_ticking()
    ticks = 12
    report = world.tick(ticks)
    seen = scrape(world.url)
    hold = world.runtime.settings.hold_s // world.runtime.settings.tick.step_s
    workloads = len(report.fleet.workloads)
    for quantile in report.forecast.quantiles:
        name = {"resource": "cpu", "level": repr(quantile)}
        windows = sum(seen.all("pla_forecast_windows_total", **name))
        misses = sum(seen.all("pla_forecast_misses_total", **name))
        # Less where usage was held down, or a sample is missing.
        assert 0.5 * workloads * (ticks - hold) < windows <= workloads * (ticks - hold)
        assert 0 <= misses < 1.5 * (1 - quantile) * windows + 0.1 * windows
    shown = seen.all("pla_forecast_coverage_ratio", resource="memory")
    assert shown
    assert all(0 <= value <= 1 for value in shown)


def test_before_the_first_tick_there_is_something_to_alert_on(
    open_ticking: Open, scrape: Scrape
) -> None:
    seen = scrape(open_ticking().url)
    assert seen("pla_ticks_total") == 0
    assert seen("pla_last_tick_timestamp_seconds") > 1.6e9
    assert seen("pla_tick_interval_seconds") == 5


def test_a_large_fleet_shows_its_sums_and_few_of_its_workloads(
    open_ticking: Open, scrape: Scrape
) -> None:
    world = open_ticking(workloads=3)
    report = world.tick(3)
    seen = scrape(world.url)
    assert len(seen.labels("pla_workload_current", "workload")) == 3
    assert seen("pla_shown_workloads") == 3
    assert sum(seen.all("pla_workloads")) == len(report.fleet.workloads) > 3


def test_a_pause_and_a_store_that_fails_are_seen(
    open_ticking: Open, scrape: Scrape, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = open_ticking()
    world.runtime.store.set_paused(True, by="ada", why="maintenance")
    world.tick()
    assert scrape(world.url)("pla_paused") == 1
    assert scrape(world.url)("pla_store_failures_total") == 0

    def refuse(*_: Any, **__: Any) -> Any:
        raise StoreError("the disk is full")

    monkeypatch.setattr(world.runtime.store, "acquire", refuse)
    monkeypatch.setattr(world.runtime.store, "overrides", refuse)
    world.tick()
    seen = scrape(world.url)
    assert seen("pla_store_failures_total") == 2
    assert seen("pla_leader") == 0


def test_a_taken_port_ends_no_tick(open_ticking: Open, scrape: Scrape) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        world = open_ticking(port=port)
        said = [line for line in world.tick().errors if "metrics.port" in line]
        assert len(said) == 1
        assert f"port {port}" in said[0]
        assert "ticks go on without /metrics" in said[0]
        assert not [line for line in world.tick().errors if "metrics.port" in line]  # said once
    world.tick()
    assert scrape(world.url)("pla_ticks_total") == 3


def test_what_is_switched_off_listens_nowhere(open_ticking: Open) -> None:
    world = open_ticking(enabled=False)
    assert not world.tick().errors
    port = world.runtime.settings.metrics.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_the_port_is_free_after_the_end(open_ticking: Open) -> None:
    world = open_ticking()
    world.tick()
    world.runtime.close()
    port = world.runtime.settings.metrics.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.prometheus
def test_names_follow_the_convention(open_ticking: Open, scrape: Scrape) -> None:
    world = open_ticking()
    world.tick(3)
    try:
        promtool = program("prometheus", "promtool")
    except Unavailable as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=scrape(world.url).text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
