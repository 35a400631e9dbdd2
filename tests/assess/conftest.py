"""A real Prometheus that holds a known fleet in Kubernetes: the project's own recording."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from infra.testbed.debian import Unavailable
from infra.testbed.prometheus import Series, create_blocks, prometheus
from infra.testbed.proxy import FaultProxy, Request, fault_proxy

RECORDING = Path("infra/recorder/recording/usage.parquet")
STEP_S = 300
SCRAPE_S = 60
DAYS = 6
WORKLOADS = 24
MIB = 1024.0**2
NAMESPACES = ("shop", "data", "<odd>&amp")
NO_REQUEST = 3
"""Row of a workload that nobody wrote a request or limit for."""
ENDED = 5
"""Row of one that ended after two days."""


@dataclass
class Known:
    """What the server holds: arrays are (step, resource, workload), as in the trace.

    Attributes:
        uris: of the workloads.
        usage: of the busiest instance; NaN = none.
        request: of an instance, (resource, workload); NaN = none.
        replicas: (workload,); every further one uses half of what the first does.
        start_s: of the first step [epoch s].
        kills: workload row -> step of an out-of-memory kill.
    """

    uris: list[str]
    usage: np.ndarray
    request: np.ndarray
    replicas: np.ndarray
    start_s: int
    kills: dict[int, int] = field(default_factory=lambda: {2: 100})

    @property
    def end_s(self) -> int:
        return self.start_s + len(self.usage) * STEP_S


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def known() -> Known:
    table = pq.read_table(RECORDING).to_pandas()
    names = sorted(table["workload"].unique())[:WORKLOADS]
    first = int(table["timestamp"].min().timestamp()) // 86_400 * 86_400 + 86_400
    steps = DAYS * 86_400 // STEP_S
    usage = np.full((steps, 2, WORKLOADS), np.nan)
    request = np.full((2, WORKLOADS), np.nan)
    for row, name in enumerate(names):
        own = table[table["workload"] == name]
        step = (own["timestamp"].astype("int64").to_numpy() // 1000 - first) // STEP_S
        inside = (step >= 0) & (step < steps)
        for column, resource in enumerate(("cpu_cores", "memory_bytes")):
            usage[step[inside], column, row] = own[f"{resource}_used"].to_numpy()[inside]
            request[column, row] = own[f"{resource}_allocated"].to_numpy()[0]
    usage[2 * 288 :, :, ENDED] = np.nan
    request[:, NO_REQUEST] = np.nan
    replicas = np.where(np.arange(WORKLOADS) % 4 == 1, 3, 1)
    uris = [
        f"k8s://prod/{NAMESPACES[row % 3]}/StatefulSet/{name}/app" for row, name in enumerate(names)
    ]
    return Known(uris, usage, request, replicas, first)


def series_of(known: Known) -> Iterator[Series]:
    """What cAdvisor and kube-state-metrics would have told, a scrape a minute."""
    per_step = STEP_S // SCRAPE_S
    times = known.start_s + SCRAPE_S * np.arange(len(known.usage) * per_step + 1.0)
    for row, uri in enumerate(known.uris):
        _, _, _, namespace, _, name, _ = uri.split("/")
        for replica in range(int(known.replicas[row])):
            share = 1.0 if replica == 0 else 0.5
            labels = {"namespace": namespace, "pod": f"{name}-{replica}"}
            cpu, memory = (np.repeat(known.usage[:, c, row], per_step) * share for c in (0, 1))
            lived = np.isfinite(cpu)
            counter = np.r_[5.0, 5.0 + np.cumsum(np.nan_to_num(cpu) * SCRAPE_S)]
            at = np.flatnonzero(np.r_[lived[0], lived])
            inside = {"container": "app", **labels}
            yield Series("container_cpu_usage_seconds_total", inside, times[at], counter[at])
            at = 1 + np.flatnonzero(np.isfinite(memory))
            bytes_used = memory[at - 1]
            yield Series("container_memory_working_set_bytes", inside, times[at], bytes_used)
            owner = {"owner_kind": "StatefulSet", "owner_name": name, **labels}
            owner["owner_is_controller"] = "true"
            yield Series("kube_pod_owner", owner, times[at], np.ones(len(at)))
            yield from _sizes(known, row, inside, times[at])
    silent = {"namespace": "shop", "pod": "silent-0", "container": "app"}
    owner = {"owner_kind": "StatefulSet", "owner_name": "silent", "owner_is_controller": "true"}
    yield Series("kube_pod_owner", {**owner, **silent}, times, np.ones(len(times)))
    nothing = np.full(len(times), np.nan)
    yield Series("container_memory_working_set_bytes", silent, times, nothing)


def _sizes(known: Known, row: int, labels: dict[str, str], times: np.ndarray) -> Iterator[Series]:
    """Requests, limits twice as high, and restarts after kills."""
    for resource, amount in zip(("cpu", "memory"), known.request[:, row], strict=True):
        if np.isfinite(amount):
            for kind, factor in (("requests", 1.0), ("limits", 2.0)):
                name = f"kube_pod_container_resource_{kind}"
                values = np.full(len(times), factor * amount)
                yield Series(name, {"resource": resource, **labels}, times, values)
    if row in known.kills:
        at_s = known.start_s + (known.kills[row] + 0.5) * STEP_S
        killed = (times > at_s).astype(np.float64)
        yield Series("container_oom_events_total", labels, times, killed)


@pytest.fixture(scope="session")
def server_url(known: Known, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that holds the known fleet."""
    folder = tmp_path_factory.mktemp("assessed")
    with ExitStack() as stack:
        try:
            create_blocks(series_of(known), folder / "data")
            server = stack.enter_context(prometheus(folder))
        except Unavailable as error:
            pytest.skip(str(error))
        yield server.url


