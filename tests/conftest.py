"""What all tests share: fleets, situations and forecasts to order, and what must not be skipped.

Tests against a real server skip, and say why, where the server cannot be had. With
`PLA_TEST_REQUIRE=all`, or a comma-separated list of markers, such a skip is a failure.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from pla.core.fleet import (
    Fleet,
    Floats,
    Forecast,
    InstanceState,
    InstanceTable,
    Mode,
    NodeTable,
    Tier,
    WorkloadTable,
)
from pla.core.situation import Situation

REQUIRE = "PLA_TEST_REQUIRE"

TIERS = (
    Tier("critical", 100, 0.999, headroom=0.3, cooldown_s=1800, max_shrink_fraction=0.3),
    Tier("standard", 50, 0.99, headroom=0.2, cooldown_s=600, max_shrink_fraction=0.5),
    Tier("burstable", 10, 0.95, headroom=0.1, cooldown_s=300, max_shrink_fraction=0.7),
)
# `pytest --hypothesis-profile=thorough` looks longer. No deadline: machines differ.
settings.register_profile("quick", max_examples=60, deadline=None)
settings.register_profile("thorough", max_examples=1500, deadline=None)
settings.load_profile("quick")

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.995, 0.999)


# -- what must not be skipped --------------------------------------------------------------


def _own_markers(config: pytest.Config) -> set[str]:
    """Names of the markers that `pyproject.toml` declares."""
    return {line.split(":")[0].strip() for line in config.getini("markers") if ": " in line}


def _required(config: pytest.Config) -> set[str]:
    wanted = {name.strip() for name in os.environ.get(REQUIRE, "").split(",")} - {""}
    return _own_markers(config) if wanted == {"all"} else wanted


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a name that no test can carry: a typing error would require nothing."""
    unknown = _required(config) - _own_markers(config)
    if unknown:
        raise pytest.UsageError(f"{REQUIRE}: no such marker: {', '.join(sorted(unknown))}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip of a test with a required marker is a failure; an expected failure is no skip."""
    report = yield
    needed = _required(item.config) & {mark.name for mark in item.iter_markers()}
    if report.skipped and needed and not hasattr(report, "wasxfail"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE} wants the tests marked {', '.join(sorted(needed))}: {why}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A module that skips itself hides its markers, so nothing may when all are required."""
    report = yield
    if report.outcome == "skipped" and os.environ.get(REQUIRE, "").strip() == "all":
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE}=all: {collector.nodeid} skips itself: {report.longrepr}"
    return report


# -- real parts ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: its migrations take long, so they run once."""
    from pla.registry import MlflowRegistry

    path = tmp_path_factory.mktemp("mlflow-template") / "mlflow.db"
    MlflowRegistry(f"sqlite:///{path}", cache=path.parent / "models").champion_version()
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB of its own."""
    directory = tmp_path / "small-disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "pla-test", str(directory)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small tmpfs is not permitted: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


# -- fleets, situations, forecasts ---------------------------------------------------------


def _cells(value: Any, shape: tuple[int, int], missing: float) -> Floats:
    if value is None:
        return np.full(shape, missing)
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), shape))


@pytest.fixture(scope="session")
def make_fleet() -> Callable[..., Fleet]:
    """`make_fleet(current, ...)`: `current` (instance, resource) [unit], one workload each.

    Everything else is optional: `resources`, `tiers`, `workload` (rows), per workload `tier`,
    `mode`, `paused`, `minimum`, `maximum`, `request`, `support`; per instance `state`; `node`
    rows with `capacity` (node, resource), by default unlimited: no node at all.
    """

    def build(
        current: Any,
        *,
        resources: tuple[str, ...] = ("cpu",),
        tiers: tuple[Tier, ...] = TIERS,
        workload: Any = None,
        tier: Any = 1,
        mode: Any = Mode.ENFORCE,
        paused: Any = False,
        minimum: Any = None,
        maximum: Any = None,
        request: Any = None,
        support: Any = True,
        state: Any = InstanceState.RUNNING,
        node: Any = None,
        capacity: Any = None,
    ) -> Fleet:
        amounts = np.asarray(current, dtype=np.float64).reshape(-1, len(resources))
        count = len(amounts)
        rows = np.arange(count) if workload is None else np.asarray(workload)
        workloads = int(rows.max()) + 1 if count else 0
        cells = (workloads, len(resources))
        limits = _cells(capacity, (len(np.atleast_2d(capacity)), cells[1]), np.nan)
        if capacity is None:
            limits = np.empty((0, cells[1]))
        return Fleet(
            resources=resources,
            tiers=tiers,
            workloads=WorkloadTable(
                ids=tuple(f"sim://w{row}" for row in range(workloads)),
                tier=np.array(np.broadcast_to(tier, workloads), dtype=np.int8),
                mode=np.array(np.broadcast_to(mode, workloads), dtype=np.int8),
                paused=np.array(np.broadcast_to(paused, workloads), dtype=np.bool_),
                minimum=_cells(minimum, cells, np.nan),
                maximum=_cells(maximum, cells, np.nan),
                request=_cells(request, cells, np.nan),
                support=np.array(np.broadcast_to(support, cells), dtype=np.bool_),
                created_s=np.zeros(workloads),
            ),
            instances=InstanceTable(
                ids=tuple(f"sim://w{row}/{index}" for index, row in enumerate(rows)),
                workload=rows.astype(np.int32),
                node=np.array(np.broadcast_to(-1 if node is None else node, count), dtype=np.int32),
                current=amounts,
                state=np.array(np.broadcast_to(state, count), dtype=np.int8),
                version=("",) * count,
            ),
            nodes=NodeTable(tuple(f"node{row}" for row in range(len(limits))), limits),
        )

    return build


@pytest.fixture(scope="session")
def make_situation() -> Callable[..., Situation]:
    """`make_situation(fleet, usage, ...)`: fresh, uncensored data unless said otherwise.

    The recent and the stored peak are the usage, and the former band was never exceeded.
    """

    def build(fleet: Fleet, usage: Any, **changed: Any) -> Situation:
        shape = (len(fleet.workloads), len(fleet.resources))
        now = _cells(usage, shape, np.nan)
        given: dict[str, Any] = {
            "current": fleet.workload_current(),
            "usage": now,
            "recent_peak": now,
            "stored_peak": changed.get("recent_peak", now),
            "band": np.inf,
            "censored": False,
            "killed": False,
            "age_s": 30.0,
            "capped": True,
        } | changed
        kinds = {"censored": np.bool_, "killed": np.bool_, "capped": np.bool_}
        cells: dict[str, Any] = {
            name: np.array(np.broadcast_to(value, shape), dtype=kinds.get(name, np.float64))
            for name, value in given.items()
        }
        return Situation(**cells)

    return build


@pytest.fixture(scope="session")
def make_forecast() -> Callable[..., Forecast]:
    """`make_forecast(peak, ...)`: `peak` (workload, resource, quantile), or the same at each."""

    def build(
        peak: Any, quantiles: tuple[float, ...] = QUANTILES, model_version: str = "7"
    ) -> Forecast:
        values = np.asarray(peak, dtype=np.float32)
        if values.ndim == 2:
            values = np.repeat(values[:, :, None], len(quantiles), axis=2)
        return Forecast(
            peak=values,
            quantiles=quantiles,
            scale=np.ones(values.shape[:2], dtype=np.float32),
            model_version=model_version,
        )

    return build
