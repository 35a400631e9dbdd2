"""Small simulated clusters and traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actuators.simulator import ClusterOptions, Demand, Inventory, SimulatedCluster

STEP_S = 300
START_S = 1_760_313_600  # a Monday, 2025-10-13T00:00:00Z
MIB = 1024.0**2

Build = Callable[..., SimulatedCluster]


@pytest.fixture
def build_cluster() -> Build:
    """`build(used={resource: [[step 0's workloads], ...]}, request={resource: [...]}, ...)`.

    The trace begins one step before the simulation: `used[...][0]` is history. Nodes are
    unlimited unless the options say otherwise.
    """

    def build(
        used: Mapping[str, Any],
        request: Mapping[str, Any],
        *,
        replicas: int = 1,
        journal: Any = None,
        tiers: tuple[str, ...] | None = None,
        **options: Any,
    ) -> SimulatedCluster:
        values = np.array([used[name] for name in used], dtype=np.float64).transpose(1, 0, 2)
        workloads = values.shape[2]
        names = tuple(f"w{row}" for row in range(workloads))
        demand = Demand.from_arrays(
            names, tuple(used), values, start_s=START_S - STEP_S, step_s=STEP_S
        )
        facts = Inventory(
            names=names,
            tiers=tiers or ("standard",) * workloads,
            replicas=np.full(workloads, replicas),
            request=np.array([request[name] for name in used], dtype=np.float64),
        )
        options.setdefault("node_capacity", {})
        options.setdefault("lead_s", 0.0)
        options.setdefault("nodes", 1)
        return SimulatedCluster(demand, facts, START_S, ClusterOptions(**options), journal)

    return build


@pytest.fixture(scope="session")
def trace_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A usage trace of four workloads over eight days, with a gap and without one allocation."""
    steps = np.arange(8 * 288)
    rows: dict[str, list[Any]] = {name: [] for name in ("workload", "timestamp")}
    columns: dict[str, list[Any]] = {
        "cpu_cores_used": [],
        "cpu_cores_allocated": [],
        "memory_bytes_used": [],
    }
    for number in range(4):
        day = np.sin(2 * np.pi * (steps / 288 + number / 4))
        kept = steps[(steps < 500) | (steps >= 520)] if number == 1 else steps
        rows["workload"] += [f"app-{number}"] * len(kept)
        rows["timestamp"] += (START_S + kept * STEP_S).tolist()
        columns["cpu_cores_used"] += (0.5 + 0.4 * day)[kept].tolist()
        columns["cpu_cores_allocated"] += [None if number == 3 else 1.0] * len(kept)
        columns["memory_bytes_used"] += ((200 + 100 * day)[kept] * MIB).tolist()
    table = pa.table(
        {
            "workload": pa.array(rows["workload"]),
            "timestamp": pa.array(rows["timestamp"], pa.timestamp("s", tz="UTC")),
            **{name: pa.array(values, pa.float32()) for name, values in columns.items()},
        }
    )
    path = tmp_path_factory.mktemp("trace") / "usage.parquet"
    pq.write_table(table, path)
    return path
