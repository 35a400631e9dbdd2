"""The InfluxQL of each kind of query.

Counters are read sample by sample: `last() ... GROUP BY time()` answers with the start of the
group for a time, and a rate over that is wrong by the scrape's jitter, and
`non_negative_derivative()` leaves out the interval of a reset. It is cheaper, too, where a step
holds about one sample: see `tests/benchmarks/influxdb.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pla.sources.influxdb.schema import Column, Kind, Measure, Role

LOOKBACK_STEPS = 2.5
"""How far before a step the sample may lie that a counter's increase is counted from."""


def quoted(identifier: str) -> str:
    """`identifier` as InfluxQL takes any name."""
    escaped = identifier.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def fields(columns: Sequence[Column]) -> tuple[str, ...]:
    """The field keys that `columns` need, each once."""
    return tuple(dict.fromkeys(key for column in columns for key in column.fields))


def needs_samples(columns: Sequence[Column]) -> bool:
    """Whether the server's maximum per step would not do."""
    return any(
        column.kind == Kind.COUNTER
        or column.plus
        or column.minus
        or column.role in {Role.KILL, Role.STALL}
        for column in columns
    )


def samples(
    measure: Measure,
    columns: Sequence[Column],
    tags: Sequence[str],
    policy: str,
    span_s: tuple[int, int],
    step_s: int,
) -> str:
    """Every sample of `columns` that bears on the steps in `span_s` [epoch s]."""
    before_ms, after_ms = 0, 0
    if any(column.kind == Kind.COUNTER or column.role == Role.KILL for column in columns):
        # One millisecond more: a counter's sample right at the end closes the last step.
        before_ms, after_ms = int(LOOKBACK_STEPS * step_s * 1000), 1
    span_ms = span_s[0] * 1000 - before_ms, span_s[1] * 1000 + after_ms
    wanted = ", ".join(quoted(key) for key in fields(columns))
    return f"SELECT {wanted} {_from(measure, policy, span_ms)}{_by(tags)}"


def maxima(
    measure: Measure,
    columns: Sequence[Column],
    tags: Sequence[str],
    policy: str,
    span_s: tuple[int, int],
    step_s: int,
) -> str:
    """The largest sample per step; InfluxQL's groups start at multiples of the step, as PLA's."""
    span_ms = span_s[0] * 1000, span_s[1] * 1000
    wanted = ", ".join(f"max({quoted(key)}) AS {quoted(key)}" for key in fields(columns))
    by = _by(tags, f"time({step_s}s)")
    return f"SELECT {wanted} {_from(measure, policy, span_ms)}{by} fill(none)"


def source(measurement: str, policy: str) -> str:
    """`measurement` for a FROM clause."""
    return f"{quoted(policy)}.{quoted(measurement)}" if policy else quoted(measurement)


def _from(measure: Measure, policy: str, span_ms: tuple[int, int]) -> str:
    also = f" AND ({measure.where})" if measure.where else ""
    return (
        f"FROM {source(measure.measurement, policy)} "
        f"WHERE time >= {span_ms[0]}ms AND time < {span_ms[1]}ms{also}"
    )


def _by(tags: Sequence[str], *first: str) -> str:
    groups = [*first, *map(quoted, tags)]
    return f" GROUP BY {', '.join(groups)}" if groups else ""
