"""One whole tick of 100,000 workloads x 2 resources, against raw prediction of the same rows."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import xgboost as xgb

from actuators.simulator import open_cluster
from pla.forecasting.forecaster import BundleForecaster
from pla.settings import Settings, load
from tests.benchmarks.closed_loop import UNSEEN_DAYS, cluster_at, train
from tests.benchmarks.loop import ClosedLoop

T = TypeVar("T")
WORKLOADS = 100_000
TICKS = 5
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


def big_loop(settings: Settings) -> ClosedLoop:
    """The recording's workloads, repeated and scaled up to `WORKLOADS`, under its own model."""
    bundle = train(cluster_at(settings, UNSEEN_DAYS), settings)
    cluster = open_cluster(
        settings.simulator.trace,
        step_s=settings.tick.step_s,
        resources=settings.resources,
        tile=WORKLOADS,
    )
    return ClosedLoop(cluster, BundleForecaster(bundle, "1", threads=1), settings)


def main() -> None:
    """Prints seconds and memory per step, and the ratio."""
    settings = load()
    loop = big_loop(settings)
    start = time.perf_counter()
    loop.tick()
    print(f"first tick with its back-fill of 14 days: {time.perf_counter() - start:.1f} s")
    timing = Timing()
    totals, changes = [], []
    for _ in range(TICKS):
        start = time.perf_counter()
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
        print(
            f"reference model, {strategy}: {raw:.3f} s raw; the whole tick is {total / raw:.2f} x"
        )
