"""The real worker process around a stand-in runtime, which writes a line per tick to a journal.

Run by tests as a program: `python standin_worker.py --config F`. How long a tick lasts is read
from the file `tick-seconds` in the home, at every tick.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np

from flows import worker
from pla.core.plan import Plan
from pla.settings import Settings
from pla.tick import StepWrapper, TickReport, run_step

STEPS = ("observe", "collect", "featurise", "forecast", "recommend", "plan", "actuate")


def empty_plan() -> Plan:
    """A plan that changes nothing."""
    rows = np.empty(0, dtype=np.int32)
    amounts = np.empty(0)
    flags = np.empty(0, dtype=np.int32)
    return Plan(rows, rows, amounts, amounts, flags, rows, rows, amounts, rows, np.empty((0, 0)))


class StandInRuntime:
    """Runs the seven steps, which do nothing but take their time, and keeps a journal."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def tick(self, step: StepWrapper = run_step) -> TickReport:
        began = time.time()
        for name in STEPS:
            step(name, lambda: None)
        slow = self._home / "tick-seconds"
        time.sleep(float(slow.read_text()) if slow.exists() else 0.0)
        self._write("tick", began, own_timer=step is run_step)
        return self._report(began)

    def deploy(self, workload: str, version: str, step: StepWrapper = run_step) -> TickReport:
        began = time.time()
        self._write("deploy", began, workload=workload, version=version)
        return self._report(began)

    def close(self) -> None:
        self._write("close", time.time())

    def _write(self, kind: str, began: float, **more: Any) -> None:
        line = {"kind": kind, "pid": os.getpid(), "began": began, "ended": time.time(), **more}
        with (self._home / "journal.jsonl").open("a") as journal:
            journal.write(json.dumps(line) + "\n")

    def _report(self, at_s: float) -> TickReport:
        nothing = cast(Any, None)
        return TickReport(
            at_s=at_s,
            cutoff_s=int(at_s),
            model_version="stand-in",
            leader=True,
            paused=False,
            fleet=nothing,
            situation=nothing,
            forecast=nothing,
            recommendation=nothing,
            plan=empty_plan(),
            outcomes=[],
            errors=[],
        )


def open_standin(settings: Settings) -> StandInRuntime:
    """What `flows.worker` calls instead of opening the real runtime."""
    return StandInRuntime(settings.home)


if __name__ == "__main__":
    sys.exit(worker.main(opener=open_standin))
