"""Each workload's own quantile levels: which quantile covers as often as was promised, for it.

A global model's 0.99 quantile is exceeded in 1 % of all windows, but in 3 % of one workload's
and in 0.2 % of another's. Adaptive conformal inference (Gibbs & Candes, "Adaptive Conformal
Inference Under Distribution Shift", NeurIPS 2021) steers the level by what was covered:

    lambda <- lambda + rate * (1 / alpha - 1)   after a miss,
    lambda <- lambda - rate                     after a window that was covered,

with lambda = -log(1 - tau), in which exponential tails are straight, and alpha = 1 - tau the
promised miss rate: in the long run the two balance at one miss in 1 / alpha windows. What is kept
is the shift of lambda from the promised level. Between the forecast's quantiles a level is
interpolated linearly in lambda.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Floats

Singles = NDArray[np.float32]

RATE = 0.003
"""Of lambda, per closed hold window: a shift by 1 takes 333 covered windows to go away."""
FARTHEST = 1.5
"""Bound of the shift, up and down: a tau of 0.99 moves between 0.955 and 0.9978."""
BEYOND = 0.5
"""How far a level may lie above the highest quantile, where the last slope is carried on."""


class Levels:
    """Shifts of the quantile levels of every workload.

    Attributes:
        shift: of lambda, shape (quantile, resource, workload).
    """

    def __init__(self, quantiles: Sequence[float], resources: int, workloads: int) -> None:
        """No shift yet."""
        self._quantiles = tuple(quantiles)
        self._lambda: Floats = -np.log1p(-np.asarray(quantiles, dtype=np.float64))
        self.shift: Singles = np.zeros((len(quantiles), resources, workloads), dtype=np.float32)

    def apply(self, peak: Singles) -> Singles:
        """`peak` (quantile, resource, workload), ascending, at the shifted levels: a new array."""
        moved = peak.copy()
        edges = self._lambda
        for resource in range(peak.shape[1]):
            values = peak[:, resource]
            slopes = [
                (values[k + 1] - values[k]) / np.float32(edges[k + 1] - edges[k])
                for k in range(len(edges) - 1)
            ]
            for k in range(1, len(edges)):
                moved[k, resource] = values[0]
                level = self.shift[k, resource] + np.float32(edges[k])
                for segment, slope in enumerate(slopes):
                    width = edges[segment + 1] - edges[segment]
                    if segment == len(slopes) - 1:
                        width += BEYOND
                    share = np.clip(level - np.float32(edges[segment]), 0.0, np.float32(width))
                    share *= slope
                    moved[k, resource] += share
        return moved

    def update(self, missed: Bools, known: Bools) -> None:
        """Steer by closed hold windows: which were `missed`, of those `known`.

        Both of shape (quantile, resource, workload). The lowest quantile stays where it is: it
        could only be raised.
        """
        for k in range(1, len(self._lambda)):
            # The bounds are symmetric, and no single miss goes farther than the bound: where
            # misses were capped and covered windows were not, the level would sink.
            bound = min(FARTHEST, self._lambda[-1] + BEYOND - self._lambda[k])
            odds = np.expm1(self._lambda[k])  # 1 / alpha - 1
            rate = min(RATE, bound / odds)
            step = np.where(missed[k], np.float32(rate * odds), np.float32(-rate))
            shift = self.shift[k]
            np.add(shift, step, out=shift, where=known[k])
            np.clip(shift, -bound, bound, out=shift)

    def reordered(self, rows: NDArray[np.int64]) -> Levels:
        """The same for other workloads: row i continues old row `rows[i]`, -1 = is new."""
        other = Levels(self._quantiles, self.shift.shape[1], len(rows))
        known = rows >= 0
        other.shift[:, :, known] = self.shift[:, :, rows[known]]
        return other
