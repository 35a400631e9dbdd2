"""What a server has for PLA, in lines for people (`pla doctor`)."""

from __future__ import annotations

from collections.abc import Iterator

from pla.sources.prometheus import queries
from pla.sources.prometheus.connection import Connection
from pla.sources.prometheus.discovery import Discovery
from pla.sources.prometheus.options import PrometheusOptions
from pla.sources.prometheus.packs import Pack
from pla.sources.prometheus.templates import Timing

PROBED_S = {"14 d": 14 * 86_400, "7 d": 7 * 86_400, "1 d": 86_400, "1 h": 3600, "5 min": 300}
"""How far back history is looked for, furthest first [s]."""

STEP_S = 60


def describe(
    connection: Connection, discovery: Discovery, options: PrometheusOptions, now_s: int
) -> list[str]:
    """A line per pack and resource that the server has samples of; at least one line.

    Raises:
        SourceError: the server cannot be used; says why and what to do.
    """
    packs = discovery.packs()
    lines = [
        line
        for pack in packs
        for line in _lines(
            pack,
            connection,
            options,
            discovery.timing(pack, now_s, STEP_S),
            now_s,
        )
    ]
    if lines:
        return lines
    return [
        f"{connection.server}: has metrics of {', '.join(pack.name for pack in packs)}, but no "
        "sample of usage in the last 14 d; check its scrape targets"
    ]


def _lines(
    pack: Pack, connection: Connection, options: PrometheusOptions, timing: Timing, now_s: int
) -> Iterator[str]:
    for query in queries.amounts(pack, "usage", [*pack.resources], timing, options):
        ago = [
            words
            for words, back_s in PROBED_S.items()
            if connection.query(query.text, now_s - back_s).metrics
        ]
        count = len(connection.query(query.text, now_s).metrics)
        if count or ago:
            reach = f"history of {ago[0]} or more" if ago else "less than 5 min of history"
            what = f"{pack.name}: {query.resource} of {count} workloads"
            yield f"{connection.server}: {what}, {reach}"
