"""Open loop on a public trace: excess at SLO attainment beside every peer's policy.

Needs the Bitbrains Rnd trace (GWA-T-12) as Parquet in the folder that PLA_TRACES names; it is not
part of this repository.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Runs `pla backtest` as the README shows it."""
    folder = Path(os.environ.get("PLA_TRACES", "../shared/traces"))
    traces = [folder / f"bitbrains_rnd_2013-0{month}.parquet" for month in (7, 8)]
    missing = [path for path in traces if not path.exists()]
    if missing:
        print(f"skipped: {missing[0]} is not there; PLA_TRACES names the folder of the traces")
        return
    command = [
        sys.executable, "-m", "pla.cli", "backtest", *map(str, traces),
        "--workloads", str(folder / "bitbrains_clean_vms.txt"),
        "--train-until", "2013-08-11", "--start", "2013-08-11", "--end", "2013-08-20",
        "--policy", "all", "--tier", "burstable,standard,critical",
    ]  # fmt: skip
    subprocess.run(command, check=True)
