"""The policies against a second, slow implementation: plain loops over one workload's samples.

Each reference keeps nothing but the list of samples so far and computes its rule anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from pla.core.baselines import make

STEP_S = 300
DAY_S = 86_400
DAY = DAY_S // STEP_S
START_S = 1_375_920_000 + 7 * STEP_S  # not a midnight
MIB = 1024**2

Samples = list[tuple[int, float]]
"""(end of the step [epoch s], usage), gaps left out."""
Rule = Callable[[Samples, int], float]


def newest(samples: Samples, now_s: int, span_s: int) -> Samples:
    return [(t, v) for t, v in samples if t > now_s - span_s]


# -- VPA -----------------------------------------------------------------------------------


def vpa_percentile(weighted: list[tuple[float, float]], first: float, share: float) -> float:
    """`weighted`: (value, weight); the end of the bucket where the weight reaches the share."""
    starts = [first * (1.05**n - 1) / 0.05 for n in range(176)]
    buckets: dict[int, float] = {}
    for value, weight in weighted:
        n = max(i for i, start in enumerate(starts) if start <= value)
        buckets[n] = buckets.get(n, 0.0) + weight
    total = sum(buckets.values())
    partial = 0.0
    for n in sorted(buckets):
        partial += buckets[n]
        if partial >= share * total:
            return starts[min(n + 1, 175)]
    raise AssertionError("the weight never reached the share")


def estimate(percentile: float, units: int, floor: int, factor: float = 1.0) -> float:
    whole = int(percentile * units)
    whole += int(0.15 * whole)
    return max(int(min(whole * factor, 1e14)), floor) / units


def vpa_cpu(share: float, factor: Callable[[float], float] = lambda conf: 1.0) -> Rule:
    def rule(samples: Samples, now_s: int) -> float:
        weighted = [(v, 0.1 * 2 ** ((t - now_s) / DAY_S)) for t, v in samples]
        span_s = samples[-1][0] - samples[0][0]
        confidence = min(span_s / DAY_S, len(samples) * STEP_S / 60 / 1440)
        return estimate(vpa_percentile(weighted, 0.01, share), 1000, 25, factor(confidence))

    return rule


def vpa_memory(samples: Samples, now_s: int) -> float:
    peaks: dict[int, float] = {}
    for t, v in samples:
        window = (t - samples[0][0]) // DAY_S
        peaks[window] = max(peaks.get(window, 0.0), v)
    ends = {w: samples[0][0] + (w + 1) * DAY_S for w in peaks}
    weighted = [(v, 2 ** ((ends[w] - now_s) / DAY_S)) for w, v in peaks.items()]
    return estimate(vpa_percentile(weighted, 1e7, 0.90), 1, 250 * MIB)


# -- Autopilot -----------------------------------------------------------------------------


@cache
def bordered(value: float, floor: float) -> float:
    """Upper border of the value's bucket: 400 of them over six decades from floor / 10."""
    borders = [floor / 10 * 10 ** (6 * k / 399) for k in range(400)]
    return min((border for border in borders if border >= value), default=borders[-1])


def autopilot(floor: float, half_life_h: int, statistic: str) -> Rule:
    def at(samples: Samples, now_s: int) -> float:
        weighted = [(bordered(v, floor), 2 ** ((t - now_s) / 3600 / half_life_h), v)
                    for t, v in samples]  # fmt: skip
        if statistic == "avg":
            return sum(w * v for _, w, v in weighted) / sum(w for _, w, _ in weighted)
        if statistic == "max":
            return max(bordered(v, floor) for _, v in newest(samples, now_s, DAY_S))
        wanted = float(statistic[1:]) / 100 * sum(b * w for b, w, _ in weighted)
        partial = 0.0
        for b, w, _ in sorted(weighted):
            partial += b * w
            if partial >= wanted:
                break
        return b

    def rule(samples: Samples, now_s: int) -> float:
        hour = [now_s - k * STEP_S for k in range(12)]
        known = [[s for s in samples if s[0] <= t] for t in hour]
        return max(at(k, t) * 1.15 for k, t in zip(known, hour, strict=True) if k)

    return rule


# -- KRR, Crane ----------------------------------------------------------------------------


