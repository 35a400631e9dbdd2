"""A fleet whose usage is known, as the series that its exporters would leave in a database."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infra.testbed.openmetrics import Series
from pla.core.fleet import UsageBlock
from pla.ports import MetricsSource

START_S = 1_699_999_200
"""A full hour."""
STEP_S = 60
STEPS = 120
SCRAPE_S = 30
PHASE_S = 7
"""Scrapes are not aligned with steps."""

Floats = NDArray[np.float64]


@dataclass
class Scene:
    """Series to load, and per workload URI and resource the usage per step that they mean."""

    series: list[Series] = field(default_factory=list)
    usage: dict[tuple[str, str], Floats] = field(default_factory=dict)
    start_s: int = START_S
    step_s: int = STEP_S
    steps: int = STEPS

    @property
    def end_s(self) -> int:
        """End of the last step [epoch s]."""
        return self.start_s + self.steps * self.step_s

    def read(self, source: MetricsSource, workload: str = "kvm://h1/vm-a") -> UsageBlock:
        """The memory of one workload, as `source` tells it."""
        return source.read((workload,), ("memory",), self.start_s, self.end_s, self.step_s)

    def add(self, name: str, times: Floats, values: ArrayLike, **labels: str) -> None:
        """Add a series; one value may stand for all."""
        filled = np.broadcast_to(np.asarray(values, dtype=np.float64), times.shape)
        self.series.append(Series(name, labels, times, filled))

    def expect(self, uri: str, resource: str, at_s: Floats, values: Floats) -> None:
        """The largest of the finite `values` in each step `(end - step, end]`."""
        per_step = self.usage.setdefault((uri, resource), np.full(self.steps, np.nan))
        step = np.ceil((at_s - self.start_s) / self.step_s).astype(np.int64) - 1
        good = np.isfinite(values) & (step >= 0) & (step < self.steps)
        np.fmax.at(per_step, step[good], values[good])


def counter(rates: Floats, spacing_s: float, resets: tuple[int, ...] = ()) -> Floats:
    """A counter that grew by `rates` between its samples; at `resets` it began anew."""
    values = np.cumsum(np.r_[5.0, rates * spacing_s])
    for row in resets:
        # Since its restart it has counted what was used since then: a whole spacing.
        values[row:] -= values[row] - rates[row - 1] * spacing_s
    return values


SCRAPES = START_S + PHASE_S + SCRAPE_S * np.arange(-1, STEPS * STEP_S // SCRAPE_S - 1.0)


def container(
    scene: Scene,
    uri: str,
    random: np.random.Generator,
    pod: str,
    name: str,
    scrapes: slice = slice(None),
    resets: tuple[int, ...] = (),
) -> None:
    """A container's CPU and memory while it lived, and what cAdvisor tells beside them."""
    times = SCRAPES[scrapes]
    rates = random.gamma(1.5, 0.4, len(times) - 1)
    memory = random.gamma(4.0, 5e7, len(times))
    labels = {"namespace": "shop", "pod": pod, "instance": "node-1:10250"}
    cpu = counter(rates, SCRAPE_S, resets)
    scene.add("container_cpu_usage_seconds_total", times, cpu, container=name, **labels)
    scene.add("container_memory_working_set_bytes", times, memory, container=name, **labels)
    # The pod's own cgroup and its sandbox hold the same again.
    for other in ("", "POD") if name != "proxy" else ():
        extra = {"container": other} if other else {}
        scene.add("container_cpu_usage_seconds_total", times, 2 * cpu, **extra, **labels)
        scene.add("container_memory_working_set_bytes", times, 2 * memory, **extra, **labels)
    scene.expect(uri, "cpu", times[1:], rates)
    scene.expect(uri, "memory", times, memory)


def owner(scene: Scene, kind: str, name: str, pod: str, scrapes: slice = slice(None)) -> None:
    """What two kube-state-metrics tell of a pod's owner."""
    for instance in ("ksm-0:8080", "ksm-1:8080"):
        scene.add(
            "kube_pod_owner",
            SCRAPES[scrapes],
            1,
            namespace="shop",
            pod=pod,
            owner_kind=kind,
            owner_name=name,
            owner_is_controller="true" if kind != "<none>" else "<none>",
            instance=instance,
        )


