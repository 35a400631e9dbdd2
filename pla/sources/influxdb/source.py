"""`pla.ports.MetricsSource` over an InfluxDB 1.x server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pla.core.fleet import UsageBlock
from pla.core.resources import specs
from pla.sources.influxdb import failures, queries
from pla.sources.influxdb.connection import Connection
from pla.sources.influxdb.decoding import Samples, decode
from pla.sources.influxdb.naming import Naming
from pla.sources.influxdb.options import InfluxOptions
from pla.sources.influxdb.probe import Fields, describe, field_keys
from pla.sources.influxdb.reduction import Steps, reduced
from pla.sources.influxdb.schema import Column, Measure

DAY_S = 86_400
CELLS_PER_REQUEST = 2_000_000
"""Workload-steps that one request asks for at most: 100 MB of text on the way."""

CELLS_PER_LINE = 150_000
"""Workload-steps up to which an answer is not chunked: 10,000 series of 3 samples take 0.3 s in one
line and 0.5 s in as many chunks, but a line is whole in memory."""

LINE_S = 9000
"""Longest time in one line [s]: with 10,000 samples of a series and more, the server does not tell
an answer that its `max-row-limit` cut short from a whole one."""

DENSE = 2.4
"""Samples per step from which on the server's maximum is cheaper than the samples themselves: with
one per step they took 0.58 s and max() 1.42 s (200 series x 1440 steps, InfluxDB 1.6.7)."""

PROBE_S = 60.0
"""How long it is believed which measurements and fields exist [s]."""


@dataclass(slots=True)
class _Kind:
    """One kind of query, and what former answers taught about it."""

    measure: Measure
    naming: Naming
    dense: bool = False


class InfluxSource:
    """Usage from an InfluxDB 1.x server (proven: 1.6.7), one request per kind of query and window.

    InfluxDB 2.x and 3.x are unproven.

    A gauge's step is its largest sample in `[start, end)`, as in a usage trace; a counter's is its
    rate over the intervals that end in `(start, end]`, the time that they are about.
    """

    def __init__(self, options: InfluxOptions) -> None:
        """Opens nothing yet. Raises SourceError if `ca_file` cannot be used."""
        self._options = options
        self._connection = Connection(options)
        self._kinds = [_Kind(m, Naming(m, options.constants)) for m in options.measures]
        self._fields: Fields = {}
        self._probe_s = -np.inf

    @property
    def received(self) -> int:
        """Bodies of all answers so far [bytes]."""
        return self._connection.received

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def describe(self) -> list[str]:
        """What is there, a line each, for people.

        Raises:
            SourceError: it cannot be asked, or the database holds none of the measurements.
        """
        return [describe(self._connection, self._options)]

    def read(
        self,
        workloads: Sequence[str],
        resources: Sequence[str],
        start_s: int,
        end_s: int,
        step_s: int,
    ) -> UsageBlock:
        """Closed, epoch-aligned steps that end in `(start_s, end_s]`.

        Values in each resource's unit. Workloads and resources that the database does not know
        are all gaps; so is what lies before its first sample.

        Raises:
            SourceError: a query failed, or the database holds none of the measurements.
        """
        specs(resources)
        first, last = start_s // step_s, end_s // step_s
        block = _gaps(max(last - first, 0), len(resources), len(workloads), last * step_s, step_s)
        if not block.steps or not len(workloads):
            return block
        fields = self._known_fields()
        for kind in self._kinds:
            known = fields.get(kind.measure.measurement, frozenset())
            columns = kind.measure.columns_of(frozenset(resources), known)
            if not columns:
                continue
            kind.naming.ask_for(workloads)
            for steps in _windows(first, last, step_s, len(workloads)):
                self._read_into(block, kind, columns, tuple(resources), steps)
        return block

    def _known_fields(self) -> Fields:
        """The fields that exist, asked for again when that was a while ago."""
        if time.monotonic() >= self._probe_s:
            self._fields = field_keys(self._connection, self._options)
            self._probe_s = time.monotonic() + PROBE_S
        return self._fields

    def _read_into(
        self,
        block: UsageBlock,
        kind: _Kind,
        columns: Sequence[Column],
        resources: tuple[str, ...],
        steps: Steps,
    ) -> None:
        """One kind's answer for `steps`, into its place in `block`; in halves if it is too much."""
        try:
            samples = self._samples(kind, columns, steps)
        except failures.TooMuch:
            if steps.count * steps.step_s <= DAY_S // 24 or steps.count < 2:
                raise
            for half in _halves(steps):
                self._read_into(block, kind, columns, resources, half)
            return
        found = reduced(samples, columns, kind.measure.parts, steps)
        begin = block.steps - (block.end_s - steps.start_s) // steps.step_s
        at = slice(begin, begin + steps.count)
        for resource, usage in found.usage.items():
            values = block.values[at, resources.index(resource)]
            values[:, found.rows] = np.fmax(values[:, found.rows], usage)
            censored = block.censored[at, resources.index(resource)]
            censored[:, found.rows] |= found.held[resource]
            if found.killed.any():
                block.killed[at][:, found.rows] |= found.killed
                censored[:, found.rows] |= found.killed

    def _samples(self, kind: _Kind, columns: Sequence[Column], steps: Steps) -> Samples:
        """The answer to one request: maxima per step, or where those cost more, the samples."""
        end_s = steps.start_s + steps.count * steps.step_s
        ask = queries.samples
        if kind.dense and not queries.needs_samples(columns):
            ask = queries.maxima
        policy = self._options.retention_policy
        query = ask(
            kind.measure, columns, kind.naming.tags, policy, (steps.start_s, end_s), steps.step_s
        )
        fields = queries.fields(columns)
        span_s = (steps.count + queries.LOOKBACK_STEPS) * steps.step_s
        whole = steps.count * kind.naming.asked <= CELLS_PER_LINE and span_s <= LINE_S
        found = self._connection.ask(
            query, lambda lines: decode(lines, fields, kind.naming.row), chunked=not whole
        )
        if ask is queries.samples and len(found):
            cells = len(np.unique(steps.holding(found.time_ms) * len(found.tags) + found.series))
            kind.dense = len(found) > DENSE * cells
        return found


def _gaps(steps: int, resources: int, workloads: int, end_s: int, step_s: int) -> UsageBlock:
    cells = (steps, resources, workloads)
    return UsageBlock(
        values=np.full(cells, np.nan, dtype=np.float32),
        censored=np.zeros(cells, dtype=np.bool_),
        killed=np.zeros((steps, workloads), dtype=np.bool_),
        end_s=end_s,
        step_s=step_s,
    )


def _windows(first: int, last: int, step_s: int, workloads: int) -> Iterator[Steps]:
    """Steps `[first, last)` in pieces of a day at most, fewer where there are many workloads."""
    most = max(min(DAY_S // step_s, CELLS_PER_REQUEST // workloads), 1)
    for begin in range(first, last, most):
        yield Steps(begin * step_s, step_s, min(most, last - begin))


def _halves(steps: Steps) -> tuple[Steps, Steps]:
    half = steps.count // 2
    middle_s = steps.start_s + half * steps.step_s
    return (
        Steps(steps.start_s, steps.step_s, half),
        Steps(middle_s, steps.step_s, steps.count - half),
    )
