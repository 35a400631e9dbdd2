"""Turns a spool into the recording: Parquet files, JSON beside them, the log, the checksums."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from infra.recorder.clock import TRACE_START
from infra.recorder.rates import BIN_TRACE_S

FILES = ("usage.parquet", "arrivals.parquet", "commands.log", "host.json", "workloads.json")
MIB = 2**20
TICKS_PER_S = 100  # of /proc/stat, on every Linux
TICK_NAMES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
TIMESTAMP = pa.timestamp("ms", tz="UTC")
_EPOCH_MS = round(TRACE_START.timestamp() * 1000)


def finalise(out: Path) -> dict[str, Any]:
    """Writes the recording from `out`/spool into `out`; returns host.json's content. Repeatable."""
    spool = out / "spool"
    meta = json.loads((spool / "meta.json").read_text())
    lines = list(_lines(spool / "samples.jsonl"))
    if all(line.get("missed") for line in lines):
        raise ValueError(f"{spool}/samples.jsonl holds no sample: nothing to finalise")
    usage = usage_table(lines, _net(spool), meta)
    arrivals = arrivals_table(spool, meta["clock"]["stretch"])
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 19,
        "row_group_size": 2**20,
    }
    pq.write_table(usage, out / "usage.parquet", **options)
    pq.write_table(arrivals, out / "arrivals.parquet", **options)
    host = _host(meta, lines, usage, arrivals)
    (out / "host.json").write_text(json.dumps(host, indent=2) + "\n")
    (out / "workloads.json").write_text(json.dumps(meta["workloads"], indent=1) + "\n")
    if (spool / "commands.log").exists():
        shutil.copy(spool / "commands.log", out / "commands.log")
    sums = "".join(f"{sha256(out / name)}  {name}\n" for name in FILES if (out / name).exists())
    (out / "SHA256SUMS").write_text(sums)
    return host


def sha256(path: Path) -> str:
    """The checksum as sha256sum prints it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The spool's lines; a last line that was cut off by a kill is dropped."""
    if path.exists():
        for text in path.read_text().splitlines():
            try:
                yield json.loads(text)
            except json.JSONDecodeError:
                return


def _net(spool: Path) -> dict[tuple[str, int], tuple[int, int]]:
    """(workload, sample) -> bytes received and sent in the interval."""
    path = spool / "net.csv"
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for row in csv.reader(path.open()) if path.exists() else ():
        if len(row) == 4:
            found[row[1], int(row[0])] = int(row[2]), int(row[3])
    return found


def usage_table(
    lines: list[dict[str, Any]], net: dict[tuple[str, int], tuple[int, int]], meta: dict[str, Any]
) -> pa.Table:
    """Rows by workload and timestamp (the end of the interval); a missed sample has none."""
    kept = {line["k"]: line for line in lines if not line.get("missed")}
    ks = sorted(kept)
    clock = meta["clock"]
    step_ms = clock["sample_s"] * clock["stretch"] * 1000
    stamps = np.array([_EPOCH_MS + round(k * step_ms) for k in ks], dtype=np.int64)
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "cpu_cores_used",
            "cpu_cores_allocated",
            "memory_bytes_used",
            "memory_bytes_allocated",
            "storage_bytes_used",
            "net_rx_bytes_per_s",
            "net_tx_bytes_per_s",
        )
    }
    for i, workload in enumerate(meta["workloads"]):
        name, count = workload["name"], len(ks)
        columns["cpu_cores_used"] += [kept[k]["cpu_cores"][i] for k in ks]
        columns["memory_bytes_used"] += [kept[k]["memory_bytes"][i] for k in ks]
        columns["cpu_cores_allocated"] += [workload["cpu_request_cores"]] * count
        columns["memory_bytes_allocated"] += [workload["memory_request_mib"] * MIB] * count
        columns["storage_bytes_used"] += [kept[k]["storage_bytes"].get(name) for k in ks]
        for direction, column in enumerate(("net_rx_bytes_per_s", "net_tx_bytes_per_s")):
            found = (net.get((name, k)) for k in ks)
            columns[column] += [
                None if pair is None else pair[direction] / clock["sample_s"] for pair in found
            ]
    names = np.repeat([workload["name"] for workload in meta["workloads"]], len(ks))
    table = {
        "workload": pa.array(names, pa.string()),
        "timestamp": pa.array(np.tile(stamps, len(meta["workloads"])), TIMESTAMP),
    }
    table |= {name: _float32(values) for name, values in columns.items()}
    return pa.table(table)


