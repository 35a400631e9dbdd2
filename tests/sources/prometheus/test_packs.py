"""Shipped packs are complete, and every query of theirs is one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pla.core.resources import BY_NAME
from pla.sources.prometheus import PrometheusOptions, PrometheusSource, queries
from pla.sources.prometheus.connection import Connection
from pla.sources.prometheus.packs import AMOUNTS, Pack, PackError, choose, load
from pla.sources.prometheus.templates import Timing, render

PACKS = load({})
OPTIONS = PrometheusOptions("http://x", match='cluster="prod"')


def every_query(pack: Pack) -> list[queries.Query]:
    timing = Timing(60, 15)
    told = [q for kind in AMOUNTS for q in queries.amounts(pack, kind, [*BY_NAME], timing, OPTIONS)]
    return [*told, *queries.flags(pack, [*BY_NAME], timing, OPTIONS)]


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
def test_every_query_is_valid(pack: Pack, server_url: str) -> None:
    connection = Connection(PrometheusOptions(server_url))
    told = every_query(pack)
    assert told and all('cluster="prod"' in query.text for query in told)
    for query in told:
        assert not connection.query_range(query.text, 1_700_000_000, 1_700_000_060, 60).metrics
    connection.close()


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
def test_every_resource_has_usage_and_total(pack: Pack) -> None:
    for resource, kinds in pack.resources.items():
        assert {"usage", "total"} <= set(kinds), resource


@pytest.mark.parametrize(
    ("scrape_s", "step_s", "expected"),
    [
        (15, 60, ("59s999ms", "15s", "45s", "74s999ms")),
        (60, 60, ("59s999ms", "60s", "180s", "119s999ms")),
        (45, 60, ("59s999ms", "30s", "135s", "104s999ms")),
        (60, 300, ("299s999ms", "60s", "180s", "359s999ms")),
        (120, 60, ("144s", "60s", "360s", "179s999ms")),
        (1, 5, ("4s999ms", "1s", "3s", "5s999ms")),
        (0.5, 1, ("999ms", "500ms", "1s500ms", "1s499ms")),
    ],
)
def test_durations(scrape_s: float, step_s: int, expected: tuple[str, ...]) -> None:
    values = Timing(step_s, scrape_s).placeholders()
    assert tuple(values[k] for k in ("step", "resolution", "window", "span")) == expected


def test_snippets_may_use_snippets_and_label_replace_keeps_its_groups() -> None:
    text = render(
        'label_replace($b, "x", "$1", "y", "(.*)")',
        {"a": "up[$step]", "b": "max($a)"},
        {"step": "60s"},
    )
    assert text == 'label_replace(max(up[60s]), "x", "$1", "y", "(.*)")'
    with pytest.raises(ValueError, match=r"unknown placeholder \$stepp: known are \$a, "):
        render("up[$stepp]", {"a": ""}, {"step": "60s"})


def test_packs_are_chosen_by_what_the_server_has() -> None:
    has = frozenset({"node_cpu_seconds_total", "node_memory_MemAvailable_bytes", "up"})
    assert [pack.name for pack in choose(PACKS, None, has)] == ["node"]
    assert [pack.name for pack in choose(PACKS, ("sim",), has)] == ["sim"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"scheme": "x", "uri": "x://{a}", "needs": ["m"]}, "lacks 'resources'"),
        ({"scheme": "x", "uri": "y://{a}", "needs": ["m"], "resources": {"cpu": {}}}, "begin with"),
        ({"scheme": "x", "uri": "x://{a}", "needs": ["m"], "resources": {"cpus": {}}}, "cpus"),
        (
            {"scheme": "x", "uri": "x://{a}", "needs": ["m"], "resources": {"cpu": {"use": "m"}}},
            "cpu.use: known kinds are usage",
        ),
        ({"resources": {"cpu": "up"}}, "cpu: expected queries by kind|lacks"),
    ],
)
def test_a_pack_that_is_none(document: dict[str, object], words: str) -> None:
    with pytest.raises(PackError, match=f"pack 'mine'.*({words})"):
        load({"mine": document})


def test_nothing_is_asked_where_nobody_is(open_source: Callable[..., PrometheusSource]) -> None:
    source = open_source("http://127.0.0.1:9")
    assert source.read([], ("cpu",), 0, 600, 60).values.shape == (10, 1, 0)
    assert source.read(["k8s://a"], ("cpu",), 600, 600, 60).steps == 0
