"""Who may read a server that wants a password or a token over TLS, and what others are told."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.testbed.influxdb import ADMIN, Server, token
from pla.ports import SourceError
from pla.sources.influxdb import InfluxOptions, InfluxSource

pytestmark = pytest.mark.influxdb

T0 = 1_760_313_600
TAGS = {"engine_host": "h", "container_name": "web"}

Line = Callable[..., str]


def read(source: InfluxSource) -> list[float]:
    """Memory of the first step after T0."""
    block = source.read(("docker://h/web",), ("memory",), T0, T0 + 60, 60)
    return [float(value) for value in block.values[:, 0, 0]]


def error_of(source: InfluxSource) -> str:
    with pytest.raises(SourceError) as caught:
        read(source)
    words = str(caught.value)
    assert "\n" not in words
    return words


@pytest.fixture(scope="module")
def secured(secured_influxd: Server, line: Line) -> Server:
    """With users `reader`, who may read `telegraf`, and `stranger`, who may not."""
    secured_influxd.query("CREATE DATABASE telegraf")
    for name in ("reader", "stranger"):
        secured_influxd.query(f"CREATE USER {name} WITH PASSWORD '{name}-password'")
    secured_influxd.query("GRANT READ ON telegraf TO reader")
    secured_influxd.write("telegraf", [line("docker_container_mem", TAGS, {"usage": 7}, T0)])
    return secured_influxd


def secured_source(server: Server, **options: Any) -> InfluxSource:
    given = {"url": server.url, "database": "telegraf", "ca_file": server.certificate} | options
    return InfluxSource(InfluxOptions(**given))


def test_passwords_and_tokens_are_taken(secured: Server) -> None:
    expires_s = int(time.time()) + 600
    for options in (
        {"username": "reader", "password": "reader-password"},
        {"username": ADMIN[0], "password": ADMIN[1]},
        {"token": token("reader", expires_s)},
        {"token": token("reader", expires_s), "ca_file": None, "verify": False},
    ):
        assert read(secured_source(secured, **options)) == [7]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "401: unable to parse authentication credentials; check `username`"),
        ({"username": "reader", "password": "no"}, "401: authorization failed; check `username`"),
        ({"token": "no"}, "401: .*; check `username` and password, or the token"),
        ({"username": "stranger", "password": "stranger-password"}, "403: .*GRANT READ"),
    ],
)
def test_who_may_not_read_is_told_so(secured: Server, options: Any, words: str) -> None:
    message = error_of(secured_source(secured, **options))
    assert re.search(words, message), message
    assert secured.url in message
    assert "password=" not in message
    assert "reader-password" not in message


def test_a_certificate_that_is_not_trusted(secured: Server, tmp_path: Path) -> None:
    message = error_of(secured_source(secured, ca_file=None))
    assert "TLS" in message
    assert "ca_file" in message
    with pytest.raises(SourceError, match=r"`ca_file` .*nowhere.pem cannot be used"):
        secured_source(secured, ca_file=tmp_path / "nowhere.pem")


def test_tls_and_plain_http_mixed_up(secured: Server, influxd: Server) -> None:
    to_tls = error_of(secured_source(secured, url=secured.url.replace("https", "http")))
    assert "400" in to_tls or "broke off" in to_tls
    to_plain = error_of(secured_source(secured, url=influxd.url.replace("http", "https")))
    assert "the TLS connection failed" in to_plain


@pytest.fixture
def dripping(secured: Server) -> Iterator[str]:
    """A server, not InfluxDB, that answers over TLS with one byte every tenth of a second."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(secured.certificate))
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            accepted, _ = listener.accept()
            try:
                with context.wrap_socket(accepted, server_side=True) as connection:
                    while not stop.wait(0.1):
                        connection.send(b"H")
            except OSError:
                return  # the client gave up, as it should

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}"
        stop.set()
        thread.join()


@pytest.mark.faults
def test_the_deadline_holds_over_tls(secured: Server, dripping: str) -> None:
    began = time.monotonic()
    message = error_of(secured_source(secured, url=dripping, timeout_s=1.0))
    assert "no complete answer within 1 s" in message
    assert time.monotonic() - began < 5
