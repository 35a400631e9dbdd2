"""What a Prometheus source needs to know, free of where the settings come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class PrometheusOptions:
    """How to reach a server with Prometheus' HTTP API, and what to ask it.

    Attributes:
        url: base of the API, without `/api/v1`.
        packs: names of the query packs to use; None = those whose metrics the server has.
        queries: packs to add or to change (`packs.PackBook`).
        labels: values for placeholders of workload URIs that no label gives (`cluster`).
        match: label matchers that every selector of the shipped packs gets (`cluster="prod"`).
        headers: sent with every request (a tenant: `X-Scope-OrgID`).
        bearer_token_file: read anew for every request, as tokens are rotated.
        username, password_file: basic authentication.
        ca_file: certificates to trust besides the system's; `verify` False trusts anybody.
        timeout_s: total time of one request, whatever the server does meanwhile [s].
        retries: further attempts after a failure that may pass, within `timeout_s`.
        max_points: steps asked for in one request; servers refuse more than 11,000 per series.
        max_samples: samples asked for in one answer, which bounds the memory it takes.
        max_clock_skew_s: clocks further apart make live data wrong, and are an error [s].
        scrape_interval_s: spacing of samples; None = measured [s].
        delay_s: steps that ended less than this ago are not asked for yet [s].
        compress: ask for gzip; costs the server nine times the query, so only on slow links.
        censored_ratio: usage/limit from which usage counts as held down.
        censored_share: share of throttled periods or stolen time from which it does.
    """

    url: str
    packs: tuple[str, ...] | None = None
    queries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    match: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    bearer_token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    verify: bool = True
    timeout_s: float = 30.0
    retries: int = 2
    max_points: int = 10_000
    max_samples: int = 500_000
    max_clock_skew_s: float = 60.0
    scrape_interval_s: float | None = None
    delay_s: float = 0.0
    compress: bool = False
    censored_ratio: float = 0.95
    censored_share: float = 0.05
