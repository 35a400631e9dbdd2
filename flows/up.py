"""`pla up`: everything on this machine, supervised, with a table of decisions after each tick."""

from __future__ import annotations

import os
import signal
import sys
import webbrowser
from pathlib import Path
from types import FrameType

import httpx
from rich.console import Console

from flows.local.decisions import Follower
from flows.local.exclusive import AlreadyRunning, hold
from flows.local.ports import PortTaken
from flows.local.prefect_api import FINAL, PrefectApi, has_champion
from flows.local.screen import Screen
from flows.local.servers import Layout, lay_out
from flows.local.supervisor import StartFailed, Stopped, Supervisor
from pla import home
from pla.clock import SystemClock
from pla.ports import Clock, StoreError
from pla.settings import Settings

TICK_FLOW = "predict-and-actuate"
RETRAIN = "retrain/retrain"
ASK_EVERY_S = 1.0


def up(settings: Settings, ticks: int | None, browser: bool, config: Path | None = None) -> int:
    """Run everything until stopped, or until `ticks` scheduled runs completed; the exit code.

    Args:
        settings: as read from `config` and the environment.
        ticks: end by itself after so many, and after the first retraining; None = never.
        browser: open Prefect's UI in a browser.
        config: the file that the children read too; None = the demo.
    """
    errors = Console(stderr=True, soft_wrap=True)
    clock = SystemClock()
    try:
        lock = hold(settings.home)
        layout = lay_out(settings, config)
    except (AlreadyRunning, PortTaken) as error:
        errors.print(str(error), highlight=False)
        return 1
    with lock, Screen(clock) as screen:
        session = Session(layout, ticks, screen, clock)
        try:
            return session.run(browser)
        except (StartFailed, RetrainFailed) as error:
            screen.quiet()
            errors.print(f"[bold red]error:[/] {error}", highlight=False)
            return 1
        except Stopped:
            return session.interrupted()
        finally:
            session.end()


class RetrainFailed(Exception):
    """The first retraining did not complete. Names the run and says how it ended."""


