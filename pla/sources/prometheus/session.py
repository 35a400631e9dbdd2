"""The HTTP session: authentication, TLS, and a deadline that a dripping server cannot stretch."""

from __future__ import annotations

import base64
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.retry import Retry

from pla.ports import SourceError
from pla.sources import secret
from pla.sources.hard_deadline import HardDeadline
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
            token = secret.read(options.bearer_token_file, options.url, "bearer_token_file")
            request.headers["Authorization"] = f"Bearer {token}"
        elif options.username is not None:
            password = ""
            if options.password_file is not None:
                password = secret.read(options.password_file, options.url, "password_file")
            pair = f"{options.username}:{password}".encode()
            request.headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return request


class _Connection(HTTPConnection):
    deadline_s = 30.0

    def getresponse(self) -> Any:
        # Headers, too, must be whole in time: each byte resets a socket's own timeout.
        with HardDeadline(self.deadline_s) as deadline:
            deadline.hold(self.sock)
            return super().getresponse()


class _SecureConnection(HTTPSConnection):
    deadline_s = 30.0

    def getresponse(self) -> Any:
        # Headers, too, must be whole in time: each byte resets a socket's own timeout.
        with HardDeadline(self.deadline_s) as deadline:
            deadline.hold(self.sock)
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