@pytest.fixture(scope="session")
def watched(server_url: str) -> Iterator[FaultProxy]:
    """A proxy in front of that server that notes what is asked."""
    with fault_proxy(server_url) as proxy:
        yield proxy


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[list[Series]], str]]:
    """`serve(series)`: the URL of a Prometheus that holds them."""
    with ExitStack() as stack:

        def start(series: list[Series]) -> str:
            folder = tmp_path / "own"
            try:
                if series:
                    create_blocks(series, folder / "data")
                return stack.enter_context(prometheus(folder)).url
            except Unavailable as error:
                pytest.skip(str(error))

        yield start


Pla = Callable[..., Ran]


@pytest.fixture(scope="session")
def pla(tmp_path_factory: pytest.TempPathFactory) -> Pla:
    """`pla("assess", ...)`: that command in a process of its own, in an empty home."""
    home = tmp_path_factory.mktemp("home")

    def call(*arguments: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "pla.cli", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": str(home), "PLA_HOME": str(home / "pla")},
        )
        return Ran(done.returncode, done.stdout, " ".join(done.stderr.split()))

    return call


@dataclass
class Written:
    """One run's output in all forms, and what the server was asked for it."""

    ran: Ran
    csv: Path
    html: Path
    requests: list[Request]


@pytest.fixture(scope="session")
def written(
    pla: Pla, watched: FaultProxy, known: Known, tmp_path_factory: pytest.TempPathFactory
) -> Written:
    """One assessment of the known fleet, asked through the watching proxy."""
    folder = tmp_path_factory.mktemp("written")
    csv, html = folder / "a.csv", folder / "a.html"
    watched.requests.clear()
    until = str(np.datetime64(known.end_s, "s"))
    ran = pla(
        "assess", "--prometheus", watched.url, "--until", until, "--cluster", "prod", "--json",
        "--csv", str(csv), "--html", str(html), "--days", "8",
    )  # fmt: skip
    return Written(ran, csv, html, list(watched.requests))
