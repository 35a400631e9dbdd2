"""Wrong settings and servers that cannot serve: one clear line each."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.testbed.proxy import FaultProxy
from pla.ports import SourceError
from pla.sources.prometheus import PackError, PrometheusSource

pytestmark = [pytest.mark.prometheus, pytest.mark.faults]

OpenSource = Callable[..., PrometheusSource]
Fails = Callable[[PrometheusSource, str], str]
VM = "kvm://h1/vm-a"


def test_nobody_listens(fails: Fails, scene: Any, open_source: OpenSource) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        source = open_source(f"http://127.0.0.1:{held.getsockname()[1]}", retries=1)
        fails(source, "nobody listens there; is the server up")


def test_a_host_that_does_not_exist(fails: Fails, scene: Any, open_source: OpenSource) -> None:
    fails(open_source("http://no-such-host.invalid:9090"), "host is unknown")


def test_plain_http_behind_https(
    fails: Fails, scene: Any, prometheus_url: str, open_source: OpenSource
) -> None:
    url = prometheus_url.replace("http://", "https://")
    fails(open_source(url), "TLS fails.*ca_file")


def test_wrong_secrets(
    fails: Fails, scene: Any, prometheus_url: str, open_source: OpenSource, tmp_path: Path
) -> None:
    missing = open_source(prometheus_url, bearer_token_file=tmp_path / "absent")
    fails(missing, r"sources\.bearer_token_file: .*absent cannot be read.*check it")
    with pytest.raises(SourceError, match=r"ca_file .*absent.*PEM"):
        open_source(prometheus_url, ca_file=tmp_path / "absent")


def test_secrets_and_tenant_are_sent_and_read_anew(
    scene: Any, proxy: FaultProxy, open_source: OpenSource, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    tenant = {"X-Scope-OrgID": "team"}
    source = open_source(proxy.url, bearer_token_file=token, headers=tenant)
    scene.read(source)
    assert {r.headers["Authorization"] for r in proxy.requests} == {"Bearer first"}
    token.write_text("second")
    proxy.requests.clear()
    scene.read(source)
    assert {r.headers["Authorization"] for r in proxy.requests} == {"Bearer second"}
    assert {r.headers["X-Scope-OrgID"] for r in proxy.requests} == {"team"}
    assert {r.headers["Accept-Encoding"] for r in proxy.requests} == {"identity"}
    # Queries travel in bodies: a long one does not fit into a URL.
    assert all("query" not in r.path.partition("?")[2] for r in proxy.requests)


def test_an_empty_database(fails: Fails, scene: Any, serve: Any, open_source: OpenSource) -> None:
    fails(open_source(serve([])), "no metrics at all; check its scrape targets")


def test_a_database_without_a_known_platform(
    fails: Fails, scene: Any, serve: Any, open_source: OpenSource, new_series: Any
) -> None:
    times = scene.start_s + 60.0 * np.arange(5)
    own = new_series("my_app_requests_total", {"a": "b"}, times, np.arange(5.0))
    fails(open_source(serve([own])), "none of the 1 metrics is one of a known platform")


def test_a_wrong_query_of_a_user(
    fails: Fails, scene: Any, prometheus_url: str, open_source: OpenSource
) -> None:
    broken = {"libvirt": {"resources": {"memory": {"usage": "max by (("}}}}
    fails(open_source(prometheus_url, queries=broken), "400.*parse error.*sources.queries")
    twice = {"libvirt": {"resources": {"memory": {"usage": (
        "container_memory_working_set_bytes * on (namespace) kube_pod_owner")}}}}  # fmt: skip
    fails(open_source(prometheus_url, queries=twice), "422, labels match more than once")
    unknown = {"libvirt": {"resources": {"memory": {"usage": "up[$stepp]"}}}}
    with pytest.raises(PackError, match=r"libvirt.*memory.usage.*\$stepp: known are"):
        scene.read(open_source(prometheus_url, queries=unknown))
    with pytest.raises(PackError, match="no pack 'kubernets'; known are"):
        open_source(prometheus_url, packs=("kubernets",))
    with pytest.raises(PackError, match="unknown key 'resource'"):
        open_source(prometheus_url, queries={"libvirt": {"resource": {}}})
