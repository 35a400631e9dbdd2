"""What a server has: which packs apply, and how far apart its samples are."""

from __future__ import annotations

import re

from pla.ports import Clock, SourceError
from pla.sources.prometheus.connection import Connection
from pla.sources.prometheus.options import PrometheusOptions
from pla.sources.prometheus.packs import Pack, choose, load
from pla.sources.prometheus.templates import Timing

AGAIN_S = 600.0
"""Exporters come and go: names are looked at again after this long [s]."""

LOOK_S = 600
"""Spacing is measured over this long [s]."""

ENOUGH = 5
"""Samples within that time from which a measured spacing is relied on from then on."""

USUAL_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300)
"""Spacings that a measured one within a tenth is taken for [s]."""


class Discovery:
    """The packs in use and the spacing of their samples, asked once in a while."""

    def __init__(self, connection: Connection, options: PrometheusOptions, clock: Clock) -> None:
        """Raises PackError if the options' packs are none."""
        self._connection, self._options, self._clock = connection, options, clock
        self._known = load(options.queries)
        # A typing error in a name is told at the start, and not when the server answers.
        choose(self._known, options.packs, frozenset())
        self._packs: list[Pack] = []
        self._names: frozenset[str] = frozenset()
        self._looked_s = float("-inf")
        self._spacing_s: dict[str, float] = {}

    def packs(self) -> list[Pack]:
        """The packs whose metrics the server has, or those the options name.

        Raises:
            SourceError: the server does not answer, is empty, or has no known metric.
        """
        if self._options.packs is not None:
            return choose(self._known, self._options.packs, frozenset())
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s < AGAIN_S:
            return self._packs
        names = self._connection.metric_names()
        server = self._connection.server
        if not names:
            raise SourceError(
                f"{server}: holds no metrics at all; check its scrape targets and its start"
            )
        packs = choose(self._known, None, names)
        if not packs:
            wanted = "; ".join(
                f"{p.name}: {', '.join(sorted(p.needs))}" for p in self._known.values()
            )
            raise SourceError(
                f"{server}: none of the {len(names)} metrics is one of a known platform "
                f"({wanted}); scrape its exporter, or describe yours in sources.queries"
            )
        self._packs, self._names, self._looked_s = packs, names, now_s
        return packs

    def has(self, query: str) -> bool:
        """Whether `query` can have any result: the server knows a metric that is named in it.

        Where names were not looked at, or are only described, anything can.
        """
        if not self._names or "__name__" in query:
            return True
        return not self._names.isdisjoint(re.findall(r"[A-Za-z_:][\w:]*", query))

    def timing(self, pack: Pack, at_s: int, step_s: int) -> Timing:
        """Steps of `step_s`, and how far apart `pack`'s samples are before `at_s`.

        Raises:
            SourceError: the server does not answer.
        """
        spacing_s = self._spacing(pack.spacing, at_s, step_s)
        kills_s = self._spacing(pack.kills_spacing, at_s, step_s)
        return Timing(step_s, spacing_s, kills_s)

    def _spacing(self, selector: str, at_s: int, step_s: int) -> float:
        """How far apart the samples of `selector` are [s]; a step where it has none."""
        if self._options.scrape_interval_s is not None:
            return self._options.scrape_interval_s
        if selector not in self._spacing_s:
            # The series with most samples: others have just begun, or have ended.
            query = f"max(count_over_time({selector}[{LOOK_S - 1}s999ms]))"
            counts = [
                value
                for samples in self._connection.query(query, at_s).samples()
                for value in samples.values.tolist()
            ]
            if not counts or not counts[0] > 0:
                return float(step_s)
            measured_s = _usual(LOOK_S / counts[0])
            if counts[0] < ENOUGH:
                return measured_s  # a server that has just begun: looked at again
            self._spacing_s[selector] = measured_s
        return self._spacing_s[selector]


def _usual(measured_s: float) -> float:
    """The usual spacing within a tenth of `measured_s`, or that itself."""
    for usual_s in USUAL_S:
        if abs(measured_s - usual_s) <= 0.1 * usual_s:
            return float(usual_s)
    return measured_s
