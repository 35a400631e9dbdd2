"""One recording from beginning to end: prepare, start, warm up, sample, stop, finalise."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.recorder.catalogue import Workload
from infra.recorder.cgroups import open_groups
from infra.recorder.clock import Clock
from infra.recorder.corpus import write_corpus
from infra.recorder.dispatch import Jobs, Schedule
from infra.recorder.executables import check_programs, program
from infra.recorder.fleet import CommandLog, Fleet, stop_process
from infra.recorder.host import describe
from infra.recorder.rates import BIN_TRACE_S, Demand
from infra.recorder.recording import finalise
from infra.recorder.sampler import LOADGEN, Sampler
from infra.recorder.servers import prepare
from infra.recorder.sites import Site, free_port

WARM_UP_S = 8.0
STORED_WORKS = ("sqlite", "fileio")


@dataclass(frozen=True)
class Plan:
    """What to record, how long and how fast; `demands` holds the bins of every chosen workload."""

    workloads: tuple[Workload, ...]
    demands: Mapping[str, Demand]
    stretch: float
    sample_s: float
    duration_s: float
    seed: int


def bins_for(duration_s: float, stretch: float) -> int:
    """Bins of 60 trace seconds that cover the recording."""
    return math.ceil(duration_s * stretch / BIN_TRACE_S) + 1


def record(plan: Plan, out: Path) -> dict[str, Any]:
    """Records, always cleans up, returns host.json's content. SIGINT and SIGTERM end it early."""
    check_programs(plan.workloads)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    spool = out / "spool"
    spool.mkdir(parents=True)
    run = Path(tempfile.mkdtemp(prefix="pla-recorder-"))
    run.chmod(0o755)
    groups = open_groups(f"pla-recorder-{os.getpid()}")
    try:
        sites = {w.name: Site(w, run / w.name, run, free_port()) for w in plan.workloads}
        write_corpus(run / "corpus", plan.seed)
        for site in sites.values():
            prepare(site, plan.seed)
        clock = Clock(
            time.monotonic() + WARM_UP_S + 0.1 * len(sites),
            plan.stretch,
            plan.sample_s,
            plan.duration_s,
        )
        meta = _meta(plan, clock, groups.kind)
        (spool / "meta.json").write_text(json.dumps(meta))
        for name in [*sites, LOADGEN]:
            groups.create(name)
        with (spool / "commands.log").open("a") as file:
            log = CommandLog(file, clock, run, out)
            (spool / "output").mkdir()
            fleet = Fleet(groups, sites, _specs(plan, clock, spool), log, spool / "output")
            sampler = Sampler(groups, list(sites), _storage(sites), clock, spool)
            _run(plan, fleet, sampler, log, spool, clock, stop)
        return finalise(out)
    finally:
        groups.remove_all()
        shutil.rmtree(run, ignore_errors=True)


def _run(
    plan: Plan,
    fleet: Fleet,
    sampler: Sampler,
    log: CommandLog,
    spool: Path,
    clock: Clock,
    stop: threading.Event,
) -> None:
    """Everything that happens while programs run."""
    jobs = Jobs(fleet, dict(plan.demands), clock, spool, plan.seed, stop)
    schedule = Schedule(fleet, clock, stop)
    load: subprocess.Popen[bytes] | None = None
    try:
        for name in fleet.sites:
            fleet.start(name)
        load = _start_load(plan, fleet, clock, spool, log)
        jobs.start()
        schedule.start()
        last = sampler.run(stop)
        log.write(
            "recorder", "end", f"samples={last} missed={sampler.missed} jobs_dropped={jobs.dropped}"
        )
    finally:
        stop.set()
        for thread in (jobs, schedule):
            if thread.is_alive():
                thread.join()
        if load is not None:
            stop_process(load)
        fleet.stop_all()


def _rates_file(spool: Path, name: str, demand: Demand) -> str:
    path = spool / "rates" / f"{name}.f32"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(demand.rate.astype("<f4").tobytes())
    return str(path)


def _specs(plan: Plan, clock: Clock, spool: Path) -> dict[str, dict[str, Any]]:
    """What the own services are told, per workload."""
    return {
        w.name: {
            "name": w.name,
            "seed": plan.seed,
            "t0_monotonic_s": clock.t0_s,
            "bin_s": BIN_TRACE_S / plan.stretch,
            "rates": _rates_file(spool, w.name, plan.demands[w.name]),
            "arrivals": str(spool / f"arrivals-{w.name}.csv") if w.pool else None,
        }
        for w in plan.workloads
    }


def _start_load(
    plan: Plan, fleet: Fleet, clock: Clock, spool: Path, log: CommandLog
) -> subprocess.Popen[bytes]:
    """Starts the load generator for all servers of the plan."""
    spec = {
        "targets": [
            _target(site, spool)
            for site in fleet.sites.values()
            if site.workload.kind not in ("service", "job")
        ],
        "seed": plan.seed,
        "t0_monotonic_s": clock.t0_s,
        "net": str(spool / "net.csv"),
        "bin_s": BIN_TRACE_S / plan.stretch,
        "sample_s": plan.sample_s,
    }
    path = spool / "load.json"
    path.write_text(json.dumps(spec))
    argv = [sys.executable, "-m", "infra.recorder.loadgen", str(path)]
    log.write(LOADGEN, "start", argv)
    return fleet.spawn(LOADGEN, argv, spool)


def _target(site: Site, spool: Path) -> dict[str, Any]:
    """What the load generator is told about one server."""
    workload = site.workload
    target = {
        **workload.options,
        "name": workload.name,
        "kind": workload.kind,
        "port": site.port,
        "rates": str(spool / "rates" / f"{workload.name}.f32"),
        "arrivals": str(spool / f"arrivals-{workload.name}.csv") if workload.pool else None,
    }
    if workload.kind == "postgres":
        script = site.folder / "script"
        script.write_text(str(workload.options["script"]))
        target |= {
            "socket": str(site.folder),
            "pgbench": program("pgbench"),
            "script": str(script),
            "scripts": str(site.run / "corpus"),
        }
    return target


def _storage(sites: Mapping[str, Site]) -> dict[str, Path]:
    """The workloads whose folder is measured."""
    return {
        name: site.data
        for name, site in sites.items()
        if site.workload.kind == "postgres"
        or site.workload.options.get("storage")
        or site.workload.options.get("work") in STORED_WORKS
    }


def _meta(plan: Plan, clock: Clock, accounting: str) -> dict[str, Any]:
    declared = ("name", "kind", "program", "tier", "cpu_request_cores", "memory_request_mib")
    wall_s = datetime.now(UTC).timestamp()  # noqa: TID251 -- the recorder is about real time
    start = wall_s + clock.t0_s - time.monotonic()
    return {
        "clock": asdict(clock),
        "seed": plan.seed,
        "accounting": accounting,
        "real_start": datetime.fromtimestamp(start, UTC).isoformat(timespec="seconds"),
        "workloads": [{key: getattr(w, key) for key in declared} for w in plan.workloads],
        "host": describe(plan.workloads),
    }
