"""The section `sources`: read from pla.yaml, refused in words, and connected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pla.core.fleet import UsageBlock
from pla.platforms import connect_sources
from pla.ports import SourceError
from pla.settings import ConfigError, Settings, load
from pla.source_sections import PrometheusSettings
from pla.sources.prometheus import PrometheusSource
from pla.sources.several import SeveralSources

URL = "http://prometheus:9090"


def settings_of(tmp_path: Path, *sources: dict[str, Any]) -> Settings:
    path = tmp_path / "pla.yaml"
    path.write_text(yaml.safe_dump({"sources": list(sources)}))
    return load(path, environ={})


class Metering:
    def read(self, workloads: Any, resources: Any, start_s: int, end_s: int, step_s: int) -> Any:
        steps = (end_s - start_s) // step_s
        shape = (steps, len(resources), len(workloads))
        no = np.zeros(shape, dtype=np.bool_)
        values = np.ones(shape, dtype=np.float32)
        return UsageBlock(values, no, no[:, 0], end_s, step_s)


def test_every_key_has_a_default_but_the_url(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, {"kind": "prometheus", "url": f"{URL}/api/v1/"})
    (source,) = settings.sources
    assert isinstance(source, PrometheusSettings)
    assert source.url == URL and source.packs == "auto" and source.timeout_s == 30
    assert isinstance(connect_sources(settings, Metering()), PrometheusSource)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "prometheus:9090"}, "is no URL"),
        ({"urll": URL}, "unknown key"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"kind": "graphite"}, "kind"),
        ({"bearer_token_file": "/t", "username": "u"}, "remove one of them"),
        ({"password_file": "/p"}, "means nothing without username"),
        ({"headers": {"Authorization": "Bearer x"}}, "secret has no place"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        settings_of(tmp_path, {"url": URL} | change)
    assert "pla.yaml" in str(caught.value) and "sources" in str(caught.value)


def test_two_that_own_the_rest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="both own whatever nobody else does"):
        settings_of(tmp_path, {"url": URL}, {"url": "http://other:9090"})


def test_the_simulator_meters_what_no_source_owns(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, {"url": "http://127.0.0.1:9", "owns": ["k8s://prod"], "retries": 0}
    )
    source = connect_sources(settings, Metering())
    assert isinstance(source, SeveralSources)
    block = source.read(["sim://a", "k8s://prod/n/Pod/p/c"], ("cpu",), 0, 600, 60)
    assert (block.values[:, 0, 0] == 1).all() and np.isnan(block.values[:, 0, 1]).all()
    assert "nobody listens there" in block.unavailable[1]
    with pytest.raises(SourceError, match="is no prefix of workloads"):
        connect_sources(settings_of(tmp_path, {"url": URL, "owns": ["k8s"]}), Metering())


def test_without_sources_the_simulator_meters_itself(tmp_path: Path) -> None:
    metering = Metering()
    assert connect_sources(settings_of(tmp_path), metering) is metering
    with pytest.raises(SourceError, match="no metrics source: name one under `sources`"):
        connect_sources(settings_of(tmp_path), None)


def test_a_pack_that_is_none_names_its_source(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, {"url": URL, "packs": ["kubernets"]})
    with pytest.raises(SourceError, match=r"sources: http://prometheus:9090: .*no pack"):
        connect_sources(settings, None)


def test_tenant_and_options_reach_the_source(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, {"url": URL, "tenant": "team", "match": 'cluster="prod"', "max_points": 500}
    )
    source = connect_sources(settings, None)
    assert isinstance(source, PrometheusSource)
    options = source.options
    assert options.headers == {"X-Scope-OrgID": "team"} and options.max_points == 500
    assert options.censored_ratio == settings.policy.censored_ratio


# -- InfluxDB ------------------------------------------------------------------------------

INFLUX = {"kind": "influxdb", "url": "http://influxdb:8086", "database": "telegraf"}


def test_an_influxdb_beside_a_prometheus_owns_its_workloads(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    influx = INFLUX | {"owns": ["kvm://"], "username": "pla", "password_file": str(password)}
    settings = settings_of(tmp_path, {"url": URL}, influx)
    source = connect_sources(settings, None)
    assert isinstance(source, SeveralSources)
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"database": ""}, "no database given"),
        ({"schemas": ["collectd"]}, "no schema 'collectd'; there are docker"),
        ({"url": "influxdb:8086"}, "give http://HOST:PORT"),
        ({"token_file": "/t", "username": "u"}, "remove one of them"),
        ({"password_file": "/p"}, "means nothing without username"),
        ({"mapping": [{"measurment": "x"}]}, "mapping"),
    ],
)
def test_an_influxdb_that_cannot_be_is_refused(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        settings_of(tmp_path, INFLUX | change)
    assert "pla.yaml" in str(caught.value) and "sources" in str(caught.value)


def test_a_password_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    settings = settings_of(tmp_path, INFLUX | {"username": "pla", "password_file": missing})
    with pytest.raises(SourceError, match=r"sources\.password_file: .*nowhere cannot be read"):
        connect_sources(settings, None)
