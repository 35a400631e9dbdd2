"""Servers that want to know who asks, and what is said of a server."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pla.ports import SourceError
from pla.sources.prometheus import PrometheusOptions, PrometheusSource

pytestmark = pytest.mark.prometheus

OpenSource = Callable[..., PrometheusSource]
VM = ("kvm://h1/vm-a",)
SECRET_HASHED = "$2b$04$jMqUN5Y40XTN3VdISQQiAOcyY/8zw2LLN/MzRrlsIjd3k8CiQr1Ym"
"""bcrypt of `secret`."""


@pytest.fixture
def guarded(scene: Any, serve: Any, tmp_path: Path) -> tuple[str, Path]:
    """URL of a Prometheus behind TLS and a password, and the file of its certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=pla-test", "-addext", "subjectAltName=IP:127.0.0.1"]
    out = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *out, *subject],
        check=True,
        capture_output=True,
    )
    config = tmp_path / "web.yml"
    tls = {"cert_file": str(certificate), "key_file": str(key)}
    users = {"pla": SECRET_HASHED}
    config.write_text(json.dumps({"tls_server_config": tls, "basic_auth_users": users}))
    url = serve(scene.series, f"--web.config.file={config}")
    return url.replace("http://", "https://"), certificate


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_password_and_certificate(
    guarded: tuple[str, Path], scene: Any, open_source: OpenSource, tmp_path: Path
) -> None:
    url, certificate = guarded
    password = tmp_path / "password"
    password.write_text("secret\n")
    known = {"username": "pla", "password_file": password}
    asked = VM, ("memory",), scene.start_s, scene.end_s, 60
    values = open_source(url, ca_file=certificate, **known).read(*asked).values
    assert np.isfinite(values).all()
    trusting = open_source(url, verify=False, **known)
    np.testing.assert_array_equal(trusting.read(*asked).values, values)
    with pytest.raises(SourceError, match=r"TLS fails .*ca_file"):
        open_source(url, **known).read(*asked)
    password.write_text("wrong")
    with pytest.raises(SourceError, match=r"401, not authenticated.*password_file"):
        open_source(url, ca_file=certificate, **known).read(*asked)
    with pytest.raises(SourceError, match="401, not authenticated"):
        open_source(url, ca_file=certificate).read(*asked)


def test_what_a_server_has(scene: Any, prometheus_url: str, clock_at: Any) -> None:
    source = PrometheusSource(PrometheusOptions(prometheus_url), clock_at(scene.end_s))
    with pytest.raises(SourceError, match="clock is"):
        source.describe()
    source = PrometheusSource(
        PrometheusOptions(prometheus_url, max_clock_skew_s=1e10), clock_at(scene.end_s)
    )
    lines = source.describe()
    assert f"{prometheus_url}: libvirt: cpu of 2 workloads, history of 1 h or more" in lines
    assert not any("libvirt: storage" in line for line in lines)
    source.close()


@pytest.mark.parametrize(("minutes", "words"), [(6, "history of 5 min"), (3, "less than 5 min")])
def test_a_database_that_has_just_begun(
    minutes: int, words: str, scene: Any, serve: Any, new_series: Any, clock_at: Any
) -> None:
    times = scene.end_s - 15.0 * np.arange(minutes * 4)[::-1]
    labels = {"domain": "a", "instance": "h:1"}
    name = "libvirt_domain_info_cpu_time_seconds_total"
    url = serve([new_series(name, labels, times, np.arange(len(times)) * 1.0)])
    options = PrometheusOptions(url, max_clock_skew_s=1e10)
    source = PrometheusSource(options, clock_at(scene.end_s))
    (line,) = source.describe()
    assert "cpu of 1 workloads" in line and words in line
    block = source.read(["kvm://h/a"], ("cpu",), scene.end_s - 86_400, scene.end_s, 60)
    seen = np.isfinite(block.values[:, 0, 0])
    assert seen[-minutes:].all() and not seen[:-minutes].any()
    np.testing.assert_allclose(block.values[-minutes:, 0, 0], 1 / 15, rtol=1e-6)
    source.close()
