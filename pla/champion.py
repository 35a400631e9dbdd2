"""Which model makes the forecasts: the registry's champion, followed between ticks."""

from __future__ import annotations

import threading

from pla.ports import Forecaster, ModelRegistry, RegistryError
from pla.settings import Settings


class ChampionWatch:
    """Follows the alias `champion` between ticks, in a thread of its own.

    A registry that is down, or a model that cannot be used, leaves the model in memory in force;
    `trouble` says what is wrong, in words, until it is over.
    """

    def __init__(self, registry: ModelRegistry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self._thread: threading.Thread | None = None
        self._ready: Forecaster | None = None
        # A version that was refused, and why: it will not fit better when it is loaded again.
        self._refused: tuple[str, str] | None = None
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

    def wait(self, seconds: float) -> bool:
        """Wait for a look under way, at most `seconds`; whether it has ended."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def recall(self, version: str) -> None:
        """Take the former champion `version`, out of the cache while the registry is away.

        What keeps the present champion away stays in `trouble`.
        """
        why = self.trouble or "the model registry has not answered yet"
        try:
            fresh = self._registry.load(version)
        except RegistryError as error:
            self.trouble = f"{why}; {error}"
            return
        unfit = why_unfit(fresh, self._settings)
        if unfit is None:
            self._ready = fresh
        self.trouble = why if unfit is None else f"{why}; {unfit}"

    def _look(self, version: str | None) -> None:
        try:
            self.trouble = self._find_trouble(version)
        except RegistryError as error:
            self.trouble = str(error)
        except Exception as error:  # a defect of the registry's code must not end this unheard
            self.trouble = f"model registry: {type(error).__name__}: {error}"

    def _find_trouble(self, version: str | None) -> str | None:
        """Why the champion is not in force; None if it is, or is ready to be taken."""
        champion = self._registry.champion_version()
        if champion is None or champion == version:
            self._refused = None
            return None
        if self._refused is not None and self._refused[0] == champion:
            return self._refused[1]
        fresh = self._registry.load(champion)
        unfit = why_unfit(fresh, self._settings)
        if unfit is None:
            self._ready, self._refused = fresh, None
        else:
            self._refused = champion, unfit
        return unfit


def why_unfit(forecaster: Forecaster, settings: Settings) -> str | None:
    """Why a model cannot serve these ticks, or None: it must forecast what an amount covers."""
    # Here, because it imports XGBoost, which takes seconds: only where a model is used.
    from pla.forecasting.forecaster import BundleForecaster

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
