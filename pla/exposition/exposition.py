"""The endpoint `/metrics` of a ticking process: fed after each tick, read whenever it is scraped.

A tick hands over what it has and goes on: sums and text are made by the thread that answers a
scrape. What is handed over never changes afterwards, so neither waits for the other.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from wsgiref.simple_server import WSGIServer

from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pla.core.window import UsageWindow
from pla.exposition import families
from pla.exposition.counting import CountedStore, TimedSteps
from pla.exposition.families import Published
from pla.exposition.overview import Cells, Overview, cells_of, overview_of
from pla.exposition.realised import Realised
from pla.exposition.shortlist import Shortlist
from pla.exposition.tally import Tally
from pla.ports import Clock
from pla.settings import Settings
from pla.tick import Ports, StepWrapper, TickReport

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """What scrapes of the same tick share."""

    published: Published
    cells: Cells
    overview: Overview
    shown: NDArray[Any]


class Exposition(Collector):
    """Counts what ticks do, and answers scrapes; one per ticking process.

    `clock` is the machine's: a simulation's time is no measure of how long a tick took.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Nothing listens yet."""
        self._settings = settings
        self._clock = clock
        self._tally = Tally(settings.resources)
        self._realised = Realised(len(settings.tiers), len(settings.resources))
        self._shortlist = Shortlist(settings.metrics.workloads)
        self._began_s = clock.now_s()
        self._tick_began_s = clock.monotonic_s()
        self._published: Published | None = None
        self._picture: Picture | None = None
        self._drawing = threading.Lock()
        self._server: WSGIServer | None = None
        self._refused = ""
        self._news: list[str] = []

    # -- the tick's side -------------------------------------------------------------------

    def listen(self) -> None:
        """Answer scrapes from now on, if that is not so already.

        A port that cannot be had ends no tick: `news` tells of it once, and each tick tries again.
        """
        if self._server is not None:
            return
        section = self._settings.metrics
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        try:
            self._server, _ = start_http_server(section.port, section.host, registry)
        except OSError as error:
            if self._refused != str(error):
                self._refused = str(error)
                words = (
                    f"metrics.port: port {section.port} on {section.host} cannot be listened on "
                    f"({error}): ticks go on without /metrics; stop what listens there, choose "
                    "another, or set metrics.enabled: false"
                )
                log.error(words)
                self._news.append(words)
            return
        self._refused = ""
        log.info("series for Prometheus: http://%s:%d/metrics", section.host, section.port)

    def news(self) -> list[str]:
        """What is to be told and was not told yet: a line each."""
        news, self._news = self._news, []
        return news

    def around(self, ports: Ports, step: StepWrapper) -> tuple[Ports, StepWrapper]:
        """A tick begins: its ports and wrapper, with what counts in between."""
        self._tick_began_s = self._clock.monotonic_s()
        counted = replace(ports, store=CountedStore(ports.store, self._tally))
        return counted, TimedSteps(step, self._tally, self._clock)

    def lease_failed(self) -> None:
        """The store could not be asked for the lease."""
        self._tally.store_failures += 1

    def publish(self, report: TickReport, window: UsageWindow, champion_trouble: bool) -> None:
        """The tick is over: count it, and show it to whoever scrapes from now on."""
        try:
            self._publish(report, window, champion_trouble)
        except Exception as error:  # what only shows a tick must not make it a failed one
            log.exception("this tick is missing in /metrics")
            words = f"/metrics still shows an earlier tick: {type(error).__name__}: {error}"
            report.errors.append(words)

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _publish(self, report: TickReport, window: UsageWindow, champion_trouble: bool) -> None:
        settings, now_s = self._settings, self._clock.monotonic_s()
        self._realised.take(report, window, settings.hold_s, settings.tick.lead_s)
        self._tally.count(report, now_s - self._tick_began_s)
        self._published = Published(
            report=report,
            tally=copy.deepcopy(self._tally),
            total=dict(self._realised.total),
            newest=dict(self._realised.newest),
            ended_s=self._clock.now_s(),
            elapsed_s=now_s,
            champion_trouble=champion_trouble,
        )

    # -- the scrape's side -----------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """All families, of the last tick."""
        published = self._published
        tick = self._settings.tick
        last_s = self._began_s if published is None else published.ended_s
        yield from families.of_process(last_s, tick.interval_s, tick.stale_after_s)
        if published is None:
            yield from families.of_counts(Tally(self._settings.resources))
            return
        yield from families.of_counts(published.tally)
        yield from families.of_forecasts(published)
        picture = self._draw(published)
        yield from families.of_fleet(published.report, picture.overview)
        yield from families.of_workloads(published.report, picture.cells, picture.shown)

    def _draw(self, published: Published) -> Picture:
        """The sums of a tick, made once however many servers scrape."""
        with self._drawing:
            if self._picture is None or self._picture.published is not published:
                report = published.report
                cells = cells_of(report)
                overview = overview_of(report, cells, self._settings.tick.stale_after_s)
                ids = report.fleet.workloads.ids
                shown = self._shortlist.choose(ids, cells, published.elapsed_s)
                self._picture = Picture(published, cells, overview, shown)
            return self._picture
