"""Policies side by side: who is best, by how much, and the file of their amounts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pla.backtest.evaluation import Result
from pla.backtest.spec import Replayed, Spec
from pla.core import scoring
from pla.sources.trace import Trace

RESAMPLES = 200


def best_baseline(results: Sequence[Result], resource: str, rate: float) -> Result | None:
    """The cheapest policy at `rate`, margins tuned, that is neither PLA nor sees the future."""
    rivals = [
        r
        for r in results
        if r.resource == resource and not r.policy.startswith(("predictive", "oracle"))
    ]
    return min(rivals, key=lambda r: r.excess(rate), default=None)


def interval(ours: Result, other: Result, rate: float, seed: int = 0) -> tuple[float, float, float]:
    """(ratio, 5 %, 95 %) of the two excesses at `rate`, bootstrapped over workloads."""
    rows = np.flatnonzero(ours.sweep.samples > 0)
    drawn = np.random.default_rng(seed).choice(rows, (RESAMPLES, len(rows)))
    return scoring.ratio_interval(ours.sweep, other.sweep, rate, drawn)


def write_allocations(path: Path, replays: Sequence[Replayed], spec: Spec, trace: Trace) -> int:
    """The amounts in force, one row per workload, resource and effect time; returns the rows.

    Schema: `workload, resource, timestamp, allocated`, and `policy` where there are several.
    """
    tables = []
    for replayed in replays:
        step, column, row = np.nonzero(np.isfinite(replayed.amounts))
        columns = {
            "workload": pa.array(np.array(trace.workloads, dtype=object)[row], pa.string()),
            "resource": pa.array(np.array(spec.resources, dtype=object)[column], pa.string()),
            "timestamp": pa.array(spec.effect_times_s[step] * 1000, pa.timestamp("ms", tz="UTC")),
            "allocated": pa.array(replayed.amounts[step, column, row].astype(np.float64)),
        }
        if len(replays) > 1:
            columns["policy"] = pa.array([replayed.policy] * len(row), pa.string())
        tables.append(pa.table(columns))
    table = pa.concat_tables(tables).sort_by(
        [("workload", "ascending"), ("resource", "ascending"), ("timestamp", "ascending")]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    pq.write_table(table, beside, compression="zstd")
    beside.replace(path)
    return int(table.num_rows)