def _float32(values: list[Any]) -> pa.Array:
    """None becomes null; bytes above 16 MB are rounded to 24 binary digits."""
    missing = np.array([value is None for value in values], dtype=bool)
    return pa.array(
        np.array([0.0 if value is None else value for value in values], dtype=np.float32),
        mask=missing,
    )


def arrivals_table(spool: Path, stretch: float) -> pa.Table:
    """pool, timestamp (end of its 60 trace seconds), count; bins without arrivals are absent."""
    counts: dict[tuple[str, int], int] = {}
    for path in sorted(spool.glob("arrivals-*.csv")):
        for row in csv.reader(path.open()):
            if len(row) == 3:
                key = row[1], int(row[0])
                counts[key] = counts.get(key, 0) + int(row[2])
    rows = sorted(key for key, count in counts.items() if count)
    stamps = [_EPOCH_MS + round((index + 1) * BIN_TRACE_S * 1000) for _, index in rows]
    return pa.table(
        {
            "pool": pa.array([pool for pool, _ in rows], pa.string()),
            "timestamp": pa.array(stamps, TIMESTAMP),
            "count": pa.array([counts[key] for key in rows], pa.int32()),
        }
    )


def _host(
    meta: dict[str, Any], lines: list[dict[str, Any]], usage: pa.Table, arrivals: pa.Table
) -> dict[str, Any]:
    """host.json: what the recording ran on, when, and how much the whole of it used."""
    clock = meta["clock"]
    last = max(line["k"] for line in lines)
    taken = [line for line in lines if not line.get("missed")]
    end = TRACE_START + timedelta(seconds=last * clock["sample_s"] * clock["stretch"])
    return {
        **meta["host"],
        "accounting": meta["accounting"],
        "real_start": meta["real_start"],
        "real_duration_s": last * clock["sample_s"],
        "planned_duration_s": clock["duration_s"],
        "stretch": clock["stretch"],
        "sample_real_s": clock["sample_s"],
        "seed": meta["seed"],
        "trace_start": TRACE_START.isoformat(),
        "trace_end": end.isoformat(),
        "workloads": len(meta["workloads"]),
        "samples_expected": last,
        "samples_taken": len(taken),
        "samples_missed": last - len(taken),
        **_totals(taken, clock["sample_s"]),
        "usage_rows": usage.num_rows,
        "arrival_rows": arrivals.num_rows,
    }


def _totals(taken: list[dict[str, Any]], sample_s: float) -> dict[str, Any]:
    """All workloads together, the load generator, and the whole machine (others included)."""
    cores = np.array([sum(line["cpu_cores"]) for line in taken])
    mib = np.array([sum(line["memory_bytes"]) for line in taken]) / MIB
    late_s = np.array([line["late_s"] for line in taken])
    first, last = taken[0], taken[-1]
    real_s = max(1, last["k"] - first["k"]) * sample_s
    ticks = np.subtract(last["host_ticks"], first["host_ticks"]) / TICKS_PER_S / real_s
    machine = dict(zip(TICK_NAMES, ticks.tolist(), strict=True))
    busy = sum(machine[name] for name in ("user", "nice", "system", "irq", "softirq"))
    load_s = last["load_generator_cpu_s"] - first["load_generator_cpu_s"]
    return {
        "sample_lateness_s": {"median": _round(np.median(late_s)), "max": _round(late_s.max())},
        "total_cpu_cores": {"mean": _round(cores.mean()), "max": _round(cores.max())},
        "total_memory_mib": {"mean": round(float(mib.mean())), "max": round(float(mib.max()))},
        "load_generator_cpu_cores": _round(load_s / real_s),
        "machine_cpu_cores": {"busy": _round(busy), "steal": _round(machine["steal"])},
    }


def _round(value: float) -> float:
    return round(float(value), 4)