def object_owner(scene: Scene, metric: str, label: str, name: str, kind: str, parent: str) -> None:
    """What kube-state-metrics tells of the owner of a ReplicaSet or Job."""
    labels = {label: name, "owner_kind": kind, "owner_name": parent}
    scene.add(metric, SCRAPES, 1, namespace="shop", owner_is_controller="true", **labels)


def kubernetes(scene: Scene, random: np.random.Generator) -> None:
    """Pods of every kind of owner, replaced, reset and not scraped for a while."""
    web = "k8s://prod/shop/Deployment/web/app"
    object_owner(scene, "kube_replicaset_owner", "replicaset", "web-1", "Deployment", "web")
    object_owner(scene, "kube_replicaset_owner", "replicaset", "web-2", "Deployment", "web")
    # Two pods; after an hour a new version replaces both.
    for pod, replicaset, scrapes, resets in (
        ("web-1-a", "web-1", slice(0, 120), (50, 70)),
        ("web-1-b", "web-1", slice(0, 124), ()),
        ("web-2-a", "web-2", slice(118, None), ()),
        ("web-2-b", "web-2", slice(121, None), (30,)),
    ):
        owner(scene, "ReplicaSet", replicaset, pod, scrapes)
        container(scene, web, random, pod, "app", scrapes, resets)
    container(scene, "k8s://prod/shop/Deployment/web/proxy", random, "web-1-a", "proxy", slice(120))
    owner(scene, "StatefulSet", "db", "db-0")
    # Nothing was scraped for ten minutes.
    container(scene, "k8s://prod/shop/StatefulSet/db/pg", random, "db-0", "pg", slice(0, 60))
    container(scene, "k8s://prod/shop/StatefulSet/db/pg", random, "db-0", "pg", slice(80, None))
    owner(scene, "DaemonSet", "agent", "agent-x")
    container(scene, "k8s://prod/shop/DaemonSet/agent/main", random, "agent-x", "main")
    owner(scene, "Job", "nightly-17", "nightly-17-z", slice(20, 60))
    object_owner(scene, "kube_job_owner", "job_name", "nightly-17", "CronJob", "nightly")
    job = "k8s://prod/shop/CronJob/nightly/run"
    container(scene, job, random, "nightly-17-z", "run", slice(20, 60))
    owner(scene, "ReplicaSet", "alone", "alone-p")
    container(scene, "k8s://prod/shop/ReplicaSet/alone/c", random, "alone-p", "c")
    owner(scene, "<none>", "<none>", "bare")
    container(scene, "k8s://prod/shop/Pod/bare/c", random, "bare", "c")


def pod_resources(scene: Scene, random: np.random.Generator) -> None:
    """Network of a pod, a volume, a GPU."""
    for metric, resource in (("receive", "network_rx"), ("transmit", "network_tx")):
        name = f"container_network_{metric}_bytes_total"
        total = np.zeros(len(SCRAPES) - 1)
        for interface in ("eth0", "eth1"):
            rates = random.gamma(2.0, 1e6, len(SCRAPES) - 1)
            labels = {"namespace": "shop", "pod": "db-0", "interface": interface}
            scene.add(name, SCRAPES, counter(rates, SCRAPE_S), **labels)
            total += rates
        scene.add(name, SCRAPES, 7e9, namespace="shop", pod="db-0", interface="lo")
        scene.expect("k8s://prod/shop/StatefulSet/db", resource, SCRAPES[1:], total)
    used = random.gamma(9.0, 1e9, len(SCRAPES))
    claim = {"namespace": "shop", "persistentvolumeclaim": "data-db-0"}
    scene.add("kubelet_volume_stats_used_bytes", SCRAPES, used, **claim)
    scene.add("kubelet_volume_stats_capacity_bytes", SCRAPES, 1e11, **claim)
    scene.expect("k8s://prod/shop/PersistentVolumeClaim/data-db-0", "storage", SCRAPES, used)
    devices = {"exported_namespace": "shop", "exported_pod": "db-0", "exported_container": "pg"}
    for device in ("GPU-0", "GPU-1"):
        scene.add("DCGM_FI_DEV_GPU_UTIL", SCRAPES, 75, UUID=device, namespace="gpu", **devices)
    uri = "k8s://prod/shop/StatefulSet/db/pg"
    scene.expect(uri, "gpu", SCRAPES, np.full(len(SCRAPES), 1.5))


