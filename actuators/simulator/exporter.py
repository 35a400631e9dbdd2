"""The cluster's meters in Prometheus' text format: `GET /metrics` and `GET /metrics/history`.

A sample carries the end of its step as its timestamp, as cAdvisor's do, so that it lands in that
step whenever it is scraped. Scrape at least twice per step. A server takes samples of about now
only, so the cluster has to run on the machine's time (`serve --live`); `--pace` makes its steps
short enough to watch. What was recorded before the start is written for
`promtool tsdb create-blocks-from openmetrics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from actuators.simulator.cluster import SimulatedCluster
from pla.core.resources import ResourceSpec

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

UNITS = {"bytes/s": "bytes_per_second"}


def metrics(cluster: SimulatedCluster) -> bytes:
    """The newest closed step of every instance; nothing before the first is closed."""
    with cluster.lock:
        meters = cluster.metering
        if meters.end_s is None:
            return b""
        at = str(meters.end_s * 1000)
        heads = _labels(cluster)
        amount = cluster.current().T
        request = cluster.replicas.spread(cluster.inventory.request)
        lines: list[str] = _family("sim_step_seconds", "gauge", "Width of a step.", [""])
        lines.append(f"sim_step_seconds {cluster.step_s} {at}")
        for row, spec in enumerate(cluster.specs):
            rows = (
                ("usage", "Use in the newest step.", meters.used[row]),
                ("limit", "Amount in force.", amount[row]),
                ("request", "Amount that the owner wrote down.", request[row]),
            )
            exists = ~np.isnan(request[row])
            for what, words, values in rows:
                name = gauge_name(spec, what)
                lines += _family(name, "gauge", words, _samples(name, heads, values, exists, at))
            name = f"sim_{spec.name}_throttled_seconds_total"
            told = _samples(name, heads, meters.throttled_s[row], exists, at)
            lines += _family(name, "counter", "Time in which work had to wait.", told)
        name, every = "sim_oom_kills_total", np.ones(len(heads), dtype=np.bool_)
        killed = _samples(name, heads, meters.kills.astype(np.float64), every, at)
        lines += _family(name, "counter", "Out-of-memory kills.", killed)
    return ("\n".join(line for line in lines if line) + "\n").encode()


def history(cluster: SimulatedCluster) -> bytes:
    """Recorded use before the start, of each workload's busiest instance, as OpenMetrics text."""
    demand = cluster.demand
    block = cluster.usage(demand.start_s, cluster.start_s)
    ends = [block.end_s - (block.steps - 1 - i) * block.step_s for i in range(block.steps)]
    first = np.flatnonzero(cluster.replicas.number == 0)
    heads = [_labels(cluster)[row] for row in first.tolist()]
    lines = ["# TYPE sim_step_seconds gauge"]
    lines += [f"sim_step_seconds {block.step_s} {end_s}" for end_s in ends]
    for row, spec in enumerate(cluster.specs):
        name = gauge_name(spec, "usage")
        lines.append(f"# TYPE {name} gauge")
        for workload, head in enumerate(heads):
            values = block.values[:, row, workload].astype(np.float64).tolist()
            lines += [
                f"{name}{head} {value!r} {end_s}"
                for value, end_s in zip(values, ends, strict=True)
                if value == value  # no sample where the recording has a gap
            ]
    return ("\n".join([*lines, "# EOF"]) + "\n").encode()


def gauge_name(spec: ResourceSpec, what: str) -> str:
    """`sim_cpu_usage_cores`, `sim_memory_limit_bytes`, ..."""
    return f"sim_{spec.name}_{what}_{UNITS.get(spec.unit, spec.unit)}"


def _labels(cluster: SimulatedCluster) -> list[str]:
    """`{workload="...",replica="..."}` of every instance."""
    names = [_escaped(name) for name in cluster.inventory.names]
    rows = zip(cluster.replicas.workload.tolist(), cluster.instance_ids, strict=True)
    return [f'{{workload="{names[row]}",replica="{_escaped(replica)}"}}' for row, replica in rows]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _samples(
    name: str, heads: Sequence[str], values: np.ndarray, exists: np.ndarray, at: str
) -> list[str]:
    rows = zip(heads, values.tolist(), exists.tolist(), strict=True)
    return [f"{name}{head} {value!r} {at}" for head, value, known in rows if known]


def _family(name: str, kind: str, words: str, samples: Iterable[str]) -> list[str]:
    lines = list(samples)
    return [f"# HELP {name} {words}", f"# TYPE {name} {kind}", *lines] if lines else []
