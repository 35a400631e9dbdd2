"""One whole tick of 100,000 workloads x 2 resources, against raw prediction of the same rows."""

from __future__ import annotations

import resource
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import xgboost as xgb

from actuators.simulator import open_cluster
from pla.actuation import Fence
from pla.clock import SystemClock
from pla.forecasting.forecaster import BundleForecaster
from pla.settings import Settings, load
from pla.store import SqlStore
from pla.tick import run_tick
from tests.benchmarks.closed_loop import UNSEEN_DAYS, cluster_at, train
from tests.benchmarks.loop import ClosedLoop

T = TypeVar("T")
WORKLOADS = 100_000
TICKS = 5
SETTLING_TICKS = 4
"""First everything is taken down from its request; then a tick is an ordinary one."""
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.995, 0.999)


class Timing:
    """A step wrapper that notes seconds, and the process's peak memory after each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.peak_mib: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """What `work` returns."""
        start = time.perf_counter()
        result = work()
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.peak_mib[name] = max(used, self.peak_mib.get(name, 0.0))
        return result


def reference_seconds(strategy: str, rows: int) -> float:
    """Raw `inplace_predict` of the reference model (DESIGN 8), the median of five [s]."""
    random = np.random.default_rng(0)
    features = random.normal(size=(20_000, 32)).astype(np.float32)
    target = features[:, 0] + random.gamma(1.0, 1.0, 20_000).astype(np.float32)
    parameters = {
        "objective": "reg:quantileerror",
        "quantile_alpha": np.array(QUANTILES),
        "multi_strategy": strategy,
        "max_depth": 6,
        "tree_method": "hist",
    }
    booster = xgb.train(parameters, xgb.QuantileDMatrix(features, target), num_boost_round=100)
    booster.set_param({"nthread": 1})
    whole = random.normal(size=(rows, 32)).astype(np.float32)
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        booster.inplace_predict(whole, validate_features=False)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def big_loop(settings: Settings, folder: Path) -> ClosedLoop:
    """The recording's workloads, repeated and scaled up to `WORKLOADS`, under its own model."""
    bundle = train(cluster_at(settings, UNSEEN_DAYS), settings)
    cluster = open_cluster(
        settings.simulator.trace,
        step_s=settings.tick.step_s,
        resources=settings.resources,
        tile=WORKLOADS,
    )
    loop = ClosedLoop(cluster, BundleForecaster(bundle, "1", threads=1), settings)
    # With the real store: decisions are written before they are carried out.
    clock = SystemClock()
    store = SqlStore(f"sqlite:///{folder / 'store.db'}", clock)
    lease = store.acquire("tick", "benchmark", ttl_s=3600.0)
    if lease is None:
        raise RuntimeError("a fresh store refused the lease")
    loop.ports = replace(loop.ports, store=store)
    loop.fence = Fence("tick", lease)
    return loop


def rows_written(folder: Path) -> int:
    """Decision rows, counted in the database file by SQLite itself."""
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        return int(connection.execute("select count(*) from decisions").fetchone()[0])


def main() -> None:
    """Prints seconds and memory per step, and the ratio."""
    settings = load()
    with tempfile.TemporaryDirectory(prefix="pla-bench-") as name:
        _measure(settings, Path(name))


def _measure(settings: Settings, folder: Path) -> None:
    loop = big_loop(settings, folder)
    start = time.perf_counter()
    loop.tick()
    print(f"first tick with its back-fill of 14 days: {time.perf_counter() - start:.1f} s")
    for _ in range(SETTLING_TICKS):
        loop.tick()
    timing = Timing()
    totals, changes = [], []
    for _ in range(TICKS):
        report = loop.tick(timing)
        totals.append(sum(values[-1] for values in timing.seconds.values()))
        changes.append(len(report.plan))
    for name, values in timing.seconds.items():
        print(f"{name:10s} {statistics.median(values):7.3f} s   {timing.peak_mib[name]:7.0f} MiB")
    total = statistics.median(totals)
    print(f"{'tick':10s} {total:7.3f} s   changes per tick {changes}")
    rows = WORKLOADS * len(settings.resources)
    for strategy in ("multi_output_tree", "one_output_per_tree"):
        raw = reference_seconds(strategy, rows)
        print(f"reference model, {strategy}: {raw:.3f} s; tick / raw {total / raw:.2f}")
    run_tick(loop.state, loop.ports, loop.forecaster, settings, loop.fence)
    before = rows_written(folder)
    report = run_tick(loop.state, loop.ports, loop.forecaster, settings, loop.fence)
    print(
        f"planned again right after applying: {len(report.plan)} changes, "
        f"{rows_written(folder) - before} rows written"
    )
