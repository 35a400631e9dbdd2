"""What comes back from real servers equals what was loaded, to float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pla.core.fleet import UsageBlock
from pla.core.resources import BY_NAME
from pla.sources.prometheus import PrometheusSource

OpenSource = Callable[..., PrometheusSource]
RESOURCES = tuple(BY_NAME)


def read(source: PrometheusSource, scene: Any, step_s: int | None = None) -> UsageBlock:
    uris = sorted({uri for uri, _ in scene.usage})
    step_s = step_s or scene.step_s
    return source.read(uris, RESOURCES, scene.start_s, scene.end_s, step_s)


def expected(scene: Any) -> np.ndarray:
    """Shape (step, resource, workload), workloads sorted."""
    uris = sorted({uri for uri, _ in scene.usage})
    values = np.full((scene.steps, len(RESOURCES), len(uris)), np.nan, dtype=np.float32)
    for (uri, resource), usage in scene.usage.items():
        values[:, RESOURCES.index(resource), uris.index(uri)] = usage
    return values


def differences(scene: Any, got: np.ndarray, want: np.ndarray) -> list[str]:
    """Cells that differ, in words.

    The last rate of what has ended may last for two steps: of a whole workload, and of the pods
    that the deployment `web` replaces after an hour.
    """
    uris = sorted({uri for uri, _ in scene.usage})
    bad = ~np.isclose(got, want, rtol=2e-6, atol=0, equal_nan=True)
    if len(got) == scene.steps:
        web = 58, RESOURCES.index("cpu"), uris.index("k8s://prod/shop/Deployment/web/app")
        ended = (slice(web[0], web[0] + 5), *web[1:])
        bad[ended] &= got[ended] < want[ended]
    for step, resource, workload in np.argwhere(bad & np.isnan(want)):
        before = want[max(step - 2, 0) : step, resource, workload]
        counters = RESOURCES[resource] in ("cpu", "network_rx", "network_tx")
        bad[step, resource, workload] = not (counters and np.isfinite(before).any())
    return [
        f"{uris[w]} {RESOURCES[r]} step {s}: got {got[s, r, w]}, expected {want[s, r, w]}"
        for s, r, w in np.argwhere(bad)
    ]


def test_usage_is_what_was_loaded(server_url: str, scene: Any, open_source: OpenSource) -> None:
    block = read(open_source(server_url), scene)
    assert block.end_s == scene.end_s and block.steps == scene.steps
    found = differences(scene, block.values, expected(scene))
    assert not found, "\n".join(found[:40])
    assert not block.partial and not block.warnings and not block.unavailable


def test_wider_steps_keep_the_largest_sample(
    server_url: str, scene: Any, open_source: OpenSource
) -> None:
    block = read(open_source(server_url), scene, step_s=300)
    want = expected(scene)
    with np.errstate(invalid="ignore"):
        wide = np.fmax.reduce(want.reshape(-1, 5, *want.shape[1:]), axis=1)
    assert not differences(scene, block.values, wide)


def test_reading_in_windows_gives_the_same(
    server_url: str, scene: Any, open_source: OpenSource
) -> None:
    whole = read(open_source(server_url), scene)
    pieces = read(open_source(server_url, max_points=7), scene)
    few = read(open_source(server_url, max_samples=100), scene)
    for other in (pieces, few):
        np.testing.assert_array_equal(other.values, whole.values)
        np.testing.assert_array_equal(other.censored, whole.censored)


def test_start_off_the_grid_begins_with_the_next_whole_step(
    server_url: str, scene: Any, open_source: OpenSource
) -> None:
    source = open_source(server_url)
    uris = sorted({uri for uri, _ in scene.usage})
    start_s, end_s = scene.start_s + 600, scene.start_s + 1200
    aligned = source.read(uris, RESOURCES, start_s, end_s, 60)
    shifted = source.read(uris, RESOURCES, start_s + 17, end_s + 42, 60)
    assert aligned.end_s == shifted.end_s == end_s
    np.testing.assert_array_equal(shifted.values, aligned.values)


@pytest.mark.prometheus
def test_what_is_no_amount_never_becomes_usage(
    prometheus_url: str, scene: Any, open_source: OpenSource
) -> None:
    source = open_source(prometheus_url)
    block = source.read(["kvm://h3/odd"], ("memory",), scene.start_s, scene.end_s, 60)
    values = block.values[:, 0, 0]
    # The infinite one hides the other sample of its step; NaN and the negative one hide nothing.
    gap = (7 + 30 * 43) // 60
    assert np.flatnonzero(np.isnan(values)).tolist() == [gap]
    assert np.nanmax(values) == np.nanmin(values) == np.float32(1e9)


@pytest.mark.prometheus
def test_unknown_workloads_and_resources_are_gaps(
    prometheus_url: str, scene: Any, open_source: OpenSource
) -> None:
    source = open_source(prometheus_url)
    uris = ["kvm://h1/none", "other://x", "k8s://dev/shop/Deployment/web/app", "kvm://h1/vm-a"]
    block = source.read(uris, ("gpu", "cpu"), scene.start_s, scene.end_s, 60)
    assert np.isnan(block.values[:, :, :3]).all() and np.isnan(block.values[:, 0]).all()
    assert np.isfinite(block.values[:, 1, 3]).all()


def test_total_is_the_sum_of_the_instances(
    server_url: str, scene: Any, open_source: OpenSource
) -> None:
    web = ["k8s://prod/shop/Deployment/web/app"]
    asked = web, ("memory",), scene.start_s, scene.end_s, 60
    source = open_source(server_url)
    total = source.amounts("total", *asked)[:, 0, 0]
    largest = source.read(*asked).values[:, 0, 0]
    # Two pods at any time; the sum lies between the larger one and twice that.
    assert (total > largest).all() and (total <= 2.0001 * 2 * largest).all()
    assert (total[:55] <= 2.0001 * largest[:55]).all()
