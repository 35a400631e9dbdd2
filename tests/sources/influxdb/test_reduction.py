"""The columnar reduction equals one written sample by sample."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pla.sources.influxdb import Column, Kind
from pla.sources.influxdb.decoding import Samples
from pla.sources.influxdb.reduction import Steps, grid_of, reduced

STEPS = Steps(start_s=1200, step_s=60, count=4)

points = st.lists(
    st.tuples(st.integers(1000, 1500), st.integers(0, 50)), unique_by=lambda p: p[0], max_size=12
)


def samples(series: list[list[tuple[int, int]]], workload: list[int]) -> Samples:
    """`series` of (time [s], value), each sorted; of one instance each."""
    flat = [(row, *point) for row, each in enumerate(series) for point in sorted(each)]
    columns = np.array(flat, dtype=np.int64).reshape(-1, 3)
    return Samples(
        tags=[{"pod": str(row)} for row in range(len(series))],
        workload=np.array(workload, dtype=np.int64),
        series=columns[:, 0],
        time_ms=columns[:, 1] * 1000,
        values={"f": columns[:, 2].astype(np.float64)},
    )


def rate(series: list[tuple[int, int]], start_s: int) -> float:
    """Increase per second of the intervals that end in the step from `start_s` on."""
    grown, length = 0.0, 0
    ordered = sorted(series)
    for (t0, v0), (t1, v1) in itertools.pairwise(ordered):
        if not start_s < t1 <= start_s + 60 or t1 - t0 > 150:
            continue
        if v1 < v0 / 2:
            grown, length = grown + v1, length + t1 - t0
        elif v1 >= v0:
            grown, length = grown + v1 - v0, length + t1 - t0
    return grown / length if length else math.nan


def largest(series: list[tuple[int, int]], start_s: int) -> float:
    return max((v for t, v in series if start_s <= t < start_s + 60), default=math.nan)


@given(st.lists(points, min_size=1, max_size=4))
def test_each_series_is_reduced_to_steps(series: list[list[tuple[int, int]]]) -> None:
    given_samples = samples(series, list(range(len(series))))
    for kind, reference in ((Kind.COUNTER, rate), (Kind.GAUGE, largest)):
        grid = grid_of(given_samples, Column("f", "cpu", kind), STEPS)
        expected = [[reference(s, 1200 + 60 * k) for s in series] for k in range(4)]
        np.testing.assert_allclose(grid, np.array(expected, dtype=np.float32), rtol=1e-6)


@given(st.lists(points, min_size=1, max_size=5), st.data())
def test_the_busiest_instance_of_each_workload_counts(
    series: list[list[tuple[int, int]]], data: st.DataObject
) -> None:
    workload = data.draw(
        st.lists(st.integers(0, 3), min_size=len(series), max_size=len(series)), label="workload"
    )
    found = reduced(samples(series, workload), (Column("f", "cpu"),), (), STEPS)
    assert found.rows.tolist() == sorted(set(workload))
    for column, row in enumerate(found.rows):
        mine = [s for s, w in zip(series, workload, strict=True) if w == row]
        expected = [np.nanmax([-1.0, *(largest(s, 1200 + 60 * k) for s in mine)]) for k in range(4)]
        values = np.where(np.array(expected) < 0, np.nan, expected)
        np.testing.assert_array_equal(found.usage["cpu"][:, column], values)
