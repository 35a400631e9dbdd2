"""Registered versions as MLflow keeps them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pla.ports import ModelVersion
from pla.registry.connection import MissingError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

_PAGE = 100


def find(client: MlflowClient, model: str, version: str) -> MlflowVersion:
    """The version called `version`. Raises MissingError, or what MLflow raises."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(model, version)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise MissingError(
            f"model {model} has no version {version}; `pla models list` shows those it has"
        ) from error


def aliased(client: MlflowClient, model: str, alias: str) -> MlflowVersion | None:
    """The version that `alias` names; None if there is no such alias, or no model yet."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(model, alias)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        # MLflow calls an alias that is not there a bad parameter.
        if error.error_code == "INVALID_PARAMETER_VALUE" and "not found" in str(error):
            return None
        raise


def newest_first(client: MlflowClient, model: str, experiment: str) -> list[ModelVersion]:
    """All versions of `model`, with the metrics of their runs."""
    found: list[MlflowVersion] = []
    token: str | None = None
    while True:
        query = f"name='{model}'"
        page = client.search_model_versions(query, max_results=_PAGE, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            break
    found.sort(key=lambda version: int(version.version), reverse=True)
    if not found:
        return []
    metrics = _metrics(client, experiment, [version.run_id for version in found if version.run_id])
    # The versions of a search come without theirs.
    named = client.get_registered_model(model).aliases
    aliases = {
        version: tuple(alias for alias in sorted(named) if str(named[alias]) == version)
        for version in map(str, named.values())
    }
    return [
        ModelVersion(
            version=str(version.version),
            aliases=aliases.get(str(version.version), ()),
            created_s=version.creation_timestamp / 1000.0,
            run_id=version.run_id or "",
            metrics=metrics.get(version.run_id or "", {}),
            tags=dict(version.tags),
        )
        for version in found
    ]


def _metrics(
    client: MlflowClient, experiment: str, run_ids: list[str]
) -> dict[str, dict[str, float]]:
    """Metrics by run, for those of `run_ids` that are in the experiment."""
    home = client.get_experiment_by_name(experiment)
    metrics: dict[str, dict[str, float]] = {}
    remaining = iter(run_ids)
    while home is not None and (part := list(itertools.islice(remaining, _PAGE))):
        wanted = ", ".join(f"'{run_id}'" for run_id in part)
        runs = client.search_runs(
            [home.experiment_id], f"attributes.run_id IN ({wanted})", max_results=_PAGE
        )
        metrics.update({run.info.run_id: dict(run.data.metrics) for run in runs})
    return metrics
