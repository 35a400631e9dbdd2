"""A private InfluxDB 1.x server for tests: Debian's package, own directory, loopback ports."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from infra.testbed.debian import Unavailable, program
from infra.testbed.processes import free_port, stop

__all__ = ["Server", "Unavailable", "private_server", "token"]

START_TIMEOUT_S = 30.0
ADMIN = ("admin", "admin-password")
SHARED_SECRET = "shared-secret"
CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{backup_port}"
[meta]
  dir = "{directory}/meta"
[data]
  dir = "{directory}/data"
  wal-dir = "{directory}/wal"
  query-log-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
  auth-enabled = {auth}
  shared-secret = "{secret}"
  https-enabled = {tls}
  https-certificate = "{directory}/server.pem"
  {http}
[monitor]
  store-enabled = false
"""


class Server:
    """A running server in `directory`.

    Attributes:
        url: where its HTTP interface answers.
        certificate: what a client must trust; None without TLS.
    """

    def __init__(self, directory: Path, influxd: Path, auth: bool, tls: bool, http: str) -> None:
        self._directory = directory
        self._influxd = influxd
        self._auth = auth
        self._http = http
        self._process: subprocess.Popen[bytes] | None = None
        self._port, self._backup_port = free_port(), free_port()
        self.url = f"{'https' if tls else 'http'}://localhost:{self._port}"
        self.certificate = directory / "server.pem" if tls else None
        self._client = httpx.Client(
            verify=False, timeout=120, auth=ADMIN if auth else None, trust_env=False
        )

    def start(self) -> None:
        """Start the server and wait until it answers; its data are those of the last run.

        Raises:
            Unavailable: it ended, or did not answer in time; holds the end of its log.
        """
        config = self._directory / "influxdb.toml"
        values = {
            "directory": self._directory,
            "port": self._port,
            "backup_port": self._backup_port,
            "auth": str(self._auth).lower(),
            "tls": str(self.certificate is not None).lower(),
            "http": self._http,
            "secret": SHARED_SECRET if self._auth else "",
        }
        config.write_text(CONFIG.format(**values), encoding="utf-8")
        if self.certificate is not None and not self.certificate.exists():
            _make_certificate(self.certificate)
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._influxd, "run", "-config", config],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env={**os.environ, "HOME": str(self._directory)},
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise Unavailable(f"InfluxDB does not start: {self._log_tail()}")
            time.sleep(0.05)
        if self._auth:
            self.query(f"CREATE USER {ADMIN[0]} WITH PASSWORD '{ADMIN[1]}' WITH ALL PRIVILEGES")

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self._process is None:
            return
        stop(self._process)
        self._process = None

    def close(self) -> None:
        """Stop the server, and close the connection to it."""
        self._client.close()
        self.stop()

    def query(self, query: str, database: str = "") -> httpx.Response:
        """Run `query` as the administrator. Raises RuntimeError with the server's words."""
        response = self._client.post(f"{self.url}/query", data={"q": query, "db": database})
        if response.status_code != 200 or '"error"' in response.text:
            raise RuntimeError(f"{query}: {response.status_code} {response.text}")
        return response

    def write(self, database: str, lines: Iterable[str], precision: str = "s") -> None:
        """Write `lines` of the line protocol. Raises RuntimeError with the server's words."""
        response = self._client.post(
            f"{self.url}/write",
            params={"db": database, "precision": precision},
            content="\n".join(lines),
        )
        if response.status_code != 204:
            raise RuntimeError(f"write: {response.status_code} {response.text[:500]}")

    def _answers(self) -> bool:
        try:
            return self._client.get(f"{self.url}/ping").status_code == 204
        except httpx.TransportError:
            return False

    def _log_tail(self) -> str:
        return (self._directory / "log").read_text(encoding="utf-8", errors="replace")[-2000:]


def token(username: str, expires_s: int) -> str:
    """A JSON Web Token for `username` that a server with `auth` accepts until `expires_s`."""
    parts = ({"alg": "HS256", "typ": "JWT"}, {"username": username, "exp": expires_s})
    signed = b".".join(_base64(json.dumps(part).encode()) for part in parts)
    signature = hmac.digest(SHARED_SECRET.encode(), signed, hashlib.sha256)
    return (signed + b"." + _base64(signature)).decode()


@contextmanager
def private_server(*, auth: bool = False, tls: bool = False, http: str = "") -> Iterator[Server]:
    """A server that lives as long as the context; `http` adds to that part of its configuration.

    Raises:
        Unavailable: it cannot be had or does not start.
    """
    influxd = program("influxdb", "influxd")
    directory = Path(tempfile.mkdtemp(prefix="pla-influxdb-"))
    try:
        server = Server(directory, influxd, auth, tls, http)
        try:
            server.start()
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(directory)


def _make_certificate(path: Path) -> None:
    """A certificate for localhost that signs itself, and its key, in one file."""
    if shutil.which("openssl") is None:
        raise Unavailable("openssl is not installed: apt-get install openssl")
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    files = ["-keyout", str(path), "-out", f"{path}.crt"]
    command = ["openssl", "req", *options, *names, *files]
    subprocess.run(command, check=True, capture_output=True)
    with path.open("a", encoding="ascii") as both:
        both.write(Path(f"{path}.crt").read_text(encoding="ascii"))
    ssl.create_default_context(cafile=str(path))


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
