"""A backtest decides from the past only, through the tick, and scores every policy alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pla.backtest import report
from pla.backtest.evaluation import UTILISATION, evaluate
from pla.backtest.run import actual, policies_of, replay_baseline, replay_predictive
from pla.backtest.spec import Replayed, Spec, peaks_ahead, resize_count
from pla.core.baselines import NAMES
from pla.settings import Settings, load
from pla.sources.trace import Trace
from pla.training.on_trace import trained_on

STEP_S = 300
DAY = 288
START_S = 1_700_006_400 // 86_400 * 86_400
RESOURCES = ("cpu", "memory")


@pytest.fixture(scope="module")
def trace() -> Trace:
    """Twelve workloads, five days: daily waves, bursts, a late arrival, gaps."""
    random = np.random.default_rng(11)
    steps, workloads = 5 * DAY, 12
    time = np.arange(steps)[:, None]
    phase = random.uniform(0, 2 * np.pi, workloads)
    level = random.gamma(2.0, 0.3, workloads)
    cpu = level * (1.2 + np.sin(2 * np.pi * time / DAY + phase))
    cpu = cpu * random.gamma(30.0, 1 / 30, (steps, workloads))
    cpu[random.random((steps, workloads)) < 0.01] *= 3.0
    memory = 1e9 * level * (1 + 0.2 * np.sin(2 * np.pi * time / DAY + phase))
    values = np.stack([cpu, memory], axis=1).astype(np.float32)
    values[: int(3.6 * DAY), :, 11] = np.nan  # appears after the training period
    values[random.random(values.shape) < 0.01] = np.nan
    return Trace(
        workloads=tuple(f"w{row:02d}" for row in range(workloads)),
        resources=RESOURCES,
        values=values,
        allocated=None,
        start_s=START_S,
        step_s=STEP_S,
        duplicates=0,
    )


@pytest.fixture(scope="module")
def spec() -> Spec:
    return Spec(
        resources=RESOURCES,
        train_until_s=START_S + 3 * 86_400,
        start_s=START_S + int(3.5 * 86_400),
        end_s=START_S + 5 * 86_400,
        tick_s=STEP_S,
        lead_s=0,
        hold_s=STEP_S,
        tier="standard",
    )


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load(environ={"PLA_RETRAIN__ROUNDS": "20", "PLA_RETRAIN__THREADS": "1"})


def replay(trace: Trace, spec: Spec, settings: Settings) -> Replayed:
    return replay_predictive(trace, spec, trained_on(trace, spec, settings), settings)


@pytest.fixture(scope="module")
def replayed_whole(trace: Trace, spec: Spec, settings: Settings) -> Replayed:
    return replay(trace, spec, settings)


def cut(trace: Trace, until_s: int) -> Trace:
    """The trace as it was at `until_s`: no later sample, nor a workload that came later."""
    steps = (until_s - trace.start_s) // trace.step_s
    values = trace.values[:steps]
    seen = np.isfinite(values).any(axis=(0, 1))
    names = tuple(name for name, kept in zip(trace.workloads, seen, strict=True) if kept)
    return replace(trace, values=values[:, :, seen], workloads=names)


@pytest.mark.parametrize("hours", [14, 20])
def test_cutting_the_trace_leaves_every_row_before_unchanged(
    trace: Trace,
    spec: Spec,
    settings: Settings,
    replayed_whole: Replayed,
    tmp_path: Path,
    hours: int,
) -> None:
    until_s = spec.train_until_s + hours * 3600
    early = cut(trace, until_s)
    replays = (trace, replayed_whole), (early, replay(early, spec, settings))
    tables = []
    for number, (part, replayed) in enumerate(replays):
        path = tmp_path / f"{number}.parquet"
        report.write_allocations(path, [replayed], spec, part)
        tables.append(pq.read_table(path))
    cut_at = pa.scalar(until_s * 1000, pa.timestamp("ms", tz="UTC"))
    # The row at the cut itself is decided from samples strictly before it: it is kept, too.
    keep = pc.less_equal(tables[0]["timestamp"], cut_at)
    whole = tables[0].filter(keep)
    keep = pc.less_equal(tables[1]["timestamp"], cut_at)
    assert len(whole) > 500
    assert whole.equals(tables[1].filter(keep))


def test_the_predictive_policy_is_cheaper_than_the_request_and_keeps_its_promise(
    trace: Trace, spec: Spec, replayed_whole: Replayed
) -> None:
    results = evaluate(replayed_whole, actual(trace, spec), spec, promise=0.01)
    for result in results:
        assert result.score.violation_rate < 0.03
        assert result.score.excess < 2.0
        assert result.coverage[0.5] == pytest.approx(0.5, abs=0.15)
        assert result.coverage[0.99] > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_baselines_are_causal_too(trace: Trace, spec: Spec, name: str) -> None:
    if name == "oracle":
        return  # it is meant not to be
    until_s = spec.start_s + 6 * 3600
    part = cut(trace, until_s)
    whole = replay_baseline(name, trace, spec)
    early = replay_baseline(name, part, spec)
    rows = [trace.workloads.index(workload) for workload in part.workloads]
    decisions = (until_s - spec.start_s) // spec.tick_s + 1
    np.testing.assert_array_equal(whole.amounts[:decisions][:, :, rows], early.amounts[:decisions])


def test_the_oracle_never_violates_and_never_wastes(trace: Trace, spec: Spec) -> None:
    replayed = replay_baseline("oracle", trace, spec)
    for result in evaluate(replayed, actual(trace, spec), spec, 0.01):
        assert result.score.violation_rate == 0.0
        assert result.score.excess == pytest.approx(0.0, abs=1e-6)


def test_a_lead_shifts_effects_and_what_they_are_scored_on(trace: Trace, spec: Spec) -> None:
    later = replace(spec, lead_s=2 * STEP_S)
    assert (later.effect_times_s - spec.effect_times_s == 2 * STEP_S).all()
    at = (later.start_s + later.lead_s - trace.start_s) // STEP_S
    np.testing.assert_array_equal(actual(trace, later)[0], trace.values[at])
    oracle = replay_baseline("oracle", trace, later)
    scores = evaluate(oracle, actual(trace, later), later, 0.01)
    assert all(result.score.violation_rate == 0 for result in scores)


def test_peaks_ahead_and_resizes_by_hand() -> None:
    usage = np.array([1.0, 3.0, 2.0, np.nan], dtype=np.float32)[:, None]
    assert peaks_ahead(usage, 2)[:, 0].tolist()[:3] == [3.0, 3.0, 2.0]
    amounts = np.array([[[1.0]], [[1.0]], [[2.0]], [[np.nan]], [[3.0]]])
    assert resize_count(amounts).tolist() == [[1]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tick_s": 700}, "must divide an hour"),
        ({"start_s": START_S + 100}, "--start is not a whole number"),
        ({"start_s": START_S}, "--train-until <= --start"),
        ({"hold_s": 0}, "--hold must cover"),
    ],
)
def test_a_contradictory_period_is_refused(spec: Spec, change: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(spec, **change)


def test_policies_are_named_or_all() -> None:
    assert next(iter(policies_of("all"))) == "predictive"
    wanted = "vpa, max:45m, seasonal:30m"
    assert policies_of(wanted) == ["vpa", "max:45m", "seasonal:30m"]
    with pytest.raises(ValueError, match="no policy 'magic': there are persistence"):
        policies_of("magic")
    with pytest.raises(ValueError, match="'soon' is no duration"):
        policies_of("max:soon")


def test_every_kind_of_workload_is_scored_apart(trace: Trace, spec: Spec) -> None:
    replayed = replay_baseline("max:3h", trace, spec)
    result = evaluate(replayed, actual(trace, spec), spec, 0.01)[0]
    thirds = [result.strata[name].rows for name in UTILISATION]
    assert sorted(np.concatenate(thirds).tolist()) == list(range(12))
    level = np.nanmean(actual(trace, spec)[:, 0], axis=0)
    assert level[thirds[0]].max() < level[thirds[2]].min()
    told = result.to_dict()["strata"]["busy third"]
    assert told["workloads"] == len(thirds[2])
    assert told["excess_at_slo_attainment"]["1.0%"] == result.excess(0.01, stratum="busy third")
    alone = result.sweep.excess_at(0.01, rows=thirds[2])[0]
    assert told["excess_at_slo_attainment"]["1.0%"] == alone


def test_allocations_are_written_as_the_contract_says(
    tmp_path: Path, trace: Trace, spec: Spec
) -> None:
    replayed: Replayed = replay_baseline("max:1h", trace, spec)
    path = tmp_path / "deep" / "allocations.parquet"
    rows = report.write_allocations(path, [replayed], spec, trace)
    table = pq.read_table(path)
    assert table.num_rows == rows
    assert table.schema.names == ["workload", "resource", "timestamp", "allocated"]
    first = table.slice(0, 1).to_pylist()[0]
    assert first["timestamp"].timestamp() == spec.start_s
