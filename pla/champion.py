"""Which model makes the forecasts: the registry's champion, followed between ticks."""

from __future__ import annotations

import threading

from pla.forecasting.forecaster import BundleForecaster
from pla.ports import Forecaster, ModelRegistry, RegistryError
from pla.settings import Settings


class ChampionWatch:
    """Follows the alias `champion` between ticks, in a thread of its own.

    A registry that is down, or a model that cannot be used, leaves the model in memory in force;
    `trouble` says what is wrong, in words, until it is over.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._thread: threading.Thread | None = None
        self._ready: Forecaster | None = None
        self.trouble: str | None = None

    def look(self, version: str | None) -> None:
        """Start looking whether the champion is still `version`; returns at once."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = threading.Thread(
            target=self._look, args=(version,), name="champion-watch", daemon=True
        )
        self._thread.start()

    def take(self) -> Forecaster | None:
        """The new champion, once it has been loaded; None while there is none."""
        ready, self._ready = self._ready, None
        return ready

    def wait(self, seconds: float) -> None:
        """Wait for a look under way, at most `seconds`."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _look(self, version: str | None) -> None:
        try:
            champion = self._registry.champion_version()
            if champion is not None and champion != version:
                self._ready = self._registry.load(champion)
            self.trouble = None
        except RegistryError as error:
            self.trouble = str(error)

    def recall(self, version: str) -> None:
        """Take the former champion `version` from the cache: the registry did not answer."""
        try:
            self._ready = self._registry.load(version)
        except RegistryError as error:
            self.trouble = f"{self.trouble}; {error}"


def why_unfit(forecaster: Forecaster, settings: Settings) -> str | None:
    """Why a model cannot serve these ticks, or None: it must forecast what an amount covers."""
    if not isinstance(forecaster, BundleForecaster):
        return None
    bundle = forecaster.bundle
    trained = bundle.step_s, bundle.lead_s, bundle.hold_s
    asked = settings.tick.step_s, settings.tick.lead_s, settings.hold_s
    if trained == asked:
        return None
    return (
        f"model {forecaster.model_version} was trained for (step, lead, hold) = {trained} s, the "
        f"configuration asks for {asked} s; retrain (`pla train`) after changing tick.*"
    )
