"""What can go wrong between PLA and an InfluxDB server, in words: server, query, cure."""

from __future__ import annotations

import socket
import ssl

import httpx

from pla.ports import SourceError

SHOWN = 160
"""Characters of a query that a message shows: enough to tell measurement and time."""


class TooMuch(SourceError):
    """The server could not answer that much at once: half of it may do."""


def words(where: str, query: str, what: str, cure: str) -> str:
    """One line that names server, query and cure."""
    shown = " ".join(query.split())
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
    return f"InfluxDB {where}: {what}; {cure} (query: {shown})"


def unreachable(where: str, query: str, error: httpx.RequestError) -> SourceError:
    """The request did not get through, or its answer did not."""
    chain = list(_causes(error))
    if any(isinstance(cause, ssl.SSLError) for cause in chain) or "SSL" in str(error):
        return SourceError(
            words(
                where,
                query,
                f"the TLS connection failed ({error})",
                "check that it speaks TLS there, and set `ca_file` to the authority that signed "
                "its certificate",
            )
        )
    if any(isinstance(cause, socket.gaierror) for cause in chain):
        return SourceError(
            words(where, query, f"unknown host ({error})", "check the name in `url` and the DNS")
        )
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return SourceError(
            words(
                where,
                query,
                f"cannot be reached ({error})",
                "check that influxd runs, and that `url` names its HTTP port",
            )
        )
    return SourceError(
        words(
            where,
            query,
            f"the connection broke off ({type(error).__name__}: {error})",
            "nothing of the answer is used; look into the log of the server or of a proxy between",
        )
    )


def late(where: str, query: str, timeout_s: float) -> TooMuch:
    """The answer was not complete in time."""
    return TooMuch(
        words(
            where,
            query,
            f"no complete answer within {timeout_s:g} s",
            "look whether the server is overloaded, or raise `timeout_s`",
        )
    )


def refused(where: str, query: str, status: int, text: str) -> SourceError:
    """The server, or what stands before it, answered with an error status."""
    what = f"answered {status}: {text.strip()[:200] or 'nothing'}"
    if status == 401:
        return SourceError(words(where, query, what, "check `username` and password, or the token"))
    if status == 403:
        return SourceError(
            words(where, query, what, "let an administrator GRANT READ on the database to the user")
        )
    if status == 404 or status < 400:
        return SourceError(
            words(where, query, what, "`url` must lead to an InfluxDB 1.x server; /query is added")
        )
    if status in {408, 502, 503, 504}:
        return TooMuch(words(where, query, what, "look into the log of the server or its proxy"))
    if status < 500:
        return SourceError(words(where, query, what, "check `mapping` and `retention_policy`"))
    return SourceError(words(where, query, what, "look into the log of the server or its proxy"))


def failed(where: str, query: str, message: str) -> SourceError:
    """The server says in an answer of status 200 that the query failed."""
    what = f"the query failed: {message}"
    if "database not found" in message:
        return SourceError(
            words(where, query, what, "check `database`: Telegraf's default is `telegraf`")
        )
    if "retention policy not found" in message:
        return SourceError(
            words(where, query, what, "check `retention_policy`; leave it empty for the default")
        )
    if "not authorized" in message:
        return refused(where, query, 403, message)
    if "max-select" in message or "timeout" in message or "limit exceeded" in message:
        return TooMuch(words(where, query, what, "raise that limit in the server's configuration"))
    return SourceError(words(where, query, what, "check the `mapping` of this measurement"))


def malformed(where: str, query: str, what: str) -> SourceError:
    """The answer is no InfluxDB answer, or not a whole one."""
    return SourceError(
        words(
            where,
            query,
            f"the answer {what}",
            "nothing of it is used; check that `url` leads to InfluxDB 1.x and not to a proxy's "
            "page",
        )
    )


def _causes(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain
