"""`pla up --ticks 20` in a fresh home, seen from the databases of Prefect, MLflow and the store."""

from __future__ import annotations

import itertools
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

TICKS = 20


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    """The answer of `query`, read only."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def main() -> None:
    """Prints how many runs completed, and how late after their schedule they started."""
    with tempfile.TemporaryDirectory(prefix="pla-bench-") as folder:
        home = Path(folder)
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "pla.cli", "up", "--ticks", str(TICKS), "--no-browser"],
            check=True,
            env={**os.environ, "PLA_HOME": folder},
            stdout=subprocess.DEVNULL,
        )
        print(f"pla up --ticks {TICKS}: exit 0 after {time.monotonic() - began:.0f} s")
        _print_runs(home / "prefect" / "prefect.db")
        aliases = rows(home / "mlflow.db", "select alias, version from registered_model_aliases")
        print(f"MLflow aliases: {aliases}")
        decided = rows(home / "store.db", "select status, count(*) from decisions group by 1")
        print(f"decisions by outcome: {decided}")


def _print_runs(database: Path) -> None:
    runs = rows(
        database,
        "select f.name, r.expected_start_time, r.start_time, r.end_time from flow_run r "
        "join flow f on f.id = r.flow_id where r.state_type = 'COMPLETED'",
    )
    ticks = sorted(
        tuple(datetime.fromisoformat(moment) for moment in run[1:])
        for run in runs
        if run[0] == "predict-and-actuate"
    )
    late = sorted((start - due).total_seconds() for due, start, _ in ticks)
    by_start = sorted(ticks, key=lambda run: run[1])
    overlaps = sum(former[2] > later[1] for former, later in itertools.pairwise(by_start))
    others = len(runs) - len(ticks)
    print(
        f"completed: {len(ticks)} predict-and-actuate, {others} retrain; started after schedule "
        f"p50 {statistics.median(late):.2f} s, p95 {late[int(0.95 * len(late))]:.2f} s; "
        f"{overlaps} overlap"
    )
