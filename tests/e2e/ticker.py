"""A process that ticks as a worker does, without Prefect: `python ticker.py CONFIG INTERVAL_S`.

Prints one line per tick: `tick LEADER PLANNED APPLIED`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pla.runtime import Runtime
from pla.settings import load


def main() -> None:
    """Ticks until it is killed."""
    settings = load(Path(sys.argv[1]))
    interval_s = float(sys.argv[2])
    runtime = Runtime.open(settings)
    while True:
        began_s = time.monotonic()
        report = runtime.tick()
        print("tick", report.leader, len(report.plan), report.applied, flush=True)
        for line in report.errors:
            print("error", line, flush=True)
        time.sleep(max(interval_s - (time.monotonic() - began_s), 0.0))


if __name__ == "__main__":
    main()
