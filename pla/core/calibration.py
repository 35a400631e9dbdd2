"""Online conformal calibration of forecast quantiles: per workload, then pooled.

**Per workload**: `pla.core.levels` moves each workload's quantile levels until it is missed as
often as was promised.

**Pooled**, per tier, resource and quantile: one-sided conformalised quantile regression (Romano,
Patterson, Candes, "Conformalized Quantile Regression", NeurIPS 2019). With the residuals
E_i = (y_i - q_i) / scale_i of the n former forecasts q of a quantile tau, it is corrected to

    q + scale * E_(k),  k = ceil((n + 1) * tau),

E_(k) being the k-th smallest residual. Scaling makes residuals of all workloads comparable. They
are kept as histograms, and fade out by a constant factor per closed hold window.

What is forecast at a cutoff uses only windows that had closed by then: coverage measured on the
corrected forecasts is prequential, without look-ahead.
"""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, Bytes, Floats, Forecast
from pla.core.levels import Levels, Singles
from pla.core.residuals import BINS, bin_of, conformal

HALF_LIFE_WINDOWS = 576.0
"""Closed hold windows after which a residual counts half (two days of 5-minute windows)."""
SEED_WEIGHT = 5_000.0
"""The seed counts as this many residuals, per tier, resource and quantile, and fades like them."""
FORMAT = b"PLA calibration 3\n"


