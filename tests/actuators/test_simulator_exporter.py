"""The simulator's meters: a real Prometheus scrapes them, and the source reads them back."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from actuators.simulator.clock import ManualClock, SimulatedClock
from actuators.simulator.cluster import SimulatedCluster
from actuators.simulator.demand import Demand
from actuators.simulator.inventory import Inventory
from actuators.simulator.server import SimulatorServer
from infra.testbed.debian import Unavailable, program
from infra.testbed.prometheus import prometheus
from pla.clock import SystemClock
from pla.core.fleet import UsageBlock
from pla.sources.prometheus import PrometheusOptions, PrometheusSource

STEP_S = 2
HISTORY = 300
NAMES = ("calm", 'odd "name"', "greedy")
IDS = [f"sim://{name}" for name in NAMES]
RESOURCES = ("cpu", "memory")


def cluster_at(live_s: float) -> SimulatedCluster:
    """Three workloads; from the start on `greedy` wants more of everything than it has."""
    random = np.random.default_rng(3)
    values = random.gamma(2.0, 0.2, (HISTORY + 100, 2, 3))
    values[:, 1] *= 2**28
    values[HISTORY:, :, 2] *= 50
    demand = Demand.from_arrays(NAMES, RESOURCES, values, start_s=0, step_s=300)
    at_s = int(live_s) // STEP_S * STEP_S
    demand = demand.paced(STEP_S, HISTORY, at_s)
    request = np.array([[2.0] * 3, [2.0**30] * 3])
    inventory = Inventory(NAMES, ("standard",) * 3, np.array([1, 2, 1]), request)
    return SimulatedCluster(demand, inventory, at_s)


@pytest.fixture
def serve() -> Iterator[object]:
    running = []

    def start(cluster: SimulatedCluster, clock: SimulatedClock | ManualClock) -> str:
        server = SimulatorServer(cluster, clock)
        thread = Thread(target=server.serve, daemon=True)
        thread.start()
        running.append((server, thread))
        return server.url

    yield start
    for server, thread in running:
        server.stop()
        thread.join()


def fetch(url: str) -> tuple[str, str]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


def test_meters_of_every_instance(serve) -> None:  # type: ignore[no-untyped-def]
    cluster = cluster_at(1_700_000_000)
    clock = ManualClock(float(cluster.start_s))
    url = serve(cluster, clock)
    assert fetch(f"{url}/metrics")[0] == ""
    clock.move_to(cluster.start_s + 3 * STEP_S)
    text, kind = fetch(f"{url}/metrics")
    assert kind.startswith("text/plain; version=0.0.4")
    at = str((cluster.start_s + 3 * STEP_S) * 1000)
    lines = text.splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert all(line.endswith(f" {at}") for line in samples)
    assert f'sim_cpu_limit_cores{{workload="greedy",replica="greedy-0"}} 2.0 {at}' in samples
    odd = 'sim_cpu_usage_cores{workload="odd \\"name\\"",replica="odd \\"name\\"-1"} '
    assert sum(line.startswith(odd) for line in samples) == 1
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families)) and "sim_oom_kills_total" in families
    throttled = next(s for s in samples if s.startswith("sim_cpu_throttled") and "greedy" in s)
    assert float(throttled.split()[-2]) > 0
    killed = next(s for s in samples if s.startswith("sim_oom_kills_total") and "greedy" in s)
    assert float(killed.split()[-2]) == 1


@pytest.mark.prometheus
def test_a_prometheus_that_scrapes_knows_what_the_cluster_knows(  # type: ignore[no-untyped-def]
    serve, tmp_path: Path
) -> None:
    cluster = cluster_at(SystemClock().now_s())
    clock = SimulatedClock(SystemClock().now_s(), 1.0)
    url = serve(cluster, clock)
    history = tmp_path / "history.om"
    history.write_text(fetch(f"{url}/metrics/history")[0])
    data = tmp_path / "prometheus" / "data"
    data.mkdir(parents=True)
    try:
        create = [program("prometheus", "promtool"), "tsdb", "create-blocks-from", "openmetrics"]
        subprocess.run([*create, history, data], check=True, capture_output=True)
        with prometheus(
            tmp_path / "prometheus", targets=[url.removeprefix("http://")], scrape_s=0.5
        ) as server:
            options = PrometheusOptions(server.url, scrape_interval_s=STEP_S)
            source = PrometheusSource(options)
            told = after_some_steps(cluster, source)
            live = source.read(IDS, RESOURCES, cluster.start_s, told.end_s, STEP_S)
            source.close()
            known = cluster.usage(cluster.start_s - HISTORY * STEP_S, told.end_s)
    except Unavailable as error:
        pytest.skip(str(error))
    np.testing.assert_array_equal(told.values[:HISTORY], known.values[:HISTORY])
    # The server began to scrape some steps after the start: what it has is what was.
    told_live, known_live = told.values[HISTORY:], known.values[HISTORY:]
    seen = np.isfinite(told_live)
    np.testing.assert_array_equal(told_live[seen], known_live[seen])
    np.testing.assert_array_equal(live.values, told_live)
    # That work waited shows in a counter, which needs two samples to tell.
    assert live.censored[seen[:, 0, 2], 0, 2][1:].all() and not live.censored[:, :, 0].any()


def after_some_steps(cluster: SimulatedCluster, source: PrometheusSource) -> UsageBlock:
    """All that is known once some live steps have been scraped: when, is up to the server."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        time.sleep(STEP_S)
        begin_s = cluster.start_s - HISTORY * STEP_S
        block = source.read(IDS, RESOURCES, begin_s, cluster.closed_s - STEP_S, STEP_S)
        if np.isfinite(block.values[HISTORY:]).all(axis=(1, 2)).sum() >= 4:
            return block
    raise AssertionError("no four steps have been scraped within a minute")
