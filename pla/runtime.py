"""One process's standing connections and memory, and the tick that uses them.

Opened once; ticks many times. Between ticks a thread follows the champion alias, so that a moved
alias is in force within two ticks, and a registry that is down delays none.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from typing import Self

from pla import deploy, saved_state, snapshot
from pla.actuation import Fence
from pla.champion import ChampionWatch
from pla.clock import SystemClock
from pla.core.window import HOUR_S
from pla.crew import Crew
from pla.exposition import Exposition
from pla.forecasting.baseline import BaselineForecaster
from pla.platforms import connect
from pla.ports import Forecaster, Lease, LeaseLost, ModelRegistry, Store, StoreError
from pla.registry import MlflowRegistry
from pla.settings import Settings
from pla.store import SqlStore, machine_timeline
from pla.tick import Ports, StepWrapper, TickReport, TickState, run_step, run_tick

log = logging.getLogger(__name__)

LEASE = "tick"
SAVE_EVERY_S = 600.0
SNAPSHOT = "snapshot.arrow"


class Runtime:
    """What a ticking process holds: connections, the model, the memory of former ticks."""

    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        store: Store,
        registry: ModelRegistry,
        holder: str,
    ) -> None:
        self.settings = settings
        self.ports = ports
        self.store = store
        self.holder = holder
        self._watch = ChampionWatch(registry, settings)
        self._forecaster: Forecaster = BaselineForecaster()
        self._state = self._new_state()
        self._saved_s = ports.clock.now_s()
        self._saved_model: str | None = None
        self._lease: Lease | None = None
        self._tick_lock = threading.Lock()
        self._exposition: Exposition | None = None

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Connect to everything that `settings` names.

        Raises:
            StoreError, ActuatorError: the store or the platform cannot be reached at all.
        """
        try:
            settings.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{settings.home}: cannot be made ({error}); correct PLA_HOME or `home`"
            ) from error
        machine = SystemClock()
        store = SqlStore(settings.store_url, machine, machine_timeline())
        try:
            platform = connect(settings)
            ports = Ports(
                source=platform.source,
                actuators=platform.actuators,
                store=store,
                crew=Crew(machine),
                clock=platform.clock or machine,
            )
            registry = MlflowRegistry(
                settings.mlflow_uri,
                settings.mlflow.model_name,
                cache=settings.home / "models",
                experiment=settings.mlflow.experiment,
            )
            holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
            runtime = cls(settings, ports, store, registry, holder)
            runtime.start_with_champion(wait_s=20.0)
        except BaseException:
            store.close()
            raise
        return runtime

    @property
    def model_version(self) -> str:
        """What makes the forecasts now."""
        return self._forecaster.model_version

    def start_with_champion(self, wait_s: float) -> None:
        """Have the champion in memory before the first tick, if `wait_s` suffices to get it.

        While the registry does not answer, the champion of the former run is taken from the
        cache; without one, the baseline acts.
        """
        self._watch.look(self.model_version)
        answered = self._watch.wait(wait_s)
        if not answered or self._watch.trouble:
            former = saved_state.champion(self.store)
            if former is not None:
                self._watch.recall(former)
        self.follow_champion()

    def expose(self) -> None:
        """From now on count what ticks do, and show it as `metrics` in pla.yaml says.

        For the process that ticks for long; a dry run must not take its port.
        """
        if self.settings.metrics.enabled and self._exposition is None:
            self._exposition = Exposition(self.settings, SystemClock())
            self._exposition.listen()

    def follow_champion(self) -> None:
        """Take a champion that has been loaded, and start looking for the next."""
        fresh = self._watch.take()
        if fresh is not None and fresh.model_version != self.model_version:
            self._adopt(fresh)
        self._watch.look(self.model_version)

    def tick(self, step: StepWrapper = run_step) -> TickReport:
        """One cycle; publishes its snapshot. One at a time, whoever calls."""
        with self._tick_lock:
            return self._tick(step, [])

    def dry_run(self) -> TickReport:
        """What the next tick would do: everything but acting, and nothing is published."""
        with self._tick_lock:
            report = run_tick(self._state, self.ports, self._forecaster, self.settings, None)
            self._say_model_trouble(report)
            return report

    def deploy(self, workload: str, version: str, step: StepWrapper = run_step) -> TickReport:
        """Give the new `version` of `workload` room at once, and tick.

        What the new version needs is not known yet: until its own usage is (one
        `policy.recent_peak_s`), it gets at least the seven-day peak of its predecessor plus the
        tier's headroom, as overrides that anyone can see and lift. Where a person has set one, it
        stays, and the report says so.

        Raises:
            ValueError: there is no such workload.
            StoreError: the overrides cannot be read or written.
        """
        with self._tick_lock:
            if not self._state.ids:  # nothing is known yet: look, and act once below
                run_tick(self._state, self.ports, self._forecaster, self.settings, None)
            now_s = self.ports.clock.now_s()
            wanted = deploy.floors(self._state, self.settings, workload, version, now_s)
            said: list[str] = []
            in_force = self.store.overrides(now_s)
            for override in deploy.without_those_of_people(wanted, in_force, said):
                self.store.put_override(override)
            return self._tick(step, said)

    def close(self) -> None:
        """Keep what was learnt, and let a standby take over at once."""
        if self._exposition is not None:
            self._exposition.close()
        try:
            self._keep()
            if self._lease is not None:
                self.store.release(LEASE, self._lease)
                self._lease = None
        except StoreError as error:
            log.warning("the lease could not be given up: %s", error)
        finally:
            self.store.close()

    # -- inside ----------------------------------------------------------------------------

    def _tick(self, step: StepWrapper, said: list[str]) -> TickReport:
        """One cycle, whose report begins with what was `said` before it."""
        self.follow_champion()
        ports, watch = self.ports, self._exposition
        if watch is not None:
            watch.listen()
            said += watch.news()
            ports, step = watch.around(ports, step)
        fence = self._lead(said)
        report = run_tick(self._state, ports, self._forecaster, self.settings, fence, step)
        report.errors[:0] = said
        self._say_model_trouble(report)
        self._after(report)
        if watch is not None:
            watch.publish(report, self._state.window, self._watch.trouble is not None)
        return report

    def _say_model_trouble(self, report: TickReport) -> None:
        trouble = self._watch.trouble
        if trouble is not None:
            report.errors.append(f"still on model {self.model_version}: {trouble}")

    def _new_state(self) -> TickState:
        now_s = self.ports.clock.now_s()
        fresh = self._forecaster.new_calibration(
            self.settings.core_tiers(), self.settings.resources
        )
        state = TickState.fresh(
            self.settings.resources,
            self.settings.tick.step_s,
            now_s,
            saved_state.calibration(self.store, fresh) or fresh,
        )
        state.remembered = self._changes_on_record(now_s)
        state.saved_peaks = saved_state.peaks(self.store, self.settings.resources, now_s)
        return state

    def _changes_on_record(self, now_s: float) -> dict[tuple[str, str], float]:
        """Time of the last day's newest change per (instance, resource) [epoch s].

        A simulated cluster that is started anew begins at its own time again, and a clock can be
        set back: a change of the future belongs to a time that is gone, and delays nothing.
        """
        changes = self.store.last_changes(now_s - 24 * HOUR_S)
        return {cell: at_s for cell, at_s in changes.items() if at_s <= now_s}

    def _adopt(self, forecaster: Forecaster) -> None:
        """Put `forecaster` in force with the calibration it had when it last was."""
        self._keep()
        log.info("model %s replaces %s", forecaster.model_version, self.model_version)
        self._forecaster = forecaster
        fresh = forecaster.new_calibration(self.settings.core_tiers(), self.settings.resources)
        saved = None
        try:
            saved = saved_state.calibration(self.store, fresh)
        except StoreError as error:
            log.warning("calibration starts from the model's backtest: %s", error)
        if saved is None:
            fresh.inherit(self._state.calibration)
        self._state.calibration = saved or fresh
        self._state.pending.clear()

    def _lead(self, errors: list[str]) -> Fence | None:
        former = None if self._lease is None else self._lease.epoch
        try:
            self._lease = self.store.acquire(LEASE, self.holder, self.settings.tick.lease_ttl_s)
            if self._lease is not None and self._lease.epoch != former:
                # Another may have led meanwhile: what it changed counts as changed.
                self._state.remembered |= self._changes_on_record(self.ports.clock.now_s())
        except StoreError as error:
            errors.append(f"nothing is changed without the lease: {error}")
            if self._exposition is not None:
                self._exposition.lease_failed()
            self._lease = None
        return None if self._lease is None else Fence(LEASE, self._lease)

    def _after(self, report: TickReport) -> None:
        path = self.settings.home / SNAPSHOT
        try:
            snapshot.publish(report, path)
        except OSError as error:
            report.errors.append(f"{path}: no snapshot could be written: {error}")
        # Also if the clock was set back; and a restart must find the model that is in force now.
        due = not 0 <= report.at_s - self._saved_s < SAVE_EVERY_S
        if due or self._saved_model != self.model_version:
            self._keep()

    def _keep(self) -> None:
        """Write calibration and seven-day peaks; what cannot be written now is tried again.

        Only the leader does: a standby's memory is a copy, and must not overwrite it.
        """
        if self._lease is None:
            return
        try:
            saved_state.save(self.store, LEASE, self._lease, self._state, self._forecaster)
        except (StoreError, LeaseLost) as error:
            log.warning("calibration and peaks are not saved this time: %s", error)
        else:
            self._saved_s = self.ports.clock.now_s()
            self._saved_model = self.model_version
