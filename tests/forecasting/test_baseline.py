"""The baseline that acts before a first champion."""

import subprocess
import sys

import numpy as np

from pla.core.fleet import Fleet, InstanceTable, NodeTable, Tier, UsageBlock, WorkloadTable
from pla.core.window import UsageWindow
from pla.forecasting.baseline import BaselineForecaster

STEP = 300
START = 1_375_315_200


def fleet() -> Fleet:
    small = np.zeros(2, dtype=np.int8)
    nothing = np.full((2, 1), np.nan)
    flags = np.ones((2, 1), dtype=np.bool_)
    table = WorkloadTable(
        ("a", "b"), small, small, ~flags[:, 0], nothing, nothing, nothing, flags, np.zeros(2)
    )
    none = np.empty(0, dtype=np.int32)
    return Fleet(
        ("cpu",),
        (Tier("standard", 50, 0.99, 0.2, 600.0, 0.5), Tier("critical", 100, 0.999, 0.3, 1.0, 0.3)),
        table,
        InstanceTable((), none, none, np.empty((0, 1)), small[:0], ()),
        NodeTable((), np.empty((0, 1))),
    )


def window(steps: int) -> UsageWindow:
    made = UsageWindow(2, ("cpu",), STEP, START)
    values = np.full((steps, 1, 2), 0.5, dtype=np.float32)
    values[-290, 0, 0] = 3.0  # 24 h 10 min ago, 10 minutes past an hour
    values[-200, 0, 0] = 2.0
    values[:, :, 1] = np.nan
    none = np.zeros(values.shape, dtype=np.bool_)
    made.push(UsageBlock(values, none, none[:, 0], START + steps * STEP, STEP))
    return made


def test_it_is_the_maximum_of_the_last_day_at_every_quantile() -> None:
    forecaster = BaselineForecaster()
    features = forecaster.featurise(window(576), fleet())
    made = forecaster.predict(features)
    assert made.model_version == "baseline:rolling-max-24h"
    np.testing.assert_array_equal(made.peak[0, 0], np.full(len(forecaster.quantiles), 2.0))
    assert np.isnan(made.peak[1]).all()
    assert (made.scale > 0).all()


def test_its_calibration_parts_the_quantiles() -> None:
    forecaster = BaselineForecaster()
    raw = forecaster.predict(forecaster.featurise(window(576), fleet()))
    calibration = forecaster.new_calibration(fleet().tiers, ("cpu",))
    assert calibration.tiers == ("standard", "critical")
    random = np.random.default_rng(0)
    tier = np.zeros(2, dtype=np.int8)
    for _ in range(2000):
        peak = random.exponential(0.5, (2, 1)).astype(np.float32)
        calibration.update(raw, peak, np.zeros((2, 1), dtype=np.bool_), tier)
    peaks = calibration.apply(raw, tier).peak[0, 0]
    assert peaks[0] < 0.5 < peaks[3] < peaks[5]


def test_the_tick_needs_no_training_libraries() -> None:
    code = (
        "import sys, pla.forecasting.forecaster, pla.forecasting.baseline;"
        "print([m for m in ('mlflow', 'sklearn', 'pandas', 'pla.training') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mlflow" not in out.stdout
    assert "pla.training" not in out.stdout
