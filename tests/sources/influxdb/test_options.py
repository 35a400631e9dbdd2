"""Options and mappings that cannot work are refused where they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pla.sources.influxdb import SCHEMAS, Column, InfluxOptions, Kind, Measure, Name
from pla.sources.influxdb.naming import Naming
from pla.sources.influxdb.queries import quoted


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "localhost:8086"}, r"give http://HOST:PORT"),
        ({"url": "ftp://host"}, r"give http://HOST:PORT"),
        ({"url": "http://me:secret@host:8086"}, r"'http://host:8086': holds a password"),
        ({"database": ""}, "no database given"),
        ({"token": "t", "username": "u"}, "a token or a user and password, not both"),
        ({"timeout_s": 0}, "timeout 0 s: must be above 0"),
        ({"schemas": ("docker", "podman")}, "no schema 'podman'; there are docker, kubernetes"),
        ({"schemas": ()}, "neither schemas nor a mapping given"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        InfluxOptions(**{"url": "http://host:8086", "database": "telegraf"} | options)
    assert "secret" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    options = InfluxOptions("http://h", "d", username="u", password="hidden")
    assert "hidden" not in repr(options)
    assert "hidden" not in repr(InfluxOptions("http://h", "d", token="hidden"))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Column("f", "cpus"), "unknown resource 'cpus'"),
        (lambda: Column("f", "cpu", per="g"), "`per` is for counters, it is a gauge"),
        (lambda: Name("{host}/{name}"), "a workload is a URI"),
        (lambda: Name("kvm://{a}", tag="b"), "give both `tag` and `pattern`"),
        (lambda: Name("kvm://{a}", tag="b", pattern="(?P<a>"), r"pattern '\(\?P<a>' of tag 'b'"),
        (lambda: Measure("m", (), (Name("kvm://{a}"),)), "measurement 'm': needs `columns`"),
    ],
)
def test_mappings_that_cannot_work(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()


def test_a_mapping_comes_from_a_settings_file() -> None:
    given = {
        "measurement": "vm",
        "columns": [{"field": "ticks", "resource": "cpu", "kind": "counter"}],
        "workloads": [{"template": "kvm://{host}/{name}"}],
    }
    measure = TypeAdapter(Measure).validate_python(given)
    assert measure == Measure(
        "vm", (Column("ticks", "cpu", Kind.COUNTER),), (Name("kvm://{host}/{name}"),)
    )
    with pytest.raises(ValidationError, match="unknown resource"):
        TypeAdapter(Measure).validate_python(
            {**given, "columns": [{"field": "x", "resource": "y"}]}
        )


@pytest.mark.parametrize(
    ("pod", "asked", "expected"),
    [
        ("web-5d4f8c7b9-zx2v4", "Deployment/web", True),
        ("my-web-5d4f8c7b9-zx2v4", "Deployment/my-web", True),
        ("db-12", "StatefulSet/db", True),
        ("log-zx2v4", "DaemonSet/log", True),
        ("nightly-28391040-zx2v4", "CronJob/nightly", True),
        ("migrate-zx2v4", "Job/migrate", True),
        ("alone", "Pod/alone", True),
        # `a` is no letter of generated names, nor is `web` alone the owner of this pod.
        ("web-aaaaaaaaa-zx2v4", "Deployment/web", False),
        ("web-5d4f8c7b9-zx2v4", "StatefulSet/web", False),
        ("other-5d4f8c7b9-zx2v4", "Deployment/web", False),
    ],
)
def test_a_pods_owner_follows_from_its_name_and_who_is_asked_for(
    pod: str, asked: str, expected: bool
) -> None:
    (network,) = (m for m in SCHEMAS["kubernetes"] if m.measurement == "kubernetes_pod_network")
    naming = Naming(network, {"cluster": "prod"})
    naming.ask_for(("k8s://prod/shop/Deployment/none", f"k8s://prod/shop/{asked}"))
    assert naming.tags == ("namespace", "pod_name")
    assert naming.row({"namespace": "shop", "pod_name": pod}) == (1 if expected else -1)
    assert naming.row({"namespace": "else", "pod_name": pod}) == -1
    naming.ask_for((f"k8s://prod/shop/{asked}",))
    assert naming.row({"namespace": "shop", "pod_name": pod}) == (0 if expected else -1)


def test_identifiers_are_quoted() -> None:
    assert quoted('my "vm"\\s') == '"my \\"vm\\"\\\\s"'
