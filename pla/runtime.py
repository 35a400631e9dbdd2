"""One process's standing connections and memory, and the tick that uses them.

Opened once; ticks many times. Between ticks a thread follows the champion alias, so that a moved
alias is in force within two ticks, and a registry that is down delays none.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import uuid
from typing import Self

import numpy as np

from pla import snapshot
from pla.actuation import Fence
from pla.champion import ChampionWatch, why_unfit
from pla.clock import SystemClock
from pla.core.window import HOUR_S
from pla.crew import Crew
from pla.forecasting.baseline import BaselineForecaster
from pla.platforms import connect
from pla.ports import (
    Forecaster,
    Lease,
    LeaseLost,
    ModelRegistry,
    Override,
    Store,
    StoreError,
)
from pla.registry import MlflowRegistry
from pla.settings import Settings
from pla.store import SqlStore, machine_timeline
from pla.tick import Ports, StepWrapper, TickReport, TickState, run_step, run_tick

log = logging.getLogger(__name__)

LEASE = "tick"
PEAKS = "peaks"
CHAMPION = "champion"
SAVE_EVERY_S = 600.0


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
        self._watch = ChampionWatch(registry)
        self._unfit: str | None = None
        self._forecaster: Forecaster = BaselineForecaster()
        self._state = self._new_state()
        self._saved_s = ports.clock.now_s()
        self._lease: Lease | None = None
        self._tick_lock = threading.Lock()

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Connect to everything that `settings` names.

        Raises:
            StoreError, ActuatorError: the store or the platform cannot be reached at all.
        """
        settings.home.mkdir(parents=True, exist_ok=True)
        machine = SystemClock()
        store = SqlStore(settings.store_url, machine, machine_timeline())
        platform = connect(settings)
        registry = MlflowRegistry(
            settings.mlflow_uri,
            settings.mlflow.model_name,
            cache=settings.home / "models",
        )
        ports = Ports(
            source=platform.source,
            actuators=platform.actuators,
            store=store,
            crew=Crew(machine),
            clock=platform.clock or machine,
        )
        holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        runtime = cls(settings, ports, store, registry, holder)
        runtime.start_with_champion(wait_s=20.0)
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
        self._watch.wait(wait_s)
        former = self.store.load_state(CHAMPION)
        if self._watch.trouble and former is not None:
            self._watch.recall(former.decode())
        self.follow_champion()

    def follow_champion(self) -> None:
        """Take a champion that has been loaded, and start looking for the next."""
        fresh = self._watch.take()
        if fresh is not None:
            self._unfit = why_unfit(fresh, self.settings)
            if self._unfit is None:
                self._adopt(fresh)
        self._watch.look(self.model_version)

    def tick(self, step: StepWrapper = run_step) -> TickReport:
        """One cycle; publishes its snapshot. One at a time, whoever calls."""
        with self._tick_lock:
            self.follow_champion()
            errors: list[str] = []
            fence = self._lead(errors)
            report = run_tick(self._state, self.ports, self._forecaster, self.settings, fence, step)
            report.errors[:0] = errors
            for trouble in (self._watch.trouble, self._unfit):
                if trouble is not None:
                    report.errors.append(f"still on model {self.model_version}: {trouble}")
            self._after(report)
            return report

    def dry_run(self) -> TickReport:
        """What the next tick would do: everything but acting, and nothing is published."""
        with self._tick_lock:
            return run_tick(self._state, self.ports, self._forecaster, self.settings, None)

    def deploy(self, workload: str, version: str, step: StepWrapper = run_step) -> TickReport:
        """Give the new `version` of `workload` room at once, and tick.

        What the new version needs is not known yet: until its own usage is (one
        `policy.recent_peak_s`), it gets at least the seven-day peak of its predecessor plus the
        tier's headroom, as overrides that anyone can see and lift.

        Raises:
            ValueError: there is no such workload.
            StoreError: the overrides cannot be written.
        """
        if not self._state.ids:
            self.tick()
        if workload not in self._state.ids:
            raise ValueError(f"deploy of {workload!r}: no platform lists such a workload")
        row = self._state.ids.index(workload)
        peaks = self._state.stored_peak()[row]
        headroom = 1 + self._headroom_of(workload)
        now_s = self.ports.clock.now_s()
        for resource, peak in zip(self.settings.resources, peaks.tolist(), strict=True):
            if np.isnan(peak):
                continue
            self.store.put_override(
                Override(
                    workload=workload,
                    resource=resource,
                    fix=None,
                    floor=peak * headroom,
                    ceiling=None,
                    until_s=now_s + self.settings.policy.recent_peak_s,
                    why=f"deploy of version {version}: at least its predecessor's peak",
                    by="on-deploy",
                )
            )
        return self.tick(step)

    def _headroom_of(self, workload: str) -> float:
        for part in self._state.parts.values():
            if workload in part.workloads.ids:
                tier = int(part.workloads.tier[part.workloads.ids.index(workload)])
                return self.settings.core_tiers()[tier].headroom
        return 0.0

    def close(self) -> None:
        """Keep what was learnt, and let a standby take over at once."""
        self._keep()
        if self._lease is not None:
            try:
                self.store.release(LEASE, self._lease)
            except StoreError as error:
                log.warning("the lease could not be given up: %s", error)
        self.store.close()

    # -- inside ----------------------------------------------------------------------------

    def _new_state(self) -> TickState:
        now_s = self.ports.clock.now_s()
        state = TickState.fresh(
            self.settings.resources,
            self.settings.tick.step_s,
            now_s,
            self._forecaster.new_calibration(self.settings.core_tiers(), self.settings.resources),
        )
        state.remembered = dict(self.store.last_changes(now_s - 24 * HOUR_S))
        state.saved_peaks = _peaks_from(self.store.load_state(PEAKS), now_s)
        return state

    def _adopt(self, forecaster: Forecaster) -> None:
        """Put `forecaster` in force with the calibration it had when it last was."""
        self._keep()
        log.info("model %s replaces %s", forecaster.model_version, self.model_version)
        self._forecaster = forecaster
        calibration = forecaster.new_calibration(
            self.settings.core_tiers(), self.settings.resources
        )
        try:
            saved = self.store.load_state(_calibration_key(forecaster))
            if saved is not None:
                calibration = calibration.restored(saved)
            else:
                calibration.inherit(self._state.calibration)
        except (StoreError, ValueError) as error:
            log.warning("calibration starts from the model's backtest: %s", error)
        self._state.calibration = calibration
        self._state.pending.clear()

    def _lead(self, errors: list[str]) -> Fence | None:
        try:
            self._lease = self.store.acquire(LEASE, self.holder, self.settings.tick.lease_ttl_s)
        except StoreError as error:
            errors.append(f"nothing is changed without the lease: {error}")
            self._lease = None
        return None if self._lease is None else Fence(LEASE, self._lease)

    def _after(self, report: TickReport) -> None:
        try:
            snapshot.publish(report, self.settings.home / "snapshot.arrow")
        except OSError as error:
            report.errors.append(f"{self.settings.home}: no snapshot could be written: {error}")
        if report.at_s - self._saved_s >= SAVE_EVERY_S:
            self._keep()
            self._saved_s = report.at_s

    def _keep(self) -> None:
        """Write calibration and seven-day peaks; what cannot be written now is tried again.

        Only the leader does: a standby's memory is a copy, and must not overwrite it.
        """
        if self._lease is None:
            return
        guard = (LEASE, self._lease)
        try:
            if self._state.ids:
                self.store.save_state(PEAKS, _peaks_to(self._state), guard)
            self.store.save_state(
                _calibration_key(self._forecaster), self._state.calibration.to_bytes(), guard
            )
            if not self.model_version.startswith("baseline:"):
                self.store.save_state(CHAMPION, self.model_version.encode(), guard)
        except (StoreError, LeaseLost) as error:
            log.warning("calibration and peaks are not saved this time: %s", error)


def _calibration_key(forecaster: Forecaster) -> str:
    return f"calibration:{forecaster.model_version}"


def _peaks_to(state: TickState) -> bytes:
    peaks = state.stored_peak()
    kept = {
        name: [None if np.isnan(value) else float(value) for value in row]
        for name, row in zip(state.ids, peaks, strict=True)
    }
    return json.dumps({"end_s": state.window.end_s, "peaks": kept}).encode()


def _peaks_from(blob: bytes | None, now_s: float) -> dict[str, list[float | None]]:
    """Saved peaks, unless they are older than the seven days they speak of."""
    if blob is None:
        return {}
    saved = json.loads(blob)
    fresh = now_s - saved["end_s"] < 7 * 24 * HOUR_S
    peaks: dict[str, list[float | None]] = saved["peaks"] if fresh else {}
    return peaks
