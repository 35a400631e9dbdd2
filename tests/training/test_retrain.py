"""A whole retraining on real MLflow: what it leaves there, and whose alias it moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pla.core.fleet import UsageBlock
from pla.settings import ConfigError
from pla.training.dataset import build
from pla.training.errors import TooLittleHistory
from pla.training.retrain import RetrainReport

World = Any

pytestmark = pytest.mark.mlflow


# -- the first -----------------------------------------------------------------------------


def test_the_first_that_wins_is_the_champion(
    trained: tuple[World, RetrainReport],
) -> None:
    world, report = trained
    assert report.verdict.promote, report.words()
    assert world.aliases() == {"champion": report.version}
    assert report.champion is None
    assert report.words().startswith("model 1 is the champion now: costs less at equal coverage")
    assert report.to_dict()["promoted"] is True
    assert world.said[-1] == report.words()
    promotion = world.registry.promotion(report.version)
    assert promotion is not None
    assert promotion.by == "gate (no champion yet)"


def test_what_a_run_leaves_in_mlflow(trained: tuple[World, RetrainReport]) -> None:
    world, report = trained
    version = world.client.get_model_version("forecaster", report.version)
    run = world.client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert world.client.get_experiment(run.info.experiment_id).name == "training"
    parameters = run.data.params
    assert parameters["max_depth"] == "6"
    assert (parameters["step_s"], parameters["lead_s"], parameters["hold_s"]) == ("300", "0", "300")
    metrics = run.data.metrics
    for policy in ("challenger", "max-1h", "seasonal", "autopilot"):
        for name in ("violation_rate", "excess", "attainment", "excess_at_1pct"):
            assert f"{policy}/cpu/{name}" in metrics
    for name in ("coverage_p99", "weighted_quantile_loss", "mase", "resizes_per_workload_day"):
        assert f"challenger/memory/{name}" in metrics
    assert 0.9 < metrics["challenger/cpu/coverage_p99"] <= 1
    tags = run.data.tags
    assert tags["data.start"] == "2023-11-15T00:00:00+00:00"
    assert tags["data.end"] == "2023-11-17T00:00:00+00:00"
    assert tags["data.workloads"] == "32"
    assert tags["pla.reason"] == "no champion yet"
    assert tags["pla.gate"] == "promoted"
    plots = {item.path for item in world.client.list_artifacts(run.info.run_id, "plots")}
    names = ("backtest-cpu", "backtest-memory", "coverage", "importance")
    assert plots == {f"plots/{name}.png" for name in names}
    files = {item.path for item in world.client.list_artifacts(run.info.run_id, "bundle")}
    assert files == {"bundle/bundle.json", "bundle/cpu.ubj", "bundle/memory.ubj"}


def test_the_checksum_is_that_of_the_rows_before_the_holdout(
    trained: tuple[World, RetrainReport], before_holdout: UsageBlock
) -> None:
    world, report = trained
    run_id = world.client.get_model_version("forecaster", report.version).run_id
    tags = world.client.get_run(run_id).data.tags
    expected = build(before_holdout, ("cpu", "memory"), 0, before_holdout.step_s).checksum
    assert tags["data.sha256"] == expected


# -- against a champion --------------------------------------------------------------------


def test_a_loser_moves_no_alias(world: World) -> None:
    report = world.retrain()  # of the same data: no better than the champion
    assert not report.verdict.promote
    assert "costs 1.00 x champion at equal coverage" in report.words()
    assert report.words().startswith(f"model {report.version} was not promoted: ")
    assert world.aliases() == {"champion": "1"}
    version = world.client.get_model_version("forecaster", report.version)
    assert version.tags["pla.gate"] == "held back"
    assert "champion/cpu/excess" in world.client.get_run(version.run_id).data.metrics


def test_a_winner_replaces_the_champion_which_becomes_previous(
    world: World, promote: Callable[..., str]
) -> None:
    former = promote(world)
    report = world.retrain()
    assert report.verdict.promote, report.words()
    assert report.champion == former
    assert world.aliases() == {"champion": report.version, "previous": former}


@pytest.mark.faults
def test_a_champion_that_is_damaged_does_not_stand_in_the_way_of_its_cure(
    world: World, promote: Callable[..., str]
) -> None:
    former = promote(world)
    (world.bundle_files(former) / "cpu.ubj").write_bytes(b"cut off")
    report = world.retrain()
    assert report.verdict.promote, report.words()
    assert f"not compared with: model version {former} of forecaster arrived" in report.words()
    assert world.aliases() == {"champion": report.version, "previous": former}


def test_a_champion_for_another_hold_is_replaced_by_retraining(
    world: World, promote: Callable[..., str]
) -> None:
    former = promote(world, hold_s=600)
    report = world.retrain()
    assert report.verdict.promote, report.words()
    assert f"not compared with: model {former} was trained for (step, lead, hold)" in report.words()
    assert world.aliases()["champion"] == report.version


def test_ticks_that_are_longer_than_a_step(world: World) -> None:
    report = world.retrain(tick={"interval_s": 600})
    assert np.isfinite(report.metrics["challenger/cpu/excess"])
    assert report.metrics["challenger/cpu/coverage_p99"] > 0.9
    run_id = world.client.get_model_version("forecaster", report.version).run_id
    assert world.client.get_run(run_id).data.params["hold_s"] == "600"


# -- what cannot be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (
            {"retrain": {"minimum_history_hours": 100}},
            r"48\.0 h of usage are on record, a model needs 100 h \(retrain\.minimum_history",
        ),
        (
            {"retrain": {"holdout_days": 1.5}},
            r"2\.0 days of usage are on record; to judge on the last 1\.5 \(retrain\.holdout_days",
        ),
        ({"retrain": {"max_rows": 1000}}, r"cpu: \d+ training rows, .*use a longer history"),
    ],
)
def test_too_little_history_says_so_and_leaves_nothing(
    world: World, sections: dict[str, Any], words: str
) -> None:
    before = len(world.registry.versions())
    with pytest.raises(TooLittleHistory, match=words):
        world.retrain(**sections)
    assert len(world.registry.versions()) == before


def test_a_holdout_of_less_than_a_step_is_a_mistake(world: World) -> None:
    with pytest.raises(ConfigError, match=r"retrain\.holdout_days: 1e-06 days are less than"):
        world.retrain(retrain={"holdout_days": 1e-6})


def test_a_resource_that_nobody_uses_is_named(world: World) -> None:
    world.tree["resources"] = ("cpu", "gpu")
    with pytest.raises(TooLittleHistory, match=r"gpu: no step .* take it out of `resources`"):
        world.retrain()
