"""Telegraf's documented line protocol, in a real server, becomes usage of the right workload."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pydantic import TypeAdapter

from infra.testbed.influxdb import Server
from pla.sources.influxdb import InfluxSource, Measure

pytestmark = pytest.mark.influxdb

T0 = 1_760_313_600
NAN = np.nan

Source = Callable[..., InfluxSource]
Line = Callable[..., str]
Build = Callable[[int], list[str]]


@pytest.fixture
def fill(influxd: Server, database: str) -> Callable[[Build], None]:
    """`fill(lines_at)`: writes `lines_at(t)` for t = 0, 60, 120 and 180 seconds after T0."""
    return lambda build: influxd.write(database, [x for t in range(0, 181, 60) for x in build(t)])


def test_docker(fill: Callable[[Build], None], source: Source, line: Line) -> None:
    """Throttled in a tenth of the periods, and close to the memory limit: both held down."""
    tags = {"engine_host": "h1", "container_name": "web", "container_image": "nginx"}

    def at(t: int) -> list[str]:
        cpu = {
            "usage_total": int(2.5e9 * t),
            "usage_percent": 1.0,
            "throttling_periods": 10 * t,
            "throttling_throttled_periods": t if t > 60 else 0,
            "container_id": "abc",
        }
        core = {**tags, "cpu": "cpu0"}
        memory = {"usage": 960 if t == 60 else 900, "limit": 1000, "container_id": "abc"}
        status = {"oomkilled": t in {60, 120}, "started_at": 77, "container_id": "abc"}
        return [
            line("docker_container_cpu", {**tags, "cpu": "cpu-total"}, cpu, T0 + t),
            line("docker_container_cpu", core, {"usage_total": int(9e9 * t)}, T0 + t),
            line("docker_container_mem", tags, memory, T0 + t),
            line("docker_container_status", tags, status, T0 + t),
        ]

    fill(at)
    block = source().read(("docker://h1/web",), ("cpu", "memory"), T0, T0 + 180, 60)
    np.testing.assert_allclose(block.values[:, 0, 0], [2.5, 2.5, 2.5], rtol=1e-6)
    np.testing.assert_array_equal(block.values[:, 1, 0], [900, 960, 900])
    assert block.censored[:, 0, 0].tolist() == [False, True, True]
    assert block.censored[:, 1, 0].tolist() == [False, True, False]
    assert block.killed[:, 0].tolist() == [False, True, False]
    later = source().read(("docker://h1/web",), ("memory",), T0 + 120, T0 + 180, 60)
    assert not later.killed.any(), "the mark of an old kill stays until the next start"


def test_docker_without_the_counter_takes_the_percentage(
    fill: Callable[[Build], None], source: Source, line: Line
) -> None:
    tags = {"engine_host": "h1", "container_name": "web", "cpu": "cpu-total"}
    fill(lambda t: [line("docker_container_cpu", tags, {"usage_percent": 150.0}, T0 + t)])
    block = source().read(("docker://h1/web",), ("cpu",), T0, T0 + 120, 60)
    np.testing.assert_array_equal(block.values[:, 0, 0], [1.5, 1.5])


def shop(line: Line, t: int) -> list[str]:
    """Four pods of a shop at `t` seconds after T0; one is replaced at 120."""
    lines = []
    second = "web-5d4f8c7b9-zx2v4" if t < 120 else "web-5d4f8c7b9-qqqqq"
    for pod, rate in (("web-5d4f8c7b9-bcdfg", 1), (second, 2), ("db-0", 3), ("log-x7k2p", 4)):
        tags = {"namespace": "shop", "pod_name": pod, "node_name": "n1"}
        cpu = {"cpu_usage_core_nanoseconds": int(rate * 1e9 * t)}
        memory = {"memory_working_set_bytes": rate * 1000}
        network = {"rx_bytes": 10 * rate * t, "tx_bytes": 20 * rate * t}
        container = {**tags, "container_name": "main"}
        volume = {**tags, "volume_name": "data"}
        lines += [
            line("kubernetes_pod_container", container, cpu | memory, T0 + t),
            line("kubernetes_pod_network", tags, network, T0 + t),
            line("kubernetes_pod_volume", volume, {"used_bytes": rate * 7}, T0 + t),
        ]
    return lines


def test_kubernetes(fill: Callable[[Build], None], source: Source, line: Line) -> None:
    """The busiest pod of each owner, through a pod's restart under another name."""
    fill(lambda t: shop(line, t))
    base = "k8s://prod/shop"
    workloads = (
        f"{base}/Deployment/web/main",
        f"{base}/StatefulSet/db/main",
        f"{base}/DaemonSet/log/main",
        f"{base}/Deployment/web",
        f"{base}/PersistentVolumeClaim/data-db-0",
    )
    resources = ("cpu", "memory", "network_rx", "network_tx", "storage")
    reader = source(constants={"cluster": "prod"})
    block = reader.read(workloads, resources, T0, T0 + 180, 60)
    at_60 = block.values[0]
    np.testing.assert_allclose(
        at_60,
        [
            [2, 3, 4, NAN, NAN],
            [2000, 3000, 4000, NAN, NAN],
            [NAN, NAN, NAN, 20, NAN],
            [NAN, NAN, NAN, 40, NAN],
            [NAN, NAN, NAN, NAN, 21],
        ],
        rtol=1e-6,
    )
    # The new pod has no rate before its second sample; its sibling has.
    np.testing.assert_allclose(block.values[:, 0, 0], [2, 1, 2], rtol=1e-6)
    np.testing.assert_array_equal(block.values[:, 1, 0], [2000, 2000, 2000])


