"""Queries over HTTP, each with one deadline for everything: connecting, waiting, reading, retry."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx

from pla.ports import SourceError
from pla.sources.hard_deadline import HardDeadline
from pla.sources.influxdb import failures
from pla.sources.influxdb.decoding import AnswerError, MalformedAnswer
from pla.sources.influxdb.options import InfluxOptions

ATTEMPTS = 2
PAUSE_S = 0.2
LONGEST_LINE = 256 << 20
"""More than that is a server that never ends its line [bytes]."""

T = TypeVar("T")


class Connection:
    """One server, one connection that stays open. Not for several threads at a time.

    Attributes:
        where: the server's URL, for messages.
        version: what the server said of itself in its last answer; empty = nothing.
        received: bodies of all answers so far [bytes].
    """

    def __init__(self, options: InfluxOptions) -> None:
        """Opens nothing yet. Raises SourceError if `ca_file` cannot be used."""
        self.where = options.url
        self.version = ""
        self.received = 0
        self._options = options
        self._socket: socket.socket | None = None
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if options.token:
            headers["Authorization"] = f"Bearer {options.token}"
        self._client = httpx.Client(
            headers=headers,
            auth=(options.username, options.password) if options.username else None,
            verify=_verification(options),
            timeout=options.timeout_s,
            limits=httpx.Limits(max_connections=1),
        )

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()
        self._keep(None)

    def ask(self, query: str, read: Callable[[Iterator[bytes]], T], *, chunked: bool = True) -> T:
        """What `read` makes of the lines of the answer to `query`: one per series if `chunked`.

        An answer that breaks off is read again from the start, once, and then in chunks: to
        those the server's `max-row-limit` does not apply.

        Raises:
            SourceError: it names server, query and cure. TooMuch if less might have worked.
        """
        ends_s = time.monotonic() + self._options.timeout_s
        for attempt in range(1, ATTEMPTS + 1):
            with HardDeadline(ends_s - time.monotonic()) as deadline:
                try:
                    return self._attempt(query, read, chunked or attempt > 1, deadline)
                except httpx.RequestError as error:
                    failure: SourceError = failures.unreachable(self.where, query, error)
                    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
                        deadline.passed = True
                except MalformedAnswer as error:
                    failure = failures.malformed(self.where, query, str(error))
                except AnswerError as error:
                    raise failures.failed(self.where, query, str(error)) from None
                except _ServerError as error:
                    failure = failures.refused(self.where, query, error.status, error.text)
            if deadline.passed:
                raise failures.late(self.where, query, self._options.timeout_s)
            if attempt == ATTEMPTS or ends_s - time.monotonic() < PAUSE_S:
                raise failure
            time.sleep(PAUSE_S)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _attempt(
        self,
        query: str,
        read: Callable[[Iterator[bytes]], T],
        chunked: bool,
        deadline: HardDeadline,
    ) -> T:
        def watch(event: str, info: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                # A copy: TLS takes the socket over, and the connection stays the same.
                self._keep(info["return_value"].get_extra_info("socket").dup())
                deadline.hold(self._socket)

        deadline.hold(self._socket)
        options = self._options
        form = {"db": options.database, "q": query, "epoch": "ms", "chunked": str(chunked).lower()}
        url = f"{options.url.rstrip('/')}/query"
        with self._client.stream("POST", url, data=form, extensions={"trace": watch}) as response:
            self.version = response.headers.get("X-Influxdb-Version", "")
            status = response.status_code
            if status != 200:
                response.read()
                text = _error_text(response)
                if status >= 500:
                    raise _ServerError(status, text)
                raise failures.refused(self.where, query, status, text)
            kind = response.headers.get("Content-Type", "")
            if not kind.startswith("application/json"):
                raise MalformedAnswer(f"is of type {kind!r}, not application/json")
            try:
                return read(_lines(response))
            finally:
                self.received += response.num_bytes_downloaded

    def _keep(self, connection: socket.socket | None) -> None:
        """Remember the socket of the connection that stays open."""
        if self._socket is not None:
            self._socket.close()
        self._socket = connection


class _ServerError(Exception):
    """A status of 500 and more: worth a second try."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def _verification(options: InfluxOptions) -> ssl.SSLContext | bool:
    if not options.verify or options.ca_file is None:
        return options.verify
    try:
        return ssl.create_default_context(cafile=str(options.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise SourceError(
            f"InfluxDB {options.url}: `ca_file` {options.ca_file} cannot be used ({error}); "
            "give a file of PEM certificates"
        ) from None


def _lines(response: httpx.Response) -> Iterator[bytes]:
    """The lines of the body, as they come."""
    parts: list[bytes] = []
    pending = 0
    for piece in response.iter_bytes():
        *whole, rest = piece.split(b"\n")
        for line in whole:
            parts.append(line)
            text, parts, pending = b"".join(parts), [], 0
            if text.strip():
                yield text
        parts.append(rest)
        pending += len(rest)
        if pending > LONGEST_LINE:
            raise MalformedAnswer(f"has a line of more than {LONGEST_LINE} bytes")
    text = b"".join(parts)
    if text.strip():
        yield text


def _error_text(response: httpx.Response) -> str:
    """The server's words in an error answer."""
    try:
        return str(json.loads(response.text)["error"])
    except (ValueError, KeyError, TypeError):
        return " ".join(response.text[:200].split())
