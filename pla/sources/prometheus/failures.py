"""What an answer that is no data means: which failure, in words, and what can be done about it."""

from __future__ import annotations

import re

from pla.ports import SourceError

SHOWN = 300
"""Characters of a query or of the server's words that an error repeats."""


class TooLarge(SourceError):
    """The server refuses this much at once: a shorter window may pass."""


class Passing(SourceError):
    """A failure that may pass: worth another attempt."""


def shortened(text: str) -> str:
    """`text` on one line, and not longer than fits into an error."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."


def refusal(server: str, query: str, status: int, kind: str, words: str) -> SourceError:
    """The error for an answer of the API that says no.

    Args:
        server: its URL.
        query: what was asked.
        status: of HTTP.
        kind: the API's `errorType`, empty if the answer is not the API's.
        words: the API's `error`, or the beginning of the body.
    """
    told = shortened(words) or "no words"
    where = f"{server}: query `{shortened(query)}`: "
    if status == 401:
        return SourceError(f"{where}401, not authenticated ({told}); {_credentials()}")
    if status == 403:
        return SourceError(f"{where}403, not allowed ({told}); the user or tenant lacks the right")
    if status == 404 or (300 <= status < 400):
        return SourceError(
            f"{where}{status} ({told}); sources.url must be the base of Prometheus' HTTP API "
            "(for Mimir with /prometheus, for a VictoriaMetrics cluster with "
            "/select/TENANT/prometheus)"
        )
    if status == 429:
        return Passing(f"{where}429, too many requests ({told}); raise the server's rate limit")
    if _is_too_large(status, kind, words):
        return TooLarge(
            f"{where}{status}, too much at once ({told}); lower sources.max_samples or raise the "
            "server's limit (--query.max-samples, --query.timeout)"
        )
    if status == 422 and re.search(r"many-to-many|duplicate series|group_left", words):
        return SourceError(
            f"{where}422, labels match more than once ({told}); two exporters tell the same: "
            "restrict them with sources.match, or override the query in sources.queries"
        )
    if status in (400, 422):
        return SourceError(f"{where}{status} ({told}); correct it in sources.queries")
    if status >= 500:
        return Passing(f"{where}{status} ({told}); look at the server's log and load")
    return SourceError(f"{where}{status} ({told}); expected an answer of Prometheus' HTTP API")


def _is_too_large(status: int, kind: str, words: str) -> bool:
    """Whether a shorter window may pass: caps on points and samples, and queries cut by time."""
    if status == 413 or (status == 503 and kind in ("timeout", "canceled")):
        return True
    if status in (400, 422):
        # Prometheus: "exceeded maximum resolution of 11,000 points per timeseries", "query
        # processing would load too many samples"; VictoriaMetrics: "too many points", "cannot
        # select more than -search.max...", "-search.maxSamplesPerQuery".
        return bool(
            re.search(r"maximum resolution|too many (samples|points)|-search\.max|exceeds", words)
        )
    return False


def _credentials() -> str:
    return "check sources.bearer_token_file, or sources.username and password_file"
