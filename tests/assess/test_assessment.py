"""The figures of a whole run equal what is computed from the trace itself."""

from __future__ import annotations

import csv
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pla.assess.history import History, read
from pla.assess.question import Question
from pla.clock import SystemClock
from pla.sources.prometheus import PrometheusOptions

pytestmark = pytest.mark.prometheus

RESOURCES = ("cpu", "memory")
PRICE = np.array([0.03, 0.004 / 1024**3]) * 730
STEP_S = 300
SCORED = 432
"""A quarter of six days is less than three days."""


@pytest.fixture(scope="module")
def told(written: Any) -> dict[str, Any]:
    assert written.ran.code == 0, written.ran.err
    found: dict[str, Any] = json.loads(written.ran.out)
    return found


def cell(told: dict[str, Any], uri: str, resource: str) -> dict[str, Any]:
    (workload,) = (w for w in told["workloads"] if w["workload"] == uri)
    found: dict[str, Any] = workload["resources"][resource]
    return found


def instances_use(known: Any) -> np.ndarray:
    """How many busiest instances all instances together are."""
    return 1 + 0.5 * (known.replicas - 1)


def test_usage_is_that_of_the_trace(told: dict[str, Any], known: Any) -> None:
    assert {w["workload"] for w in told["workloads"]} == set(known.uris)
    for row, uri in enumerate(known.uris):
        for column, resource in enumerate(RESOURCES):
            used = known.usage[:, column, row]
            used = used[np.isfinite(used)]
            found = cell(told, uri, resource)
            got = [found["used_mean"], found["used_p95"], found["used_max"]]
            want = [used.mean(), np.percentile(used, 95), used.max()]
            # After a workload's end its last rate may last for two steps.
            tolerance = 0.02 if np.isnan(known.usage[-1, 0, row]) else 1e-4
            np.testing.assert_allclose(got, want, rtol=tolerance, err_msg=f"{uri} {resource}")


def test_risk_is_that_of_the_trace(told: dict[str, Any], known: Any) -> None:
    some = 0
    for row, uri in enumerate(known.uris):
        for column, resource in enumerate(RESOURCES):
            used, request = known.usage[:, column, row], known.request[column, row]
            found = cell(told, uri, resource)
            if np.isnan(request):
                assert found["at_risk"] is None and found["request"] is None
                continue
            assert found["request"] == pytest.approx(request)
            assert found["limit"] == pytest.approx(2 * request)
            used = used[np.isfinite(used)]
            at_risk = (used >= 0.95 * request).mean()
            assert found["at_risk"] == pytest.approx(at_risk, abs=0.004), (uri, resource)
            some += at_risk > 0.02
        expected = 1 if row in known.kills else 0
        assert cell(told, uri, "memory")["kills"] == expected, uri
    assert some > 3, "the recording has nothing at risk: this test would show nothing"


def money_now(known: Any) -> np.ndarray:
    """Per month, (resource, workload)."""
    lived = np.isfinite(known.usage[-SCORED:]).mean(axis=0)
    return np.asarray(lived * known.request * known.replicas * PRICE[:, None])


def test_money_and_waste_are_those_of_the_trace(told: dict[str, Any], known: Any) -> None:
    now = money_now(known)
    used = known.usage[-SCORED:] * instances_use(known)
    spare = np.maximum(known.request * known.replicas - used, 0)
    wasted = np.nan_to_num(spare).mean(axis=0) * PRICE[:, None]
    for row, uri in enumerate(known.uris):
        for column, resource in enumerate(RESOURCES):
            found = cell(told, uri, resource)
            if now[column, row] > 0:
                got = [found["policies"]["now"]["month"], found["wasted_month"]]
                want = [now[column, row], wasted[column, row]]
                np.testing.assert_allclose(got, want, rtol=1e-3, err_msg=f"{uri} {resource}")
                over = known.usage[-SCORED:, column, row] > known.request[column, row]
                assert found["policies"]["now"]["violations"] == pytest.approx(
                    over.mean(), abs=0.01
                )
            else:
                assert "now" not in found["policies"], uri
    total = told["total"]
    assert total["policies"]["now"]["month"] == pytest.approx(np.nansum(now), rel=1e-3)
    comparable = np.isfinite(known.request)
    assert total["wasted_month"] == pytest.approx(wasted[comparable].sum(), rel=1e-3)
    for name in ("pla", "vpa", "krr"):
        policy = total["policies"][name]
        assert policy["saved"] == pytest.approx(np.nansum(now) - policy["month"], rel=1e-3)


