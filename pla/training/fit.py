"""Dataset -> bundle: one global quantile model per resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

import pla
from pla.core.fleet import Floats
from pla.core.residuals import residual_counts
from pla.forecasting.baseline import QUANTILES
from pla.forecasting.bundle import Bundle
from pla.training.dataset import Dataset, Rows
from pla.training.errors import TooLittleHistory

Singles = NDArray[np.float32]

VALIDATION_SHARE = 0.15
"""The newest share of the rows: it decides the number of trees and seeds the calibration."""
TRIAL_STRIDE = 3
"""The trial that decides the number of trees learns from every third row only: it costs a third,
and errs to fewer trees and to wider residuals for the calibration to start from."""
PATIENCE = 20
"""Rounds without a better pinball loss on the validation rows after which boosting stops."""
SHIPPED: Mapping[str, Any] = {
    "objective": "reg:quantileerror",
    "tree_method": "hist",
    # One tree for all quantiles: they cross far less, and prediction is several times faster.
    "multi_strategy": "multi_output_tree",
    "max_depth": 6,
    "eta": 0.2,
    # A leaf holds the quantiles of its rows: of too few there is no 0.999 to speak of.
    "min_child_weight": 30,
    # Finer bins train longer and forecast no better (Bitbrains, 64 against 256).
    "max_bin": 64,
}

Progress = Callable[[str, int, int], None]
"""Called with (resource, round, rounds at most)."""


def silent(resource: str, done: int, rounds: int) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True, slots=True)
class Fit:
    """One fitted model.

    Attributes:
        booster: trained on all rows.
        rounds: number of trees, which the validation rows chose.
        validation_loss: mean pinball loss there [scale].
        residuals: (target - prediction) of the validation rows by a model that did not see them,
            shape (row, quantile), in units of scale.
    """

    booster: xgb.Booster
    rounds: int
    validation_loss: float
    residuals: Singles


def fit(
    dataset: Dataset,
    quantiles: Sequence[float] = QUANTILES,
    rounds: int = 200,
    threads: int = 2,
    seed: int = 0,
    parameters: Mapping[str, Any] = SHIPPED,
    progress: Progress = silent,
) -> Bundle:
    """A bundle of one model per resource of `dataset`; the same one for the same arguments.

    Raises:
        TooLittleHistory: if a resource has too few rows to train and validate on.
    """
    settings = {
        **parameters,
        "quantile_alpha": np.asarray(quantiles, dtype=np.float64),
        "nthread": threads,
        "seed": seed,
    }
    fits = {
        name: _fit_resource(name, rows, settings, rounds, progress)
        for name, rows in dataset.rows.items()
    }
    counts = [residual_counts(one.residuals) for one in fits.values()]
    return Bundle(
        boosters={name: one.booster for name, one in fits.items()},
        feature_names=dataset.names,
        quantiles=tuple(quantiles),
        step_s=dataset.step_s,
        lead_s=dataset.lead_s,
        hold_s=dataset.hold_s,
        seed=np.stack(counts),
        start_s=dataset.start_s,
        end_s=dataset.end_s,
        checksum=dataset.checksum,
        code_version=pla.__version__,
        notes={
            "parameters": {**parameters, "seed": seed, "rounds_at_most": rounds},
            "resources": {
                name: {
                    "rows": len(dataset.rows[name]),
                    "rounds": one.rounds,
                    "validation_pinball": one.validation_loss,
                    "importance": importance(one.booster, dataset.names),
                }
                for name, one in fits.items()
            },
        },
    )


def _fit_resource(
    name: str, rows: Rows, settings: Mapping[str, Any], rounds: int, progress: Progress
) -> Fit:
    quantiles = settings["quantile_alpha"]
    early, late = split(rows)
    early = early.part(slice(None, None, TRIAL_STRIDE))
    least = 1.0 / (1.0 - max(quantiles))
    if min(len(early), len(late)) < least:
        raise TooLittleHistory(
            f"{name}: {len(rows)} training rows, {len(early)} of them for the trial and "
            f"{len(late)} to validate it on; the quantile {max(quantiles)} needs {least:.0f} of "
            "each: use a longer history"
        )
    train = _matrix(early, settings)
    watch = _matrix(late, settings, like=train)
    trial = xgb.train(
        settings,
        train,
        num_boost_round=rounds,
        evals=[(watch, "validation")],
        early_stopping_rounds=PATIENCE,
        verbose_eval=False,
        callbacks=[_Follow(name, rounds, progress)],
    )
    best = int(trial.best_iteration) + 1
    predicted = trial.inplace_predict(late.features, iteration_range=(0, best))
    residuals = late.target[:, None] - np.sort(predicted, axis=1)
    whole = _matrix(rows, settings)
    booster = xgb.train(
        settings, whole, num_boost_round=best, callbacks=[_Follow(name, best, progress)]
    )
    return Fit(
        booster=booster,
        rounds=best,
        validation_loss=pinball(residuals, quantiles),
        residuals=residuals,
    )


def _matrix(
    rows: Rows, settings: Mapping[str, Any], like: xgb.QuantileDMatrix | None = None
) -> xgb.QuantileDMatrix:
    """`rows` binned, by the bins of `like` if given."""
    return xgb.QuantileDMatrix(
        rows.features,
        rows.target,
        ref=like,
        max_bin=settings["max_bin"],
        nthread=settings["nthread"],
    )


def split(rows: Rows, share: float = VALIDATION_SHARE) -> tuple[Rows, Rows]:
    """`rows` parted at a cutoff: the older ones, and the newest `share` to validate on.

    No row of the first part has its target in the second: rows of one cutoff stay together.
    """
    border = np.searchsorted(rows.cutoff_s, np.quantile(rows.cutoff_s, 1.0 - share), "left")
    return rows.part(slice(0, int(border))), rows.part(slice(int(border), len(rows)))


def pinball(residuals: Singles, quantiles: Sequence[float]) -> float:
    """Mean pinball loss of `residuals` (row, quantile) = y - q.

    rho_tau(e) = max(tau * e, (tau - 1) * e) (Koenker & Bassett 1978).
    """
    level: Floats = np.asarray(quantiles, dtype=np.float64)
    return float(np.mean(np.maximum(level * residuals, (level - 1.0) * residuals)))


def importance(booster: xgb.Booster, names: tuple[str, ...]) -> dict[str, float]:
    """Share of each feature in the total gain, largest first; unused ones are left out."""
    gain = booster.get_score(importance_type="total_gain")
    total = sum(float(np.sum(value)) for value in gain.values()) or 1.0
    shares = {
        names[int(key.removeprefix("f"))]: float(np.sum(value)) / total
        for key, value in gain.items()
    }
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


class _Follow(xgb.callback.TrainingCallback):
    """Tells `progress` about every round."""

    def __init__(self, resource: str, rounds: int, progress: Progress) -> None:
        super().__init__()
        self._resource = resource
        self._rounds = rounds
        self._progress = progress

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self._progress(self._resource, epoch + 1, self._rounds)
        return False