class Session:
    """One `pla up` from start to end."""

    def __init__(self, layout: Layout, ticks: int | None, screen: Screen, clock: Clock) -> None:
        self._layout = layout
        self._settings = layout.settings
        self._ticks = ticks
        self._screen = screen
        self._clock = clock
        self._supervisor = Supervisor(screen, clock)
        self._prefect = PrefectApi(self._settings.prefect_url)
        self._since_s = clock.now_s()
        self._retraining: str | None = None
        self._champion_asked = False
        self._completed = 0
        self._shown = 0
        self._logged = 0

    def run(self, browser: bool) -> int:
        """Start, follow, and end when `ticks` are done; returns the exit code.

        Raises:
            StartFailed, RetrainFailed, Stopped: see there.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self._write_state()
        self._start()
        if browser and sys.stdout.isatty():
            webbrowser.open(self._ui)
        self._follow()
        self._screen.say(f"{self._completed} scheduled runs completed: done")
        return 0

    def interrupted(self) -> int:
        """What was asked to stop ends well, unless it was to make ticks that are not made."""
        if self._ticks is None:
            return 0
        self._screen.say(f"stopped after {self._completed} of {self._ticks} ticks")
        return 1

    def end(self) -> None:
        """Stop every child, and leave nothing that says this still runs."""
        self._supervisor.stop()
        self._prefect.close()
        home.state_file(self._settings.home).unlink(missing_ok=True)
        self._screen.say("everything is stopped")

    # -- starting --------------------------------------------------------------------------

    @property
    def _ui(self) -> str:
        return self._settings.prefect_url.removesuffix("/api")

    def _series(self) -> list[tuple[str, str]]:
        section = self._settings.metrics
        shown = f"http://{section.host}:{section.port}/metrics"
        return [("series", f"{shown}  (for Prometheus)")] if section.enabled else []

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._supervisor.ask_to_stop()

    def _write_state(self) -> None:
        state = home.Running(
            pid=os.getpid(),
            since_s=self._since_s,
            prefect_api_url=self._settings.prefect_url,
            mlflow_uri=self._settings.mlflow_uri,
            simulator_url=self._settings.simulator.url,
        )
        home.write(self._settings.home, state)

    def _start(self) -> None:
        rows = [
            ("Prefect", self._ui),
            ("MLflow", self._settings.mlflow_uri),
            *self._series(),
            ("home", f"{self._settings.home}  (logs in {self._settings.home / 'logs'})"),
        ]
        self._screen.heading(rows)
        self._screen.wait("starting")
        servers = self._supervisor.start(self._layout.servers)
        # The worker connects to its platform first, and waits for Prefect by itself: its imports
        # and theirs go on at the same time.
        platform = [child for child in servers if child.program.name == "simulated cluster"]
        self._supervisor.await_ready(platform)
        worker, retraining = self._layout.workers
        self._supervisor.start([worker])
        self._supervisor.await_ready([child for child in servers if child not in platform])
        self._supervisor.start([retraining])

    # -- following -------------------------------------------------------------------------

    def _follow(self) -> None:
        follower = Follower(self._settings)
        counted_s = self._clock.monotonic_s()
        try:
            while not self._done():
                self._supervisor.pause()
                self._supervisor.keep_alive()
                self._show(follower)
                if self._clock.monotonic_s() - counted_s >= ASK_EVERY_S:
                    counted_s = self._clock.monotonic_s()
                    self._ask_prefect()
        finally:
            follower.close()

    def _show(self, follower: Follower) -> None:
        try:
            tick = follower.next()
        except StoreError as error:
            self._screen.say(f"[yellow]{error}[/]")
            return
        if tick is None:
            self._screen.wait(self._waiting_for())
            return
        self._shown += 1
        self._screen.tick(tick, self._shown)

    def _waiting_for(self) -> str:
        if not self._shown:
            return "waiting for the first tick"
        if self._retraining is not None:
            return "the first model is being trained; ticks go on with a baseline"
        return "waiting for the next tick"

    def _ask_prefect(self) -> None:
        """How many runs completed, and how the first retraining goes."""
        try:
            self._completed = self._prefect.completed(TICK_FLOW, self._since_s, scheduled=True)
            if not self._champion_asked:
                self._ask_for_first_champion()
            if self._retraining is not None:
                self._look_at_retraining(self._retraining)
        except httpx.HTTPError as error:
            # The next time comes in a second: servers restart, SQLite is locked for a moment.
            self._screen.wait(f"no answer now: {error}")

    def _ask_for_first_champion(self) -> None:
        """A first retraining, through Prefect as any other, if there is no champion yet."""
        if has_champion(self._settings.mlflow_uri, self._settings.mlflow.model_name):
            self._champion_asked = True
            return
        if not self._prefect.deployed(RETRAIN):
            return  # the worker will declare it in a moment
        self._retraining = self._prefect.start(RETRAIN, {"reason": "no champion yet"})
        self._champion_asked = True
        self._screen.say(
            "no champion model yet: a baseline acts while the first one is trained "
            f"({self._ui}/runs/flow-run/{self._retraining})"
        )

    def _look_at_retraining(self, run_id: str) -> None:
        state, message = self._prefect.state(run_id)
        for line in self._prefect.logs(run_id, self._logged):
            self._logged += 1
            self._screen.say(f"[dim]retraining: {line}[/]")
        if state not in FINAL:
            return
        self._retraining = None
        self._screen.say(f"the first retraining ended {state.lower()}: {message}")
        if state != "COMPLETED" and self._ticks is not None:
            raise RetrainFailed(
                f"the first retraining ended {state.lower()} ({message}); see "
                f"{self._ui}/runs/flow-run/{run_id} and "
                f"{self._settings.home / 'logs' / 'retraining-worker.log'}"
            )

    def _done(self) -> bool:
        if self._ticks is None or not self._champion_asked or self._retraining is not None:
            return False
        return self._completed >= self._ticks
