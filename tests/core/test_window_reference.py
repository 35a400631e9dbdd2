"""The usage window agrees with a reference that keeps every sample by itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pla.core.fleet import UsageBlock
from pla.core.window import HOUR_S, HOURS, STEP_SPAN_S, UsageWindow

RESOURCES = ("cpu", "memory")
WORKLOADS = 2
STEP_S = 900
START_S = 500_000 * HOUR_S


def block_of(
    values: NDArray[np.float32],
    end_s: int,
    censored: NDArray[np.bool_] | None = None,
    killed: NDArray[np.bool_] | None = None,
    step_s: int = STEP_S,
) -> UsageBlock:
    shape = (len(values), len(RESOURCES), WORKLOADS)
    values = np.broadcast_to(np.asarray(values, dtype=np.float32), shape).copy()
    return UsageBlock(
        values=values,
        censored=np.zeros(shape, dtype=np.bool_) if censored is None else censored,
        killed=np.zeros(shape[::2], dtype=np.bool_) if killed is None else killed,
        end_s=end_s,
        step_s=step_s,
    )


def one_by_one(block: UsageBlock) -> list[UsageBlock]:
    return [
        UsageBlock(
            values=block.values[i : i + 1],
            censored=block.censored[i : i + 1],
            killed=block.killed[i : i + 1],
            end_s=block.end_s - (block.steps - 1 - i) * block.step_s,
            step_s=block.step_s,
        )
        for i in range(block.steps)
    ]


@dataclass
class Reference:
    """Keeps every sample by its end, and aggregates on demand: slow, and obviously right."""

    end_s: int
    samples: dict[tuple[int, int, int], np.float32] = field(default_factory=dict)
    held: set[tuple[int, int, int]] = field(default_factory=set)
    kills: dict[int, int] = field(default_factory=dict)

    def push(self, block: UsageBlock) -> None:
        for one in one_by_one(block):
            self.end_s = max(self.end_s, one.end_s)
            if one.end_s <= self.end_s - STEP_SPAN_S:
                continue
            for (_, resource, workload), value in np.ndenumerate(one.values):
                if np.isfinite(value):
                    self.samples[one.end_s, resource, workload] = value
                    if one.censored[0, resource, workload]:
                        self.held.add((one.end_s, resource, workload))
            for workload in np.flatnonzero(one.killed[0]).tolist():
                self.kills[workload] = max(self.kills.get(workload, 0), one.end_s)

    def lag(self, steps: int) -> NDArray[np.float32]:
        end_s = self.end_s - steps * STEP_S
        return self._cells([[[end_s]] * WORKLOADS] * len(RESOURCES), max)

    def hour(self, hours_ago: int, kind: str) -> NDArray[np.float32]:
        end_s = (self.end_s // HOUR_S - hours_ago) * HOUR_S
        ends = list(range(end_s - HOUR_S + STEP_S, end_s + 1, STEP_S))
        return self._cells([[ends] * WORKLOADS] * len(RESOURCES), max if kind == "max" else mean)

    def _cells(self, ends: list[list[list[int]]], reduce: object) -> NDArray[np.float32]:
        out = np.full((len(RESOURCES), WORKLOADS), np.nan, dtype=np.float32)
        for resource, workload in np.ndindex(out.shape):
            found = [
                self.samples[end_s, resource, workload]
                for end_s in ends[resource][workload]
                if (end_s, resource, workload) in self.samples
            ]
            if found:
                out[resource, workload] = reduce(found)  # type: ignore[operator]
        return out


def mean(values: list[np.float32]) -> np.float32:
    """The sum in the order of time, in single precision, as `UsageWindow` promises."""
    total = np.float32(0)
    for value in values:
        total = np.float32(total + value)
    return np.float32(total / np.float32(len(values)))


def assert_same(window: UsageWindow, reference: Reference) -> None:
    assert window.end_s == reference.end_s
    for lag in range(window.steps):
        np.testing.assert_array_equal(window.lag(lag), reference.lag(lag), err_msg=f"lag {lag}")
    for ago in range(60):
        for kind, mine in (("max", window.hour_max(ago)), ("mean", window.hour_mean(ago))):
            np.testing.assert_array_equal(mine, reference.hour(ago, kind), err_msg=f"{kind} {ago}")
    held = {
        (window.end_of_lag(lag), resource, workload)
        for lag in range(window.steps)
        for resource, workload in zip(*np.nonzero(window.censored_lag(lag)), strict=True)
    }
    assert held == {key for key in reference.held if key[0] > window.end_s - STEP_SPAN_S}
    newest = np.zeros_like(window.last_seen_s)
    for end_s, resource, workload in reference.samples:
        newest[resource, workload] = max(newest[resource, workload], end_s)
    np.testing.assert_array_equal(window.last_seen_s, newest)
    kills = [reference.kills.get(workload, 0) for workload in range(WORKLOADS)]
    np.testing.assert_array_equal(window.killed_s, kills)


VALUES = st.sampled_from([0.0, 0.1, 0.3, 1.0, 7.5, 1e9, float("nan"), float("inf"), -float("inf")])


@st.composite
def blocks(draw: st.DrawFn) -> list[UsageBlock]:
    """Blocks that go on, re-read, come late, skip, or jump by more than the ring."""
    end_s, found = START_S, []
    for _ in range(draw(st.integers(1, 5))):
        steps = draw(st.integers(0, 12))
        shape = (steps, len(RESOURCES), WORKLOADS)
        move = draw(st.one_of(st.integers(-80, 12), st.sampled_from([0, 1, 190, 195, 1500])))
        new_end_s = end_s + move * STEP_S
        size = int(np.prod(shape))
        values = draw(st.lists(VALUES, min_size=size, max_size=size))
        flags = draw(st.lists(st.booleans(), min_size=size, max_size=size))
        kills = draw(st.lists(st.booleans(), min_size=steps * 2, max_size=steps * 2))
        found.append(
            block_of(
                np.array(values, dtype=np.float32).reshape(shape),
                new_end_s,
                np.array(flags, dtype=np.bool_).reshape(shape),
                np.array(kills, dtype=np.bool_).reshape(shape[::2]),
            )
        )
        end_s = max(end_s, new_end_s)
    return found


@given(blocks())
def test_it_agrees_with_the_reference_bit_for_bit(pushed: list[UsageBlock]) -> None:
    window = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    reference = Reference(START_S)
    for block in pushed:
        window.push(block)
        reference.push(block)
        reference.end_s = max(reference.end_s, block.end_s)
    assert_same(window, reference)


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_step_by_step_equals_at_once(steps: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.gamma(0.5, 3.0, (steps, 2, 2)).astype(np.float32)
    values[random.random(values.shape) < 0.2] = np.nan
    end_s = START_S + (steps + 3) * STEP_S
    at_once = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    stepwise = UsageWindow(WORKLOADS, RESOURCES, STEP_S, START_S)
    whole = block_of(values, end_s, censored=random.random(values.shape) < 0.1)
    at_once.push(whole)
    for block in one_by_one(whole):
        stepwise.push(block)
    np.testing.assert_array_equal(at_once.values, stepwise.values)
    np.testing.assert_array_equal(
        at_once.recent_censored(at_once.steps), stepwise.recent_censored(stepwise.steps)
    )
    for ago in range(HOURS):
        np.testing.assert_array_equal(at_once.hour_mean(ago), stepwise.hour_mean(ago))
        np.testing.assert_array_equal(at_once.hour_max(ago), stepwise.hour_max(ago))
    for hours in (0, 1, 24, HOURS):
        np.testing.assert_array_equal(at_once.peak(hours), stepwise.peak(hours))
