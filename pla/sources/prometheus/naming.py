"""From the label sets of an answer to rows of the workloads that were asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

KEPT = 4
"""Label sets remembered per workload: other workloads' series come along, and pods change."""


class Naming:
    """Rows of `workloads` by the URI that a template makes of labels.

    A label set is looked at once: tick after tick the same come again.
    """

    def __init__(self, workloads: Sequence[str], labels: Mapping[str, str]) -> None:
        """`labels` fill the placeholders that a result's own labels do not."""
        self.workloads = tuple(workloads)
        self._labels = dict(labels)
        self._row = {uri: row for row, uri in enumerate(self.workloads)}
        self._rows: dict[str, dict[bytes, int]] = {}

    def rows(self, metrics: Sequence[bytes], uri: str) -> NDArray[np.int64]:
        """Row of each label set, shape (series,); -1 where it is no asked workload."""
        known = self._rows.setdefault(uri, {})
        if len(known) > KEPT * max(len(self.workloads), len(metrics)) + 1000:
            known.clear()
        found = np.empty(len(metrics), dtype=np.int64)
        for index, metric in enumerate(metrics):
            row = known.get(metric)
            if row is None:
                row = known[metric] = self._row.get(self._uri(metric, uri), -1)
            found[index] = row
        return found

    def _uri(self, metric: bytes, uri: str) -> str:
        try:
            return uri.format_map(self._labels | json.loads(metric))
        except KeyError:
            return ""  # a series without the label is nobody's
