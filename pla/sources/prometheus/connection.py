"""One server: queries out, answers in, and every failure a SourceError that says what to do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests import exceptions as trouble
from urllib3.exceptions import HTTPError as StreamError

from pla.clock import SystemClock
from pla.ports import Clock, SourceError
from pla.sources.prometheus.decoding import Answer, decode
from pla.sources.prometheus.failures import Passing, refusal, shortened
from pla.sources.prometheus.options import PrometheusOptions
from pla.sources.prometheus.session import connect, trust

PIECE = 1 << 18
LARGEST_BODY = 2 << 30
PAUSES_S = (0.2, 0.6, 1.5)
"""Before the second, third, ... attempt; the last holds for all further ones."""


class Connection:
    """Asks one server; from several threads at once if need be.

    Attributes:
        server: its URL, as errors name it.
        skew_s: how far the server's clock is ahead of ours by its last answer [s]; within a
            second, which is what its `Date` resolves. None = it told no time.
    """

    def __init__(self, options: PrometheusOptions, clock: Clock | None = None) -> None:
        self.server = options.url.rstrip("/")
        self.skew_s: float | None = None
        self._options = options
        self._clock = clock or SystemClock()
        self._prometheus = connect(options)
        self._session: requests.Session = self._prometheus._session
        self._failing = False

    def query_range(self, query: str, start_s: int, end_s: int, step_s: int) -> Answer:
        """`query` at `start_s`, `start_s + step_s`, ... up to `end_s` [epoch s].

        Raises:
            TooLarge: the server refuses this much at once.
            SourceError: any other failure.
        """
        # VictoriaMetrics would move start and end to fill its cache, and hide the newest steps.
        return self._ask(
            "/api/v1/query_range",
            {"query": query, "start": start_s, "end": end_s, "step": step_s, "nocache": 1},
            query,
        )

    def query(self, query: str, at_s: float) -> Answer:
        """`query` at `at_s` [epoch s]. Raises SourceError."""
        return self._ask("/api/v1/query", {"query": query, "time": at_s, "nocache": 1}, query)

    def metric_names(self) -> frozenset[str]:
        """Names of all metrics that the server has ever had. Raises SourceError."""
        answer = self._ask("/api/v1/label/__name__/values", None, "names of metrics")
        return frozenset(answer.names)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _ask(self, path: str, form: Mapping[str, Any] | None, query: str) -> Answer:
        """One answer, after some attempts if need be, within one deadline."""
        deadline_s = self._clock.monotonic_s() + self._options.timeout_s
        # A server that is known to be down gets one attempt: others wait for their turn.
        attempts = 1 if self._failing else 1 + self._options.retries
        for attempt in range(attempts):
            try:
                answer = self._attempt(path, form, query, deadline_s)
            except Passing:
                pause_s = PAUSES_S[min(attempt, len(PAUSES_S) - 1)]
                if attempt + 1 == attempts or self._clock.monotonic_s() + pause_s >= deadline_s:
                    self._failing = True
                    raise
                time.sleep(pause_s)
            else:
                self._failing = False
                return answer
        raise AssertionError("the last attempt returns or raises")

    def _attempt(
        self, path: str, form: Mapping[str, Any] | None, query: str, deadline_s: float
    ) -> Answer:
        left_s = max(deadline_s - self._clock.monotonic_s(), 0.01)
        connect_s, _ = self._prometheus._timeout
        try:
            with self._session.request(
                "GET" if form is None else "POST",
                f"{self._prometheus.url.rstrip('/')}{path}",
                data=form,
                headers=self._prometheus.headers,
                auth=self._prometheus.auth,
                timeout=(min(connect_s, left_s), left_s),
                verify=trust(self._options),
                allow_redirects=False,
                stream=True,
            ) as response:
                if self._clock.monotonic_s() > deadline_s:
                    # Headers that were cut for being late look like complete ones.
                    raise self._late(query, 0)
                self._note_time(response)
                body = self._body(response, query, deadline_s)
        except SourceError:
            raise
        except (trouble.RequestException, StreamError, OSError, ValueError) as error:
            raise self._explained(error, query, deadline_s) from error
        return self._judged(response, body, query)

    def _body(self, response: requests.Response, query: str, deadline_s: float) -> bytearray:
        """The whole body, or an error: half an answer is none."""
        body, size = bytearray(), 0
        declared = response.headers.get("Content-Length")
        encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        # read1 comes back after one read of the socket: read would wait for a full piece, and a
        # server that drips would be waited for without end.
        while piece := response.raw.read1(PIECE, decode_content=True):
            body += piece
            size = len(body)
            if self._clock.monotonic_s() > deadline_s:
                raise self._late(query, size)
            if size > LARGEST_BODY:
                raise SourceError(
                    f"{self.server}: query `{shortened(query)}`: more than {LARGEST_BODY >> 30} "
                    "GiB in one answer; lower sources.max_samples"
                )
        if declared is not None and not encoded and size != int(declared):
            raise Passing(
                f"{self.server}: query `{shortened(query)}`: the answer broke off after {size} of "
                f"{declared} bytes; look for a proxy that cuts connections"
            )
        return body

    def _judged(self, response: requests.Response, body: bytearray, query: str) -> Answer:
        """The data of an answer that is one."""
        status = response.status_code
        content_type = response.headers.get("Content-Type", "")
        if "json" not in content_type:
            if status == 200:
                raise SourceError(
                    f"{self.server}: query `{shortened(query)}`: the answer is "
                    f"{content_type or 'of no type'}, not JSON ({shortened(_text(body))}); "
                    "sources.url must be the base of Prometheus' HTTP API, not of a login page"
                )
            raise refusal(self.server, query, status, "", _text(body))
        try:
            answer = decode(body)
        except ValueError as error:
            if status != 200:
                raise refusal(self.server, query, status, "", _text(body)) from error
            raise Passing(
                f"{self.server}: query `{shortened(query)}`: {len(body)} bytes that are no answer "
                f"of Prometheus' HTTP API ({error}); was it cut by a proxy?"
            ) from error
        if status != 200 or answer.status != "success":
            # Some proxies hide the status: an error inside of 200 counts as the API's 422.
            shown = status if status != 200 else 422
            raise refusal(self.server, query, shown, answer.error_type, answer.error)
        return answer

    def _note_time(self, response: requests.Response) -> None:
        try:
            told = parsedate_to_datetime(response.headers["Date"]).timestamp()
        except (KeyError, ValueError, TypeError):
            self.skew_s = None
            return
        self.skew_s = told - self._clock.now_s()

    def _late(self, query: str, size: int) -> SourceError:
        return SourceError(
            f"{self.server}: query `{shortened(query)}`: not complete after "
            f"{self._options.timeout_s:g} s ({size} bytes came); raise sources.timeout_s, lower "
            "sources.max_samples, or look at the server's load"
        )

    def _explained(self, error: Exception, query: str, deadline_s: float) -> SourceError:
        """A failure of the network in words."""
        where = f"{self.server}: query `{shortened(query)}`: "
        if self._clock.monotonic_s() > deadline_s - 0.05 or isinstance(error, trouble.ReadTimeout):
            return self._late(query, 0)
        if isinstance(error, trouble.SSLError):
            return SourceError(
                f"{where}TLS fails ({shortened(str(error))}); set sources.ca_file to the "
                "authority that signed the server's certificate"
            )
        if isinstance(error, trouble.ConnectTimeout):
            return SourceError(f"{where}no connection in time; check host, port and firewall")
        words = str(error)
        if "NameResolution" in words or "getaddrinfo" in words:
            return SourceError(f"{where}the host is unknown; check sources.url")
        if "refused" in words:
            return Passing(f"{where}nobody listens there; is the server up, and the port right?")
        if isinstance(error, trouble.InvalidURL | trouble.InvalidSchema | trouble.MissingSchema):
            return SourceError(f"{where}not a URL; write sources.url like http://HOST:9090")
        return Passing(f"{where}the connection broke ({shortened(words)}); is the server up?")


def _text(body: bytearray) -> str:
    return body[:1000].decode("utf-8", errors="replace")
