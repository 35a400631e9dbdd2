"""The section `sources` of `pla.yaml`: the databases that usage is read from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from pla.sections import Section
from pla.sources.influxdb.options import InfluxOptions
from pla.sources.influxdb.schema import Measure
from pla.sources.influxdb.telegraf import SCHEMAS


class PrometheusSettings(Section):
    """A server with Prometheus' HTTP API: Prometheus, VictoriaMetrics, Thanos, Mimir."""

    kind: Literal["prometheus"] = "prometheus"
    url: str = Field(description="Base of the API, e.g. http://prometheus:9090; no /api/v1.")
    owns: tuple[str, ...] = Field(
        (), description="Its workloads: k8s:// or k8s://CLUSTER; none = what no other source owns."
    )
    packs: Literal["auto"] | tuple[str, ...] = Field(
        "auto", description="Query packs by name; auto = those whose metrics the server has."
    )
    queries: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Packs to add, or keys of shipped ones to change."
    )
    labels: dict[str, str] = Field(
        default_factory=lambda: {"cluster": "default"},
        description="Parts of workload names that no label gives: the cluster's name.",
    )
    match: str = Field("", description='Matchers for every selector, e.g. cluster="prod".')
    tenant: str | None = Field(None, description="Sent as X-Scope-OrgID (Mimir, Cortex).")
    headers: dict[str, str] = Field(default_factory=dict, description="No secrets here.")
    bearer_token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = Field(None, description="PEM certificates to trust.")
    verify: bool = Field(True, description="Whether the server must prove who it is.")
    timeout_s: float = Field(30.0, gt=0, description="Whole time of one request [s].")
    retries: int = Field(2, ge=0, le=10)
    max_points: int = Field(10_000, ge=1, le=1_000_000, description="Steps per request.")
    max_samples: int = Field(500_000, ge=1000, description="Samples per answer: its memory.")
    max_clock_skew_s: float = Field(60.0, gt=1, description="Clocks further apart are an error.")
    scrape_interval_s: float | None = Field(None, gt=0, description="None = measured.")
    delay_s: float = Field(0.0, ge=0, description="Younger steps are left to the next tick [s].")
    compress: bool = Field(False, description="gzip: for slow links only, servers are slow at it.")

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError(f"{value!r} is no URL of a server; write http://HOST:9090")
        return value.rstrip("/").removesuffix("/api/v1")

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.bearer_token_file is not None and self.username is not None:
            raise ValueError("username: bearer_token_file is set as well; remove one of them")
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file: means nothing without username")
        if any(name.lower() == "authorization" for name in self.headers):
            raise ValueError(
                "headers: a secret has no place in pla.yaml; use bearer_token_file, or username "
                "and password_file"
            )
        return self


class InfluxSettings(Section):
    """An InfluxDB 1.x server that Telegraf writes to. 2.x and 3.x are unproven."""

    kind: Literal["influxdb"]
    url: str = Field(description="http://HOST:8086, with a path if a proxy serves it below one.")
    database: str = Field(description="As in Telegraf's output plugin.")
    retention_policy: str = Field("", description="Empty = the database's default one.")
    owns: tuple[str, ...] = Field(
        (), description="Its workloads: kvm:// or kvm://HOST; none = what no other source owns."
    )
    schemas: tuple[str, ...] = Field(tuple(SCHEMAS), description="Telegraf's, to look for.")
    mapping: tuple[Measure, ...] = Field((), description="Measurements of your own.")
    labels: dict[str, str] = Field(
        default_factory=lambda: {"cluster": "default"},
        description="Parts of workload names that no tag gives: the cluster's name.",
    )
    username: str = ""
    password_file: Path | None = None
    token_file: Path | None = Field(None, description="JSON Web Token of the shared secret.")
    ca_file: Path | None = Field(None, description="PEM certificates to trust.")
    verify: bool = Field(True, description="Whether the server must prove who it is.")
    timeout_s: float = Field(30.0, gt=0, description="Whole time of one request [s].")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.password_file is not None and not self.username:
            raise ValueError("password_file: means nothing without username")
        if self.token_file is not None and self.username:
            raise ValueError("token_file: username is set as well; remove one of them")
        self.options()  # what the source itself refuses
        return self

    def options(self, password: str = "", token: str = "") -> InfluxOptions:
        """What the source is made with. Raises ValueError: contradictory or unknown values."""
        return InfluxOptions(
            url=self.url,
            database=self.database,
            retention_policy=self.retention_policy,
            username=self.username,
            password=password,
            token=token,
            verify=self.verify,
            ca_file=self.ca_file,
            timeout_s=self.timeout_s,
            schemas=self.schemas,
            mapping=self.mapping,
            constants=self.labels,
        )


def _kind(entry: Any) -> str:
    return str(entry.get("kind", "prometheus") if isinstance(entry, dict) else entry.kind)


SourceSettings = Annotated[
    Annotated[PrometheusSettings, Tag("prometheus")] | Annotated[InfluxSettings, Tag("influxdb")],
    Discriminator(_kind),
]
"""What an entry of `sources` may be; `kind` tells them apart."""


def check_owners(sources: tuple[SourceSettings, ...]) -> None:
    """Raises ValueError where it is not clear which source a workload belongs to."""
    rest = [source.url for source in sources if not source.owns]
    if len(rest) > 1:
        raise ValueError(
            f"sources: {' and '.join(rest)} both own whatever nobody else does; say in `owns` "
            "which workloads are whose"
        )
