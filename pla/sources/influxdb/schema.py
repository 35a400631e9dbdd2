"""What is read from a measurement, and which workload it belongs to, as data.

`pydantic.TypeAdapter(Measure)` builds these from a settings file as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from pla.core.resources import specs

VARIABLE = re.compile(r"\{([^{}]+)\}")


class Kind(StrEnum):
    """How a field's samples become the value of a step."""

    GAUGE = "gauge"
    """The largest sample of the step: it is what an amount must cover."""
    COUNTER = "counter"
    """Increase per second, over the intervals between samples that end in the step."""


class Role(StrEnum):
    """What a field says of its resource."""

    USAGE = "usage"
    LIMIT = "limit"
    """The amount in force: usage close to it is held down."""
    STALL = "stall"
    """Share of the time in which the workload wanted the resource and did not get it."""
    KILL = "kill"
    """A value that marks an out-of-memory kill: each new value is one."""


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a measurement.

    Attributes:
        field: its key.
        resource: name of the resource that it tells of.
        kind: gauge or counter.
        role: what it says of the resource.
        scale: value (of a counter: increase per second) times this is in the resource's unit.
        plus: key of a field that is added to it, sample by sample.
        minus: key of a field that is subtracted from it, sample by sample.
        per: key of a counter: the value is this counter's increase as a share of that one's.
    """

    field: str
    resource: str
    kind: Kind = Kind.GAUGE
    role: Role = Role.USAGE
    scale: float = 1.0
    plus: str = ""
    minus: str = ""
    per: str = ""

    def __post_init__(self) -> None:
        specs((self.resource,))
        if self.per and self.kind != Kind.COUNTER:
            raise ValueError(f"field {self.field!r}: `per` is for counters, it is a {self.kind}")

    @property
    def fields(self) -> tuple[str, ...]:
        """The keys that must be read for it."""
        return tuple(key for key in (self.field, self.plus, self.minus, self.per) if key)


@dataclass(frozen=True, slots=True)
class Name:
    """How the URI of a workload follows from a series' tags.

    Attributes:
        template: the URI, with `{VARIABLE}` for a tag, a constant of the options, or a named
            group of `pattern`.
        tag: the tag whose whole value `pattern` must match.
        pattern: a regular expression with named groups.
    """

    template: str
    tag: str = ""
    pattern: str = ""

    def __post_init__(self) -> None:
        if "://" not in self.template:
            raise ValueError(f"template {self.template!r}: a workload is a URI, SCHEME://...")
        if bool(self.tag) != bool(self.pattern):
            raise ValueError(f"template {self.template!r}: give both `tag` and `pattern`, or none")
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r} of tag {self.tag!r}: {error}") from None


@dataclass(frozen=True, slots=True)
class Measure:
    """One kind of query: some fields of one measurement, for all workloads at once.

    Attributes:
        measurement: its name.
        columns: what is read; of several usage columns of one resource, the first that has a
            sample counts.
        workloads: ways to the workload's URI; the first whose URI is asked for counts.
        parts: tags whose series add up to one instance (interfaces, disks).
        where: InfluxQL condition on tags and fields, as it stands; empty = all.
    """

    measurement: str
    columns: tuple[Column, ...]
    workloads: tuple[Name, ...]
    parts: tuple[str, ...] = ()
    where: str = ""

    def __post_init__(self) -> None:
        if not self.columns or not self.workloads:
            raise ValueError(f"measurement {self.measurement!r}: needs `columns` and `workloads`")

    def columns_of(self, resources: frozenset[str], known: frozenset[str]) -> tuple[Column, ...]:
        """The columns that tell of `resources`, and whose fields are among the `known` ones."""
        return tuple(
            column
            for column in self.columns
            if column.resource in resources and known.issuperset(column.fields)
        )
