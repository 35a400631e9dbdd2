"""The lines of a JSON answer, as columns.

Each line is a document: with one piece of one series if the answer is chunked, with all series if
not. Rows are cut out and parsed by Arrow's CSV reader, many pieces at a time, so that no Python
object exists per sample. JSON rather than CSV from the server: only JSON marks the last line, and
the server takes as long for both.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
from numpy.typing import NDArray

BATCH_BYTES = 1 << 20
_START, _END, _NEXT = b',"values":[[', b"]]", b'},{"name":'

Place = Callable[[Mapping[str, str]], int]
"""The row of a series with these tags; -1 = not wanted."""


class AnswerError(Exception):
    """The server's own words about a query, inside an answer with status 200."""


class MalformedAnswer(Exception):
    """An answer that is no InfluxDB answer, or that is cut off."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What a query answered, for the series that are wanted.

    Attributes:
        tags: of each series.
        workload: row of each series' workload, shape (series,).
        series: which series each sample is of; those of one series stand together, by time.
        time_ms: shape (sample,) [epoch ms].
        values: per field key, shape (sample,); NaN = the sample lacks it.
    """

    tags: list[dict[str, str]]
    workload: NDArray[np.int64]
    series: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.time_ms)


def decode(lines: Iterable[bytes], fields: Sequence[str], place: Place) -> Samples:
    """The samples of `fields` in `lines`.

    Raises:
        AnswerError: the server says that the query failed.
        MalformedAnswer: a line is no such document, or the last one is missing.
    """
    reader = _Reader(fields, place)
    more = True
    for line in lines:
        try:
            more = reader.take(line)
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedAnswer(f"is JSON, but not InfluxDB's ({error}): {line[:80]!r}") from None
    if more:
        raise MalformedAnswer("ends before its last line")
    return reader.samples()


def check(document: Any) -> list[dict[str, Any]]:
    """The results of a decoded document.

    Raises:
        AnswerError: it holds an error.
        MalformedAnswer: it holds neither results nor an error.
    """
    if not isinstance(document, dict):
        raise MalformedAnswer(f"is JSON, but not an object: {str(document)[:80]!r}")
    results = document.get("results", [])
    for part in (document, *results):
        if "error" in part:
            raise AnswerError(str(part["error"]))
    if not results:
        raise MalformedAnswer(f"holds no results: {str(document)[:80]!r}")
    return list(results)


class _Reader:
    """Takes lines in, and keeps the rows of the series that are wanted."""

    def __init__(self, fields: Sequence[str], place: Place) -> None:
        self._fields = tuple(fields)
        self._place = place
        self._index: dict[tuple[tuple[str, str], ...], int] = {}
        self._tags: list[dict[str, str]] = []
        self._workload: list[int] = []
        self._texts: list[bytes] = []
        self._pending = 0
        self._series: list[int] = []
        self._counts: list[int] = []
        self._batches: list[list[NDArray[Any]]] = []

    def take(self, line: bytes) -> bool:
        """Takes one line in; returns whether more must follow."""
        # No string can hold either mark, for a quote within a string has a backslash before it.
        skeletons, texts = zip(*map(_cut, line.split(_NEXT)), strict=True)
        (result,) = check(_json(_NEXT.join(skeletons)))
        more = bool(result.get("partial"))
        found = result.get("series", ())
        if len(found) != len(texts) and (found or texts != (b"",)):
            raise MalformedAnswer(f"has {len(found)} series, but rows of {len(texts)}")
        for series, text in zip(found, texts, strict=False):
            if series["columns"] != ["time", *self._fields]:
                raise MalformedAnswer(f"has columns {series['columns']}, asked for {self._fields}")
            if series.get("partial") and not more:  # of a chunk, or else the rest is missing
                raise MalformedAnswer("was cut short by the server's `max-row-limit`")
            row = self._row(series.get("tags") or {})
            if row >= 0 and text:
                self._keep(row, text)
        return more

    def samples(self) -> Samples:
        """All that was taken in."""
        self._parse()
        columns = [np.concatenate(parts) for parts in zip(*self._batches, strict=True)]
        if not columns:
            columns = [np.empty(0, np.int64), *(np.empty(0) for _ in self._fields)]
        series = np.repeat(np.array(self._series, np.int64), np.array(self._counts, np.int64))
        return Samples(
            tags=self._tags,
            workload=np.array(self._workload, np.int64),
            series=series,
            time_ms=columns[0],
            values=dict(zip(self._fields, columns[1:], strict=True)),
        )

    def _row(self, tags: dict[str, str]) -> int:
        """The number of the series with `tags`; -1 = not wanted."""
        key = tuple(tags.items())
        row = self._index.get(key)
        if row is None:
            workload = self._place(tags)
            row = self._index[key] = len(self._tags) if workload >= 0 else -1
            if row >= 0:
                self._tags.append(tags)
                self._workload.append(workload)
        return row

    def _keep(self, row: int, text: bytes) -> None:
        self._series.append(row)
        self._counts.append(text.count(b"],[") + 1)
        self._texts.append(text)
        self._pending += len(text)
        if self._pending >= BATCH_BYTES:
            self._parse()

    def _parse(self) -> None:
        """Turns the rows kept so far into arrays."""
        if not self._texts:
            return
        text = b"],[".join(self._texts).replace(b"],[", b"\n")
        self._texts, self._pending = [], 0
        names = ["time", *(f"f{index}" for index in range(len(self._fields)))]
        types = {name: pa.float64() for name in names} | {"time": pa.int64()}
        try:
            table = pv.read_csv(
                io.BytesIO(text),
                read_options=pv.ReadOptions(use_threads=False, column_names=names),
                convert_options=pv.ConvertOptions(column_types=types, null_values=["null"]),
            )
        except pa.ArrowInvalid as error:
            raise MalformedAnswer(f"holds rows that are no numbers ({error})") from None
        self._batches.append([table.column(name).to_numpy() for name in names])


def _cut(piece: bytes) -> tuple[bytes, bytes]:
    """The document of one series without its rows, and the rows."""
    start = piece.find(_START)
    if start < 0:
        return piece, b""
    end = piece.rfind(_END)
    return piece[:start] + piece[end + 2 :], piece[start + len(_START) : end]


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise MalformedAnswer(f"is not JSON ({error}): {text[:80]!r}") from None
