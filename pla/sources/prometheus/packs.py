"""Query packs: what a platform's exporters are asked, as data.

A pack is a YAML document beside this file, or an entry of `sources.queries`:

    scheme: k8s                   of the workloads that it tells of
    uri: k8s://{cluster}/...      a workload's URI from the labels of a result
    needs: [METRIC, ...]          used if the server has all of them
    spacing: METRIC               whose spacing is that of the samples
    kills_spacing: METRIC         the same for what tells of kills, where that is another exporter
    uses: PACK                    whose snippets are known here, too
    define: {NAME: PROMQL}        snippets, used as $NAME
    resources:
      cpu: {KIND: PROMQL, ...}    and `uri`, where the resource's is another one
    kills: PROMQL                 > 0 where an out-of-memory kill happened in the step

Kinds of a resource: `usage` (busiest instance), `total` (all instances), `limit`, `request`,
all in the resource's unit; and `throttled` and `stolen`, shares of time from 0 to 1. An empty
query turns a shipped one off. Placeholders: `pla.sources.prometheus.templates`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pla.core.resources import BY_NAME

FOLDER = Path(__file__).parent / "packs"
AMOUNTS = ("usage", "total", "limit", "request")
SHARES = ("throttled", "stolen")
KEYS = frozenset(
    {"scheme", "uri", "needs", "spacing", "kills_spacing", "uses", "define", "resources", "kills"}
)


class PackError(ValueError):
    """A pack cannot be used. Names the pack and the key."""


@dataclass(frozen=True, slots=True)
class Pack:
    """One exporter family's queries; see the module's text for the fields."""

    name: str
    scheme: str
    uri: str
    needs: frozenset[str]
    spacing: str
    kills_spacing: str
    define: Mapping[str, str]
    resources: Mapping[str, Mapping[str, str]]
    kills: str

    def uri_of(self, resource: str) -> str:
        """The URI template of the workloads that have `resource`."""
        return self.resources[resource].get("uri", self.uri)


def shipped() -> dict[str, dict[str, Any]]:
    """The documents of all shipped packs, by name."""
    return {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted(FOLDER.glob("*.yaml"))
    }


def load(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Pack]:
    """The shipped packs with `changes` merged in: names that are new are packs of their own.

    Raises:
        PackError: a pack lacks a key, has an unknown one, or one of the wrong type.
    """
    documents = shipped()
    for name, change in changes.items():
        documents[name] = _merged(documents.get(name, {}), change)
    packs = {}
    for name, document in documents.items():
        lent = documents.get(document.get("uses", ""), {}).get("define") or {}
        own = document.get("define") or {}
        packs[name] = _pack(name, document, {**lent, **own})
    return packs


def choose(
    packs: Mapping[str, Pack], names: Sequence[str] | None, has: frozenset[str]
) -> list[Pack]:
    """The packs called `names`, or (None) those whose needs are among the metrics `has`.

    Raises:
        PackError: there is no pack of that name.
    """
    if names is None:
        return [pack for pack in packs.values() if pack.needs <= has]
    for name in names:
        if name not in packs:
            raise PackError(f"sources.packs: no pack {name!r}; known are {', '.join(packs)}")
    return [packs[name] for name in names]


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        mine = merged.get(key)
        both = isinstance(mine, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(mine, value) if both else value  # type: ignore[arg-type] # both are
    return merged


def _pack(name: str, document: Mapping[str, Any], define: Mapping[str, Any]) -> Pack:
    where = f"pack {name!r}"
    unknown = set(document) - KEYS
    if unknown:
        raise PackError(
            f"{where}: unknown key {min(unknown)!r}; known are {', '.join(sorted(KEYS))}"
        )
    for key in ("scheme", "uri", "needs", "resources"):
        if not document.get(key):
            raise PackError(f"{where}: lacks {key!r}")
    resources = {
        str(resource): _queries(f"{where}: resources.{resource}", str(resource), kinds)
        for resource, kinds in document["resources"].items()
    }
    for uri in (document["uri"], *(kinds["uri"] for kinds in resources.values() if "uri" in kinds)):
        if not str(uri).startswith(f"{document['scheme']}://"):
            raise PackError(f"{where}: uri {uri!r} must begin with {document['scheme']}://")
    needs = [str(metric) for metric in document["needs"]]
    spacing = str(document.get("spacing") or needs[0])
    return Pack(
        name=name,
        scheme=str(document["scheme"]),
        uri=str(document["uri"]),
        needs=frozenset(needs),
        spacing=spacing,
        kills_spacing=str(document.get("kills_spacing") or spacing),
        define={str(k): str(v) for k, v in define.items()},
        resources=resources,
        kills=str(document.get("kills") or ""),
    )


def _queries(where: str, resource: str, kinds: Any) -> dict[str, str]:
    if resource not in BY_NAME:
        raise PackError(f"{where}: no such resource; known are {', '.join(BY_NAME)}")
    if not isinstance(kinds, Mapping):
        raise PackError(f"{where}: expected queries by kind")
    known = (*AMOUNTS, *SHARES, "uri")
    for kind in kinds:
        if kind not in known:
            raise PackError(f"{where}.{kind}: known kinds are {', '.join(known)}")
    return {str(kind): str(query) for kind, query in kinds.items() if query}
