"""What a bad network, an overloaded server or a wrong setting leads to: one clear line each.

A proxy spoils the answers of a real Prometheus; where it stops, the next read is whole again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from infra.testbed.proxy import PASS, Fault, FaultProxy
from pla.core.fleet import UsageBlock
from pla.sources.prometheus import PrometheusOptions, PrometheusSource

pytestmark = [pytest.mark.prometheus, pytest.mark.faults]

OpenSource = Callable[..., PrometheusSource]
Fails = Callable[[PrometheusSource, str], str]
VM = "kvm://h1/vm-a"


@pytest.fixture
def whole(scene: Any, prometheus_url: str, open_source: OpenSource) -> UsageBlock:
    return scene.read(open_source(prometheus_url))


@pytest.fixture
def source(proxy: FaultProxy, scene: Any, open_source: OpenSource) -> PrometheusSource:
    """A source that has found its packs before anything goes wrong."""
    source = open_source(proxy.url, timeout_s=1.0, retries=1)
    scene.read(source)
    proxy.requests.clear()
    return source


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(delay_s=60), "not complete after 1 s.*timeout_s"),
        (Fault(drip_s=0.05), "not complete after 1 s"),
        (Fault(drip_s=0.05, drip_head=True), "not complete after 1 s"),
        (Fault(reset=True), "connection broke"),
        (Fault(truncate=150), "broke off|connection broke"),
        (Fault(truncate=150, length=False), "no answer.*cut by a proxy"),
        (Fault(status=503, body=b"upstream"), "503 .upstream.*log and load"),
        (Fault(status=500, body=b"boom"), "500 .boom"),
        (Fault(status=429, body=b"slow down"), "429.*rate limit"),
        (Fault(status=401), "401, not authenticated.*bearer_token_file"),
        (Fault(status=403), "403, not allowed"),
        (Fault(status=404, body=b"nothing here"), "404.*base of Prometheus' HTTP API"),
        (Fault(status=302, headers={"Location": "/login"}), "302.*base of Prometheus"),
        (Fault(content_type="text/html"), "text/html, not JSON.*login page"),
        (Fault(body=b"<html>Sign in</html>", content_type="text/html"), "Sign in"),
        (Fault(body=b'{"status":"error","errorType":"internal","error":"disk"}'), "disk"),
        (Fault(body=b"{}"), "no answer of Prometheus"),
        (Fault(body=b""), "no answer of Prometheus"),
        (
            Fault(edit=lambda told: {**told, "data": {"resultType": "matrix", "result": [
                {"metric": {"domain": "vm-a"}, "values": [["x", "1"]]}]}}),
            "samples that cannot be read",
        ),
    ],
)  # fmt: skip
def test_a_spoilt_answer_is_an_error_and_the_next_read_is_whole(
    fails: Fails,
    fault: Fault,
    words: str,
    source: PrometheusSource,
    proxy: FaultProxy,
    scene: Any,
    whole: UsageBlock,
) -> None:
    proxy.fault = fault
    begin_s = time.monotonic()
    message = fails(source, words)
    assert "query `" in message and "libvirt_domain" in message
    assert time.monotonic() - begin_s < 5
    proxy.fault = PASS
    np.testing.assert_array_equal(scene.read(source).values, whole.values)


@pytest.mark.parametrize(
    "fault", [Fault(reset=True), Fault(status=502), Fault(truncate=99, length=False)]
)
def test_what_passes_is_tried_again(
    fault: Fault, source: PrometheusSource, proxy: FaultProxy, scene: Any, whole: UsageBlock
) -> None:
    proxy.fault = replace(fault, times=1)
    np.testing.assert_array_equal(scene.read(source).values, whole.values)


def test_a_server_that_is_down_gets_one_attempt_until_it_answers(
    fails: Fails, source: PrometheusSource, proxy: FaultProxy, scene: Any
) -> None:
    proxy.fault = Fault(status=503)
    fails(source, "503")
    usage = proxy.requests[0].body
    assert [request.body for request in proxy.requests].count(usage) == 2
    fails(source, "503")
    assert [request.body for request in proxy.requests].count(usage) == 3


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution"}'),
        (422, b'{"status":"error","errorType":"execution","error":"would load too many samples"}'),
        (503, b'{"status":"error","errorType":"timeout","error":"query timed out"}'),
    ],
)
def test_what_is_too_large_is_asked_in_halves(
    fails: Fails,
    status: int,
    body: bytes,
    source: PrometheusSource,
    proxy: FaultProxy,
    scene: Any,
    whole: UsageBlock,
) -> None:
    json = {"content_type": "application/json"}
    proxy.fault = Fault(status=status, body=body, times=2, **json)  # type: ignore[arg-type]
    np.testing.assert_array_equal(scene.read(source).values, whole.values)
    proxy.fault = Fault(status=status, body=body, **json)  # type: ignore[arg-type]
    fails(source, "too much at once")


def test_caps_of_the_real_server(
    scene: Any, serve: Any, open_source: OpenSource, whole: UsageBlock
) -> None:
    source = open_source(serve(scene.series, "--query.max-samples=400"))
    np.testing.assert_array_equal(scene.read(source).values, whole.values)


def test_more_points_than_the_server_gives(
    scene: Any, prometheus_url: str, open_source: OpenSource
) -> None:
    source = open_source(prometheus_url, max_points=1_000_000)
    end_s = scene.start_s + 24_000
    block = source.read((VM,), ("memory",), scene.start_s, end_s, 1)
    assert block.steps == 24_000
    assert np.isfinite(block.values).sum() >= 239


@pytest.mark.parametrize(
    "edit",
    [
        lambda told: {**told, "warnings": ["store gateway-2 did not answer"]},
        lambda told: {**told, "isPartial": True},
    ],
)
def test_partial_data_are_kept_and_flagged(
    edit: Any, source: PrometheusSource, proxy: FaultProxy, scene: Any, whole: UsageBlock
) -> None:
    proxy.fault = Fault(edit=edit)
    block = scene.read(source)
    assert block.partial and source.server in block.warnings[0]
    np.testing.assert_array_equal(block.values, whole.values)


def test_remarks_on_promql_are_no_missing_data(
    source: PrometheusSource, proxy: FaultProxy, scene: Any
) -> None:
    words = "PromQL info: metric might not be a counter"
    proxy.fault = Fault(edit=lambda told: {**told, "warnings": [words]})
    block = scene.read(source)
    assert not block.partial and words in block.warnings[0]


def test_json_in_another_style_is_read_the_same(
    source: PrometheusSource, proxy: FaultProxy, scene: Any, whole: UsageBlock
) -> None:
    def spaced(told: Any) -> Any:
        for one in told["data"]["result"]:
            one["values"] = [[float(at), f"{float(value):.17e}"] for at, value in one["values"]]
            one["values"].append([1e9, "Nan "])
        return told

    proxy.fault = Fault(edit=spaced)
    np.testing.assert_array_equal(scene.read(source).values, whole.values)


@pytest.mark.parametrize(("skew_s", "side"), [(300.0, "ahead of"), (-300.0, "behind")])
def test_live_data_under_another_clock_are_refused(
    fails: Fails, skew_s: float, side: str, proxy: FaultProxy, scene: Any, clock_at: Any
) -> None:
    clock = clock_at(scene.end_s)
    source = PrometheusSource(PrometheusOptions(proxy.url), clock)
    server_s = clock.shift_s
    proxy.fault = Fault(clock_s=server_s)
    assert np.isfinite(scene.read(source).values).all()
    proxy.fault = Fault(clock_s=server_s + skew_s)
    fails(source, f"clock is (299|300|301) s {side}.*NTP")
    # Training on last week's data may go on.
    source.read((VM,), ("memory",), scene.start_s, scene.end_s - 3660, 60)
    proxy.fault = Fault(clock_s=server_s)
    assert np.isfinite(scene.read(source).values).all()
    source.close()


def test_one_request_per_kind_whatever_the_number_of_workloads(
    source: PrometheusSource, proxy: FaultProxy, scene: Any
) -> None:
    for others in (0, 10_000):
        proxy.requests.clear()
        many = (VM, *(f"kvm://h1/other-{row}" for row in range(others)))
        source.read(many, ("cpu", "memory"), scene.end_s - 120, scene.end_s, 60)
        # Usage of two resources, each one at its limit, and stolen time.
        assert len(proxy.requests) == 5
