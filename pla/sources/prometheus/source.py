"""`pla.ports.MetricsSource` over a server with Prometheus' HTTP API.

A step is `(end - step_s, end]`, as ranges are in Prometheus 3: a sample on the border belongs to
the step that it ends. A step's value is its largest sample, so that a spike between two steps is
not lost; of a counter, the largest rate between two neighbouring samples, which is exact through
resets and at the start and end of a series, where `rate` extrapolates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pla.clock import SystemClock
from pla.core.fleet import UsageBlock
from pla.ports import Clock, SourceError
from pla.sources.prometheus import queries
from pla.sources.prometheus.connection import Connection
from pla.sources.prometheus.describing import describe
from pla.sources.prometheus.discovery import Discovery
from pla.sources.prometheus.draft import Draft
from pla.sources.prometheus.grid import Grid, put_amounts
from pla.sources.prometheus.naming import Naming
from pla.sources.prometheus.options import PrometheusOptions
from pla.sources.prometheus.packs import Pack
from pla.sources.prometheus.queries import Query
from pla.sources.prometheus.reading import answers
from pla.sources.prometheus.templates import Timing

AT_ONCE = 2
"""Queries under way: one is computed by the server while another is read here."""

FEW = 100
"""Up to so many steps everything is asked for; a longer history is spared what has no metric."""

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
        asked = [
            query
            for pack, timing in self._packs(workloads, grid)
            for query in (
                *queries.amounts(pack, "usage", resources, timing, self.options),
                *queries.flags(pack, resources, timing, self.options),
            )
            # Usage is always asked for: the server tells what is wrong with a query.
            if query.kind == "usage" or grid.steps <= FEW or self._discovery.has(query.needs)
        ]
        draft = Draft(self.server, self._named(workloads), resources, grid)
        futures = [self._pool.submit(self._enter, query, grid, draft) for query in asked]
        try:
            for future in futures:
                future.result()
        finally:
            for future in futures:
                future.cancel()
        return draft.block()

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
                yield pack, self._discovery.timing(pack, grid.last_s, grid.step_s)

    def _enter(self, query: Query, grid: Grid, draft: Draft) -> None:
        """Ask `query`, and enter what it tells into `draft`."""
        series = len(self._naming.workloads)
        for first, part, answer in answers(
            self._connection, query.text, grid, series, self.options
        ):
            self._check_clock(part.last_s)
            draft.enter(query, first, part, answer)

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
