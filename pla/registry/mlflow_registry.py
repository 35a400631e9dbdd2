"""`pla.ports.ModelRegistry` on MLflow."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pla.clock import SystemClock
from pla.ports import Clock, Forecaster, ModelVersion, RegistryError
from pla.registry import registration, versions
from pla.registry.cache import BundleCache, CachedBundle, Origin
from pla.registry.champion import ChampionAlias, Promotion
from pla.registry.connection import Connection, MissingError
from pla.registry.registration import CHECKSUM_TAG, DataRange, Training

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

log = logging.getLogger(__name__)

LoadBundle = Callable[[Path, str], Forecaster]
"""Opens a bundle folder as the forecaster of a version; raises what it likes if it cannot."""


class MlflowRegistry:
    """The registered model `model_name` of the MLflow at `tracking_uri`.

    `cache` is the directory that keeps downloaded bundles, for restarts without MLflow.
    `experiment` holds the training runs; if it is made here, their artifacts go to
    `artifact_root` (a URI). None: where a server decides, or beside the cache if `tracking_uri`
    is a database, for which MLflow itself would take the current directory.
    """

    def __init__(
        self,
        tracking_uri: str,
        model_name: str = "pla-forecaster",
        *,
        cache: Path,
        experiment: str = "pla-retrain",
        artifact_root: str | None = None,
        load_bundle: LoadBundle | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._connection = Connection(tracking_uri)
        self._model = model_name
        self._experiment = experiment
        if artifact_root is None and not tracking_uri.startswith(("http://", "https://")):
            artifact_root = (cache.absolute().parent / "mlartifacts").as_uri()
        self._artifact_root = artifact_root
        self._cache = BundleCache(cache)
        self._load_bundle = load_bundle or _load_bundle
        self._champion = ChampionAlias(self._connection, model_name, clock or SystemClock())

    def champion_version(self) -> str | None:
        """Version that the alias `champion` names; None before the first promotion.

        One request of some milliseconds; the first call imports MLflow, which takes seconds.

        Raises:
            RegistryError: MLflow does not answer (known at once if nothing listens there, after
                20 s if something listens and is silent).
        """
        return self._champion.version()

    def promotion(self, version: str) -> Promotion | None:
        """Who made the champion `version` so; None if its alias was moved to it by hand.

        Raises:
            RegistryError: MLflow does not answer, or does not know the version.
        """
        return self._champion.promotion(version)

    def promote(self, version: str, by: str) -> None:
        """Move `champion` to `version`, and `previous` to the one it replaces.

        Promoting the champion again only notes `by` (and so adopts what was moved by hand).

        Raises:
            RegistryError: MLflow does not answer, or does not know the version.
        """
        self._require_number(version)
        self._champion.promote(version, by)

    def rollback(self, by: str) -> str:
        """Move `champion` back to `previous`; returns the version now in force.

        There is no `previous` then: rolling back twice must not bring back what was withdrawn.

        Raises:
            RegistryError: MLflow does not answer, or there is nothing to go back to.
        """
        return self._champion.rollback(by)

    def versions(self) -> list[ModelVersion]:
        """Every registered version, newest first, with its run's metrics.

        Raises:
            RegistryError: MLflow does not answer.
        """
        with self._connection.talk("listing the versions") as client:
            return versions.newest_first(client, self._model, self._experiment)

    def register(
        self,
        bundle: Path,
        *,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        data: DataRange,
        tags: Mapping[str, str] | None = None,
        figures: Mapping[str, Figure] | None = None,
    ) -> str:
        """Log the bundle folder as a run of the experiment, register it; returns its version.

        `figures` by file name (`coverage.png`) are stored below `plots/`.

        Raises:
            RegistryError: MLflow does not answer or refuses (a name with a character it does not
                take, ...), or there is no such folder. No version was made then; a run that was
                begun is marked FAILED.
        """
        training = Training(params, metrics, tags or {}, figures or {}, data)
        return registration.register(
            self._connection, self._model, self._experiment, self._artifact_root, bundle, training
        )

    def load(self, version: str) -> Forecaster:
        """The forecaster of `version`: from the cache if it is there, else downloaded.

        While MLflow does not answer, what is in the cache is used.

        Raises:
            RegistryError: MLflow does not answer and the version is not in the cache; it does not
                know the version; the download is damaged; or the bundle cannot be used by this
                code (its features are not the ones it makes, ...).
        """
        self._require_number(version)
        bundle = self._bundle(version)
        try:
            return self._load_bundle(bundle.path, version)
        except RegistryError:
            raise
        except Exception as error:  # a bundle is foreign data: reading it may fail in any way
            raise RegistryError(
                f"model version {version} of {self._model} ({bundle.path}) cannot be used: "
                f"{type(error).__name__}: {error}; promote another version, or train again"
            ) from error

    def _bundle(self, version: str) -> CachedBundle:
        cached = self._cache.find(version)
        try:
            with self._connection.talk(f"looking up version {version}") as client:
                registered = versions.find(client, self._model, version)
        except MissingError:
            raise
        except RegistryError as error:
            if cached is None or cached.origin.model != self._model:
                raise
            log.warning("model version %s is taken from %s: %s", version, cached.path, error)
            return cached
        origin = Origin(
            model=self._model,
            version=version,
            run_id=registered.run_id or "",
            created_ms=int(registered.creation_timestamp),
        )
        if cached is not None and cached.origin == origin:
            return cached
        return self._cache.put(
            origin,
            registered.tags.get(CHECKSUM_TAG),
            lambda directory: self._download(registered, directory),
        )

    def _download(self, registered: MlflowVersion, directory: Path) -> Path:
        with self._connection.talk(f"downloading version {registered.version}") as client:
            source = str(registered.source)
            run = re.fullmatch(r"runs:/([^/]+)/(.+)", source)
            if run is not None:
                # Not by `models:/...`: MLflow would ask its global default, not this server.
                return Path(client.download_artifacts(run[1], run[2], str(directory)))
            from mlflow.artifacts import download_artifacts

            uri = self._connection.tracking_uri
            return Path(
                download_artifacts(artifact_uri=source, dst_path=str(directory), tracking_uri=uri)
            )

    def _require_number(self, version: str) -> None:
        # It becomes the name of a directory.
        if not re.fullmatch(r"[0-9]{1,18}", version):
            raise RegistryError(
                f"{version!r} is not a version of model {self._model}: `pla models list` shows "
                "their numbers"
            )


def _load_bundle(path: Path, version: str) -> Forecaster:
    # They import xgboost: only where a model is used.
    from pla.forecasting.bundle import load
    from pla.forecasting.forecaster import BundleForecaster

    return BundleForecaster(load(path), version)
