"""Ticks go on while Prefect is away: the worker's own timer, on the schedule last seen.

Prefect's engine cannot start a run without its API, so these ticks call the runtime directly and
leave no flow run. While the API answers, Prefect alone decides, also not to tick: what people
paused in its UI stays paused, also through an outage that follows.
"""

from __future__ import annotations

import asyncio
import logging

from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.warm.host import Host
from flows.warm.threads import in_thread
from flows.warm.timetable import PrefectAway, Timetable, read_timetable
from pla.ports import Clock
from pla.tick import TickReport

log = logging.getLogger(__name__)

PATIENCE_S = 1.5
"""So late may a run start before anybody looks whether Prefect is there."""

LOOK_AWAY_S, LOOK_IDLE_S, LOOK_OFTEN_S = 1.0, 10.0, 0.5


class Metronome:
    """Watches whether Prefect answers, and ticks on its behalf while it does not.

    Attributes:
        answers: set while the API answers.
        away: set while it does not; neither is set before the first look.
    """

    def __init__(
        self,
        host: Host,
        deployment: str,
        api_url: str,
        interval_s: float,
        clock: Clock,
        first_answer_within_s: float,
    ) -> None:
        self.answers = asyncio.Event()
        self.away = asyncio.Event()
        self._host = host
        self._deployment = deployment
        self._api_url = api_url
        self._clock = clock
        self._first_answer_within_s = first_answer_within_s
        self._timetable = Timetable.every(interval_s)
        self._excused_s = clock.now_s()  # ticks due before it are nobody's to make up
        self._away_since_s = 0.0
        self._ticks_alone = 0
        self._silent = 0

    async def run(self) -> None:
        """Watch until cancelled."""
        # An answer that takes a retry is no answer in time.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            async with get_client() as client:
                await self._meet(client)
                while True:
                    await self._beat(client)

    async def look(self) -> None:
        """Learn anew, at once, what Prefect holds: after deployments were declared."""
        async with get_client() as client:
            await self._ask(client)

    # -- inside ----------------------------------------------------------------------------

    async def _meet(self, client: PrefectClient) -> None:
        """Wait for the first answer, or until it is clear that none comes.

        Ticks wait with it: Prefect's server may just be starting, and what is paused there is not
        known yet.
        """
        started_s = self._clock.monotonic_s()
        while self._clock.monotonic_s() - started_s < self._first_answer_within_s:
            if await self._ask(client, patient=True):
                return
            await asyncio.sleep(LOOK_OFTEN_S)
        await self._ask(client)

    async def _beat(self, client: PrefectClient) -> None:
        """Sleep until something may have to be done, and do it."""
        now_s = self._clock.now_s()
        due_s = await self._timetable.next_after(max(self._host.last_tick_s, self._excused_s))
        if self.away.is_set():
            wait_s = LOOK_AWAY_S if due_s is None else min(due_s - now_s, LOOK_AWAY_S)
            await asyncio.sleep(max(wait_s, 0.0))
            if due_s is not None and due_s <= self._clock.now_s():
                await self._tick(due_s)
            await self._ask(client)
        elif due_s is None or due_s + PATIENCE_S > now_s:
            wait_s = LOOK_IDLE_S if due_s is None else due_s + PATIENCE_S - now_s
            await asyncio.sleep(min(wait_s, LOOK_IDLE_S))
            if due_s is None:
                await self._ask(client)
        elif not await self._ask(client) and self.away.is_set():
            await self._tick(due_s)

    async def _ask(self, client: PrefectClient, patient: bool = False) -> bool:
        """Whether Prefect answers; learns its schedule, and says so when the answer changes.

        `patient` leaves it open for now if it does not.
        """
        try:
            self._timetable = await read_timetable(client, self._deployment)
        except PrefectAway as error:
            self._silent += 1
            # A slow answer is no outage yet; a refused connection is one.
            if not patient and not self.away.is_set() and (error.certain or self._silent > 1):
                self._enter_outage(error)
            return False
        self._silent = 0
        self._excused_s = self._clock.now_s()
        if self.away.is_set():
            self._leave_outage()
        self.answers.set()
        return True

    def _enter_outage(self, error: PrefectAway) -> None:
        self.answers.clear()
        self.away.set()
        self._away_since_s = self._clock.monotonic_s()
        self._ticks_alone = 0
        log.warning(
            "Prefect at %s does not answer (%s): ticks go on by the worker's own timer, "
            "without flow runs",
            self._api_url,
            error,
        )

    def _leave_outage(self) -> None:
        self.away.clear()
        log.warning(
            "Prefect at %s answers again after %.0f s: %d ticks were made without flow runs; "
            "flow runs take over",
            self._api_url,
            self._clock.monotonic_s() - self._away_since_s,
            self._ticks_alone,
        )

    async def _tick(self, due_s: float) -> None:
        try:
            report: TickReport | None = await in_thread(
                lambda: self._host.tick(due_s=due_s), "tick-without-prefect"
            )
        except Exception:
            # Whatever one tick met, the next is due all the same.
            log.exception("a tick without Prefect failed")
            return
        if report is not None:
            self._ticks_alone += 1
            for line in report.errors:
                log.warning(line)
