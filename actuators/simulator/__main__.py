"""`python -m actuators.simulator serve`: the simulated cluster as a process of its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from actuators.simulator.admission import Faults
from actuators.simulator.assembly import open_cluster
from actuators.simulator.clock import ManualClock, SimulatedClock
from actuators.simulator.cluster import SimulatedCluster
from actuators.simulator.journal import Journal
from actuators.simulator.options import ClusterOptions
from actuators.simulator.server import SimulatorServer
from pla.clock import SystemClock


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 fine, 2 bad usage)."""
    options = _parser().parse_args(arguments)
    if (options.live and options.speed != 1) or (options.pace and not options.live):
        print("simulator: --live is at speed 1, and --pace is for --live", file=sys.stderr)
        return 2
    try:
        journal = Journal(options.journal) if options.journal is not None else None
        cluster = _cluster(options, journal)
        # A live cluster's clock is the machine's, also within its first step.
        start_s = SystemClock().now_s() if options.live else float(cluster.start_s)
        clock = SimulatedClock(start_s, options.speed) if options.speed else ManualClock(start_s)
        server = SimulatorServer(
            cluster, clock, host=options.host, port=options.port, path=options.socket
        )
    except (ValueError, OSError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    server.stop_on_signals()
    begin = datetime.fromtimestamp(cluster.start_s, UTC)
    print(
        f"simulator: {len(cluster.workload_ids)} workloads on {len(cluster.node_ids)} nodes from "
        f"{begin:%Y-%m-%dT%H:%M:%SZ}, {options.speed:g} simulated seconds per second"
    )
    # The last line, and flushed: whoever started this reads the address from it.
    print(f"simulator: listening on {server.url}", flush=True)
    try:
        server.serve()
    finally:
        if journal is not None:
            journal.close()
    return 0


def _cluster(options: argparse.Namespace, journal: Journal | None) -> SimulatedCluster:
    return open_cluster(
        options.trace,
        step_s=options.step,
        start_s=options.start,
        resources=options.resources,
        sidecar=options.workloads,
        replicas=options.replicas,
        live_s=SystemClock().now_s() if options.live else None,
        pace_s=options.pace,
        tile=options.tile,
        options=ClusterOptions(
            nodes=options.nodes,
            node_headroom=options.node_headroom,
            lead_s=options.lead,
            initial_fraction=options.initial,
            faults=Faults(options.deferred, options.failed, options.seed),
        ),
        journal=journal,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m actuators.simulator", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the cluster and answer HTTP until SIGTERM")
    add = serve.add_argument
    add("--trace", type=Path, nargs="+", required=True, help="usage traces (Parquet)")
    add("--workloads", type=Path, help="tiers and requests; default: workloads.json beside it")
    add("--resources", type=lambda text: tuple(text.split(",")), help="default: what it has")
    add("--step", type=int, default=300, help="width of a step [s] (default 300)")
    add("--start", type=_time, help="end of the history, UTC (default: 3 days before the end)")
    add(
        "--live",
        action="store_true",
        help="start now by the machine's clock, for a Prometheus that scrapes /metrics",
    )
    add("--pace", type=int, help="with --live: how long a step takes [s] (default: --step)")
    add("--speed", type=_speed, default=1.0, help="simulated seconds per second; 0 = by hand")
    add("--host", default="127.0.0.1", help="a loopback address")
    add("--port", type=int, default=0, help="default: any free one; the address is printed")
    add("--socket", type=Path, help="a Unix socket instead")
    add("--journal", type=Path, help="folder for the audit journal resizes.jsonl")
    add("--nodes", type=int, default=4, help="how many nodes")
    add("--node-headroom", type=float, default=1.5, help="capacity over all requests")
    add("--lead", type=float, default=2.0, help="from a resize to its effect [s]")
    add("--initial", type=float, default=1.0, help="amounts at the start, of the request")
    add("--replicas", type=int, default=1, help="instances per workload")
    add("--tile", type=int, help="repeat the trace's workloads up to this many, scaled")
    add("--deferred", type=float, default=0.0, help="share of resizes that are deferred")
    add("--failed", type=float, default=0.0, help="share of resizes that fail")
    add("--seed", type=int, default=0, help="for the two shares")
    return parser


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        words = f"{text!r} is no time; write 2026-10-12T00:00:00Z"
        raise argparse.ArgumentTypeError(words) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no speed; write a number from 0")
    return speed


if __name__ == "__main__":
    sys.exit(main())