def krr_history(samples: Samples, now_s: int) -> list[float]:
    """What the report in force saw: the last midnight's, else the first full hour's after it."""
    for report_s in range(now_s // DAY_S * DAY_S, now_s + 1, 3600):
        seen = newest([(t, v) for t, v in samples if t <= report_s], report_s, 336 * 3600)
        if len(seen) >= 36:
            return sorted(v for _, v in seen)
    return []


def krr_cpu(percent: float) -> Rule:
    def rule(samples: Samples, now_s: int) -> float:
        ordered = krr_history(samples, now_s)
        if not ordered:
            return math.nan
        rank = percent / 100 * (len(ordered) - 1)
        low, high = ordered[math.floor(rank)], ordered[math.ceil(rank)]
        return max(math.ceil((low + (high - low) * (rank % 1)) * 1000) / 1000, 0.010)

    return rule


def krr_memory(samples: Samples, now_s: int) -> float:
    ordered = krr_history(samples, now_s)
    return max(math.ceil(1.15 * ordered[-1] / MIB) * MIB, 100 * MIB) if ordered else math.nan


def crane(width: float) -> Rule:
    def rule(samples: Samples, now_s: int) -> float:
        buckets: dict[int, float] = {}
        for _, v in newest(samples, now_s, 168 * 3600):
            n = min(int(v / width), 999)
            buckets[n] = buckets.get(n, 0.0) + max(v, 1e-5)
        total, partial = sum(buckets.values()), 0.0
        for n in sorted(buckets):
            partial += buckets[n]
            if partial >= 0.99 * total:
                break
        return (n + 1) * width * 1.15

    return rule


def longest(span_s: int) -> Rule:
    """Where there are gaps only, the newest sample."""
    return lambda samples, now_s: max(
        (v for _, v in newest(samples, now_s, span_s)), default=samples[-1][1]
    )


# -- the comparison ------------------------------------------------------------------------

CPU_FLOOR, MEMORY_FLOOR = 0.01, 10.0 * MIB
CASES: dict[str, tuple[Rule, Rule]] = {
    "max:3h": (longest(3 * 3600), longest(3 * 3600)),
    "max:7d": (longest(7 * DAY_S), longest(7 * DAY_S)),
    "vpa": (vpa_cpu(0.90), vpa_memory),
    "autopilot": (autopilot(CPU_FLOOR, 12, "p95"), autopilot(MEMORY_FLOOR, 48, "p98")),
    "autopilot-p90": (autopilot(CPU_FLOOR, 12, "p90"), autopilot(MEMORY_FLOOR, 48, "p98")),
    "autopilot-max": (autopilot(CPU_FLOOR, 12, "max"), autopilot(MEMORY_FLOOR, 48, "max")),
    "krr": (krr_cpu(95), krr_memory),
    "krr-limit": (krr_cpu(96), krr_memory),
    "crane": (crane(0.1), crane(100 * MIB)),
}


@pytest.fixture(scope="module")
def usage() -> np.ndarray:
    """(step, resource, workload): eight days of bursts, idle spells, zeros and gaps."""
    random = np.random.default_rng(20)
    values = random.gamma(0.7, 0.4, (8 * DAY, 2, 5))
    values *= 1 + np.sin(2 * np.pi * np.arange(8 * DAY) / DAY)[:, None, None]
    values[:, :, 1] *= 0.01
    values[random.random(values.shape) < 0.1] = 0.0
    values[:, :, 4] *= 300.0
    values[:, 1] *= 1e9
    values[random.random(values.shape) < 0.05] = np.nan
    values[3 * DAY : 4 * DAY + 20] = np.nan  # of the whole fleet
    values[:DAY, :, 3] = np.nan
    return values.astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_a_policy_equals_its_slow_reference(name: str, usage: np.ndarray) -> None:
    policy = make(name, ("cpu", "memory"), 5, STEP_S, np.ones((5, 2)))
    checked = {40, DAY + 100, 3 * DAY - 1, 5 * DAY + 7, 8 * DAY - 1}
    for index, values in enumerate(usage):
        now_s = START_S + (index + 1) * STEP_S
        policy.observe(values, now_s)
        if index not in checked:
            continue
        target = policy.target()
        for resource, rule in enumerate(CASES[name]):
            for workload in range(5):
                column = usage[: index + 1, resource, workload].tolist()
                samples = [(START_S + (i + 1) * STEP_S, v) for i, v in enumerate(column) if v == v]
                expected = rule(samples, now_s) if samples else math.nan
                assert target[workload, resource] == pytest.approx(expected, rel=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("bound", "rule"),
    [
        (0, vpa_cpu(0.50, lambda confidence: (1 + 0.001 / confidence) ** -2)),
        (1, vpa_cpu(0.95, lambda confidence: 1 + 1 / confidence)),
    ],
)
def test_vpa_bounds_equal_their_slow_reference(bound: int, rule: Rule, usage: np.ndarray) -> None:
    policy = make("vpa", ("cpu",), 5, STEP_S, np.ones((5, 1)))
    for index, values in enumerate(usage[: 3 * DAY]):
        policy.observe(values[:1], START_S + (index + 1) * STEP_S)
        if index not in (40, 400, 3 * DAY - 1):
            continue
        for workload in range(3):
            column = usage[: index + 1, 0, workload].tolist()
            samples = [(START_S + (i + 1) * STEP_S, v) for i, v in enumerate(column) if v == v]
            expected = rule(samples, START_S + (index + 1) * STEP_S)
            assert policy.bounds()[bound][workload, 0] == pytest.approx(expected, rel=1e-9)  # type: ignore[attr-defined]
