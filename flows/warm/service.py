"""A warm worker's life: follow Prefect while it answers, tick alone while not, stop in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)

from flows.applying import apply
from flows.deployments import TICK, WARM_FLOWS
from flows.warm import host as hosts
from flows.warm.host import Host
from flows.warm.metronome import Metronome
from flows.warm.polling import Running, WarmWorker
from flows.warm.reconcile import reconcile
from pla.clock import SystemClock
from pla.settings import Settings

log = logging.getLogger("pla.worker")

BEGUN_MAY_LAST_S = 6.0
"""What a run under way gets to finish once the worker is told to stop."""

LAST_WORDS_S = 3.0
START_ANEW_S = 2.0


async def serve(settings: Settings, host: Host, name: str, first_answer_within_s: float) -> None:
    """Serve the warm pool until SIGTERM or SIGINT.

    Until Prefect has answered for the first time, no tick is made for `first_answer_within_s`.
    """
    hosts.bind(host)
    # Set here, because Prefect sets up logging at its import. One line per run fetched is too much.
    logging.getLogger("prefect.flow_runs.worker").setLevel(logging.WARNING)
    # A run's heartbeat thread takes up to a second to end, which would hold up the next run; and
    # a run whose worker died is found by the next worker at once.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        try:
            await Service(settings, host, name, first_answer_within_s).run()
        finally:
            hosts.bind(None)


class Service:
    """One worker process: the metronome, and the worker that follows Prefect."""

    def __init__(
        self, settings: Settings, host: Host, name: str, first_answer_within_s: float
    ) -> None:
        self._settings = settings
        self._pool = settings.prefect.pool
        self._name = name
        self._running = Running()
        self._why_ended = "the worker that had it is gone"
        self._clock = SystemClock()
        self._metronome = Metronome(
            host,
            TICK,
            PREFECT_API_URL.value() or settings.prefect_url,
            settings.tick.interval_s,
            self._clock,
            first_answer_within_s,
        )

    async def run(self) -> None:
        """Until the process is told to stop."""
        works = [
            asyncio.create_task(self._metronome.run()),
            asyncio.create_task(self._follow()),
        ]
        stopping = asyncio.create_task(_told_to_stop())
        await asyncio.wait([*works, stopping], return_when=asyncio.FIRST_COMPLETED)
        for work in works:
            work.cancel()
        ended = await asyncio.gather(*works, return_exceptions=True)
        await self._wind_up()
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _follow(self) -> None:
        """Run what Prefect schedules, whenever it answers; whatever breaks there is begun anew."""
        while True:
            await self._metronome.answers.wait()
            polling = asyncio.create_task(self._poll())
            away = asyncio.create_task(self._metronome.away.wait())
            try:
                await asyncio.wait([polling, away], return_when=asyncio.FIRST_COMPLETED)
            finally:
                polling.cancel()
                away.cancel()
                ended = await asyncio.gather(polling, return_exceptions=True)
            if isinstance(ended[0], Exception):
                log.warning("the work pool %s is polled anew: %s", self._pool, _cause(ended[0]))
                await asyncio.sleep(START_ANEW_S)

    async def _poll(self) -> None:
        """Declare, clean up, and be a worker until something breaks."""
        for line in await apply(self._settings):
            log.info("written to Prefect: %s", line)
        await self._metronome.look()
        worker = WarmWorker(self._pool, WARM_FLOWS, self._running, self._clock, self._name)
        await self._reconcile(self._why_ended)
        self._why_ended = "the connection to Prefect broke before it was begun, or could end"
        await worker.start(printer=log.info)

    async def _reconcile(self, why: str) -> None:
        async with get_client() as client:
            await reconcile(client, self._pool, self._name, self._running.ids(), why)

    async def _wind_up(self) -> None:
        """Let a run under way finish, and give back in Prefect what was fetched and not begun."""
        await self._running.finish(BEGUN_MAY_LAST_S)
        if not self._metronome.answers.is_set():
            return
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._reconcile(f"the worker was stopped (pid {os.getpid()})")
        except (httpx.HTTPError, TimeoutError) as error:
            log.warning("Prefect keeps runs that this worker had fetched: %s", _cause(error))


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def _cause(error: BaseException) -> str:
    """One line for an error, through the groups that task groups wrap it in."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".splitlines()[0]
