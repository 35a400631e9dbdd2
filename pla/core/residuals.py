"""Histograms of scaled forecast residuals, on fixed bins, and their order statistics.

Edges are spaced by asinh: even near zero, geometric in the tails.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Floats

BINS_EACH_SIDE = 360
LINEAR_WIDTH = 1e-6
"""Width of the bins around zero, in units of the workload's scale."""
GROWTH = 0.05
"""Relative width of the bins in the tails; the last edge is about 650 scales out."""
BINS = 2 * BINS_EACH_SIDE

_EDGES: Floats = (LINEAR_WIDTH / GROWTH) * np.sinh(
    GROWTH * np.arange(-BINS_EACH_SIDE + 1, BINS_EACH_SIDE + 1)
)
"""Upper edge of every bin, shape (BINS,); the last bin takes all that is larger."""


def bin_of(residual: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin whose interval (lower edge, upper edge] holds each residual; any for NaN."""
    with np.errstate(invalid="ignore"):
        place = np.arcsinh(residual * np.float32(GROWTH / LINEAR_WIDTH)) / np.float32(GROWTH)
        index = np.ceil(np.nan_to_num(place)) + (BINS_EACH_SIDE - 1)
    return np.asarray(np.clip(index, 0, BINS - 1), dtype=np.int64)


def residual_counts(residual: NDArray[np.floating]) -> Floats:
    """Histogram of scaled residuals (row, quantile), shape (quantile, BINS); NaN is left out."""
    cells = bin_of(np.asarray(residual, dtype=np.float32))
    counts = np.zeros((residual.shape[1], BINS))
    for level in range(residual.shape[1]):
        known = np.isfinite(residual[:, level])
        counts[level] = np.bincount(cells[known, level], minlength=BINS)
    return counts


def conformal(counts: Floats, tau: Floats) -> Floats:
    """The k-th smallest residual, k = ceil((n + 1) * tau), of n in `counts` (..., BINS).

    `tau` has the shape of the leading axes, or one that broadcasts to it. What is returned is the
    upper edge of the residual's bin, so that rounding never takes coverage away; 0 where k > n:
    with so few residuals the conformal bound would be infinite.
    """
    total = counts.sum(axis=-1)
    rank = (total + 1.0) * tau
    below = np.cumsum(counts, axis=-1) < (rank - 1e-9 * (total + 1.0))[..., None]
    index = np.minimum(below.sum(axis=-1), BINS - 1)
    return np.where(rank <= total, _EDGES[index], 0.0)
