"""The model of a backtest: trained on what lies before the replayed period, as retraining would."""

from __future__ import annotations

import numpy as np

from pla.backtest.spec import Spec
from pla.forecasting.forecaster import BundleForecaster
from pla.settings import Settings
from pla.sources.trace import Trace
from pla.training.dataset import build
from pla.training.fit import fit


def trained_on(trace: Trace, spec: Spec, settings: Settings) -> BundleForecaster:
    """A forecaster that has seen only samples strictly before `spec.train_until_s`.

    Workloads that appear later take no part: cutting the trace after any later time trains the
    same model.

    Raises:
        ValueError: there is nothing to train on before that time.
    """
    block = trace.block(trace.start_s, spec.train_until_s)
    seen = np.isfinite(block.values).any(axis=(0, 1))
    if not seen.any():
        raise ValueError("--train-until: the trace has no samples before it; nothing to train on")
    block = type(block)(
        values=block.values[:, :, seen],
        censored=block.censored[:, :, seen],
        killed=block.killed[:, seen],
        end_s=block.end_s,
        step_s=block.step_s,
    )
    retrain = settings.retrain
    dataset = build(block, spec.resources, spec.lead_s, spec.hold_s, retrain.max_rows, retrain.seed)
    bundle = fit(dataset, rounds=retrain.rounds, threads=retrain.threads, seed=retrain.seed)
    return BundleForecaster(bundle, model_version="backtest", threads=retrain.threads)
