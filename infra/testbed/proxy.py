"""A proxy that spoils the answers of a real HTTP server, as networks and overload do.

It stands in front of the real server and passes everything on until a `Fault` is set, so that a
test sees the real answer, spoilt in one way, and the recovery after it.
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

NOT_PASSED_ON = frozenset({"connection", "transfer-encoding", "content-length", "date", "server"})
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: closing sends a reset instead of an orderly end."""


@dataclass(frozen=True)
class Fault:
    """What is done to an answer; the fields combine.

    Attributes:
        delay_s: wait before anything is answered [s].
        status: answer with this instead of asking the server; `body` goes with it.
        body: replaces the server's body.
        content_type: replaces the server's.
        edit: changes the decoded JSON of the server's body.
        reset: reset the connection without an answer.
        truncate: send only so many bytes of the body, though Content-Length says more [bytes].
        length: whether Content-Length is sent at all; without it a cut looks like an end.
        drip_s: pause between two pieces of the body [s].
        drip_bytes: size of a piece [bytes].
        drip_head: the status line drips as well.
        clock_s: added to the server's `Date` [s].
        headers: added to the answer.
        only: spoil only requests whose body or path contains this.
        times: spoil this many requests, then none; None = all.
    """

    delay_s: float = 0.0
    status: int | None = None
    body: bytes | None = None
    content_type: str | None = None
    edit: Callable[[Any], Any] | None = None
    reset: bool = False
    truncate: int | None = None
    length: bool = True
    drip_s: float = 0.0
    drip_bytes: int = 1
    drip_head: bool = False
    clock_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    only: str = ""
    times: int | None = None


PASS = Fault()


@dataclass(frozen=True)
class Request:
    """A request that came by."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class FaultProxy:
    """Listens on a free loopback port in front of `upstream` (`http://HOST:PORT`).

    Attributes:
        url: where clients go.
        fault: what is done to answers now; `PASS` passes them on.
        requests: what came by, oldest first.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._lock = threading.Lock()
        self._left: int | None = None
        self._fault = PASS
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def fault(self) -> Fault:
        """What is done to answers now."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        with self._lock:
            self._fault, self._left = fault, fault.times

    def take(self, request: Request) -> Fault:
        """Note `request`, and say what is done to its answer."""
        with self._lock:
            self.requests.append(request)
            wanted = self._fault.only.encode() in request.path.encode() + b" " + request.body
            if not wanted or self._left == 0:
                return PASS
            if self._left is not None:
                self._left -= 1
            return self._fault

    def ask(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """The real server's status, headers and body."""
        connection = http.client.HTTPConnection(*self._upstream, timeout=120)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() != "host"}
            connection.request(request.method, request.path, request.body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def serve(self) -> None:
        """Answer until `stop`."""
        self._server.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        """End `serve`, and whatever still drips."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """A proxy in front of `upstream` that lives as long as the context."""
    proxy = FaultProxy(upstream)
    thread = threading.Thread(target=proxy.serve, name="fault-proxy", daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers.items()), body)
            fault = proxy.take(request)
            if fault.delay_s:
                proxy.stopping.wait(fault.delay_s)
            if fault.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                self.connection.close()
                self.close_connection = True
                return
            if fault.status is None:
                status, headers, content = proxy.ask(request)
            else:
                status, headers, content = fault.status, {"Content-Type": "text/plain"}, b""
            self._send(status, headers, _spoilt(content, fault), fault)

        def _send(self, status: int, headers: dict[str, str], body: bytes, fault: Fault) -> None:
            reason = http.client.responses.get(status, "")
            lines = [f"HTTP/1.1 {status} {reason}", f"Date: {_date(headers, fault)}"]
            if fault.content_type is not None:
                headers = {k: v for k, v in headers.items() if k.lower() != "content-type"}
                headers["Content-Type"] = fault.content_type
            lines += [f"{k}: {v}" for k, v in headers.items() if k.lower() not in NOT_PASSED_ON]
            lines += [f"{k}: {v}" for k, v in fault.headers.items()]
            whole = fault.truncate is None and fault.length
            lines.append(f"Content-Length: {len(body)}" if fault.length else "Connection: close")
            head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
            sent = body if fault.truncate is None else body[: fault.truncate]
            self.close_connection = not whole
            try:
                self._write(head, fault if fault.drip_head else PASS)
                self._write(sent, fault)
            except OSError:
                self.close_connection = True  # the client gave up, as it should

        def _write(self, data: bytes, fault: Fault) -> None:
            piece = fault.drip_bytes if fault.drip_s else max(len(data), 1)
            for at in range(0, len(data), piece):
                self.wfile.write(data[at : at + piece])
                if fault.drip_s and proxy.stopping.wait(fault.drip_s):
                    return

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: `FaultProxy.requests` is the record."""

    return Handler


def _spoilt(body: bytes, fault: Fault) -> bytes:
    if fault.body is not None:
        return fault.body
    if fault.edit is not None:
        return json.dumps(fault.edit(json.loads(body)), separators=(",", ":")).encode()
    return body


def _date(headers: dict[str, str], fault: Fault) -> str:
    told = next((v for k, v in headers.items() if k.lower() == "date"), None)
    at = parsedate_to_datetime(told or formatdate(usegmt=True))
    return formatdate(at.timestamp() + fault.clock_s, usegmt=True)
