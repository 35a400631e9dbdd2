"""Real bundles through the registry, with the loader that is used in earnest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from pla.core.feature_names import NAMES
from pla.core.residuals import BINS
from pla.forecasting.bundle import MANIFEST, Bundle, load
from pla.forecasting.forecaster import BundleForecaster
from pla.ports import RegistryError

pytestmark = pytest.mark.mlflow


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A trained bundle of one resource: two quantiles of noise."""
    rng = np.random.default_rng(0)
    matrix = xgb.DMatrix(rng.random((200, len(NAMES))), rng.random(200))
    objective = {"objective": "reg:quantileerror", "quantile_alpha": [0.5, 0.9]}
    booster = xgb.train({**objective, "max_depth": 2, "nthread": 1}, matrix, 2)
    folder = tmp_path / "trained"
    Bundle(
        boosters={"cpu": booster},
        feature_names=NAMES,
        quantiles=(0.5, 0.9),
        step_s=60,
        lead_s=0,
        hold_s=60,
        seed=np.zeros((1, 2, BINS)),
        start_s=0,
        end_s=86_400,
        checksum="ab" * 32,
        code_version="0.1.0",
        notes={},
    ).save(folder)
    return folder


@pytest.fixture
def registry(open_registry: Any, file_uri: str) -> Any:
    return open_registry(file_uri, load_bundle=None)


def test_a_bundle_comes_back_as_a_forecaster(registry: Any, bundle: Path, data: Any) -> None:
    version = registry.register(bundle, params={}, metrics={}, data=data)
    forecaster = registry.load(version)
    assert isinstance(forecaster, BundleForecaster)
    assert forecaster.model_version == version
    assert forecaster.quantiles == (0.5, 0.9)


def test_a_bundle_of_other_features_is_refused_in_its_own_words(
    registry: Any, bundle: Path, data: Any
) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["feature_names"][0] = "of_another_time"
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    version = registry.register(bundle, params={}, metrics={}, data=data)
    with pytest.raises(RegistryError, match=r"number 1 is 'of_another_time' in the model"):
        registry.load(version)


@pytest.mark.parametrize(
    "change",
    [
        {"resources": ["../outside"], "files": {"../outside.ubj": "ab"}},
        {"resources": ["cpu", "cpu"]},
        {"files": {}},
        {"files": {"/dev/zero": "ab"}},
        {"quantiles": [0.9, 0.5]},
        {"quantiles": [0.5, 1.5]},
        {"quantiles": [0.5, float("nan")]},
    ],
)
def test_a_manifest_that_names_what_is_not_its_own_is_refused(
    bundle: Path, change: dict[str, Any]
) -> None:
    file = bundle / MANIFEST
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(RegistryError, match="not a usable manifest"):
        load(bundle)