@pytest.fixture(scope="module")
def replayed(
    known: Any, pla: Any, server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> pd.DataFrame:
    """What `pla backtest` sets on the same usage, read from the server into a trace file."""
    folder = tmp_path_factory.mktemp("replayed")
    pq.write_table(as_table(history_of(server_url, known)), folder / "trace.parquet")
    start = str(np.datetime64(known.end_s - SCORED * STEP_S, "s"))
    ran = pla(
        "backtest", str(folder / "trace.parquet"), "--train-until", start, "--start", start,
        "--end", str(np.datetime64(known.end_s, "s")), "--policy", "predictive,vpa,krr",
        "--allocations", str(folder / "amounts.parquet"), "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    found: pd.DataFrame = pq.read_table(folder / "amounts.parquet").to_pandas()
    return found


def history_of(url: str, known: Any) -> History:
    options = PrometheusOptions(url, labels={"cluster": "prod"}, timeout_s=60.0)
    question = Question(known.start_s, known.end_s, STEP_S)
    return read(options, question, known.uris, SystemClock(), lambda what, share: None)


def as_table(history: History) -> pa.Table:
    """In the usage trace's schema."""
    times = (history.start_s + STEP_S * np.arange(history.steps)) * 1000
    tables = []
    for row, uri in enumerate(history.workloads):
        columns: dict[str, Any] = {
            "workload": [uri] * history.steps,
            "timestamp": pa.array(times, pa.timestamp("ms", tz="UTC")),
        }
        for column, name in enumerate(("cpu_cores", "memory_bytes")):
            columns[f"{name}_used"] = history.usage[:, column, row]
            columns[f"{name}_allocated"] = history.allotted[:, column, row]
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def test_amounts_are_those_of_a_backtest(
    told: dict[str, Any], known: Any, replayed: pd.DataFrame
) -> None:
    means = replayed.groupby(["policy", "resource", "workload"])["allocated"].mean()
    compared = 0
    for policy, name in (("vpa", "vpa"), ("krr", "krr"), ("predictive", "pla")):
        for row, uri in enumerate(known.uris):
            if np.isnan(known.usage[-1, 0, row]):
                assert not cell(told, uri, "cpu")["policies"], "it ended before the scored part"
                continue
            for resource in RESOURCES:
                got = cell(told, uri, resource)["policies"][name]["amount"]
                want = means[policy, resource, uri]
                assert got == pytest.approx(want, rel=1e-5), (name, uri, resource)
                compared += 1
    assert compared == 3 * 2 * (len(known.uris) - 1)


def test_the_total_follows_from_the_amounts(
    told: dict[str, Any], known: Any, replayed: pd.DataFrame
) -> None:
    for policy, name in (("vpa", "vpa"), ("krr", "krr"), ("predictive", "pla")):
        month, over, samples = 0.0, np.zeros(2), np.zeros(2)
        own = replayed[replayed["policy"] == policy]
        for row, uri in enumerate(known.uris):
            for column, resource in enumerate(RESOURCES):
                used = known.usage[-SCORED:, column, row]
                if np.isnan(used).all() or np.isnan(known.request[column, row]):
                    continue
                chosen = (own["workload"] == uri) & (own["resource"] == resource)
                amount = own[chosen].sort_values("timestamp")["allocated"].to_numpy()
                month += amount.mean() * known.replicas[row] * PRICE[column]
                over[column] += (used > amount).sum()
                samples[column] += SCORED
        total = told["total"]["policies"][name]
        assert total["month"] == pytest.approx(month, rel=1e-4), name
        got = [total["violations"][resource] for resource in RESOURCES]
        np.testing.assert_allclose(got, over / samples, atol=1e-3, err_msg=name)


def test_a_reader_is_told_what_is_special(told: dict[str, Any]) -> None:
    notes = "; ".join(told["notes"])
    assert "8 days were asked for, the server holds 6.0" in notes
    assert "1 workload without a sample left out: k8s://prod/shop/StatefulSet/silent/app" in notes
    assert "1 workload with neither request nor limit of a resource" in notes
    assert "do not show a week" in notes
    assert "1 workload ended before the judged days" in notes


def test_the_csv_says_the_same(told: dict[str, Any], written: Any) -> None:
    with written.csv.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(w["resources"]) for w in told["workloads"])
    for row in rows:
        found = cell(told, row["workload"], row["resource"])
        assert float(row["used_max"]) == found["used_max"]
        if row["now_month"]:
            assert float(row["now_month"]) == found["policies"]["now"]["month"]
        else:
            assert "now" not in found["policies"]


def test_only_questions_reached_the_server(written: Any) -> None:
    asked = {(r.method, r.path.partition("?")[0]) for r in written.requests}
    assert asked == {
        ("POST", "/api/v1/query_range"),
        ("POST", "/api/v1/query"),
        ("GET", "/api/v1/label/__name__/values"),
    }
    # Days and kinds of question, not workloads, decide how many there are.
    assert len(written.requests) < 8 * 20


def test_nothing_else_is_written(written: Any) -> None:
    assert {path.name for path in written.csv.parent.iterdir()} == {"a.csv", "a.html"}
