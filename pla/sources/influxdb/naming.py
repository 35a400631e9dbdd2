"""From a series' tags to its workload."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pla.sources.influxdb.schema import VARIABLE, Measure, Name


@dataclass(frozen=True, slots=True)
class _Way:
    """One `Name`, taken apart: text and variables in turn, and the pattern of its tag."""

    pieces: tuple[str, ...]
    tag: str
    pattern: re.Pattern[str] | None

    def uri(self, tags: Mapping[str, str], constants: Mapping[str, str]) -> str | None:
        """The workload of a series with `tags`; None where it does not fit them."""
        known = {**tags, **constants}
        if self.pattern is not None:
            match = self.pattern.fullmatch(tags.get(self.tag, ""))
            if match is None:
                return None
            known.update(match.groupdict(default=""))
        texts = list(self.pieces)
        for index in range(1, len(texts), 2):
            texts[index] = known.get(texts[index], "")
            if not texts[index]:
                return None
        return "".join(texts)


class Naming:
    """The workloads of one measure's series, remembered from read to read.

    Attributes:
        tags: the tags that tell series apart, sorted: GROUP BY them.
    """

    def __init__(self, measure: Measure, constants: Mapping[str, str]) -> None:
        self._constants = constants
        self._ways = tuple(_taken_apart(name) for name in measure.workloads)
        self.tags = tuple(sorted(_tags(measure, constants)))
        self._asked: Sequence[str] = ()
        self._known: dict[str, int] = {}
        self._rows: dict[tuple[str, ...], int] = {}

    def ask_for(self, workloads: Sequence[str]) -> None:
        """Rows are those of `workloads` from now on."""
        if workloads is self._asked or tuple(workloads) == tuple(self._asked):
            return
        self._asked = tuple(workloads)
        self._known = {uri: row for row, uri in enumerate(workloads)}
        self._rows = {}

    @property
    def asked(self) -> int:
        """How many workloads are asked for."""
        return len(self._asked)

    def row(self, tags: Mapping[str, str]) -> int:
        """The row of the workload that a series with `tags` belongs to; -1 = none asked for."""
        key = tuple(tags.get(tag, "") for tag in self.tags)
        row = self._rows.get(key)
        if row is None:
            found = (way.uri(tags, self._constants) for way in self._ways)
            row = next((self._known[uri] for uri in found if uri in self._known), -1)
            self._rows[key] = row
        return row


def _taken_apart(name: Name) -> _Way:
    pattern = re.compile(name.pattern) if name.pattern else None
    return _Way(tuple(VARIABLE.split(name.template)), name.tag, pattern)


def _tags(measure: Measure, constants: Mapping[str, str]) -> set[str]:
    tags = set(measure.parts)
    for name in measure.workloads:
        groups = re.compile(name.pattern).groupindex
        tags |= set(VARIABLE.findall(name.template)) - set(groups) - set(constants)
        tags |= {name.tag} - {""}
    return tags
