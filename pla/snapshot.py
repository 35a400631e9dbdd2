"""What the last tick saw and decided, published for readers: one Arrow IPC file, replaced whole.

Readers (the API, the command line) never wait for a tick, and a tick never for them.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc

from pla.core.policy import at_quantile
from pla.tick import TickReport

FORMAT = "1"


def table_of(report: TickReport) -> pa.Table:
    """One row per workload and resource that exists; amounts in the resource's unit."""
    fleet, advice, situation = report.fleet, report.recommendation, report.situation
    row, column = np.nonzero(fleet.workloads.support)
    tiers = np.array([tier.name for tier in fleet.tiers])
    predicted = at_quantile(report.forecast, fleet.by_tier("quantile"))
    ids = np.array(fleet.workloads.ids, dtype=object)
    columns = {
        "workload": pa.array(ids[row], pa.string()),
        "resource": pa.array(np.array(fleet.resources, dtype=object)[column], pa.string()),
        "tier": pa.array(tiers[fleet.workloads.tier][row].tolist(), pa.string()),
        "mode": pa.array(fleet.workloads.mode[row]),
        "current": pa.array(situation.current[row, column]),
        "usage": pa.array(situation.usage[row, column]),
        "recent_peak": pa.array(situation.recent_peak[row, column]),
        "age_s": pa.array(situation.age_s[row, column]),
        "forecast": pa.array(predicted[row, column]),
        "target": pa.array(advice.target[row, column]),
        "lower_bound": pa.array(advice.lower_bound[row, column]),
        "upper_bound": pa.array(advice.upper_bound[row, column]),
        "uncapped_target": pa.array(advice.uncapped_target[row, column]),
        "reason": pa.array(advice.reason[row, column]),
    }
    metadata = {
        "format": FORMAT,
        "at_s": repr(report.at_s),
        "cutoff_s": str(report.cutoff_s),
        "model_version": report.model_version,
        "leader": str(report.leader),
        "errors": "\n".join(report.errors),
    }
    return pa.table(columns).replace_schema_metadata(metadata)


def publish(report: TickReport, path: Path) -> None:
    """Write the snapshot beside `path` and rename it over: readers see the old or the new one.

    Raises:
        OSError: it cannot be written; the former one stays.
    """
    table = table_of(report)
    # Of this process alone: `pla tick` beside a worker must not write into the same file.
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with pa.OSFile(str(beside), "wb") as sink, ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: Path) -> pa.Table:
    """The last published snapshot, memory-mapped; raises FileNotFoundError before the first."""
    with pa.memory_map(str(path), "r") as source:
        return ipc.open_file(source).read_all()
