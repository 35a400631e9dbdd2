"""What goes wrong is one line that names server, query and cure; what passes is recovered from."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from infra.testbed.influxdb import Server, private_server
from infra.testbed.processes import free_port
from infra.testbed.proxy import PASS, Fault, FaultProxy, fault_proxy
from pla.ports import SourceError
from pla.sources.influxdb import Column, InfluxOptions, InfluxSource, Measure, Name

pytestmark = pytest.mark.influxdb

T0 = 1_760_313_600
TAGS = {"engine_host": "h", "container_name": "web"}
WEB = ("docker://h/web",)

Source = Callable[..., InfluxSource]
Line = Callable[..., str]


def read(source: InfluxSource, start: int = 0, end: int = 300) -> list[float]:
    """Memory of the steps that end in (start, end] seconds after T0."""
    block = source.read(WEB, ("memory",), T0 + start, T0 + end, 60)
    return [float(value) for value in block.values[:, 0, 0]]


def error_of(source: InfluxSource, **span: int) -> str:
    with pytest.raises(SourceError) as caught:
        read(source, **span)
    words = str(caught.value)
    assert "\n" not in words
    return words


@pytest.fixture
def five_minutes(influxd: Server, database: str, line: Line) -> str:
    """A database whose history is five minutes long."""
    lines = [line("docker_container_mem", TAGS, {"usage": t}, T0 + t) for t in range(0, 300, 10)]
    influxd.write(database, lines)
    return database


@pytest.fixture
def proxy(influxd: Server) -> Iterator[FaultProxy]:
    with fault_proxy(influxd.url) as between:
        yield between


FIVE = [50.0, 110.0, 170.0, 230.0, 290.0]


def test_five_minutes_of_history_are_five_steps(five_minutes: str, source: Source) -> None:
    values = read(source(), start=-600, end=420)
    np.testing.assert_array_equal(values, [*[np.nan] * 10, *FIVE, np.nan, np.nan])
    (words,) = source().describe()
    assert "docker_container_mem from 2025-10-13T00:00:00Z to 2025-10-13T00:04:50Z" in words
    assert "InfluxDB 1." in words


def test_an_empty_database(source: Source) -> None:
    message = error_of(source())
    assert "it holds none of the measurements docker_container_cpu, " in message
    assert "check that Telegraf writes into this database" in message


def test_what_comes_into_an_empty_database_is_found(
    influxd: Server, database: str, source: Source, line: Line
) -> None:
    reader = source()
    error_of(reader)
    influxd.write(database, [line("docker_container_mem", TAGS, {"usage": 7}, T0)])
    assert read(reader, end=60) == [7]


def test_an_unknown_database_and_retention_policy(five_minutes: str, source: Source) -> None:
    assert "database not found: nowhere; check `database`" in error_of(source(database="nowhere"))
    message = error_of(source(retention_policy="years"))
    assert "retention policy not found: years; check `retention_policy`" in message


def test_a_mapping_to_what_holds_no_numbers(
    influxd: Server, database: str, source: Source, line: Line
) -> None:
    influxd.write(database, [line("vm", TAGS, {"used": "much"}, T0)])
    name = (Name("docker://{engine_host}/{container_name}"),)
    text = Measure("vm", (Column("used", "memory"),), name)
    assert "field 'used' of vm is of type string, not a number" in error_of(source(mapping=(text,)))


def test_a_mapping_that_is_no_influxql(
    influxd: Server, database: str, source: Source, line: Line
) -> None:
    influxd.write(database, [line("vm", TAGS, {"used": 1}, T0)])
    name = (Name("docker://{engine_host}/{container_name}"),)
    wrong = Measure("vm", (Column("used", "memory"),), name, where="env ==")
    message = error_of(source(mapping=(wrong,)))
    assert re.search(r"400: error parsing query: .*; check `mapping`", message), message


def test_an_error_inside_an_answer_of_status_200(
    influxd: Server, database: str, source: Source, line: Line
) -> None:
    influxd.write(database, [line("vm", TAGS, {"used": 1}, T0)])
    name = (Name("docker://{engine_host}/{container_name}"),)
    odd = Measure("vm", (Column("used", "memory"),), name, where="time > '2025-13-01'")
    message = error_of(source(mapping=(odd,)))
    assert re.search(r"failed: .*time.*; check the `mapping` of this measurement", message), message


# -- what is between -----------------------------------------------------------------------


def test_a_server_that_is_down_and_comes_back(line: Line) -> None:
    with private_server() as server:
        server.query("CREATE DATABASE telegraf")
        server.write("telegraf", [line("docker_container_mem", TAGS, {"usage": 7}, T0)])
        reader = InfluxSource(InfluxOptions(server.url, "telegraf"))
        assert read(reader, end=60) == [7]
        server.stop()
        assert "cannot be reached" in error_of(reader)
        server.start()
        assert read(reader, end=60) == [7]
        reader.close()


def test_nobody_listens_and_nobody_is_called_that(source: Source) -> None:
    message = error_of(source(url=f"http://127.0.0.1:{free_port()}"))
    assert "cannot be reached" in message
    assert "check that influxd runs" in message
    message = error_of(source(url="http://influx.invalid:8086"))
    assert "http://influx.invalid:8086: unknown host" in message


@pytest.mark.faults
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(delay_s=30), "no complete answer within 1.5 s; look whether"),
        (Fault(drip_s=0.3), "no complete answer within 1.5 s"),
        (Fault(drip_s=0.3, drip_head=True), "no complete answer within 1.5 s"),
        (Fault(status=503), "answered 503: nothing; look into the log"),
        (Fault(status=500, body=b'{"error":"engine: full"}'), "answered 500: engine: full"),
        (Fault(status=404), "answered 404: nothing; `url` must lead to"),
        (Fault(status=302, headers={"Location": "/login"}), "answered 302: .*`url` must lead to"),
        (Fault(reset=True), "the connection broke off"),
        (Fault(truncate=80), "the connection broke off"),
        (Fault(truncate=80, length=False), "the answer is not JSON"),
        (Fault(body=b"", length=False), "the answer ends before its last line"),
        (Fault(body=b"{}"), "the answer holds no results"),
        (Fault(body=b"[1]"), "the answer is JSON, but not an object"),
        (Fault(body=b'{"results":[7]}'), "the answer is JSON, but not InfluxDB's"),
        (Fault(content_type="text/html"), "the answer is of type 'text/html', not application"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_spoilt_answer_is_not_used_and_recovered_from(
    five_minutes: str, source: Source, proxy: FaultProxy, fault: Fault, words: str
) -> None:
    reader = source(url=proxy.url, timeout_s=1.5)
    assert read(reader) == FIVE
    proxy.fault = fault
    began = time.monotonic()
    message = error_of(reader)
    assert re.search(words, message), message
    assert proxy.url in message
    assert "docker_container_mem" in message
    assert time.monotonic() - began < 10
    proxy.fault = PASS
    assert read(reader) == FIVE


@pytest.mark.faults
@pytest.mark.parametrize("fault", [Fault(reset=True, times=1), Fault(truncate=80, times=1)])
def test_one_spoilt_answer_is_asked_for_again(
    five_minutes: str, source: Source, proxy: FaultProxy, fault: Fault
) -> None:
    reader = source(url=proxy.url)
    assert read(reader) == FIVE
    proxy.fault = fault
    assert read(reader) == FIVE


@pytest.mark.faults
def test_what_is_too_much_at_once_is_read_in_halves(
    five_minutes: str, source: Source, proxy: FaultProxy
) -> None:
    proxy.fault = Fault(status=503, only="docker_container_mem%22+WHERE", times=2)
    values = read(source(url=proxy.url), start=-4 * 3600, end=300)
    np.testing.assert_array_equal(values[-5:], FIVE)
    assert len(values) == 245
    asked = [r for r in proxy.requests if b"+WHERE" in r.body]
    assert len(asked) == 4  # twice for all of it, once for each half


@pytest.mark.parametrize("cells", [0, 10**9])
def test_a_limit_on_rows_is_not_taken_for_the_end(
    line: Line, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`max-row-limit` cuts an answer short without an error, unless it comes in chunks."""
    monkeypatch.setattr("pla.sources.influxdb.source.CELLS_PER_LINE", cells)
    with private_server(http="max-row-limit = 3") as server:
        server.query("CREATE DATABASE telegraf")
        lines = [
            line("docker_container_mem", TAGS, {"usage": t}, T0 + t) for t in range(0, 300, 60)
        ]
        server.write("telegraf", lines)
        reader = InfluxSource(InfluxOptions(server.url, "telegraf"))
        assert read(reader) == [0, 60, 120, 180, 240]
        reader.close()
