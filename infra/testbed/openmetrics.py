"""Series as OpenMetrics text, which `promtool tsdb create-blocks-from openmetrics` reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TextIO

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Series:
    """One series to load: `times` [epoch s], ascending, and `values`, both shape (sample,)."""

    name: str
    labels: Mapping[str, str]
    times: NDArray[np.float64]
    values: NDArray[np.float64]


def write(series: Iterable[Series], to: TextIO) -> int:
    """Write `series` with full precision; returns how many samples there were.

    Series are written as of unknown type: what they mean is up to the query.
    """
    samples = 0
    for one in series:
        head = f"{one.name}{labels_text(one.labels)} "
        pairs = zip(one.values.tolist(), one.times.tolist(), strict=True)
        to.writelines(f"{head}{value!r} {at_s:.3f}\n" for value, at_s in pairs)
        samples += len(one.times)
    to.write("# EOF\n")
    return samples


def labels_text(labels: Mapping[str, str]) -> str:
    """`{a="b"}` with quotes, backslashes and line ends escaped."""
    escaped = {
        name: value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
        for name, value in labels.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
