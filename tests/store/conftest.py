"""The store's two databases, and a clock that tests set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.testbed.postgres import Cluster, Unavailable, private_cluster
from pla.ports import Decision, Lease
from pla.store import SqlStore


class ManualClock:
    """A clock that stands until it is moved; wall and monotonic time move apart."""

    def __init__(self) -> None:
        self.wall_s = 1_700_000_000.0
        self.elapsed_s = 1000.0

    def now_s(self) -> float:
        return self.wall_s

    def monotonic_s(self) -> float:
        return self.elapsed_s

    def advance(self, seconds: float) -> None:
        self.wall_s += seconds
        self.elapsed_s += seconds


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def new_clock() -> Callable[[], ManualClock]:
    """Further clocks: other machines have their own."""
    return ManualClock


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """A private PostgreSQL server, one for the session."""
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(private_cluster())
        except Unavailable as error:
            pytest.skip(str(error))
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> str:
    """A new, empty PostgreSQL schema, all that the test's connections see."""
    return postgres_cluster.create_schema()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


OpenStore = Callable[..., SqlStore]


@pytest.fixture
def open_store(store_url: str, clock: ManualClock) -> Iterator[OpenStore]:
    """Opens the database of the test, as often as wanted; `clock=` and `timeline=` differ."""
    with ExitStack() as stack:

        def open_it(
            url: str = store_url, clock: ManualClock = clock, timeline: str | None = None
        ) -> SqlStore:
            return stack.enter_context(SqlStore(url, clock, timeline))

        yield open_it


@pytest.fixture
def store(open_store: OpenStore) -> SqlStore:
    return open_store()


@pytest.fixture
def lease(store: SqlStore) -> Lease:
    """The lease `tick` of holder `a`, for 30 s."""
    taken = store.acquire("tick", "a", 30.0)
    assert taken is not None
    return taken


@pytest.fixture
def decision() -> Callable[..., Decision]:
    """A planned decision; keywords replace its fields."""

    def make(**fields: object) -> Decision:
        usual: dict[str, object] = {
            "at_s": 1_700_000_000.0,
            "epoch": 1,
            "instance": "web-1",
            "workload": "sim://web",
            "resource": "cpu",
            "current": 1.0,
            "target": 2.0,
            "amount": float("nan"),
            "reason": "forecast peak at the tier's quantile",
            "status": "planned",
            "message": "",
            "model_version": "7",
        }
        return Decision(**(usual | fields))  # type: ignore[arg-type]

    return make


class MachineClock:
    """The machine's own clock, for tests with real processes."""

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.fixture
def machine_clock() -> MachineClock:
    return MachineClock()
