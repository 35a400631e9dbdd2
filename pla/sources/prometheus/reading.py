"""One query over many steps: in windows under the server's caps, halved where it refuses."""

from __future__ import annotations

from collections.abc import Iterator

from pla.sources.prometheus.connection import Connection
from pla.sources.prometheus.decoding import Answer
from pla.sources.prometheus.failures import TooLarge
from pla.sources.prometheus.grid import Grid
from pla.sources.prometheus.options import PrometheusOptions


def answers(
    connection: Connection, query: str, grid: Grid, series: int, options: PrometheusOptions
) -> Iterator[tuple[int, Grid, Answer]]:
    """(number of the first step, steps, answer) until all steps of `grid` are answered.

    Args:
        connection: the server.
        query: PromQL.
        grid: the steps.
        series: how many series are expected, for the size of a window.
        options: the caps.

    Raises:
        SourceError: a failure; TooLarge: even a single step is refused.
    """
    width = max(min(options.max_points, options.max_samples // max(series, 1)), 1)
    done = 0
    while done < grid.steps:
        part = grid.part(done, min(width, grid.steps - done))
        try:
            answer = connection.query_range(query, part.first_s, part.last_s, part.step_s)
        except TooLarge:
            if part.steps == 1:
                raise
            width = (part.steps + 1) // 2
            continue
        yield done, part, answer
        done += part.steps
