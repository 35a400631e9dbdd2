"""The schemas that Telegraf's input plugins write, as documented by each plugin's README.

`docker` and `kubernetes` (its kubelet plugin), `libvirt`, `vsphere`. No
Telegraf takes part in the tests: they write its documented line protocol themselves.
"""

from __future__ import annotations

from pla.sources.influxdb.schema import Column, Kind, Measure, Name, Role

KIB = 1024.0
NANO = 1e-9

_DOCKER = (Name("docker://{engine_host}/{container_name}"),)

DOCKER = (
    Measure(
        "docker_container_cpu",
        (
            # The counter covers all of the time; usage_percent only one second of each interval.
            Column("usage_total", "cpu", Kind.COUNTER, scale=NANO),
            Column("usage_percent", "cpu", scale=0.01),
            Column(
                "throttling_throttled_periods",
                "cpu",
                Kind.COUNTER,
                Role.STALL,
                per="throttling_periods",
            ),
        ),
        _DOCKER,
        where="\"cpu\" = 'cpu-total'",
    ),
    Measure(
        "docker_container_mem",
        (Column("usage", "memory"), Column("limit", "memory", role=Role.LIMIT)),
        _DOCKER,
    ),
    Measure(
        "docker_container_status",
        (Column("started_at", "memory", role=Role.KILL),),
        _DOCKER,
        where='"oomkilled" = true',
    ),
)

# A pod's name tells its owner but for the kind: a workload that is asked for decides. The alphabet
# is that of k8s.io/apimachinery/pkg/util/rand, which names pods and replica sets.
_RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"
_OWNERS = {
    "Deployment": rf"(?P<name>.+)-{_RANDOM}{{1,10}}-{_RANDOM}{{5}}",
    "StatefulSet": r"(?P<name>.+)-\d+",
    "DaemonSet": rf"(?P<name>.+)-{_RANDOM}{{5}}",
    "ReplicaSet": rf"(?P<name>.+)-{_RANDOM}{{5}}",
    "CronJob": rf"(?P<name>.+)-\d{{8,10}}-{_RANDOM}{{5}}",
    "Job": rf"(?P<name>.+)-{_RANDOM}{{5}}",
    "Pod": r"(?P<name>.+)",
}
_POD = tuple(
    Name(f"k8s://{{cluster}}/{{namespace}}/{kind}/{{name}}", "pod_name", pattern)
    for kind, pattern in _OWNERS.items()
)
_CONTAINER = tuple(
    Name(f"{name.template}/{{container_name}}", name.tag, name.pattern) for name in _POD
)
_CLAIM = "k8s://{cluster}/{namespace}/PersistentVolumeClaim/"

KUBERNETES = (
    Measure(
        "kubernetes_pod_container",
        (
            Column("cpu_usage_core_nanoseconds", "cpu", Kind.COUNTER, scale=NANO),
            Column("cpu_usage_nanocores", "cpu", scale=NANO),
            Column("memory_working_set_bytes", "memory"),
        ),
        _CONTAINER,
    ),
    Measure(
        "kubernetes_pod_network",
        (
            Column("rx_bytes", "network_rx", Kind.COUNTER),
            Column("tx_bytes", "network_tx", Kind.COUNTER),
        ),
        _POD,
    ),
    Measure(
        "kubernetes_pod_volume",
        (Column("used_bytes", "storage"),),
        # The kubelet names the pod's volume, not the claim: a StatefulSet's claims are called
        # VOLUME-POD, and elsewhere a volume that has its claim's name is found.
        (Name(_CLAIM + "{volume_name}-{pod_name}"), Name(_CLAIM + "{volume_name}")),
    ),
)

_KVM = (Name("kvm://{host}/{domain_name}"),)

LIBVIRT = (
    Measure(
        "libvirt_cpu",
        # InfluxDB refuses a field called `time`, so the plugin's sum never arrives (Telegraf's
        # issue 16443) unless it is renamed, as its maintainers advise.
        (
            Column("cpu_time", "cpu", Kind.COUNTER, scale=NANO),
            Column("user", "cpu", Kind.COUNTER, scale=NANO, plus="system"),
        ),
        _KVM,
    ),
    Measure(
        "libvirt_vcpu",
        # Time that a virtual CPU waited for a real one: steal, as its guest sees it.
        (Column("delay", "cpu", Kind.COUNTER, Role.STALL, scale=NANO),),
        _KVM,
        parts=("vcpu_id",),
    ),
    Measure(
        "libvirt_balloon",
        (
            Column("available", "memory", scale=KIB, minus="usable"),
            Column("rss", "memory", scale=KIB),
        ),
        _KVM,
    ),
    Measure(
        "libvirt_net",
        (
            Column("rx_bytes", "network_rx", Kind.COUNTER),
            Column("tx_bytes", "network_tx", Kind.COUNTER),
        ),
        _KVM,
        parts=("interface_id",),
    ),
    Measure("libvirt_block", (Column("allocation", "storage"),), _KVM, parts=("block_id",)),
)

_VSPHERE = (Name("vsphere://{vcenter}/{vmname}"),)
_VSPHERE_INTERVAL_MS = 20_000.0  # real-time statistics are sums and means over 20 s

VSPHERE = (
    Measure(
        "vsphere_vm_cpu",
        (
            Column("run_summation", "cpu", scale=1 / _VSPHERE_INTERVAL_MS),
            Column("ready_summation", "cpu", role=Role.STALL, scale=1 / _VSPHERE_INTERVAL_MS),
        ),
        _VSPHERE,
        where='"cpu" =~ /^(instance-total)?$/',
    ),
    Measure(
        "vsphere_vm_mem",
        # Not active_average: it samples what was touched lately, and the rest would be swapped.
        (
            Column("consumed_average", "memory", scale=KIB),
            Column("granted_average", "memory", scale=KIB),
        ),
        _VSPHERE,
    ),
    Measure(
        "vsphere_vm_net",
        (
            Column("bytesRx_average", "network_rx", scale=KIB),
            Column("bytesTx_average", "network_tx", scale=KIB),
        ),
        _VSPHERE,
        where='"interface" =~ /^(instance-total)?$/',
    ),
)

SCHEMAS: dict[str, tuple[Measure, ...]] = {
    "docker": DOCKER,
    "kubernetes": KUBERNETES,
    "libvirt": LIBVIRT,
    "vsphere": VSPHERE,
}
