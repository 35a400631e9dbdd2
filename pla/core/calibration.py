"""Online conformal calibration of forecast quantiles, per tier, resource and quantile.

One-sided conformalised quantile regression (Romano, Patterson, Candes, "Conformalized Quantile
Regression", NeurIPS 2019): with the residuals E_i = (y_i - q_i) / scale_i of the n former
forecasts q of a quantile tau, the corrected forecast is

    q + scale * E_(k),  k = ceil((n + 1) * tau),

E_(k) being the k-th smallest residual. Scaling makes residuals of all workloads comparable.

The residuals are kept as histograms on fixed bins whose edges are spaced by asinh: even near
zero, geometric in the tails. Old residuals fade out by a constant factor per closed hold window.
A correction is the upper edge of the bin that holds E_(k), so rounding never takes coverage away.

What is forecast at a cutoff uses only windows that had closed by then: coverage measured on the
corrected forecasts is prequential, without look-ahead.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Bytes, Floats, Forecast

BINS_EACH_SIDE = 300
LINEAR_WIDTH = 5e-5
"""Width of the bins around zero, in units of the workload's scale."""
GROWTH = 0.05
"""Relative width of the bins in the tails; the last edge is about 1,600 scales out."""
BINS = 2 * BINS_EACH_SIDE
HALF_LIFE_WINDOWS = 576.0
"""Closed hold windows after which a residual counts half (two days of 5-minute windows)."""
SEED_WEIGHT = 20_000.0
"""The seed counts as this many residuals, per tier, resource and quantile, and fades like them."""
FORMAT = b"PLA calibration 1\n"

_EDGES: Floats = (LINEAR_WIDTH / GROWTH) * np.sinh(
    GROWTH * np.arange(-BINS_EACH_SIDE + 1, BINS_EACH_SIDE + 1)
)
"""Upper edge of every bin; the last one takes all that is larger, shape (BINS,)."""


