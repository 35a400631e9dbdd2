"""Real servers, loaded with a scene whose usage is known: what comes back must be that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from infra.testbed.debian import Unavailable
from infra.testbed.prometheus import Series, create_blocks, prometheus
from infra.testbed.proxy import FaultProxy, fault_proxy
from infra.testbed.scene import Scene, known_fleet
from infra.testbed.victoriametrics import victoriametrics
from pla.clock import SystemClock
from pla.ports import SourceError
from pla.sources.prometheus import PrometheusOptions, PrometheusSource


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Every platform that a shipped pack tells of."""
    return known_fleet()


@pytest.fixture(scope="session")
def prometheus_url(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that holds the scene."""
    folder = tmp_path_factory.mktemp("prometheus")
    with ExitStack() as stack:
        try:
            create_blocks(scene.series, folder / "data")
            server = stack.enter_context(prometheus(folder))
        except Unavailable as error:
            pytest.skip(str(error))
        yield server.url


@pytest.fixture(scope="session")
def victoriametrics_url(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A VictoriaMetrics that holds the scene."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(
                victoriametrics(tmp_path_factory.mktemp("victoriametrics"))
            )
        except Unavailable as error:
            pytest.skip(str(error))
        server.load(scene.series)
        yield server.url


@pytest.fixture(
    params=[
        pytest.param("prometheus_url", marks=pytest.mark.prometheus),
        pytest.param("victoriametrics_url", marks=pytest.mark.victoriametrics),
    ]
)
def server_url(request: pytest.FixtureRequest) -> str:
    """Either server, with the same scene."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
def open_source() -> Iterator[Callable[..., PrometheusSource]]:
    """`open_source(url, **options)`: closed at the end of the test."""
    with ExitStack() as stack:

        def open_it(url: str, **options: Any) -> PrometheusSource:
            usual: dict[str, Any] = {"labels": {"cluster": "prod"}, "timeout_s": 20.0}
            source = PrometheusSource(PrometheusOptions(url, **(usual | options)))
            stack.callback(source.close)
            return source

        yield open_it


@pytest.fixture
def proxy(prometheus_url: str) -> Iterator[FaultProxy]:
    """A proxy in front of the Prometheus that spoils its answers to order."""
    with fault_proxy(prometheus_url) as running:
        yield running


@pytest.fixture
def fails(scene: Scene) -> Callable[[PrometheusSource, str], str]:
    """`fails(source, words)`: a read's error, which names the server and says `words`, briefly."""

    def read(source: PrometheusSource, words: str) -> str:
        with pytest.raises(SourceError, match=words) as caught:
            scene.read(source)
        message = str(caught.value)
        assert source.server in message and "\n" not in message and len(message) < 1200
        return message

    return read


class MovedClock(SystemClock):
    """The machine's clock, moved so that it is `now_s` when this is made."""

    def __init__(self, now_s: float) -> None:
        self.shift_s = now_s - super().now_s()

    def now_s(self) -> float:
        return super().now_s() + self.shift_s


@pytest.fixture
def clock_at() -> type[MovedClock]:
    """`clock_at(now_s)`: a clock that runs from there."""
    return MovedClock


@pytest.fixture
def new_series() -> type[Series]:
    return Series


@pytest.fixture
def serve(tmp_path: Any) -> Iterator[Callable[..., str]]:
    """`serve(series)`: the URL of a Prometheus of the test's own that holds them."""
    with ExitStack() as stack:

        def start(series: list[Series], *options: str) -> str:
            folder = tmp_path / "own-prometheus"
            try:
                if series:
                    create_blocks(series, folder / "data")
                return stack.enter_context(prometheus(folder, options=options)).url
            except Unavailable as error:
                pytest.skip(str(error))

        yield start
