"""The forecaster: what XGBoost says, undone to units; a bundle's way to disk and back."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb
from numpy.typing import NDArray

from pla.core.feature_names import NAMES
from pla.core.fleet import Fleet, InstanceTable, NodeTable, Tier, UsageBlock, WorkloadTable
from pla.core.residuals import BINS
from pla.core.window import UsageWindow
from pla.forecasting import forecaster as module
from pla.forecasting.bundle import Bundle, load
from pla.forecasting.forecaster import BundleForecaster
from pla.ports import RegistryError

QUANTILES = (0.5, 0.9, 0.99)
RESOURCES = ("cpu", "memory")
STEP = 300
START = 1_375_315_200


def booster(seed: int, features: int = len(NAMES)) -> xgb.Booster:
    random = np.random.default_rng(seed)
    rows = random.random((3000, features)).astype(np.float32)
    peak = rows[:, 0] + random.exponential(0.2, 3000)
    settings = {
        "objective": "reg:quantileerror",
        "quantile_alpha": np.array(QUANTILES),
        "multi_strategy": "multi_output_tree",
        "tree_method": "hist",
        "max_depth": 3,
        "nthread": 1,
    }
    return xgb.train(settings, xgb.QuantileDMatrix(rows, peak, nthread=1), 5)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    seed = np.zeros((2, len(QUANTILES), BINS))
    seed[:, :, BINS - 100] = 5000.0
    return Bundle(
        boosters={"cpu": booster(0), "memory": booster(1)},
        feature_names=NAMES,
        quantiles=QUANTILES,
        step_s=STEP,
        lead_s=0,
        hold_s=STEP,
        seed=seed,
        start_s=START,
        end_s=START + 86_400,
        checksum="ab" * 32,
        code_version="0.1.0",
        notes={"parameters": {"max_depth": 3}},
    )


def fleet(workloads: int, resources: tuple[str, ...] = RESOURCES) -> Fleet:
    cells = (workloads, len(resources))
    small = np.zeros(workloads, dtype=np.int8)
    nothing = np.full(cells, np.nan)
    return Fleet(
        resources=resources,
        tiers=(Tier("standard", 50, 0.99, 0.2, 600.0, 0.5),),
        workloads=WorkloadTable(
            ids=tuple(f"sim://{row}" for row in range(workloads)),
            tier=small,
            mode=small,
            paused=np.zeros(workloads, dtype=np.bool_),
            minimum=nothing,
            maximum=nothing,
            request=nothing,
            support=np.ones(cells, dtype=np.bool_),
            created_s=np.zeros(workloads),
        ),
        instances=InstanceTable(
            (), np.empty(0, np.int32), np.empty(0, np.int32), np.empty((0, cells[1])), small[:0], ()
        ),
        nodes=NodeTable((), np.empty((0, cells[1]))),
    )


def window(workloads: int = 5, resources: tuple[str, ...] = RESOURCES) -> UsageWindow:
    made = UsageWindow(workloads, resources, STEP, START)
    random = np.random.default_rng(3)
    values = random.gamma(1.0, 1e6, (200, len(resources), workloads)).astype(np.float32)
    values[:, :, 1] = np.nan
    none = np.zeros(values.shape, dtype=np.bool_)
    made.push(UsageBlock(values, none, none[:, 0], START + 200 * STEP, STEP))
    return made


def by_hand(
    bundle: Bundle, columns: NDArray[np.float32], scale: float, row: int
) -> NDArray[np.float32]:
    line = columns[:, row : row + 1].T.copy()
    output = np.sort(bundle.boosters["memory"].inplace_predict(line)[0])
    level = columns[NAMES.index("level"), row]
    return np.asarray(np.maximum((output + level) * scale, 0.0), dtype=np.float32)


def test_forecast_is_the_boosters_output_in_units(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    forecaster = BundleForecaster(bundle, "3")
    features = forecaster.featurise(window(), fleet(5))
    made = forecaster.predict(features)
    assert made.peak.shape == (5, 2, 3)
    assert made.model_version == "3"
    for row in (0, 2, 4):
        expected = by_hand(bundle, features.columns["memory"], features.scale[row, 1], row)
        np.testing.assert_allclose(made.peak[row, 1], expected, rtol=1e-5)
    assert (np.diff(made.peak[[0, 2, 3, 4]], axis=2) >= 0).all()


def test_no_sample_in_a_week_is_no_forecast(bundle: Bundle) -> None:
    forecaster = BundleForecaster(bundle, "3")
    made = forecaster.predict(forecaster.featurise(window(), fleet(5)))
    assert np.isnan(made.peak[1]).all()
    assert np.isfinite(made.peak[[0, 2, 3, 4]]).all()


def test_a_resource_without_a_model_is_no_forecast_but_others_are(bundle: Bundle) -> None:
    resources = ("network_rx", "cpu")
    forecaster = BundleForecaster(bundle, "3")
    made = forecaster.predict(forecaster.featurise(window(5, resources), fleet(5, resources)))
    assert np.isnan(made.peak[:, 0]).all()
    assert np.isfinite(made.peak[0, 1]).all()
    seeded = forecaster.new_calibration(fleet(5).tiers, resources)
    assert seeded.correction()[0, 0, 0] == 0.0
    assert seeded.correction()[0, 1, 0] > 0.0


def test_another_step_is_refused(bundle: Bundle) -> None:
    minutes = UsageWindow(1, RESOURCES, 60, START)
    with pytest.raises(ValueError, match="trained on steps of 300 s and the window has 60 s"):
        BundleForecaster(bundle, "3").featurise(minutes, fleet(1))


def test_a_bundle_comes_back_from_disk_as_it_was(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "new" / "bundle")
    back = load(tmp_path / "new" / "bundle")
    for field in (
        "feature_names",
        "quantiles",
        "step_s",
        "lead_s",
        "hold_s",
        "start_s",
        "end_s",
        "checksum",
        "code_version",
        "notes",
        "resources",
    ):
        assert getattr(back, field) == getattr(bundle, field), field
    np.testing.assert_array_equal(back.seed, bundle.seed)
    made = [BundleForecaster(one, "1") for one in (bundle, back)]
    peaks = [one.predict(one.featurise(window(), fleet(5))).peak for one in made]
    np.testing.assert_array_equal(peaks[0], peaks[1])


def _spoil(folder: Path, how: str) -> None:
    manifest = folder / "bundle.json"
    tree = json.loads(manifest.read_text())
    if how == "one bit":
        data = bytearray((folder / "cpu.ubj").read_bytes())
        data[len(data) // 2] ^= 1
        (folder / "cpu.ubj").write_bytes(bytes(data))
    elif how == "missing model":
        (folder / "memory.ubj").unlink()
    elif how == "missing manifest":
        manifest.unlink()
    elif how == "no JSON":
        manifest.write_text("{")
    elif how == "other format":
        tree["format_version"] = 99
        manifest.write_text(json.dumps(tree))
    elif how == "other features":
        tree["feature_names"][2] = "lag_77"
        manifest.write_text(json.dumps(tree))
    elif how == "fewer features":
        tree["feature_names"].pop()
        manifest.write_text(json.dumps(tree))
    elif how == "missing key":
        del tree["quantiles"]
        manifest.write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("one bit", r"cpu\.ubj: damaged: SHA-256 is \w+…, expected \w+…; fetch"),
        ("missing model", r"memory\.ubj: cannot be read"),
        ("missing manifest", r"bundle\.json: cannot be read"),
        ("no JSON", r"bundle\.json: is not JSON"),
        ("other format", r"format_version is 99, expected 2; retrain"),
        ("other features", rf"number 3 is 'lag_77' in the model, expected '{NAMES[2]}'; retrain"),
        ("fewer features", rf"number {len(NAMES)} is missing in the model"),
        ("missing key", r"bundle\.json: not a usable manifest \(KeyError: 'quantiles'\)"),
    ],
)
def test_a_bundle_that_cannot_be_used_says_why(
    bundle: Bundle, tmp_path: Path, how: str, words: str
) -> None:
    bundle.save(tmp_path)
    _spoil(tmp_path, how)
    with pytest.raises(RegistryError, match=words):
        load(tmp_path)


def test_a_listed_model_that_xgboost_cannot_read(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path)
    (tmp_path / "cpu.ubj").write_bytes(b"{not ubjson")
    manifest = tmp_path / "bundle.json"
    tree = json.loads(manifest.read_text())
    tree["files"]["cpu.ubj"] = hashlib.sha256(b"{not ubjson").hexdigest()
    manifest.write_text(json.dumps(tree))
    with pytest.raises(RegistryError, match=r"cpu\.ubj: XGBoost cannot read it"):
        load(tmp_path)
