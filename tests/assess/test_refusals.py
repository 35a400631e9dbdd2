"""What cannot be assessed: one line that says why and what to do, and an exit code."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.testbed.prometheus import Series
from infra.testbed.proxy import Fault, FaultProxy

pytestmark = pytest.mark.prometheus

END_S = 1_700_006_400
UNTIL = str(np.datetime64(END_S, "s"))

Serve = Callable[[list[Series]], str]


def fails(ran: Any, code: int, *words: str) -> None:
    """Exit `code`, nothing on standard output, and one error with all of `words`."""
    assert ran.code == code, ran.err
    assert not ran.out
    assert ran.err.count("error:") == 1 and "Traceback" not in ran.err
    for word in words:
        assert word in ran.err


def simulated(minutes: int, workloads: int, requests: bool = True) -> list[Series]:
    """Gauges of the simulator's exporter, one sample a minute up to the end."""
    random = np.random.default_rng(3)
    times = END_S - 60.0 * np.arange(minutes)[::-1]
    series = [Series("sim_step_seconds", {}, times, np.full(minutes, 60.0))]
    daily = 1 + 0.5 * np.sin(times / 86_400 * 2 * np.pi)
    for number in range(workloads):
        labels = {"workload": f"w{number}"}
        for name, scale in (("sim_cpu_{}_cores", 1.0), ("sim_memory_{}_bytes", 1e9)):
            used = scale * daily * random.uniform(0.8, 1.0, minutes)
            series.append(Series(name.format("usage"), labels, times, used))
            if requests:
                amount = np.full(minutes, 2 * scale)
                series.append(Series(name.format("request"), labels, times, amount))
    return series


def test_nobody_listens(pla: Any) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        fails(pla("assess", "--prometheus", url), 1, url, "nobody listens", "is the server up")


def test_a_host_that_does_not_exist(pla: Any) -> None:
    ran = pla("assess", "--prometheus", "http://no-such-host.invalid:9090")
    fails(ran, 1, "host is unknown; check --prometheus")


def test_a_wrong_password(pla: Any, watched: FaultProxy, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("wrong")
    watched.fault = Fault(status=401, body=b"Unauthorized")
    try:
        ran = pla(
            "assess",
            "--prometheus",
            watched.url,
            "--username",
            "me",
            "--password-file",
            str(secret),
        )
    finally:
        watched.fault = Fault()
    fails(ran, 1, watched.url, "401, not authenticated", "--username and --password-file")
    assert watched.requests[-1].headers["Authorization"].startswith("Basic ")


def test_no_tls_where_it_is_expected(pla: Any, server_url: str, tmp_path: Path) -> None:
    url = server_url.replace("http://", "https://")
    fails(pla("assess", "--prometheus", url), 1, url, "TLS fails", "set --ca-file to")
    absent = str(tmp_path / "absent.pem")
    fails(pla("assess", "--prometheus", url, "--ca-file", absent), 1, absent, "PEM")


def test_an_empty_database(pla: Any, serve: Serve) -> None:
    fails(pla("assess", "--prometheus", serve([])), 1, "holds no metrics at all")


def test_five_minutes_of_history(pla: Any, serve: Serve) -> None:
    url = serve(simulated(5, 3))
    ran = pla("assess", "--prometheus", url, "--until", UNTIL)
    fails(ran, 1, "5 min of history are there, an assessment needs 24 h")


def test_a_time_without_samples(pla: Any, serve: Serve) -> None:
    url = serve(simulated(60, 3))
    ran = pla("assess", "--prometheus", url, "--until", "2020-01-01", "--days", "2")
    fails(ran, 1, url, "no sample of usage in the 2 days asked for", "--days and --until")


def test_another_platform(pla: Any, serve: Serve) -> None:
    url = serve(simulated(60, 3))
    ran = pla("assess", "--prometheus", url, "--until", UNTIL, "--platform", "libvirt")
    fails(ran, 1, "has metrics of sim, and none of libvirt", "another --platform")


def test_no_requests_and_too_few_to_learn_from(pla: Any, serve: Serve) -> None:
    url = serve(simulated(2 * 1440, 2, requests=False))
    ran = pla("assess", "--prometheus", url, "--until", UNTIL, "--days", "2", "--step", "5m")
    assert ran.code == 0, ran.err
    assert "no requests or limits are known" in ran.err
    assert "only 2 workloads" in ran.err
    assert "PLA is left out, there is too little to learn from (cpu: " in ran.err
    assert "sim://w0" in ran.out and "VPA" in ran.out and "KRR" in ran.out
    assert "never used" not in ran.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--platform", "vmware"), "--platform 'vmware': there are k8s, libvirt, sim"),
        (("--step", "7m"), "--step 7m: it must divide an hour"),
        (("--step", "soon"), "--step 'soon': write 30s, 5m"),
        (("--days", "0.1"), "--days 0.1: 1 to 400 are possible"),
        (("--until", "yesterday"), "--until 'yesterday'"),
        (("--html", "/nonexistent/a.html"), "--html /nonexistent/a.html: its directory"),
        (("--csv", "/"), "--csv /: is a directory"),
    ],
)
def test_bad_usage_is_2_and_asks_nobody(pla: Any, arguments: tuple[str, ...], words: str) -> None:
    fails(pla("assess", "--prometheus", "http://127.0.0.1:9", *arguments), 2, words)


def test_a_server_that_fails_half_way(pla: Any, watched: FaultProxy, known: Any) -> None:
    watched.fault = Fault(status=503, body=b"overloaded", only="limits")
    try:
        until = str(np.datetime64(known.end_s, "s"))
        ran = pla("assess", "--prometheus", watched.url, "--until", until, "--days", "1")
    finally:
        watched.fault = Fault()
    fails(ran, 1, watched.url, "503 (overloaded)", "look at the server's log and load")
