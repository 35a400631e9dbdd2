"""A usage trace (DESIGN 7) of CPU and memory out of an array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray


def write(
    path: Path, names: Sequence[str], usage: NDArray[np.floating], start_s: int, step_s: int
) -> None:
    """Write `usage` (step, 2, workload) [cores, bytes] of the workloads `names` to `path`."""
    steps = len(usage)
    time_ms = (start_s + step_s * np.arange(steps)) * 1000
    tables = [
        pa.table(
            {
                "workload": [name] * steps,
                "timestamp": pa.array(time_ms, pa.timestamp("ms", tz="UTC")),
                "cpu_cores_used": usage[:, 0, row],
                "memory_bytes_used": usage[:, 1, row],
            }
        )
        for row, name in enumerate(names)
    ]
    pq.write_table(pa.concat_tables(tables), path)
