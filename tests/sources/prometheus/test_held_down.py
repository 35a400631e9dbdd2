"""What says that usage was held down: limits, throttling, stolen time, kills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pla.core.fleet import UsageBlock
from pla.sources.prometheus import PrometheusSource

pytestmark = pytest.mark.prometheus

OpenSource = Callable[..., PrometheusSource]
START_S = 1_699_999_200
TIMES = START_S + 7 + 30 * np.arange(-1, 79.0)
WEB = "k8s://prod/shop/StatefulSet/web/app"
POD = {"namespace": "shop", "pod": "web-0"}
RESOURCES = ("cpu", "memory")


def steps_of(times: np.ndarray) -> list[int]:
    return sorted({int(np.ceil((at - START_S) / 60)) - 1 for at in times.tolist()})


@pytest.fixture
def pod(new_series: Any) -> Callable[..., list[Any]]:
    """`pod(cpu, memory)`: rates [cores] between samples and bytes at samples, with their limits."""

    def build(cpu: np.ndarray, memory: np.ndarray) -> list[Any]:
        app = {**POD, "container": "app"}
        whose = {"owner_kind": "StatefulSet", "owner_name": "web", "owner_is_controller": "true"}
        used = np.cumsum(np.r_[0.0, cpu * 30])
        limit = "kube_pod_container_resource_limits"
        return [
            new_series("kube_pod_owner", {**POD, **whose}, TIMES, np.ones(80)),
            new_series("container_cpu_usage_seconds_total", app, TIMES, used),
            new_series("container_memory_working_set_bytes", app, TIMES, memory),
            new_series(limit, {**app, "resource": "cpu"}, TIMES, np.full(80, 1.0)),
            new_series(limit, {**app, "resource": "memory"}, TIMES, np.full(80, 1e9)),
        ]

    return build


def read(source: PrometheusSource) -> UsageBlock:
    return source.read([WEB], RESOURCES, START_S, START_S + 39 * 60, 60)


def test_usage_at_its_limit_is_held_down(pod: Any, serve: Any, open_source: OpenSource) -> None:
    cpu, memory = np.full(79, 0.5), np.full(80, 5e8)
    cpu[20], cpu[21] = 0.96, 0.94
    memory[50] = 0.951e9
    block = read(open_source(serve(pod(cpu, memory))))
    assert np.flatnonzero(block.censored[:, 0, 0]).tolist() == steps_of(TIMES[21:22])
    assert np.flatnonzero(block.censored[:, 1, 0]).tolist() == steps_of(TIMES[50:51])
    assert not block.killed.any()


def test_throttled_periods_hold_down(
    pod: Any, serve: Any, open_source: OpenSource, new_series: Any
) -> None:
    series = pod(np.full(79, 0.5), np.full(80, 5e8))
    periods = np.cumsum(np.full(80, 300.0))
    throttled = np.zeros(80)
    throttled[30:] = 10.0  # 3 % of a spacing's periods: below the share that counts
    throttled[40:] += 60.0  # 20 %
    app = {**POD, "container": "app"}
    series += [
        new_series("container_cpu_cfs_periods_total", app, TIMES, periods),
        new_series("container_cpu_cfs_throttled_periods_total", app, TIMES, throttled),
    ]
    block = read(open_source(serve(series)))
    assert np.flatnonzero(block.censored[:, 0, 0]).tolist() == steps_of(TIMES[40:41])
    assert not block.censored[:, 1].any()


@pytest.mark.parametrize("told", ["kube-state-metrics", "cadvisor"])
def test_a_kill_is_told_in_its_step_only(
    told: str, pod: Any, serve: Any, open_source: OpenSource, new_series: Any
) -> None:
    series = pod(np.full(79, 0.5), np.full(80, 5e8))
    app = {**POD, "container": "app"}
    happened = np.zeros(80)
    happened[40:] = 1
    if told == "cadvisor":
        series.append(new_series("container_oom_events_total", app, TIMES, happened))
    else:
        # A restart for another reason came first; the reason stays, long after.
        restarts = happened + (np.arange(80) >= 20)
        reason = {**app, "reason": "OOMKilled"}
        name = "kube_pod_container_status_last_terminated_reason"
        series += [
            new_series("kube_pod_container_status_restarts_total", app, TIMES, restarts),
            new_series(name, reason, TIMES[40:], np.ones(40)),
        ]
    block = read(open_source(serve(series)))
    assert np.flatnonzero(block.killed[:, 0]).tolist() == steps_of(TIMES[40:41])
    np.testing.assert_array_equal(block.censored[:, 1, 0], block.killed[:, 0])
    assert not block.censored[:, 0].any()


def test_stolen_time_holds_down(serve: Any, open_source: OpenSource, new_series: Any) -> None:
    series = []
    for mode, rate in (("user", 0.4), ("idle", 0.5), ("steal", 0.0)):
        rates = np.full(79, rate)
        if mode == "steal":
            rates[30] = 0.2
        labels = {"instance": "n1:9100", "mode": mode, "cpu": "0"}
        values = np.cumsum(np.r_[0.0, rates * 30])
        series.append(new_series("node_cpu_seconds_total", labels, TIMES, values))
    for name in ("node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes"):
        series.append(new_series(name, {"instance": "n1:9100"}, TIMES, np.full(80, 1e9)))
    source = open_source(serve(series))
    block = source.read(["node://n1:9100"], RESOURCES, START_S, START_S + 39 * 60, 60)
    assert np.flatnonzero(block.censored[:, 0, 0]).tolist() == steps_of(TIMES[31:32])


def test_rules_of_a_user_replace_those_of_a_pack(
    pod: Any, serve: Any, open_source: OpenSource
) -> None:
    memory = np.full(80, 0.97e9)
    url = serve(pod(np.full(79, 0.5), memory))
    assert read(open_source(url)).censored[:, 1].all()
    off = {"kubernetes": {"resources": {"memory": {"limit": ""}}}}
    assert not read(open_source(url, queries=off)).censored.any()
    own = {
        "mine": {
            "scheme": "k8s",
            "uri": "k8s://{cluster}/{namespace}/Pod/{pod}/{container}",
            "needs": ["container_memory_working_set_bytes"],
            "define": {"all": "max by (namespace, pod, container)"},
            "resources": {
                "memory": {
                    "usage": "$all (max_over_time(container_memory_working_set_bytes[$step]))"
                }
            },
        }
    }
    source = open_source(url, queries=own, packs=("mine",))
    block = source.read(["k8s://prod/shop/Pod/web-0/app"], ("memory",), START_S, START_S + 600, 60)
    assert (block.values == np.float32(0.97e9)).all()


@pytest.mark.parametrize("spacing_s", [60, 120])
def test_a_kill_is_told_by_an_exporter_that_is_scraped_rarely(
    spacing_s: int, pod: Any, serve: Any, open_source: OpenSource, new_series: Any
) -> None:
    series = pod(np.full(79, 0.5), np.full(80, 5e8))
    times = START_S - 29 + spacing_s * np.arange(2400 // spacing_s + 1.0)
    at = len(times) // 2
    app = {**POD, "container": "app"}
    restarts = (np.arange(len(times)) >= at) * 1.0
    name = "kube_pod_container_status_last_terminated_reason"
    series += [
        new_series("kube_pod_container_status_restarts_total", app, times, restarts),
        new_series(name, {**app, "reason": "OOMKilled"}, times[at:], np.ones(len(times) - at)),
    ]
    block = read(open_source(serve(series)))
    assert np.flatnonzero(block.killed[:, 0]).tolist() == steps_of(times[at : at + 1])
