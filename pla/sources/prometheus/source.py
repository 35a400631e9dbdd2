"""`pla.ports.MetricsSource` over a server with Prometheus' HTTP API.

A step is `(end - step_s, end]`, as ranges are in Prometheus 3: a sample on the border belongs to
the step that it ends. A step's value is its largest sample, so that a spike between two steps is
not lost; of a counter, the largest rate between two neighbouring samples, which is exact through
resets and at the start and end of a series, where `rate` extrapolates.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pla.clock import SystemClock
from pla.core.fleet import UsageBlock
from pla.core.resources import kills
from pla.ports import Clock, SourceError
from pla.sources.prometheus import queries
from pla.sources.prometheus.connection import Connection
from pla.sources.prometheus.decoding import Answer
from pla.sources.prometheus.describing import describe
from pla.sources.prometheus.discovery import Discovery
from pla.sources.prometheus.failures import shortened
from pla.sources.prometheus.grid import Grid, put_amounts, put_flags
from pla.sources.prometheus.naming import Naming
from pla.sources.prometheus.options import PrometheusOptions
from pla.sources.prometheus.packs import Pack
from pla.sources.prometheus.queries import Query
from pla.sources.prometheus.reading import answers
from pla.sources.prometheus.templates import Timing

AT_ONCE = 2
"""Queries under way: one is computed by the server while another is read here."""

LIVE_S = 3600
"""A read that ends this close to now is a live one, for which clocks must agree [s]."""


class PrometheusSource:
    """Usage of the workloads that a Prometheus, VictoriaMetrics, Thanos or Mimir knows.

    Attributes:
        options: what it was made with.
        server: the server's URL, as errors name it.
    """

    def __init__(self, options: PrometheusOptions, clock: Clock | None = None) -> None:
        """Nothing is asked yet.

        Args:
            options: where and what to ask.
            clock: for deadlines, and to compare the server's clock with; None = the machine's.

        Raises:
            PackError: the options name or describe a pack that cannot be used.
            SourceError: the certificates cannot be read.
        """
        self.server = options.url
        self.options = options
        self._clock = clock or SystemClock()
        self._connection = Connection(options, self._clock)
        self._discovery = Discovery(self._connection, options, self._clock)
        self._naming = Naming((), options.labels)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="prometheus")
        self._lock = threading.Lock()

    def read(
        self,
        workloads: Sequence[str],
        resources: Sequence[str],
        start_s: int,
        end_s: int,
        step_s: int,
    ) -> UsageBlock:
        """Closed steps that end in `(start_s, end_s]`; steps younger than `delay_s` are left out.

        Raises:
            SourceError: a query failed for good, or the server's clock is wrong.
        """
        grid = self._grid(start_s, end_s, step_s)
        shape = (grid.steps, len(resources), len(workloads))
        block = UsageBlock(
            values=np.full(shape, np.nan, dtype=np.float32),
            censored=np.zeros(shape, dtype=np.bool_),
            killed=np.zeros((shape[0], shape[2]), dtype=np.bool_),
            end_s=grid.last_s,
            step_s=step_s,
        )
        asked = [
            query
            for pack, timing in self._packs(workloads, grid)
            for query in (
                *queries.amounts(pack, "usage", resources, timing, self.options),
                *queries.flags(pack, resources, timing, self.options),
            )
            if self._discovery.has(query.needs)
        ]
        notes: set[str] = set()
        names = self._named(workloads)
        futures = [
            self._pool.submit(self._enter, query, names, resources, grid, block, notes)
            for query in asked
        ]
        try:
            partial = any([future.result() for future in futures])
        finally:
            for future in futures:
                future.cancel()
        block.censored[:, kills(resources)] |= block.killed[:, None, :]
        return UsageBlock(
            block.values,
            block.censored,
            block.killed,
            block.end_s,
            step_s,
            warnings=tuple(sorted(notes)),
            partial=partial,
        )

    def amounts(
        self,
        kind: str,
        workloads: Sequence[str],
        resources: Sequence[str],
        start_s: int,
        end_s: int,
        step_s: int,
    ) -> NDArray[np.float32]:
        """`total`, `limit`, `request` or `usage` per step, shape (step, resource, workload).

        `total` is the sum over instances of each one's largest sample, an upper bound. NaN = none.

        Raises:
            SourceError: a query failed for good.
        """
        grid = self._grid(start_s, end_s, step_s)
        shape = (grid.steps, len(resources), len(workloads))
        values = np.full(shape, np.nan, dtype=np.float32)
        names = self._named(workloads)
        for pack, timing in self._packs(workloads, grid):
            for query in queries.amounts(pack, kind, resources, timing, self.options):
                column = values[:, list(resources).index(query.resource)]
                series = len(workloads)
                for first, part, answer in answers(
                    self._connection, query.text, grid, series, self.options
                ):
                    rows = names.rows(answer.metrics, query.uri)
                    put_amounts(answer, rows, part, column[first : first + part.steps])
        return values

    def describe(self) -> list[str]:
        """What is there, a line each, for people.

        Raises:
            SourceError: it cannot be used; says why and what to do.
        """
        now_s = int(self._clock.now_s())
        lines = describe(self._connection, self._discovery, self.options, now_s)
        self._check_clock(now_s)
        return lines

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._connection.close()

    # -- inside ----------------------------------------------------------------------------

    def _grid(self, start_s: int, end_s: int, step_s: int) -> Grid:
        newest_s = min(float(end_s), self._clock.now_s() - self.options.delay_s)
        last = int((newest_s if self.options.delay_s else end_s) // step_s)
        first = start_s // step_s + 1
        return Grid(first * step_s, step_s, max(last - first + 1, 0))

    def _packs(self, workloads: Sequence[str], grid: Grid) -> Iterator[tuple[Pack, Timing]]:
        """The packs that tell of any of `workloads`, and the timing of their queries."""
        if not grid.steps or not workloads:
            return
        schemes = {uri.partition("://")[0] for uri in workloads}
        for pack in self._discovery.packs():
            if pack.scheme in schemes:
                spacing_s = self._discovery.spacing_s(pack, grid.last_s, grid.step_s)
                yield pack, Timing(grid.step_s, spacing_s)

    def _enter(
        self,
        query: Query,
        names: Naming,
        resources: Sequence[str],
        grid: Grid,
        block: UsageBlock,
        notes: set[str],
    ) -> bool:
        """Ask `query`, and write what it tells into `block`; returns whether some is missing."""
        partial = False
        series = len(names.workloads)
        for first, part, answer in answers(
            self._connection, query.text, grid, series, self.options
        ):
            self._check_clock(part.last_s)
            with self._lock:
                self._put(query, names, resources, answer, part, block, first)
            partial |= answer.partial
            notes.update(
                f"{self.server}: query `{shortened(query.text)}`: {words}"
                for words in answer.warnings or (("isPartial",) if answer.partial else ())
            )
        return partial

    def _put(
        self,
        query: Query,
        names: Naming,
        resources: Sequence[str],
        answer: Answer,
        part: Grid,
        block: UsageBlock,
        first: int,
    ) -> None:
        """Write `answer` to steps `first` on of `block`."""
        rows = names.rows(answer.metrics, query.uri)
        steps = slice(first, first + part.steps)
        column = list(resources).index(query.resource) if query.resource else 0
        try:
            if query.kind == "usage":
                put_amounts(answer, rows, part, block.values[steps, column])
            elif query.kind == queries.KILLS:
                put_flags(answer, rows, part, block.killed[steps])
            else:
                put_flags(answer, rows, part, block.censored[steps, column])
        except (ValueError, TypeError) as error:
            raise SourceError(
                f"{self.server}: query `{shortened(query.text)}`: samples that cannot be read "
                f'({error}); expected [[time, "value"], ...]'
            ) from error

    def _named(self, workloads: Sequence[str]) -> Naming:
        if self._naming.workloads != tuple(workloads):
            self._naming = Naming(workloads, self.options.labels)
        return self._naming

    def _check_clock(self, end_s: float) -> None:
        """Refuse live data of a server whose clock is not ours: it would be old and look new."""
        skew_s = self._connection.skew_s
        limit_s = self.options.max_clock_skew_s
        if skew_s is None or abs(skew_s) <= limit_s or end_s < self._clock.now_s() - LIVE_S:
            return
        direction = "ahead of" if skew_s > 0 else "behind"
        raise SourceError(
            f"{self.server}: its clock is {abs(skew_s):.0f} s {direction} this machine's, and live "
            "data would be of another time than it seems; synchronise both (NTP), or raise "
            "sources.max_clock_skew_s"
        )
