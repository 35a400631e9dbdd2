"""How well a forecast's quantiles fit what came."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Floats


def coverage(peak: Floats, forecasts: NDArray[np.floating]) -> Floats:
    """Share of hold windows whose peak stayed within each quantile, shape (quantile,).

    `peak` (...,) and `forecasts` (..., quantile); NaN in either is not counted.
    """
    known = np.isfinite(peak)[..., None] & np.isfinite(forecasts)
    within = known & (peak[..., None] <= forecasts)
    axes = tuple(range(peak.ndim))
    counts = known.sum(axis=axes)
    return np.where(counts > 0, within.sum(axis=axes) / np.maximum(counts, 1), np.nan)


def pinball(peak: Floats, forecasts: NDArray[np.floating], quantiles: tuple[float, ...]) -> Floats:
    """Sum of rho_tau(y - q) = max(tau (y - q), (tau - 1)(y - q)) per quantile, (quantile,) [unit].

    Koenker & Bassett 1978. A window with NaN in its peak or any quantile is left out.
    """
    known = _known(peak, forecasts)
    error = peak[known][:, None] - forecasts[known]
    tau = np.asarray(quantiles)
    return np.asarray(np.maximum(tau * error, (tau - 1) * error).sum(axis=0))


def weighted_quantile_loss(
    peak: Floats, forecasts: NDArray[np.floating], quantiles: tuple[float, ...]
) -> float:
    """Mean over quantiles of 2 sum rho_tau(y - q) / sum |y| (GIFT-Eval's definition)."""
    total = float(np.abs(peak[_known(peak, forecasts)]).sum())
    if total == 0:
        return float("nan")
    return float(np.mean(2 * pinball(peak, forecasts, quantiles) / total))


def mase(peak: Floats, forecast: Floats, reference: Floats) -> float:
    """Mean absolute error relative to a naive forecast's (Hyndman & Koehler 2006).

    `reference` is the naive forecast of the same peaks: persistence, or the same time yesterday.
    """
    known = np.isfinite(peak) & np.isfinite(forecast) & np.isfinite(reference)
    naive = float(np.abs(peak[known] - reference[known]).sum())
    error = float(np.abs(peak[known] - forecast[known]).sum())
    return error / naive if naive > 0 else float("nan")


def _known(peak: Floats, forecasts: NDArray[np.floating]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(peak) & np.isfinite(forecasts).all(axis=-1))
