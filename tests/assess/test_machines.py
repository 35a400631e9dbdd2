"""Virtual machines: what they were given is their limit, and there is one of each."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from infra.testbed.prometheus import Series

pytestmark = pytest.mark.prometheus

END_S = 1_700_006_400
HOURS = 30
GIB = 1024.0**3


@pytest.fixture(scope="module")
def rates() -> np.ndarray:
    """CPU of three machines, one value for each 5 min, (machine, step) [core]."""
    return np.random.default_rng(5).gamma(2.0, 0.2, (3, HOURS * 12))


def domains(rates: np.ndarray) -> list[Series]:
    series = []
    for number, rate in enumerate(rates):
        labels = {"domain": f"vm{number}", "instance": f"host{number % 2}:9177"}
        per_minute = np.repeat(rate, 5)
        times = END_S - 60.0 * np.arange(len(per_minute) + 1)[::-1]
        cpu = np.r_[7.0, 7.0 + np.cumsum(per_minute * 60)]
        flat = np.ones(len(times))
        for name, values in (
            ("info_cpu_time_seconds_total", cpu),
            ("info_virtual_cpus", 4 * flat),
            ("info_memory_usage_bytes", GIB * flat),
            ("info_maximum_memory_bytes", 8 * GIB * flat),
        ):
            series.append(Series(f"libvirt_domain_{name}", labels, times, values))
    return series


def test_virtual_cpus_and_memory_are_what_is_paid_for(
    pla: Any, serve: Any, rates: np.ndarray
) -> None:
    url = serve(domains(rates))
    until = str(np.datetime64(END_S, "s"))
    asked = "assess", "--prometheus", url, "--until", until, "--days", "1.25", "--json"
    ran = pla(*asked, "--price-cpu", "0.1", "--price-memory", "0.01", "--currency", "EUR")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["prices"] == {"currency": "EUR", "cpu": 0.1, "memory": 0.01}
    assert {w["workload"]: w["namespace"] for w in told["workloads"]} == {
        "kvm://host0/vm0": "host0", "kvm://host1/vm1": "host1", "kvm://host0/vm2": "host0",
    }  # fmt: skip
    scored = rates[:, -HOURS * 12 // 4 :]
    for workload in told["workloads"]:
        number = int(workload["workload"][-1])
        cpu, memory = workload["resources"]["cpu"], workload["resources"]["memory"]
        assert cpu["request"] is None and cpu["limit"] == 4 and cpu["instances"] == 1
        assert cpu["policies"]["now"]["month"] == pytest.approx(4 * 0.1 * 730)
        assert memory["policies"]["now"]["month"] == pytest.approx(8 * 0.01 * 730)
        assert memory["wasted_month"] == pytest.approx(7 * 0.01 * 730)
        used = scored[number].mean()
        assert cpu["wasted_month"] == pytest.approx((4 - used) * 0.1 * 730, rel=1e-4)
        # VPA takes the 90th percentile of buckets that are 5 % wide, and 15 % more.
        least = np.percentile(rates[number], 80)
        assert least < cpu["policies"]["vpa"]["amount"] < 1.5 * np.percentile(rates[number], 95)
    assert "pla" not in told["total"]["policies"]
    assert any("too little to learn from" in note for note in told["notes"])