def machines(scene: Scene, random: np.random.Generator) -> None:
    """Domains of both libvirt exporters, and a node exporter."""
    count = len(SCRAPES)
    for domain, host in (("vm-a", "h1"), ("vm-b", "h2")):
        uri, labels = f"kvm://{host}/{domain}", {"domain": domain, "instance": f"{host}:9177"}
        rates, memory = random.gamma(2.0, 0.5, count - 1), random.gamma(4.0, 1e9, count)
        name = "libvirt_domain_info_cpu_time_seconds_total"
        scene.add(name, SCRAPES, counter(rates, SCRAPE_S), **labels)
        scene.add("libvirt_domain_info_virtual_cpus", SCRAPES, 2, **labels)
        scene.expect(uri, "cpu", SCRAPES[1:], rates)
        if host == "h1":
            scene.add("libvirt_domain_info_memory_usage_bytes", SCRAPES, memory, **labels)
        else:
            # The guest's own figures, beside the balloon's, which is larger.
            scene.add("libvirt_domain_info_memory_usage_bytes", SCRAPES, 9e12, **labels)
            scene.add("libvirt_domain_memory_stats_available_bytes", SCRAPES, 1e11, **labels)
            scene.add("libvirt_domain_memory_stats_unused_bytes", SCRAPES, 1e11 - memory, **labels)
        scene.expect(uri, "memory", SCRAPES, memory)
        family = "interface_stats" if host == "h1" else "interface"
        received = random.gamma(2.0, 1e6, count - 1)
        name = f"libvirt_domain_{family}_receive_bytes_total"
        scene.add(name, SCRAPES, counter(received, SCRAPE_S), target_device="vnet0", **labels)
        scene.expect(uri, "network_rx", SCRAPES[1:], received)
    busy = random.gamma(2.0, 0.5, (2, count - 1))
    for cpu, rates in enumerate(busy):
        for mode, share in (("user", 0.75), ("system", 0.25), ("idle", 3.0)):
            labels = {"cpu": str(cpu), "mode": mode, "instance": "n1:9100"}
            values = counter(share * rates, SCRAPE_S)
            scene.add("node_cpu_seconds_total", SCRAPES, values, **labels)
    scene.expect("node://n1:9100", "cpu", SCRAPES[1:], busy.sum(axis=0))
    free = random.gamma(4.0, 1e9, count)
    scene.add("node_memory_MemTotal_bytes", SCRAPES, 6.4e10, instance="n1:9100")
    scene.add("node_memory_MemAvailable_bytes", SCRAPES, free, instance="n1:9100")
    at = np.minimum.reduceat(free, np.arange(1, count, 2))  # of the two scrapes in each step
    scene.expect("node://n1:9100", "memory", SCRAPES[1::2], 6.4e10 - at)


def odd_samples(scene: Scene) -> None:
    """A gauge that is told twice, whose samples are not all usage."""
    values = np.full(len(SCRAPES), 1e9)
    values[40], values[44], values[48] = np.nan, np.inf, -1e9
    for instance in ("h3:9177", "h3:9178"):
        labels = {"domain": "odd", "instance": instance}
        scene.add("libvirt_domain_info_memory_usage_bytes", SCRAPES, values, **labels)


def known_fleet() -> Scene:
    """Every platform that a shipped query pack tells of, always the same."""
    scene, random = Scene(), np.random.default_rng(7)
    kubernetes(scene, random)
    pod_resources(scene, random)
    machines(scene, random)
    odd_samples(scene)
    return scene
