"""A real InfluxDB 1.6.7 with databases to order, and line protocol to fill them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import pytest

from infra.testbed.influxdb import Server, Unavailable, private_server
from pla.sources.influxdb import InfluxOptions, InfluxSource

Database = str


@pytest.fixture(scope="session")
def influxd() -> Iterator[Server]:
    """A server without authentication, shared by the tests."""
    try:
        with private_server() as server:
            yield server
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def secured_influxd() -> Iterator[Server]:
    """A server that wants a password or a token, and speaks TLS only."""
    try:
        with private_server(auth=True, tls=True) as server:
            yield server
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def database(influxd: Server, _numbers: Iterator[int]) -> Iterator[Database]:
    """A new, empty database."""
    name = f"test{next(_numbers)}"
    influxd.query(f'CREATE DATABASE "{name}"')
    yield name
    influxd.query(f'DROP DATABASE "{name}"')


@pytest.fixture
def source(influxd: Server, database: Database) -> Iterator[Callable[..., InfluxSource]]:
    """`source(**options)`: a source over `database`."""
    opened: list[InfluxSource] = []

    def build(**options: object) -> InfluxSource:
        given = {"url": influxd.url, "database": database} | options
        opened.append(InfluxSource(InfluxOptions(**given)))  # type: ignore[arg-type]
        return opened[-1]

    yield build
    for each in opened:
        each.close()


@pytest.fixture(scope="session")
def line() -> Callable[..., str]:
    """`line(measurement, tags, fields, time)`: one point in the line protocol."""

    def escaped(text: str) -> str:
        for special in ",= ":
            text = text.replace(special, f"\\{special}")
        return text

    def value(given: object) -> str:
        if isinstance(given, bool):
            return str(given).lower()
        if isinstance(given, int):
            return f"{given}i"
        return f'"{given}"' if isinstance(given, str) else f"{float(given):.17g}"  # type: ignore[arg-type]

    def build(
        measurement: str, tags: Mapping[str, str], fields: Mapping[str, object], time: int
    ) -> str:
        where = "".join(f",{key}={escaped(tag)}" for key, tag in tags.items())
        what = ",".join(f"{key}={value(given)}" for key, given in fields.items())
        return f"{measurement}{where} {what} {time}"

    return build
