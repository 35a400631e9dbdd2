"""InfluxDB: back-fill of 500 workloads x 7 d x 60 s, a live tick of 10,000, and kinds of query."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np

from infra.testbed.influxdb import Server, Unavailable, private_server
from pla.sources.influxdb import InfluxOptions, InfluxSource

T0 = 1_760_313_600
DAY_S = 86_400
RESOURCES = ("cpu", "memory")
MIB = 1024.0**2


def main() -> None:
    """Prints seconds, bytes and peak memory."""
    try:
        with private_server() as server:
            _back_fill(server)
            _live(server)
            _kinds_of_query(server)
    except Unavailable as error:
        print(f"skipped: {error}")


def _load(server: Server, database: str, workloads: int, seconds: int, every_s: int) -> int:
    """Fills a new database with Telegraf's docker schema; returns the points per resource."""
    server.query(f"CREATE DATABASE {database}")
    rng = np.random.default_rng(7)
    times = range(T0, T0 + seconds, every_s)
    for workload in range(workloads):
        cpu = np.cumsum(rng.integers(0, 4_000_000_000, len(times))).tolist()
        memory = rng.integers(10**8, 10**9, len(times)).tolist()
        tags = f"engine_host=h{workload % 50},container_name=w{workload}"
        lines = [
            f"docker_container_cpu,{tags},cpu=cpu-total usage_total={cpu[k]}i {at}\n"
            f"docker_container_mem,{tags} usage={memory[k]}i {at}"
            for k, at in enumerate(times)
        ]
        server.write(database, lines)
    return workloads * len(times)


def _names(workloads: int) -> tuple[str, ...]:
    return tuple(f"docker://h{workload % 50}/w{workload}" for workload in range(workloads))


def _back_fill(server: Server) -> None:
    points = _load(server, "history", 500, 7 * DAY_S, 60) * len(RESOURCES)
    source = InfluxSource(InfluxOptions(server.url, "history", timeout_s=300))
    source.describe()  # what the server does once is no part of it
    before = _peak_bytes(reset=True)
    began = time.perf_counter()
    block = source.read(_names(500), RESOURCES, T0, T0 + 7 * DAY_S, 60)
    seconds = time.perf_counter() - began
    grown = _peak_bytes() - before
    print(
        f"back-fill 500 workloads x 7 d x 60 s, 2 resources: {points / 1e6:.2f} M points in "
        f"{seconds:.1f} s ({seconds / points * 1e6:.2f} s per million), "
        f"{source.received / 1e6:.0f} MB received, peak memory +{grown / MIB:.0f} MiB, "
        f"of which the result {block.values.nbytes / MIB + block.censored.nbytes / MIB:.0f}; "
        f"{np.isfinite(block.values).mean():.4f} of the cells have a value"
    )
    source.close()


def _live(server: Server) -> None:
    workloads = 10_000
    _load(server, "live", workloads, 600, 60)
    source = InfluxSource(InfluxOptions(server.url, "live"))
    names = _names(workloads)
    seconds = []
    for end_s in range(T0 + 300, T0 + 600, 60):
        began = time.perf_counter()
        block = source.read(names, RESOURCES, end_s - 180, end_s, 60)
        seconds.append(time.perf_counter() - began)
    print(
        f"live tick, {workloads:,} workloads x 3 steps x 2 resources in 2 requests: "
        f"first {seconds[0]:.2f} s, then {min(seconds[1:]):.2f} to {max(seconds[1:]):.2f} s; "
        f"{np.isfinite(block.values).mean():.4f} of the cells have a value"
    )
    source.close()


def _kinds_of_query(server: Server) -> None:
    """What the server takes for samples, and for their reduction to steps of 60 s."""
    for every_s in (60, 10):
        database = f"every{every_s}"
        points = _load(server, database, 100, DAY_S, every_s)
        for name, query in _queries():
            seconds = []
            for _ in range(3):
                began = time.perf_counter()
                size = _download(server, database, query)
                seconds.append(time.perf_counter() - began)
            print(
                f"{points / 1e6:.2f} M points every {every_s} s, {name:32}: "
                f"{min(seconds):.2f} s, {size / 1e6:.1f} MB"
            )


def _queries() -> Iterator[tuple[str, str]]:
    span = f"WHERE time >= {T0}s AND time < {T0 + DAY_S}s"
    tags = '"engine_host", "container_name"'
    memory, cpu = f'FROM "docker_container_mem" {span}', f'FROM "docker_container_cpu" {span}'
    steps = f"GROUP BY time(60s), {tags} fill(none)"
    rate = f'SELECT non_negative_derivative("usage_total", 1s) AS r {cpu} GROUP BY {tags}'
    yield "gauge, samples", f'SELECT "usage" {memory} GROUP BY {tags}'
    yield "gauge, max() per step", f'SELECT max("usage") {memory} {steps}'
    yield "counter, samples", f'SELECT "usage_total" {cpu} GROUP BY {tags}'
    yield "counter, last() per step", f'SELECT last("usage_total") {cpu} {steps}'
    yield "counter, max(derivative) per step", f"SELECT max(r) FROM ({rate}) {span} {steps}"


def _download(server: Server, database: str, query: str) -> int:
    form = {"db": database, "epoch": "ms", "chunked": "true", "q": query}
    headers = {"Accept-Encoding": "identity"}
    with httpx.stream(
        "POST", f"{server.url}/query", data=form, headers=headers, timeout=300
    ) as response:
        response.raise_for_status()
        return sum(len(piece) for piece in response.iter_raw())


def _peak_bytes(reset: bool = False) -> float:
    """Largest resident size of this process so far, or since the last reset (Linux only)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    for row in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if row.startswith("VmHWM:"):
            return float(row.split()[1]) * 1024
    raise RuntimeError("/proc/self/status holds no VmHWM")


if __name__ == "__main__":
    main()
