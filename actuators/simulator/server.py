"""The simulator as a process of its own: HTTP on the loopback interface or a Unix socket.

So the "platform" is real state outside of PLA: it outlives a killed worker, and its journal says
what really happened.
"""

from __future__ import annotations

import ipaddress
import math
import signal
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from actuators.simulator.clock import ManualClock, SimulatedClock
from actuators.simulator.cluster import SimulatedCluster
from actuators.simulator.service import Answer, Service, problem

LARGEST_BODY = 64 * 1024 * 1024
SHORTEST_WAIT_S = 0.02


class AddressError(ValueError):
    """The address cannot be listened on. Says which and why."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept open
    wbufsize = -1  # header and body go out together
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        self._answer(lambda: self.server.service.get(url.path, query))

    def do_POST(self) -> None:
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= LARGEST_BODY:
            self.close_connection = True
            self._answer(lambda: problem(413, f"Content-Length must be 0..{LARGEST_BODY}"))
            return
        body = self.rfile.read(length)
        self._answer(lambda: self.server.service.post(urlsplit(self.path).path, body))

    def _answer(self, work: Callable[[], Answer]) -> None:
        try:
            answer = work()
        except Exception as error:  # the caller gets the words; other requests go on
            answer = problem(500, f"{type(error).__name__}: {error}")
        self.server.changed.set()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def address_string(self) -> str:
        return str(self.client_address)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the journal is the record, and a line per request would drown errors."""


class _TcpHandler(_Handler):
    # Nagle and delayed acknowledgements would add up to 40 ms to an answer of several segments.
    disable_nagle_algorithm = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int] | str, service: Service) -> None:
        self.service = service
        self.changed = threading.Event()
        unix = isinstance(address, str)
        self.address_family = socket.AF_UNIX if unix else socket.AF_INET
        handler = _Handler if unix else _TcpHandler
        super().__init__(address, handler)  # type: ignore[arg-type] # a Unix address is a path

    def server_bind(self) -> None:
        # HTTPServer's own looks up the machine's name, which a Unix socket does not have and
        # which can hang on a machine without a name service.
        self.allow_reuse_address = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", 0


class SimulatorServer:
    """Serves `cluster` until `stop`, and keeps its time moving.

    Attributes:
        url: where it listens, `http://127.0.0.1:PORT` or `unix:PATH`.
    """

    def __init__(
        self,
        cluster: SimulatedCluster,
        clock: SimulatedClock | ManualClock,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: Path | None = None,
    ) -> None:
        """Listen on `path` (a Unix socket) or on `host`:`port` (0 = any free one).

        Raises:
            AddressError: not a loopback address, or it is taken.
        """
        _require_loopback(host)
        self._path = path
        try:
            if path is not None:
                _remove_dead_socket(path)
            service = Service(cluster, clock)
            self._http = _Server(str(path) if path is not None else (host, port), service)
            if path is not None:
                path.chmod(0o600)
        except OSError as error:
            where = str(path) if path is not None else f"{host}:{port}"
            raise AddressError(
                f"{where}: cannot listen there ({error.strerror or error})"
            ) from None
        self._cluster, self._clock = cluster, clock
        self._stopping = threading.Event()
        bound = self._http.server_address
        self.url = f"unix:{path}" if path is not None else f"http://{bound[0]!s}:{bound[1]}"

    def serve(self) -> None:
        """Answer requests until `stop` is called from another thread or a signal handler."""
        pacer = threading.Thread(target=self._keep_time, name="simulator-time", daemon=True)
        pacer.start()
        try:
            self._http.serve_forever(poll_interval=0.1)
        finally:
            self._stopping.set()
            self._http.changed.set()
            pacer.join()
            self._http.server_close()
            if self._path is not None:
                self._path.unlink(missing_ok=True)

    def stop(self) -> None:
        """End `serve`, from any thread."""
        # shutdown() waits for serve_forever, so a signal handler in that thread must not call it.
        threading.Thread(target=self._http.shutdown, daemon=True).start()

    def stop_on_signals(self) -> None:
        """End `serve` on SIGTERM and SIGINT."""

        def handle(number: int, frame: FrameType | None) -> None:
            self.stop()

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)

    def _keep_time(self) -> None:
        """Move the cluster on at every step and every due resize, though nobody asks."""
        clock = self._clock
        if not isinstance(clock, SimulatedClock):
            return
        while not self._stopping.is_set():
            self._cluster.advance(clock.now_s())
            wait_s = (self._cluster.next_event_s() - clock.now_s()) / clock.speed
            wait_s = max(wait_s, SHORTEST_WAIT_S) if math.isfinite(wait_s) else 1.0
            self._http.changed.wait(wait_s)
            self._http.changed.clear()


def _require_loopback(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise AddressError(
            f"{host}: the simulator asks nobody for a password, so it listens on loopback "
            f"addresses only; use 127.0.0.1"
        )


def _remove_dead_socket(path: Path) -> None:
    """Remove a socket that a killed server left behind; one that answers is in use."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
