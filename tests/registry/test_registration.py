"""What a registered bundle leaves in MLflow, and what a failed registration does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from pla.ports import RegistryError
from pla.registry import DataRange, MlflowRegistry
from pla.registry.cache import checksum

pytestmark = pytest.mark.mlflow

MakeBundle = Callable[[float], Path]


def test_everything_is_logged(
    registry: MlflowRegistry,
    client: Any,
    names: dict[str, str],
    make_bundle: MakeBundle,
    data: DataRange,
) -> None:
    figure = Figure()
    figure.subplots().plot([0, 1], [1, 0])
    bundle = make_bundle(1.0)
    version = registry.register(
        bundle,
        params={"rounds": 100, "quantiles": (0.5, 0.9)},
        metrics={"excess/cpu": 0.25, "coverage.0_99": math.nan},
        data=data,
        tags={"pla.code_version": "0.1.0"},
        figures={"coverage.png": figure},
    )
    registered = client.get_model_version(names["model_name"], version)
    run = client.get_run(registered.run_id)
    assert run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == names["experiment"]
    assert run.data.params == {"rounds": "100", "quantiles": "(0.5, 0.9)"}
    assert run.data.metrics["excess/cpu"] == 0.25
    assert math.isnan(run.data.metrics["coverage.0_99"])
    tags = run.data.tags
    assert (tags["data.start"], tags["data.end"]) == (
        "1970-01-01T00:00:00+00:00",
        "1970-01-02T00:00:00+00:00",
    )
    assert (tags["data.sha256"], tags["data.rows"]) == ("ab" * 32, "1000")
    assert run.inputs.dataset_inputs[0].dataset.name == "recording/usage.parquet"
    paths = {file.path for file in client.list_artifacts(run.info.run_id, "bundle")}
    assert paths == {"bundle/bundle.json", "bundle/cpu"}
    assert [file.path for file in client.list_artifacts(run.info.run_id, "plots")] == [
        "plots/coverage.png"
    ]
    assert registered.source == f"runs:/{run.info.run_id}/bundle"
    assert registered.tags["pla.bundle_sha256"] == checksum(bundle)
    assert registered.tags["pla.code_version"] == "0.1.0"


def test_versions_come_newest_first_with_their_metrics(
    registry: MlflowRegistry, register: Any
) -> None:
    made = [register(registry, peak) for peak in (1.0, 2.0, 3.0)]
    registry.promote(made[1], by="gate")
    newest = registry.versions()
    assert [v.version for v in newest] == made[::-1]
    assert [v.metrics["excess"] for v in newest] == [3.0, 2.0, 1.0]
    assert [v.aliases for v in newest] == [(), ("champion",), ()]
    assert newest[0].created_s >= newest[-1].created_s > 1_600_000_000
    assert len({v.run_id for v in newest}) == 3


def test_many_parameters_and_metrics(
    registry: MlflowRegistry, make_bundle: MakeBundle, data: DataRange
) -> None:
    many = {f"name{n}": n for n in range(250)}
    registry.register(make_bundle(1.0), params=many, metrics=many, data=data)
    assert len(registry.versions()[0].metrics) == 250


def test_a_failed_registration_makes_no_version_and_a_failed_run(
    registry: MlflowRegistry,
    client: Any,
    names: dict[str, str],
    make_bundle: MakeBundle,
    data: DataRange,
) -> None:
    with pytest.raises(RegistryError, match=r"refuses \(registering a model\).*excess%"):
        registry.register(make_bundle(1.0), params={}, metrics={"excess%": 1.0}, data=data)
    assert registry.versions() == []
    experiment = client.get_experiment_by_name(names["experiment"])
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"


def test_a_bundle_that_is_not_there(
    registry: MlflowRegistry, tmp_path: Path, data: DataRange
) -> None:
    with pytest.raises(RegistryError, match="nowhere: there is no bundle"):
        registry.register(tmp_path / "nowhere", params={}, metrics={}, data=data)


def test_a_deleted_experiment_is_named(
    registry: MlflowRegistry, register: Any, client: Any, names: dict[str, str]
) -> None:
    register(registry, 1.0)
    experiment = client.get_experiment_by_name(names["experiment"])
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(RegistryError, match=f"{names['experiment']}' is deleted; restore it"):
        register(registry, 2.0)
