"""HTTP to the simulator: one kept-open connection per thread, with a timeout on everything."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from actuators.simulator.wire import ARROW, unpack


class SimulatorUnreachable(Exception):
    """The simulator does not answer, or answers an error. Names its address and what to do."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Connection:
    """Requests to `url` (`http://HOST:PORT` or `unix:PATH`), each within `timeout_s`."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """Raises SimulatorUnreachable for an address that is none."""
        self._url, self._timeout_s = url, timeout_s
        self._local = threading.local()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "unix") or not (parts.netloc or parts.path):
            raise SimulatorUnreachable(
                f"{url!r} is no simulator's address: expected http://127.0.0.1:PORT or unix:PATH"
            )
        self._unix_path = parts.path if parts.scheme == "unix" else None
        self._host, self._port = parts.hostname or "", parts.port or 80

    def get_json(self, path: str) -> dict[str, Any]:
        """The JSON object at `path`. Raises SimulatorUnreachable."""
        return self._json(path, self._request("GET", path, None, self._timeout_s))

    def post_json(self, path: str, body: bytes, timeout_s: float | None) -> dict[str, Any]:
        """The JSON object that a POST of `body` is answered with. Raises SimulatorUnreachable."""
        limit_s = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        return self._json(path, self._request("POST", path, body, limit_s))

    def get_arrays(self, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The arrays and facts at `path`. Raises SimulatorUnreachable."""
        content_type, body = self._request("GET", path, None, self._timeout_s)
        if content_type != ARROW:
            raise SimulatorUnreachable(f"{self._url}{path}: answers {content_type}, not arrays")
        try:
            return unpack(body)
        except ValueError as error:
            raise SimulatorUnreachable(f"{self._url}{path}: {error}") from None

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _json(self, path: str, answer: tuple[str, bytes]) -> dict[str, Any]:
        try:
            content = json.loads(answer[1])
        except ValueError:
            raise SimulatorUnreachable(f"{self._url}{path}: does not answer JSON") from None
        if not isinstance(content, dict):
            raise SimulatorUnreachable(f"{self._url}{path}: does not answer a JSON object")
        return content

    def _request(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> tuple[str, bytes]:
        """(content type, body) of the answer.

        A kept-open connection that the server has closed meanwhile is opened anew, once: every
        request may be repeated, since a resize that is in force already changes nothing.
        """
        kept = getattr(self._local, "connection", None) is not None
        for attempt in range(2):
            try:
                return self._send(method, path, body, timeout_s)
            except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError) as error:
                self.close()
                if not kept or attempt:
                    raise self._unreachable(error) from None
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise self._unreachable(error) from None
        raise AssertionError("the second attempt returns or raises")

    def _send(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> tuple[str, bytes]:
        connection = self._open(timeout_s)
        connection.request(method, path, body)
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            words = content.decode(errors="replace")[:500]
            raise SimulatorUnreachable(f"{self._url}{path}: answers {response.status}: {words}")
        return response.headers.get("Content-Type", ""), content

    def _open(self, timeout_s: float) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            if self._unix_path is not None:
                connection = _UnixConnection(self._unix_path, timeout_s)
            else:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
            self._local.connection = connection
        if connection.sock is None:  # new, or closed at the end of the last answer
            connection.connect()  # sets TCP_NODELAY itself
        connection.sock.settimeout(timeout_s)
        return connection

    def _unreachable(self, error: Exception) -> SimulatorUnreachable:
        words = str(error) or type(error).__name__
        return SimulatorUnreachable(
            f"{self._url}: the simulator does not answer ({words}); start it with "
            f"`python -m actuators.simulator serve`, or correct simulator.url"
        )
