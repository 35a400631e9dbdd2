"""History and live samples from a real Prometheus, against the client library's own way.

Back-fill: 500 workloads x 14 d x 60 s x 2 resources, through `PrometheusSource.read` a day at a
time, against `get_metric_range_data` and `MetricRangeDataFrame` a day at a time. Both as processes
of their own, so that each one's peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from infra.testbed.prometheus import Series, create_blocks, prometheus

WORKLOADS, DAYS, STEP_S = 500, 14, 60
LIVE_WORKLOADS = 10_000
DAY_S = 86_400
END_S = 1_700_006_400
START_S = END_S - DAYS * DAY_S
METRICS = ("sim_cpu_usage_cores", "sim_memory_usage_bytes")
RESOURCES = ("cpu", "memory")


def series(workloads: int, seconds: int) -> Iterator[Series]:
    """Gauges of `workloads` in the last `seconds`, one sample per step."""
    random = np.random.default_rng(0)
    times = np.arange(END_S - seconds + STEP_S, END_S + 1, STEP_S, dtype=np.float64)
    yield Series("sim_step_seconds", {}, times, np.full(len(times), float(STEP_S)))
    for metric, scale in zip(METRICS, (1.0, 1e9), strict=True):
        for number in range(workloads):
            values = random.gamma(2.0, 0.5 * scale, len(times))
            yield Series(metric, {"workload": f"w{number:05d}"}, times, values)


def ours(url: str) -> tuple[float, float]:
    """(samples, sum of the CPU's) read by the source, a day at a time."""
    from pla.sources.prometheus import PrometheusOptions, PrometheusSource

    source = PrometheusSource(PrometheusOptions(url, timeout_s=300.0))
    uris = [f"sim://w{number:05d}" for number in range(WORKLOADS)]
    samples, total = 0, 0.0
    for day in range(DAYS):
        start_s = START_S + day * DAY_S
        block = source.read(uris, RESOURCES, start_s, start_s + DAY_S, STEP_S)
        samples += int(np.isfinite(block.values).sum())
        total += float(block.values[:, 0].sum(dtype=np.float64))
    return samples, total


def library(url: str) -> tuple[float, float]:
    """The same by the library: raw samples, and a data frame of them."""
    from prometheus_api_client import MetricRangeDataFrame, PrometheusConnect

    connection = PrometheusConnect(url, timeout=600)
    samples, total = 0, 0.0
    for day in range(DAYS):
        start = datetime.fromtimestamp(START_S + day * DAY_S + STEP_S, UTC)
        end = datetime.fromtimestamp(START_S + (day + 1) * DAY_S, UTC)
        for metric in METRICS:
            told = connection.get_metric_range_data(metric, start_time=start, end_time=end)
            frame = MetricRangeDataFrame(told)
            samples += len(frame)
            if metric == METRICS[0]:
                total += float(frame["value"].sum())
    return samples, total


def live(url: str) -> tuple[float, float]:
    """(requests of one live read, its median seconds) of `LIVE_WORKLOADS`."""
    from infra.testbed.proxy import fault_proxy
    from pla.sources.prometheus import PrometheusOptions, PrometheusSource

    uris = [f"sim://w{number:05d}" for number in range(LIVE_WORKLOADS)]
    taken = []
    with fault_proxy(url) as proxy:
        source = PrometheusSource(PrometheusOptions(proxy.url))
        source.read(uris, RESOURCES, END_S - 2 * STEP_S, END_S, STEP_S)
        proxy.requests.clear()
        block = source.read(uris, RESOURCES, END_S - 3 * STEP_S, END_S, STEP_S)
        requests = len(proxy.requests)
    assert np.isfinite(block.values).all()
    source = PrometheusSource(PrometheusOptions(url))
    for _ in range(6):
        begin_s = time.perf_counter()
        source.read(uris, RESOURCES, END_S - 3 * STEP_S, END_S, STEP_S)
        taken.append(time.perf_counter() - begin_s)
    return requests, statistics.median(taken[1:])


def measure(way: str, url: str) -> dict[str, float]:
    """Run one way in a process of its own: its figures, seconds and peak memory [MiB]."""
    command = [sys.executable, "-m", "tests.benchmarks.prometheus", way, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Prints seconds and memory of both, their ratios, and the live read."""
    with tempfile.TemporaryDirectory(prefix="pla-bench-") as name:
        folder = Path(name)
        create_blocks(series(WORKLOADS, DAYS * DAY_S), folder / "history" / "data")
        with prometheus(folder / "history") as server:
            mine, theirs = measure("ours", server.url), measure("library", server.url)
        for words, figures in (("PrometheusSource", mine), ("library", theirs)):
            print(
                f"{words:17s} {figures['seconds']:7.1f} s   {figures['peak_mib']:6.0f} MiB above "
                f"{figures['base_mib']:.0f}   {figures['first'] / 1e6:.2f} M samples"
            )
        if mine["first"] != theirs["first"] or not np.isclose(mine["second"], theirs["second"]):
            raise RuntimeError(f"the two read different data: {mine} {theirs}")
        whole = [figures["peak_mib"] + figures["base_mib"] for figures in (mine, theirs)]
        print(
            f"faster {theirs['seconds'] / mine['seconds']:.1f} x, peak memory "
            f"{mine['peak_mib'] / theirs['peak_mib']:.2f} of the library's, with all that was "
            f"imported {whole[0] / whole[1]:.2f}"
        )
        create_blocks(series(LIVE_WORKLOADS, 1200), folder / "live" / "data")
        with prometheus(folder / "live") as server:
            figures = measure("live", server.url)
        print(
            f"live read of {LIVE_WORKLOADS} workloads x {len(RESOURCES)} resources x 3 steps: "
            f"{figures['first']:.0f} requests, {figures['second']:.3f} s"
        )


def _peak_mib() -> float:
    """The process's own peak; `getrusage` would begin with that of the parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _child(way: str, url: str) -> None:
    # What the imports take is the same for a process that does nothing.
    import pandas as pd  # noqa: F401 # both ways have it loaded before the count begins
    import prometheus_api_client  # noqa: F401

    import pla.sources.prometheus  # noqa: F401

    base_mib, begin_s = _peak_mib(), time.perf_counter()
    first, second = {"ours": ours, "library": library, "live": live}[way](url)
    seconds = time.perf_counter() - begin_s
    figures = {"first": first, "second": second, "seconds": seconds, "base_mib": base_mib}
    print(json.dumps(figures | {"peak_mib": _peak_mib() - base_mib}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=["ours", "library", "live"])
    parser.add_argument("url")
    asked = parser.parse_args()
    _child(asked.way, asked.url)