class Calibration:
    """Corrections for the forecasts of one model version.

    Attributes:
        model_version: whose residuals these are.
        tiers: names, in the order of the fleet's tiers.
        resources: names of the resource axis.
        quantiles: of the forecasts, ascending.
    """

    def __init__(
        self,
        model_version: str,
        tiers: Sequence[str],
        resources: Sequence[str],
        quantiles: Sequence[float],
        seed: Floats | None = None,
    ) -> None:
        """A calibration that starts from `seed`.

        Args:
            model_version: as in `Forecast.model_version`.
            tiers: names of the fleet's tiers, in their order.
            resources: names of the resource axis.
            quantiles: as in `Forecast.quantiles`.
            seed: residual counts of a backtest, shape (resource, quantile, BINS); each tier
                starts from them with a weight of at most `SEED_WEIGHT`. None = start from
                nothing: no correction until there are enough residuals.

        Raises:
            ValueError: if `seed` has another shape.
        """
        self.model_version = model_version
        self.tiers = tuple(tiers)
        self.resources = tuple(resources)
        self.quantiles = tuple(quantiles)
        self._counts: Floats = np.zeros(
            (len(self.tiers), len(self.resources), len(self.quantiles), BINS)
        )
        if seed is not None:
            if seed.shape != self._counts.shape[1:]:
                raise ValueError(
                    f"calibration seed has shape {seed.shape}, expected {self._counts.shape[1:]}"
                )
            total = seed.sum(axis=-1, keepdims=True)
            self._counts += seed * np.minimum(1.0, SEED_WEIGHT / np.maximum(total, 1.0))
        self._correction: Floats | None = None

    # -- using it --------------------------------------------------------------------------

    def correction(self) -> Floats:
        """What is added to each quantile, in units of scale, shape (tier, resource, quantile).

        Zero where there are too few residuals for the quantile: fewer than tau / (1 - tau), for
        which ceil((n + 1) * tau) > n and the conformal correction would be infinite.
        """
        if self._correction is None:
            total = self._counts.sum(axis=-1)
            rank = (total + 1.0) * np.asarray(self.quantiles)
            below = np.cumsum(self._counts, axis=-1) < (rank - 1e-9 * (total + 1.0))[..., None]
            index = np.minimum(below.sum(axis=-1), BINS - 1)
            self._correction = np.where(rank <= total, _EDGES[index], 0.0)
        return self._correction

    def apply(self, forecast: Forecast, tier: Bytes) -> Forecast:
        """`forecast` corrected; `tier` (workload,) are rows of the fleet's tiers.

        Quantiles stay ascending and no peak falls below zero; `calibration` of the result says
        what was added [unit].

        Raises:
            ValueError: if the forecast is another model's.
        """
        self._check(forecast)
        correction = self.correction().astype(np.float32)
        peak = forecast.peak + correction[tier] * forecast.scale[:, :, None]
        np.maximum(peak, 0.0, out=peak)
        for level in range(1, len(self.quantiles)):
            np.maximum(peak[:, :, level], peak[:, :, level - 1], out=peak[:, :, level])
        return dataclasses.replace(forecast, peak=peak, calibration=peak - forecast.peak)

    def update(
        self,
        forecast: Forecast,
        realised: NDArray[np.floating],
        held: Bools,
        tier: Bytes,
    ) -> None:
        """Learn from one closed hold window.

        Args:
            forecast: the *uncorrected* forecast for that window.
            realised: its peak [unit], shape (workload, resource); NaN = not known, not counted.
            held: usage was held down in it, so demand was at least `realised`, same shape. Where
                that already exceeds the quantile the miss is certain and counts with the
                residual that was seen; otherwise nothing is known and nothing is counted.
            tier: rows of the fleet's tiers, shape (workload,).

        Raises:
            ValueError: if the forecast is another model's.
        """
        self._check(forecast)
        scale = forecast.scale.astype(np.float32)
        peak = np.asarray(realised, dtype=np.float32)
        residual = (peak[:, :, None] - forecast.peak) / scale[:, :, None]
        known = np.isfinite(residual)
        if held.any():
            known &= ~held[:, :, None] | (residual > 0)
        self._counts *= 0.5 ** (1.0 / HALF_LIFE_WINDOWS)
        shape = self._counts.shape
        group = np.ravel_multi_index(
            (
                tier.astype(np.int64)[:, None, None],
                np.arange(shape[1])[None, :, None],
                np.arange(shape[2])[None, None, :],
            ),
            shape[:3],
        )
        cell = (group * BINS + _bin(residual))[known]
        self._counts += np.bincount(cell, minlength=self._counts.size).reshape(shape)
        self._correction = None

    # -- keeping it ------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The state, to be stored: a format line, a JSON line, counts, and a CRC-32 of all that."""
        about = {
            "model_version": self.model_version,
            "tiers": self.tiers,
            "resources": self.resources,
            "quantiles": self.quantiles,
            "bins": BINS,
            "linear_width": LINEAR_WIDTH,
            "growth": GROWTH,
        }
        body = FORMAT + json.dumps(about).encode() + b"\n" + self._counts.astype("<f4").tobytes()
        return body + zlib.crc32(body).to_bytes(4, "big")

    def restored(self, state: bytes) -> Calibration:
        """This calibration with the counts of `state`.

        Tiers are matched by name: one that `state` does not know keeps what it has here.

        Raises:
            ValueError: if `state` is damaged, of another format, or of another model.
        """
        about, counts = _parse(state)
        for key, mine in (
            ("model_version", self.model_version),
            ("resources", list(self.resources)),
            ("quantiles", list(self.quantiles)),
        ):
            if about.get(key) != mine:
                raise ValueError(
                    f"stored calibration has {key} {about.get(key)!r}, expected {mine!r}; "
                    "delete it to start from the model's backtest"
                )
        other = Calibration(self.model_version, self.tiers, self.resources, self.quantiles)
        other._counts[:] = self._counts
        for row, name in enumerate(self.tiers):
            if name in about["tiers"]:
                other._counts[row] = counts[about["tiers"].index(name)]
        return other

    # -- inside ----------------------------------------------------------------------------

    def _check(self, forecast: Forecast) -> None:
        if forecast.model_version != self.model_version:
            raise ValueError(
                f"forecast of model {forecast.model_version!r} met the calibration of "
                f"{self.model_version!r}"
            )


def residual_counts(residual: NDArray[np.floating]) -> Floats:
    """Histogram of scaled residuals (row, quantile), shape (quantile, BINS); NaN is left out."""
    cells = _bin(np.asarray(residual, dtype=np.float32))
    counts = np.zeros((residual.shape[1], BINS))
    for level in range(residual.shape[1]):
        known = np.isfinite(residual[:, level])
        counts[level] = np.bincount(cells[known, level], minlength=BINS)
    return counts


def _bin(residual: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin whose interval (lower edge, upper edge] holds each residual; NaN -> any."""
    with np.errstate(invalid="ignore"):
        place = np.arcsinh(residual * np.float32(GROWTH / LINEAR_WIDTH)) / np.float32(GROWTH)
        index = np.ceil(np.nan_to_num(place)) + (BINS_EACH_SIDE - 1)
    return np.asarray(np.clip(index, 0, BINS - 1), dtype=np.int64)


def _parse(state: bytes) -> tuple[dict[str, Any], Floats]:
    body, crc = state[:-4], state[-4:]
    if not body.startswith(FORMAT) or zlib.crc32(body).to_bytes(4, "big") != crc:
        raise ValueError(
            "stored calibration is damaged or of another format; "
            "delete it to start from the model's backtest"
        )
    head, _, payload = body[len(FORMAT) :].partition(b"\n")
    about = json.loads(head)
    counts = np.frombuffer(payload, dtype="<f4").astype(np.float64)
    shape = (len(about["tiers"]), len(about["resources"]), len(about["quantiles"]), BINS)
    return about, counts.reshape(shape)
