"""What a database holds of what is looked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pla.ports import SourceError
from pla.sources.influxdb import failures, queries
from pla.sources.influxdb.connection import Connection
from pla.sources.influxdb.decoding import MalformedAnswer, check
from pla.sources.influxdb.options import InfluxOptions
from pla.sources.influxdb.schema import Measure, Role

NUMERIC = frozenset({"float", "integer", "unsigned"})

Fields = dict[str, frozenset[str]]
"""Per measurement, the keys of its numeric fields."""


def field_keys(connection: Connection, options: InfluxOptions) -> Fields:
    """The fields that exist, of the measurements that are looked for.

    Raises:
        SourceError: there are none, or a field that is looked for holds no numbers.
    """
    names = dict.fromkeys(measure.measurement for measure in options.measures)
    sources = (queries.source(name, options.retention_policy) for name in names)
    query = f"SHOW FIELD KEYS FROM {', '.join(sources)}"
    types: dict[str, dict[str, set[str]]] = {}
    for series in connection.ask(query, _series):
        keys = types.setdefault(series["name"], {})
        for key, kind in series["values"]:
            keys.setdefault(key, set()).add(kind)
    where = f"{connection.where}, database {options.database}"
    if not types:
        raise SourceError(
            failures.words(
                where,
                query,
                f"it holds none of the measurements {', '.join(names)}",
                "check that Telegraf writes into this database and retention policy, or set "
                "`mapping` to what there is",
            )
        )
    for measure in options.measures:
        _check_numbers(measure, types.get(measure.measurement, {}), where, query)
    return {
        name: frozenset(key for key, kinds in keys.items() if kinds & NUMERIC)
        for name, keys in types.items()
    }


def describe(connection: Connection, options: InfluxOptions) -> str:
    """One line for people: the server's version, and from when to when each measurement reaches.

    Raises:
        SourceError: as `field_keys`.
    """
    fields = field_keys(connection, options)
    spans = []
    for measure in options.measures:
        known = fields.get(measure.measurement, frozenset())
        usage = [column for column in measure.columns if column.role == Role.USAGE]
        keys = [key for column in usage for key in column.fields if key in known]
        if keys:
            spans.append(f"{measure.measurement} {_span(connection, options, measure, keys)}")
    version = connection.version or "of unknown version"
    return (
        f"InfluxDB {version} at {connection.where}, database {options.database}: {'; '.join(spans)}"
    )


def _span(
    connection: Connection, options: InfluxOptions, measure: Measure, keys: Sequence[str]
) -> str:
    """From when to when `measure` has samples."""
    ends_ms = []
    for direction in ("ASC", "DESC"):
        where = f" WHERE {measure.where}" if measure.where else ""
        found = connection.ask(
            f"SELECT {', '.join(map(queries.quoted, keys))} "
            f"FROM {queries.source(measure.measurement, options.retention_policy)}{where} "
            f"ORDER BY time {direction} LIMIT 1",
            _series,
        )
        ends_ms += [series["values"][0][0] for series in found]
    if not ends_ms:
        return "without a sample"
    first, last = (np.datetime64(ms // 1000, "s") for ms in (ends_ms[0], ends_ms[-1]))
    return f"from {first}Z to {last}Z"


def _check_numbers(measure: Measure, keys: dict[str, set[str]], where: str, query: str) -> None:
    for column in measure.columns:
        for key in column.fields:
            kinds = keys.get(key)
            if kinds and not kinds & NUMERIC:
                raise SourceError(
                    failures.words(
                        where,
                        query,
                        f"field {key!r} of {measure.measurement} is of type "
                        f"{', '.join(sorted(kinds))}, not a number",
                        "check the `mapping` of this measurement",
                    )
                )


def _series(lines: Iterator[bytes]) -> list[dict[str, Any]]:
    """All series of an answer that is small."""
    found: list[dict[str, Any]] = []
    more = True
    for line in lines:
        try:
            results = check(json.loads(line))
        except ValueError as error:
            raise MalformedAnswer(f"is not JSON ({error}): {line[:80]!r}") from None
        found += [series for result in results for series in result.get("series", ())]
        more = any(result.get("partial") for result in results)
    if more:
        raise MalformedAnswer("ends before its last line")
    return found
