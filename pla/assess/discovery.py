"""Which workloads there are, from the labels of the usage series themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pla.assess.question import RESOURCES, SCHEMES, Question
from pla.ports import Clock, SourceError
from pla.sources.prometheus import PrometheusOptions, queries
from pla.sources.prometheus.connection import Connection
from pla.sources.prometheus.discovery import Discovery
from pla.sources.prometheus.grid import Grid
from pla.sources.prometheus.packs import Pack
from pla.sources.prometheus.reading import answers
from pla.sources.prometheus.templates import Timing

LOOK_S = 3600
"""Series are looked for an hour at a time, each hour as a whole: the shortest job is found."""

EXPECTED = 2000
"""Series that the first window of a search is made for; where there are more, it is halved."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a server tells of.

    Attributes:
        workloads: URIs, sorted.
        packs: names of the query packs that they are of.
    """

    workloads: tuple[str, ...]
    packs: tuple[str, ...]


def find(options: PrometheusOptions, question: Question, clock: Clock, progress: Progress) -> Found:
    """Every workload with usage in the asked time.

    Raises:
        SourceError: the server cannot be used, or has no usage of the asked platform; says why
            and what to do.
    """
    connection = Connection(options, clock)
    try:
        discovery = Discovery(connection, options, clock)
        packs = _packs(discovery, question, connection.server)
        found: set[str] = set()
        for number, pack in enumerate(packs):
            progress("workloads", number / len(packs))
            spacing = discovery.timing(pack, question.end_s, question.step_s)
            timing = Timing(LOOK_S, spacing.scrape_s)
            for query in queries.amounts(pack, "usage", RESOURCES, timing, options):
                found |= _uris(connection, query, question, options)
        progress("workloads", 1.0)
    finally:
        connection.close()
    if not found:
        raise SourceError(
            f"{connection.server}: no sample of usage in the {question.days:.3g} days asked for "
            f"(looked for {', '.join(pack.name for pack in packs)}); check its scrape targets, "
            "--days and --until"
        )
    return Found(tuple(sorted(found)), tuple(pack.name for pack in packs))


def _packs(discovery: Discovery, question: Question, server: str) -> list[Pack]:
    """The server's packs of the asked platform that tell of what is assessed."""
    wanted = {SCHEMES[question.platform]} if question.platform else set(SCHEMES.values())
    present = discovery.packs()
    packs = [
        pack
        for pack in present
        if pack.scheme in wanted and any(name in pack.resources for name in RESOURCES)
    ]
    if not packs:
        names = ", ".join(pack.name for pack in present)
        raise SourceError(
            f"{server}: has metrics of {names}, and none of "
            f"{question.platform or 'k8s, libvirt or sim'}; choose another --platform, or scrape "
            "cAdvisor and kube-state-metrics, or a libvirt exporter"
        )
    return packs


def _uris(
    connection: Connection, query: queries.Query, question: Question, options: PrometheusOptions
) -> set[str]:
    """URIs of all series that `query` has, an hour after another up to the end."""
    hours = -(-(question.end_s - question.start_s) // LOOK_S)
    grid = Grid(question.end_s - (hours - 1) * LOOK_S, LOOK_S, hours)
    found = set()
    for _, _, answer in answers(connection, query.text, grid, EXPECTED, options):
        for metric in answer.metrics:
            uri = _uri(metric, query.uri, options.labels)
            if uri is not None:
                found.add(uri)
    return found


def _uri(metric: bytes, template: str, labels: Mapping[str, str]) -> str | None:
    try:
        return template.format_map({**labels, **json.loads(metric)})
    except KeyError:
        return None  # a series without the label is nobody's
