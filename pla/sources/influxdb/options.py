"""The options of an InfluxDB source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pla.sources.influxdb.schema import Measure
from pla.sources.influxdb.telegraf import SCHEMAS


@dataclass(frozen=True, slots=True)
class InfluxOptions:
    """Where the server is, who asks, and what is read.

    Attributes:
        url: `http://HOST:8086`, with a path if a proxy serves it below one.
        database: as in Telegraf's output plugin.
        retention_policy: empty = the database's default one.
        username, password: HTTP Basic; the caller reads the password from a file or environment.
        token: a JSON Web Token signed with the server's shared secret, instead of a password.
        verify: check the server's certificate.
        ca_file: certificates to trust instead of the machine's.
        timeout_s: from sending a request to its last byte, retry included [s].
        schemas: names of `SCHEMAS` to look for.
        mapping: measurements of one's own; they are read besides those of `schemas`.
        constants: variables of URI templates that are no tags, such as `cluster`.
    """

    url: str
    database: str
    retention_policy: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    verify: bool = True
    ca_file: Path | None = None
    timeout_s: float = 30.0
    schemas: tuple[str, ...] = tuple(SCHEMAS)
    mapping: tuple[Measure, ...] = ()
    constants: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"InfluxDB url {_bare(self.url)!r}: give http://HOST:PORT or https://")
        if parts.username or parts.password:
            raise ValueError(
                f"InfluxDB url {_bare(self.url)!r}: holds a password, which would show up in "
                "messages; give username and password on their own"
            )
        if not self.database:
            raise ValueError(f"InfluxDB {self.url}: no database given; name Telegraf's")
        if self.token and (self.username or self.password):
            raise ValueError(f"InfluxDB {self.url}: give a token or a user and password, not both")
        if self.timeout_s <= 0:
            raise ValueError(f"InfluxDB {self.url}: timeout {self.timeout_s} s: must be above 0")
        unknown = [name for name in self.schemas if name not in SCHEMAS]
        if unknown:
            known = ", ".join(SCHEMAS)
            raise ValueError(f"InfluxDB {self.url}: no schema {unknown[0]!r}; there are {known}")
        if not self.measures:
            raise ValueError(f"InfluxDB {self.url}: neither schemas nor a mapping given")

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Everything that is looked for: one's own mapping, then the named schemas."""
        named = tuple(measure for name in self.schemas for measure in SCHEMAS[name])
        return self.mapping + named


def _bare(url: str) -> str:
    """`url` without user and password."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}{found}{rest.rpartition('@')[2]}" if found else url.rpartition("@")[2]
