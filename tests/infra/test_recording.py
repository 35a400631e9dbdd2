"""The committed recording is whole, keeps its contract, and is explained by its generator."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.recorder.catalogue import workloads
from infra.recorder.rates import generate
from infra.recorder.session import bins_for

RECORDING = Path(__file__).resolve().parents[2] / "infra" / "recorder" / "recording"
STEP = pd.Timedelta("300s")
FILES = {"usage.parquet", "arrivals.parquet", "commands.log", "host.json", "workloads.json"}


@pytest.fixture(scope="module")
def usage() -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(RECORDING / "usage.parquet").to_pandas()
    return frame


@pytest.fixture(scope="module")
def arrivals() -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(RECORDING / "arrivals.parquet").to_pandas()
    return frame


@pytest.fixture(scope="module")
def host() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((RECORDING / "host.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def declared() -> pd.DataFrame:
    return pd.DataFrame(json.loads((RECORDING / "workloads.json").read_text())).set_index("name")


def test_checksums_cover_every_file_and_hold() -> None:
    lines = (RECORDING / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert set(sums) == FILES == {p.name for p in RECORDING.iterdir()} - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((RECORDING / name).read_bytes()).hexdigest() == digest, name


def test_size_stays_committable() -> None:
    parquet = sum((RECORDING / f"{name}.parquet").stat().st_size for name in ("usage", "arrivals"))
    assert parquet <= 8 * 2**20


def test_schema_is_the_usage_trace_contract() -> None:
    schema = pq.read_schema(RECORDING / "usage.parquet")
    assert schema.field("workload").type == pa.string()
    assert schema.field("timestamp").type.tz == "UTC"
    numbers = {name for name in schema.names if name not in ("workload", "timestamp")}
    assert numbers >= {"cpu_cores_used", "memory_bytes_used", "storage_bytes_used"}
    assert numbers >= {"cpu_cores_allocated", "memory_bytes_allocated"}
    assert all(schema.field(name).type == pa.float32() for name in numbers)
    arrivals = pq.read_schema(RECORDING / "arrivals.parquet")
    assert arrivals.names == ["pool", "timestamp", "count"]


def test_sixty_workloads_over_ten_days(usage: pd.DataFrame) -> None:
    assert usage["workload"].nunique() >= 60
    assert usage["timestamp"].max() - usage["timestamp"].min() >= pd.Timedelta("10D")
    assert usage["timestamp"].min() == pd.Timestamp("2026-10-05T00:05Z")
    assert usage["timestamp"].min().day_of_week == 0


def test_rows_are_sorted_unique_and_on_the_grid(usage: pd.DataFrame) -> None:
    keys = pd.MultiIndex.from_frame(usage[["workload", "timestamp"]])
    assert keys.is_monotonic_increasing
    assert keys.is_unique
    assert (usage["timestamp"] == usage["timestamp"].dt.floor(STEP)).all()


def test_missing_samples_are_those_that_host_json_admits(
    usage: pd.DataFrame, host: dict[str, Any]
) -> None:
    per_workload = usage.groupby("workload").size()
    assert (per_workload == host["samples_taken"]).all()
    assert host["samples_expected"] == host["samples_taken"] + host["samples_missed"]
    assert host["samples_missed"] < 0.01 * host["samples_expected"]
    assert host["usage_rows"] == len(usage)


def test_values_are_finite_and_never_negative(usage: pd.DataFrame) -> None:
    for column in ("cpu_cores_used", "memory_bytes_used"):
        assert np.isfinite(usage[column]).all()
    numbers = usage.drop(columns=["workload", "timestamp"])
    assert not (numbers < 0).to_numpy().any()
    assert (usage["cpu_cores_used"] <= 2.2).all()


def test_all_together_stay_below_the_machine(usage: pd.DataFrame, host: dict[str, Any]) -> None:
    total = usage.groupby("timestamp")["cpu_cores_used"].sum()
    assert 0.3 < total.mean() < 1.2
    assert total.mean() == pytest.approx(host["total_cpu_cores"]["mean"], abs=1e-3)
    assert usage.groupby("timestamp")["memory_bytes_used"].sum().max() < 6 * 2**30


def test_no_workload_is_dead(usage: pd.DataFrame) -> None:
    by_name = usage.groupby("workload")
    assert (by_name["cpu_cores_used"].max() > 1e-5).all()
    assert (by_name["cpu_cores_used"].std() > 0).all()
    assert (by_name["memory_bytes_used"].max() > 0).all()


def test_allocated_is_the_request_declared_before(
    usage: pd.DataFrame, declared: pd.DataFrame
) -> None:
    catalogue = {w.name: w for w in workloads()}
    by_name = usage.groupby("workload")
    for column, key, unit in (
        ("cpu_cores_allocated", "cpu_request_cores", 1),
        ("memory_bytes_allocated", "memory_request_mib", 2**20),
    ):
        assert (by_name[column].nunique() == 1).all()
        recorded = by_name[column].first()
        assert np.allclose(recorded, declared[key].loc[recorded.index] * unit, rtol=1e-6)
        for name, value in declared[key].items():
            assert value == getattr(catalogue[str(name)], key), name
    assert set(declared["tier"]) == {"critical", "standard", "burstable"}
    assert (~declared["program"].str.startswith("python:")).sum() >= 20


def test_the_committed_generator_drove_it(usage: pd.DataFrame, host: dict[str, Any]) -> None:
    """Hourly CPU of services without deploys follows the demand that seed and catalogue give."""
    bins = bins_for(host["planned_duration_s"], host["stretch"])
    for workload in workloads():
        if workload.kind != "service" or workload.profile.daily < 0.7 or workload.events:
            continue
        rate = generate(workload.profile, workload.name, host["seed"], bins).rate
        used = usage[usage["workload"] == workload.name].set_index("timestamp")["cpu_cores_used"]
        hourly = used.resample("1h", closed="right", label="left").mean().dropna()
        since_start = pd.DatetimeIndex(hourly.index) - pd.Timestamp("2026-10-05T00Z")
        hours = np.asarray(since_start // pd.Timedelta("1h"), dtype=int)
        asked = rate[: len(rate) // 60 * 60].reshape(-1, 60).mean(axis=1)
        inside = hours < len(asked)
        found = np.corrcoef(asked[hours[inside]], hourly[inside])[0, 1]
        assert found > 0.7, (workload.name, found)


def test_commands_log_names_real_programs_and_no_machine_path(declared: pd.DataFrame) -> None:
    log = (RECORDING / "commands.log").read_text()
    started = set(re.findall(r"^\S+ \S+ (\S+) start ", log, re.MULTILINE))
    assert started >= set(declared.index)
    assert len(re.findall(r" deploy \S+=", log)) >= 8
    assert len(re.findall(r" restart$", log, re.MULTILINE)) >= 6
    for word in ("nginx -p", "bin/postgres -D", "redis-server --port", "memcached", "HeapService"):
        assert word in log, word
    assert not re.search(r"(/tmp|/work|/root|/home)/", log)


def test_host_json_says_what_it_ran_on_and_that_time_is_stretched(host: dict[str, Any]) -> None:
    assert host["stretch"] * host["sample_real_s"] == STEP.total_seconds()
    assert host["accounting"].startswith("cgroup")
    for program in ("nginx", "postgres", "redis-server", "memcached", "java", "gzip", "git"):
        assert re.search(r"\d", host["versions"][program]), program
    assert {"cpu_model", "cores", "kernel", "memory_bytes", "real_start"} <= set(host)


def test_arrivals_are_counts_of_known_pools(
    arrivals: pd.DataFrame, declared: pd.DataFrame, usage: pd.DataFrame
) -> None:
    assert 6 <= arrivals["pool"].nunique() <= 20
    assert set(arrivals["pool"]) <= set(declared.index)
    assert (arrivals["count"] > 0).all()
    keys = pd.MultiIndex.from_frame(arrivals[["pool", "timestamp"]])
    assert keys.is_monotonic_increasing
    assert keys.is_unique
    assert (arrivals["timestamp"] == arrivals["timestamp"].dt.floor("60s")).all()
    assert arrivals["timestamp"].max() <= usage["timestamp"].max() + STEP


def test_cpu_follows_the_served_requests(arrivals: pd.DataFrame, usage: pd.DataFrame) -> None:
    """Two independent measurements agree: the client's count and the server's CPU."""
    for pool in ("web-frontend-2", "web-frontend-3", "order-router"):
        served = arrivals[arrivals["pool"] == pool].set_index("timestamp")["count"]
        per_step = served.resample(STEP, closed="right", label="right").sum()
        used = usage[usage["workload"] == pool].set_index("timestamp")["cpu_cores_used"]
        both = pd.concat([per_step, used], axis=1, join="inner")
        assert both.corr().to_numpy()[0, 1] > 0.8, pool
