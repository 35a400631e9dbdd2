"""A usage block while answers come in, from several threads and in any order."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from pla.core.fleet import UsageBlock
from pla.core.resources import kills
from pla.ports import SourceError
from pla.sources.prometheus.decoding import Answer
from pla.sources.prometheus.failures import shortened
from pla.sources.prometheus.grid import Grid, put_amounts, put_flags
from pla.sources.prometheus.naming import Naming
from pla.sources.prometheus.queries import KILLS, Query


class Draft:
    """Gaps and no flags at first, for `grid` x `resources` x the workloads of `names`."""

    def __init__(self, server: str, names: Naming, resources: Sequence[str], grid: Grid) -> None:
        self._server, self._names = server, names
        self._resources, self._grid = tuple(resources), grid
        shape = (grid.steps, len(resources), len(names.workloads))
        self._values = np.full(shape, np.nan, dtype=np.float32)
        self._censored = np.zeros(shape, dtype=np.bool_)
        self._killed = np.zeros((shape[0], shape[2]), dtype=np.bool_)
        self._notes: set[str] = set()
        self._partial = False
        self._lock = threading.Lock()

    def enter(self, query: Query, first: int, part: Grid, answer: Answer) -> None:
        """Take in what `answer` tells of `part`, the steps from number `first` on.

        Raises:
            SourceError: its samples cannot be read.
        """
        try:
            with self._lock:
                self._put(query, first, part, answer)
        except (ValueError, TypeError) as error:
            raise SourceError(
                f"{self._server}: query `{shortened(query.text)}`: samples that cannot be read "
                f'({error}); expected [[time, "value"], ...]'
            ) from error

    def block(self) -> UsageBlock:
        """What has come in."""
        self._censored[:, kills(self._resources)] |= self._killed[:, None, :]
        return UsageBlock(
            self._values,
            self._censored,
            self._killed,
            self._grid.last_s,
            self._grid.step_s,
            warnings=tuple(sorted(self._notes)),
            partial=self._partial,
        )

    def _put(self, query: Query, first: int, part: Grid, answer: Answer) -> None:
        rows = self._names.rows(answer.metrics, query.uri)
        steps = slice(first, first + part.steps)
        if query.kind == KILLS:
            put_flags(answer, rows, part, self._killed[steps])
        elif query.kind == "usage":
            column = self._resources.index(query.resource)
            put_amounts(answer, rows, part, self._values[steps, column])
        else:
            column = self._resources.index(query.resource)
            put_flags(answer, rows, part, self._censored[steps, column])
        self._partial |= answer.partial
        for words in answer.warnings or (("isPartial",) if answer.partial else ()):
            self._notes.add(f"{self._server}: query `{shortened(query.text)}`: {words}")
