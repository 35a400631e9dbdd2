"""Answers of Prometheus' HTTP API as columns, without an object per sample.

Every series' `values` stay raw JSON until they are turned, many series at a time, into lines that
Arrow's CSV reader parses: six times faster than a JSON parser that makes lists, in a tenth of the
memory. What is not written as servers write it goes through the JSON parser.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
from numpy.typing import NDArray

BATCH_BYTES = 1 << 20
"""Raw JSON that is parsed at once: more gains nothing and takes memory."""


class _Series(msgspec.Struct):
    metric: msgspec.Raw = msgspec.Raw(b"{}")
    values: msgspec.Raw = msgspec.Raw()
    value: msgspec.Raw = msgspec.Raw()


class _Data(msgspec.Struct, rename="camel"):
    result_type: str = ""
    result: list[_Series] = msgspec.field(default_factory=list)


class _Document(msgspec.Struct, rename="camel"):
    status: str
    data: _Data | list[str] | None = None
    error_type: str = ""
    error: str = ""
    warnings: list[str] = msgspec.field(default_factory=list)
    is_partial: bool = False


_DOCUMENT = msgspec.json.Decoder(_Document)

_CONVERT = csv.ConvertOptions(
    column_types={"t": pa.float64(), "v": pa.float64()},
    null_values=[],  # or "NaN" would be a null, and not a number
)
_READ = csv.ReadOptions(column_names=["t", "v"], use_threads=False, block_size=4 * BATCH_BYTES)


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of some consecutive series.

    Attributes:
        series: row of each sample's series in `Answer.metrics`, shape (sample,).
        times: [epoch s], shape (sample,).
        values: as told: NaN and infinities among them, shape (sample,).
    """

    series: NDArray[np.int64]
    times: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Attributes:
        status: `success` or `error`.
        error_type, error: what the API says of an error.
        warnings: the server's words; `partial`: some of the data are missing.
        metrics: label sets as JSON, one per series.
        names: for a question about names.
        raw: per series its samples as JSON.
    """

    status: str
    error_type: str
    error: str
    warnings: tuple[str, ...]
    partial: bool
    metrics: tuple[bytes, ...] = ()
    names: tuple[str, ...] = ()
    raw: tuple[msgspec.Raw, ...] = ()

    def samples(self) -> Iterator[Samples]:
        """All samples, some series at a time. Raises ValueError if they are no samples."""
        first, size = 0, 0
        for row, raw in enumerate(self.raw):
            size += len(raw)
            if size >= BATCH_BYTES:
                yield _parse(self.raw[first : row + 1], first)
                first, size = row + 1, 0
        if first < len(self.raw):
            yield _parse(self.raw[first:], first)


def decode(body: bytes | bytearray) -> Answer:
    """The answer in `body`.

    Raises:
        ValueError: it is not one of Prometheus' HTTP API.
    """
    try:
        document = _DOCUMENT.decode(body)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    data = document.data
    series = data.result if isinstance(data, _Data) else []
    warnings = tuple(document.warnings)
    return Answer(
        status=document.status,
        error_type=document.error_type,
        error=document.error,
        warnings=warnings,
        partial=document.is_partial or any(map(_tells_of_gaps, warnings)),
        metrics=tuple(bytes(one.metric) for one in series),
        names=tuple(data) if isinstance(data, list) else (),
        raw=tuple(one.values if len(one.values) else one.value for one in series),
    )


def _tells_of_gaps(warning: str) -> bool:
    """Whether a warning is about missing data, as storage and Thanos tell, and not about PromQL."""
    return not warning.startswith("PromQL")


def _parse(raw: Sequence[msgspec.Raw], first: int) -> Samples:
    """The samples of consecutive series, the first of which is row `first`."""
    texts = [bytes(one) for one in raw]
    counts = np.array([_count(text) for text in texts], dtype=np.int64)
    if (counts < 0).any():
        return _parse_slowly(texts, first)
    lines = b"\n".join(_lines(text) for text, n in zip(texts, counts, strict=True) if n)
    series = np.repeat(np.arange(first, first + len(raw)), counts)
    if not len(series):
        return Samples(series, np.empty(0), np.empty(0))
    try:
        table = csv.read_csv(pa.py_buffer(lines), read_options=_READ, convert_options=_CONVERT)
    except pa.ArrowInvalid:
        return _parse_slowly(texts, first)
    if table.num_rows != len(series):
        return _parse_slowly(texts, first)
    return Samples(series, table.column("t").to_numpy(), table.column("v").to_numpy())


def _count(text: bytes) -> int:
    """How many samples `[[T,"V"],...]` or `[T,"V"]` holds; -1 = it is written otherwise."""
    if not text:
        return 0
    several = text[1:2] == b"["
    if text == b"[]":
        return 0
    if not text.endswith(b'"]]' if several else b'"]') or b" " in text:
        return -1
    return text.count(b'"],[') + 1 if several else 1


def _lines(text: bytes) -> bytes:
    """`[[T,"V"],[T,"V"]]` as lines `T,V`; Arrow reads `Inf` and `1e7`, but no plus sign."""
    inner = text[2:-3] if text[1:2] == b"[" else text[1:-2]
    return inner.replace(b'"],[', b"\n").replace(b',"', b",").replace(b"+", b"")


def _parse_slowly(texts: Sequence[bytes], first: int) -> Samples:
    """The same by the JSON parser. Raises ValueError if they are no samples."""
    series, times, values = [], [], []
    for row, text in enumerate(texts, first):
        pairs = json.loads(text or b"[]")
        if not isinstance(pairs, list):
            raise ValueError(f"expected pairs of time and value, found {text[:40]!r}")
        for at_s, value in pairs if not pairs or isinstance(pairs[0], list) else [pairs]:
            series.append(row)
            times.append(float(at_s))
            values.append(float(value))
    return Samples(np.array(series, dtype=np.int64), np.array(times), np.array(values))
