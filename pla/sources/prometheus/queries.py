"""The queries of a pack for some steps, ready to be sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pla.sources.prometheus.options import PrometheusOptions
from pla.sources.prometheus.packs import SHARES, Pack, PackError
from pla.sources.prometheus.templates import Timing, render

KILLS = "kills"
HELD = "held"


@dataclass(frozen=True, slots=True)
class Query:
    """One query.

    Attributes:
        kind: of `packs.AMOUNTS` or `packs.SHARES`, or `held` (usage near its limit), or `kills`.
        resource: its name; empty for `kills`.
        uri: template of the workloads' URIs.
        text: PromQL.
        needs: PromQL without whose results it has none either.
    """

    kind: str
    resource: str
    uri: str
    text: str
    needs: str


def amounts(
    pack: Pack, kind: str, resources: Sequence[str], timing: Timing, options: PrometheusOptions
) -> Iterator[Query]:
    """One query per resource for which `pack` has one of `kind`."""
    for resource in resources:
        text = pack.resources.get(resource, {}).get(kind)
        if text:
            yield _query(pack, kind, resource, text, timing, options)


def flags(
    pack: Pack, resources: Sequence[str], timing: Timing, options: PrometheusOptions
) -> Iterator[Query]:
    """What says that usage was held down, one query per kind and resource.

    The server compares, so that an answer holds the few cells that are, and not all of them.
    """
    for resource in resources:
        texts = pack.resources.get(resource, {})
        for kind in SHARES:
            if texts.get(kind):
                text = f"({texts[kind]}) > $share"
                yield _query(pack, kind, resource, text, timing, options)
        if texts.get("usage") and texts.get("limit"):
            limit = texts["limit"]
            text = f"({texts['usage']}) >= $ratio * (({limit}) > 0)"
            yield _query(pack, HELD, resource, text, timing, options, limit)
    if pack.kills:
        yield _query(pack, KILLS, "", pack.kills, timing, options)


def _query(
    pack: Pack,
    kind: str,
    resource: str,
    text: str,
    timing: Timing,
    options: PrometheusOptions,
    needs: str | None = None,
) -> Query:
    values = timing.placeholders() | {
        "match": f",{options.match}" if options.match else "",
        "ratio": repr(options.censored_ratio),
        "share": repr(options.censored_share),
    }
    try:
        rendered = render(text, pack.define, values)
        needed = rendered if needs is None else render(needs, pack.define, values)
    except ValueError as error:
        raise PackError(f"pack {pack.name!r}: {resource or KILLS}.{kind}: {error}") from None
    uri = pack.uri_of(resource) if resource else pack.uri
    return Query(kind, resource, uri, rendered, needed)
