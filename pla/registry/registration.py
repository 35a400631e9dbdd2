"""Logging a trained bundle as an MLflow run and registering it as a model version."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pla.ports import RegistryError
from pla.registry.cache import checksum
from pla.registry.connection import Connection

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

T = TypeVar("T")

BUNDLE = "bundle"
CHECKSUM_TAG = "pla.bundle_sha256"
# MLflow's limits per request (mlflow/utils/validation.py).
_BATCH = 100


@dataclass(frozen=True, slots=True)
class DataRange:
    """What a bundle was trained on.

    Attributes:
        source: where the data came from (a path, a URL).
        start_s, end_s: first and last step's end [epoch s].
        workloads, rows: how many workloads, and training rows.
        sha256: checksum of the data.
    """

    source: str
    start_s: float
    end_s: float
    workloads: int
    rows: int
    sha256: str

    def as_tags(self) -> dict[str, str]:
        """As run tags `data.*`, times in UTC."""
        return {
            "data.source": self.source,
            "data.start": datetime.fromtimestamp(self.start_s, UTC).isoformat(),
            "data.end": datetime.fromtimestamp(self.end_s, UTC).isoformat(),
            "data.workloads": str(self.workloads),
            "data.rows": str(self.rows),
            "data.sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True)
class Training:
    """What is logged beside a bundle; figures by the name of their file below `plots/`."""

    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    figures: Mapping[str, Figure]
    data: DataRange


def register(
    connection: Connection,
    model: str,
    experiment: str,
    artifact_root: str | None,
    bundle: Path,
    training: Training,
) -> str:
    """Log a run with everything of `training` and the bundle, register it; returns its version.

    The run ends FINISHED only if all of it was logged; the version exists only after that.
    """
    if not bundle.is_dir():
        raise RegistryError(f"{bundle}: there is no bundle to register")
    digest = checksum(bundle)
    with connection.talk("registering a model") as client:
        experiment_id = _experiment(client, experiment, artifact_root)
        run_id = client.create_run(experiment_id, run_name=f"retrain {digest[:8]}").info.run_id
        try:
            _log(client, run_id, bundle, training, digest)
        except BaseException:
            _end_failed(client, run_id)
            raise
        client.set_terminated(run_id, "FINISHED")
        _ensure_model(client, model)
        version = client.create_model_version(
            model,
            source=f"runs:/{run_id}/{BUNDLE}",
            run_id=run_id,
            tags={**training.tags, CHECKSUM_TAG: digest},
            await_creation_for=0,  # it exists when the call returns
        )
        return str(version.version)


def _log(client: MlflowClient, run_id: str, bundle: Path, training: Training, digest: str) -> None:
    from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag

    now_ms = int(client.get_run(run_id).info.start_time)
    data = training.data
    tags = {**training.tags, **data.as_tags(), CHECKSUM_TAG: digest}
    for metrics in _batches(training.metrics.items()):
        numbers = [Metric(name, float(value), now_ms, 0) for name, value in metrics]
        client.log_batch(run_id, metrics=numbers)
    for params in _batches(training.params.items()):
        client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params])
    for part in _batches(tags.items()):
        client.log_batch(run_id, tags=[RunTag(name, value) for name, value in part])
    dataset = Dataset(data.source[-500:], data.sha256[:36], "local", data.source)
    client.log_inputs(run_id, [DatasetInput(dataset)])
    for name, figure in training.figures.items():
        client.log_figure(run_id, figure, f"plots/{name}")
    client.log_artifacts(run_id, str(bundle), BUNDLE)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while part := list(itertools.islice(iterator, _BATCH)):
        yield part


def _experiment(client: MlflowClient, name: str, artifact_root: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=artifact_root)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another was quicker
    if found is None or found.lifecycle_stage != "active":
        raise RegistryError(
            f"MLflow's experiment {name!r} is deleted; restore it, or name another one with "
            "mlflow.experiment"
        )
    return str(found.experiment_id)


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _end_failed(client: MlflowClient, run_id: str) -> None:
    """Mark the run FAILED; the error that led here matters more than one that follows it."""
    try:
        client.set_terminated(run_id, "FAILED")
    except Exception as error:
        log.warning("run %s could not be marked as failed: %s", run_id, error)
