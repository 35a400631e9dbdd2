"""The HTTP session: authentication, TLS, and a deadline that a dripping server cannot stretch."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.retry import Retry

from pla.ports import SourceError
from pla.sources.prometheus.options import PrometheusOptions

CONNECT_TIMEOUT_S = 3.0


def connect(options: PrometheusOptions) -> PrometheusConnect:
    """The library's connection over a session of our own, which no request has used yet.

    Raises:
        SourceError: the certificates cannot be read.
    """
    session = requests.Session()
    if options.ca_file is not None and not options.ca_file.is_file():
        raise SourceError(
            f"{options.url}: ca_file {options.ca_file} cannot be read; give a file of PEM "
            "certificates"
        )
    headers = {"Accept-Encoding": "gzip" if options.compress else "identity"}
    prometheus = PrometheusConnect(
        options.url,
        headers=headers | dict(options.headers),
        session=session,
        # Which failures are worth another attempt depends on the answer's words, not its status.
        retry=Retry(total=0),
        auth=Authentication(options),
        timeout=(min(CONNECT_TIMEOUT_S, options.timeout_s), options.timeout_s),
    )
    # The constructor mounts an adapter at the URL; the one with a deadline takes its place.
    session.mount(prometheus.url, DeadlineAdapter(options.timeout_s))
    return prometheus


def trust(options: PrometheusOptions) -> bool | str:
    """What requests takes as `verify`; said per request, or the environment would overrule it."""
    return str(options.ca_file) if options.verify and options.ca_file else options.verify


class Authentication(AuthBase):
    """Bearer token or basic authentication from files, or none at all.

    Always set: without it requests would take a password out of the user's .netrc.
    """

    def __init__(self, options: PrometheusOptions) -> None:
        self._options = options

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign `request`. Raises SourceError if a secret cannot be read."""
        options = self._options
        if options.bearer_token_file is not None:
            token = self._secret(options.bearer_token_file, "bearer_token_file")
            request.headers["Authorization"] = f"Bearer {token}"
        elif options.username is not None:
            password = ""
            if options.password_file is not None:
                password = self._secret(options.password_file, "password_file")
            pair = f"{options.username}:{password}".encode()
            request.headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return request

    def _secret(self, path: Path, key: str) -> str:
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{self._options.url}: {key} {path}: {error}; check it") from None


class _Watch:
    """Shuts a socket down when headers take too long: each byte resets a socket's own timeout."""

    def __init__(self, connection: HTTPConnection, deadline_s: float) -> None:
        self._connection = connection
        self._timer = threading.Timer(deadline_s, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        # The plain socket's method: TLS must not try to say goodbye to who does not listen.
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Connection(HTTPConnection):
    deadline_s = 30.0

    def getresponse(self) -> Any:
        with _Watch(self, self.deadline_s):
            return super().getresponse()


class _SecureConnection(HTTPSConnection):
    deadline_s = 30.0

    def getresponse(self) -> Any:
        with _Watch(self, self.deadline_s):
            return super().getresponse()


class DeadlineAdapter(HTTPAdapter):
    """Connections whose headers must be complete within `deadline_s` [s]; never retries."""

    def __init__(self, deadline_s: float) -> None:
        deadline = {"deadline_s": deadline_s}
        plain = type("PlainConnection", (_Connection,), deadline)
        secure = type("SecureConnection", (_SecureConnection,), deadline)
        self._pools = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
        super().__init__(max_retries=Retry(total=0, raise_on_status=False))

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """Have the pools make our connections."""
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = self._pools
