"""Command line: record real programs in stretched time, or finalise a recording that was killed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.recorder.catalogue import Workload, workloads
from infra.recorder.executables import RecorderError
from infra.recorder.rates import RatesError, generate, load_rates
from infra.recorder.recording import finalise
from infra.recorder.session import Plan, bins_for, record

TRACE_DAYS = 11


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.recorder", description=__doc__)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    for flag, text in (
        ("--out", "record into this folder, which must not exist or be empty"),
        ("--finalise", "write the recording from the spool of a killed run"),
    ):
        what.add_argument(flag, type=Path, metavar="DIR", help=text)
    what.add_argument("--list", action="store_true", help="print the workloads and their requests")
    for name, default, text in (
        ("--stretch", 150.0, "trace seconds per real second (default: %(default)s)"),
        ("--sample-s", 2.0, "real seconds between samples (default: %(default)s)"),
        ("--duration-s", None, f"real seconds (default: {TRACE_DAYS} trace days)"),
    ):
        add(name, type=float, default=default, help=text)
    add("--seed", type=int, default=20261005, help="of the demand generator (%(default)s)")
    rates = "CSV 'trace_s,WORKLOAD,...': these rates instead of the generator's"
    add("--rates", type=Path, metavar="FILE", help=rates)
    add("--only", metavar="NAME,...", help="record only these workloads")
    return parser


def _chosen(only: str | None) -> tuple[Workload, ...]:
    known = workloads()
    if only is None:
        return known
    names = only.split(",")
    unknown = sorted(set(names) - {w.name for w in known})
    if unknown:
        raise RecorderError(
            f"--only: unknown workload {unknown[0]!r}; `--list` prints the known ones"
        )
    return tuple(w for w in known if w.name in names)


def _plan(arguments: argparse.Namespace) -> Plan:
    if arguments.stretch <= 0 or arguments.sample_s <= 0:
        raise RecorderError("--stretch and --sample-s must be positive")
    duration_s = (
        TRACE_DAYS * 86_400 / arguments.stretch
        if arguments.duration_s is None
        else arguments.duration_s
    )
    if duration_s < arguments.sample_s:
        raise RecorderError("--duration-s must be at least one --sample-s")
    chosen = _chosen(arguments.only)
    bins = bins_for(duration_s, arguments.stretch)
    demands = {w.name: generate(w.profile, w.name, arguments.seed, bins) for w in chosen}
    if arguments.rates is not None:
        demands |= load_rates(arguments.rates, demands, bins)
    return Plan(chosen, demands, arguments.stretch, arguments.sample_s, duration_s, arguments.seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0; 2 for bad usage (the message says what to do); 1 if the spool holds nothing."""
    arguments = _parser().parse_args(argv)
    if arguments.list:
        for w in workloads():
            request = f"{w.cpu_request_cores:5} cores {w.memory_request_mib:4} MiB"
            print(f"{w.name:22} {w.program:18} {w.tier:10} {request}")
        return 0
    try:
        if arguments.finalise:
            host = finalise(arguments.finalise)
        else:
            if arguments.out.exists() and any(arguments.out.iterdir()):
                raise RecorderError(
                    f"--out {arguments.out}: is not empty; name another folder, or --finalise it"
                )
            host = record(_plan(arguments), arguments.out.resolve())
    except (RatesError, RecorderError) as error:
        print(f"recorder: {error}", file=sys.stderr)
        return 2
    except (FileNotFoundError, ValueError) as error:
        print(f"recorder: {error}", file=sys.stderr)
        return 1
    print(json.dumps(host, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