def test_libvirt(fill: Callable[[Build], None], source: Source, line: Line) -> None:
    """Interfaces and disks add up; a virtual CPU that waits for a real one is held down."""
    tags = {"domain_name": "U 22", "host": "h1"}

    def at(t: int) -> list[str]:
        memory = {"available": 4000, "usable": 1000, "unused": 500, "rss": 3900}
        lines = [
            # A field called `time` is left out by the server, whatever Telegraf sends.
            line(
                "libvirt_cpu",
                tags,
                {"time": 5, "user": int(0.4e9 * t), "system": int(0.1e9 * t)},
                T0 + t,
            ),
            line("libvirt_balloon", tags, memory, T0 + t),
        ]
        for k, part in enumerate(("0", "1")):
            delay = {"delay": int(0.1e9 * max(t - 60, 0) * k)}
            network = {"rx_bytes": (k + 1) * 100 * t, "tx_bytes": (k + 1) * 10 * t}
            disk = {"allocation": (k + 1) * 1000 + t}
            lines += [
                line("libvirt_vcpu", {**tags, "vcpu_id": part}, delay, T0 + t),
                line("libvirt_net", {**tags, "interface_id": part}, network, T0 + t),
                line("libvirt_block", {**tags, "block_id": part}, disk, T0 + t),
            ]
        return lines

    fill(at)
    resources = ("cpu", "memory", "storage", "network_rx", "network_tx")
    block = source().read(("kvm://h1/U 22",), resources, T0, T0 + 120, 60)
    expected = [[0.5, 3000 * 1024, 3000, 300, 30], [0.5, 3000 * 1024, 3120, 300, 30]]
    np.testing.assert_allclose(block.values[:, :, 0], expected, rtol=1e-6)
    assert block.censored[:, 0, 0].tolist() == [False, True]
    assert not block.censored[:, 1:].any()


def test_vsphere(fill: Callable[[Build], None], source: Source, line: Line) -> None:
    """The machine as a whole, with and without the tag that newer versions give it."""
    tags = {"vcenter": "vc.example:8989", "vmname": "VM0", "esxhostname": "e1"}

    def at(t: int) -> list[str]:
        whole = {**tags, "cpu": "instance-total"} if t > 60 else tags
        cpu = {"run_summation": 30_000, "ready_summation": 2_000 if t == 60 else 10}
        network = {"bytesRx_average": 3, "bytesTx_average": 4}
        return [
            line("vsphere_vm_cpu", whole, cpu, T0 + t),
            line("vsphere_vm_cpu", {**tags, "cpu": "0"}, {"run_summation": 99_000}, T0 + t),
            line("vsphere_vm_mem", tags, {"granted_average": 2048}, T0 + t),
            line("vsphere_vm_net", {**tags, "interface": "instance-total"}, network, T0 + t),
            line("vsphere_vm_net", {**tags, "interface": "4000"}, network, T0 + t),
        ]

    fill(at)
    resources = ("cpu", "memory", "network_rx", "network_tx")
    block = source().read(("vsphere://vc.example:8989/VM0",), resources, T0, T0 + 180, 60)
    expected = [1.5, 2048 * 1024, 3 * 1024, 4 * 1024]
    np.testing.assert_allclose(block.values[:, :, 0], [expected] * 3, rtol=1e-6)
    assert block.censored[:, 0, 0].tolist() == [False, True, False]


def test_a_mapping_of_ones_own(influxd: Server, database: str, source: Source, line: Line) -> None:
    """As it stands in a settings file; names with quotes, spaces and commas included."""
    mapping = TypeAdapter(tuple[Measure, ...]).validate_python(
        [
            {
                "measurement": 'my "vms"',
                "columns": [
                    {"field": "used mb", "resource": "memory", "scale": 1e6},
                    {"field": "ticks", "resource": "cpu", "kind": "counter", "scale": 0.01},
                ],
                "workloads": [
                    {"template": "kvm://{site}/{vm}", "tag": "id", "pattern": "vm-(?P<vm>.+)"}
                ],
                "where": "\"env\" = 'prod'",
            }
        ]
    )
    lines = []
    for t in (0, 60, 120):
        for env in ("prod", "test"):
            factor = 1 if env == "prod" else 10
            lines.append(
                rf'my\ "vms",id=vm-it\ is\,\ "mine",env={env} '
                rf"used\ mb={factor * 5},ticks={factor * 50 * t}i {T0 + t}"
            )
    influxd.write(database, lines)
    reader = source(mapping=mapping, schemas=(), constants={"site": "s1"})
    block = reader.read(('kvm://s1/it is, "mine"',), ("memory", "cpu"), T0, T0 + 120, 60)
    np.testing.assert_allclose(block.values[:, :, 0], [[5e6, 0.5], [5e6, 0.5]], rtol=1e-6)


def test_a_retention_policy_is_read_from(
    influxd: Server, database: str, source: Source, line: Line
) -> None:
    influxd.query(
        f'CREATE RETENTION POLICY "two years" ON "{database}" DURATION 104w REPLICATION 1'
    )
    tags = {"vcenter": "v", "vmname": "m"}
    influxd.write(database, [line("vsphere_vm_mem", tags, {"consumed_average": 1}, T0)])
    influxd.query(
        f'SELECT 2 * "consumed_average" AS "consumed_average" INTO "{database}"."two years".'
        f'"vsphere_vm_mem" FROM "{database}".."vsphere_vm_mem" GROUP BY *'
    )
    values = [
        source(retention_policy=policy)
        .read(("vsphere://v/m",), ("memory",), T0, T0 + 60, 60)
        .values[0, 0, 0]
        for policy in ("", "two years")
    ]
    assert values == [1024, 2048]