class Calibration:
    """Corrections for the forecasts of one model version.

    Attributes:
        model_version: whose residuals these are.
        tiers: names, in the order of the fleet's tiers.
        resources: names of the resource axis.
        quantiles: of the forecasts, ascending.
        ids: the workloads whose own levels are kept, in the rows of the forecasts; none before
            `follow`, and then only the pooled correction is applied.
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
        self.ids: tuple[str, ...] = ()
        self._levels = Levels(self.quantiles, len(self.resources), 0)

    # -- using it --------------------------------------------------------------------------

    def correction(self) -> Floats:
        """What is added to each quantile, in units of scale, shape (tier, resource, quantile).

        Zero where there are too few residuals for the quantile: fewer than tau / (1 - tau), for
        which ceil((n + 1) * tau) > n and the conformal correction would be infinite.
        """
        if self._correction is None:
            self._correction = conformal(self._counts, np.asarray(self.quantiles))
        return self._correction

    def follow(self, ids: tuple[str, ...]) -> None:
        """Bring the workloads' own levels in line with the fleet's rows; new ones start at 0."""
        if ids is self.ids or ids == self.ids:
            return
        former = {name: row for row, name in enumerate(self.ids)}
        rows = np.array([former.get(name, -1) for name in ids], dtype=np.int64)
        self._levels = self._levels.reordered(rows)
        self.ids = ids

    def inherit(self, former: Calibration) -> None:
        """Start from the workloads' levels under the `former` model, instead of from nothing.

        How much harder than others a workload is to forecast changes little when a model is
        retrained. Not taken from a baseline, or from a model of other quantiles or resources.
        """
        same = (former.quantiles, former.resources) == (self.quantiles, self.resources)
        if same and not former.model_version.startswith("baseline:"):
            self.ids = former.ids
            self._levels = former._levels.reordered(np.arange(len(former.ids)))

    def apply(self, forecast: Forecast, tier: Bytes) -> Forecast:
        """`forecast` corrected; `tier` (workload,) are rows of the fleet's tiers.

        Quantiles stay ascending and no peak falls below zero; `calibration` of the result says
        what was added [unit].

        Raises:
            ValueError: if the forecast is another model's, or has other workloads than `ids`.
        """
        peak = self._corrected(forecast, self._levelled(forecast), tier).transpose(2, 1, 0)
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
            ValueError: if the forecast is another model's, or has other workloads than `ids`.
        """
        levelled = self._levelled(forecast)
        corrected = self._corrected(forecast, levelled, tier)
        peak = np.ascontiguousarray(np.asarray(realised, dtype=np.float32).T)
        free = ~held.T
        self._counts *= 0.5 ** (1.0 / HALF_LIFE_WINDOWS)
        group = tier.astype(np.int64) * BINS
        for row in range(len(self.resources)):
            for level in range(len(self.quantiles)):
                residual = (peak[row] - levelled[level, row]) / forecast.scale[:, row]
                counted = np.isfinite(residual) & (free[row] | (residual > 0))
                cell = (group + bin_of(residual))[counted]
                fresh = np.bincount(cell, minlength=len(self.tiers) * BINS)
                self._counts[:, row, level] += fresh.reshape(len(self.tiers), BINS)
        if self.ids:
            missed = peak > corrected
            known = np.isfinite(peak) & np.isfinite(corrected) & (free | missed)
            self._levels.update(missed, known)
        self._correction = None

    # -- keeping it ------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The state, to be stored: a format line, a JSON line, counts, levels, a CRC-32."""
        about = {
            "model_version": self.model_version,
            "tiers": self.tiers,
            "resources": self.resources,
            "quantiles": self.quantiles,
            "workloads": self.ids,
        }
        arrays = self._counts.astype("<f4").tobytes() + self._levels.shift.astype("<f4").tobytes()
        body = FORMAT + json.dumps(about).encode() + b"\n" + arrays
        return body + zlib.crc32(body).to_bytes(4, "big")

    def restored(self, state: bytes) -> Calibration:
        """This calibration with the counts and levels of `state`, to be told whom to `follow`.

        Tiers are matched by name: one that `state` does not know keeps what it has here.

        Raises:
            ValueError: if `state` is damaged, of another format, or of another model.
        """
        about, counts, shift = _parse(state)
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
        other.ids = tuple(about["workloads"])
        other._levels = Levels(self.quantiles, len(self.resources), len(other.ids))
        other._levels.shift[:] = shift
        return other

    # -- inside ----------------------------------------------------------------------------

    def _levelled(self, forecast: Forecast) -> Singles:
        """The forecast peak at each workload's own levels, (quantile, resource, workload)."""
        if forecast.model_version != self.model_version:
            raise ValueError(
                f"forecast of model {forecast.model_version!r} met the calibration of "
                f"{self.model_version!r}"
            )
        peak = np.ascontiguousarray(forecast.peak.transpose(2, 1, 0))
        if not self.ids:
            return peak
        if len(self.ids) != peak.shape[2]:
            raise ValueError(
                f"forecast of {peak.shape[2]} workloads met a calibration that follows "
                f"{len(self.ids)}: call follow() with the fleet's workload ids first"
            )
        return self._levels.apply(peak)

    def _corrected(self, forecast: Forecast, levelled: Singles, tier: Bytes) -> Singles:
        """`levelled` after the pooled correction, ascending and not negative."""
        correction = self.correction().astype(np.float32)
        peak = np.empty_like(levelled)
        for row in range(len(self.resources)):
            scale = np.ascontiguousarray(forecast.scale[:, row])
            for level in range(len(self.quantiles)):
                one = correction[:, row, level][tier]
                one *= scale
                one += levelled[level, row]
                floor = peak[level - 1, row] if level else np.float32(0.0)
                np.maximum(one, floor, out=peak[level, row])
        return peak


def _parse(state: bytes) -> tuple[dict[str, Any], Floats, Singles]:
    body, crc = state[:-4], state[-4:]
    if not body.startswith(FORMAT) or zlib.crc32(body).to_bytes(4, "big") != crc:
        raise ValueError(
            "stored calibration is damaged or of another format; "
            "delete it to start from the model's backtest"
        )
    head, _, payload = body[len(FORMAT) :].partition(b"\n")
    about = json.loads(head)
    values = np.frombuffer(payload, dtype="<f4")
    cells = (len(about["resources"]), len(about["quantiles"]))
    shape = (len(about["tiers"]), *cells, BINS)
    counts, shift = np.split(values, [math.prod(shape)])
    levels = shift.reshape(cells[1], cells[0], len(about["workloads"]))
    return about, counts.astype(np.float64).reshape(shape), levels
