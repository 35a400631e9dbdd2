"""Online calibration: the order statistic exactly, coverage as promised, causal, storable."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from pla.core.calibration import SEED_WEIGHT, Calibration
from pla.core.fleet import Forecast
from pla.core.levels import Levels
from pla.core.residuals import BINS, conformal, residual_counts

TIERS = ("critical", "standard")
QUANTILES = (0.5, 0.9, 0.99)


def calibration(seed: NDArray[np.float64] | None = None) -> Calibration:
    return Calibration("7", TIERS, ("cpu",), QUANTILES, seed)


def forecast(peak: NDArray[np.floating], scale: float = 1.0, version: str = "7") -> Forecast:
    cells = np.asarray(peak, dtype=np.float32)
    scales = np.full(cells.shape[:2], scale, dtype=np.float32)
    return Forecast(cells, QUANTILES, scales, version)


def flat(workloads: int, value: float = 1.0) -> NDArray[np.float64]:
    return np.full((workloads, 1, len(QUANTILES)), value)


def tiers(workloads: int) -> NDArray[np.int8]:
    return (np.arange(workloads) % len(TIERS)).astype(np.int8)


def free(workloads: int) -> NDArray[np.bool_]:
    return np.zeros((workloads, 1), dtype=np.bool_)


@pytest.mark.parametrize("tau", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [1, 9, 10, 99, 100, 5000])
def test_the_order_statistic_is_the_conformal_one(count: int, tau: float) -> None:
    residual = np.random.default_rng(count).normal(0.0, 0.3, count)
    found = float(conformal(residual_counts(residual[:, None])[0], np.array(tau)))
    k = math.ceil((count + 1) * tau - 1e-9)
    if k > count:
        assert found == 0.0
        return
    exact = float(np.sort(residual)[k - 1])
    assert found >= exact - 1e-7  # rounded up, and by one bin at most
    assert found <= exact + 0.06 * abs(exact) + 2e-6


def test_residuals_of_a_smooth_workload_are_told_apart() -> None:
    residual = np.random.default_rng(0).normal(0.0, 3e-5, 2000)  # of a peak that is 1
    found = float(conformal(residual_counts(residual[:, None])[0], np.array(0.5)))
    assert abs(found) < 3e-6


def test_correction_is_added_in_the_workloads_own_scale() -> None:
    online = calibration()
    misses = np.tile([0.4, -0.2, -0.2], 400)  # in scales of 2.0
    realised = (1.0 + 2.0 * misses)[:, None]
    online.update(forecast(flat(1200), scale=2.0), realised, free(1200), np.zeros(1200, np.int8))
    one = online.apply(forecast(flat(2), scale=10.0), np.array([0, 1], dtype=np.int8))
    assert one.peak[0, 0, 1] == pytest.approx(1.0 + 10 * 0.4, rel=0.03)
    assert one.peak[0, 0, 0] == pytest.approx(0.0)  # 1 - 10 * 0.2 is below zero
    assert one.calibration is not None
    np.testing.assert_allclose(one.peak - 1.0, one.calibration)
    np.testing.assert_array_equal(one.peak[1], 1.0)  # nothing is known of the other tier


def test_few_residuals_correct_nothing() -> None:
    online = calibration()
    online.update(forecast(flat(8)), np.full((8, 1), 3.0), free(8), np.zeros(8, np.int8))
    assert (online.correction()[0, 0, 1:] == 0.0).all()  # 8 < 0.9 / 0.1
    assert online.correction()[0, 0, 0] == pytest.approx(2.0, rel=0.06)


def test_quantiles_stay_ascending_and_not_negative() -> None:
    online = calibration()
    rng = np.random.default_rng(1)
    for _ in range(30):
        raw = forecast(np.sort(rng.gamma(1, 1, (40, 1, 3)), axis=2))
        online.follow(tuple(map(str, range(40))))
        corrected = online.apply(raw, tiers(40)).peak
        assert (np.diff(corrected, axis=2) >= 0).all()
        assert (corrected >= 0).all()
        online.update(raw, rng.gamma(0.3, 1, (40, 1)), free(40), tiers(40))


def test_a_seed_counts_as_so_many_residuals_and_fades() -> None:
    residual = np.repeat(np.array([[0.2, 0.2, 0.2]]), 100_000, axis=0)
    seed = residual_counts(residual)[None]
    online = calibration(seed)
    assert online._counts.sum(axis=-1).max() == pytest.approx(SEED_WEIGHT)
    np.testing.assert_allclose(online.correction(), 0.2, rtol=0.06)
    for _ in range(6000):
        online.update(forecast(flat(20)), np.full((20, 1), 1.05), free(20), tiers(20))
    np.testing.assert_allclose(online.correction(), 0.05, rtol=0.06)


def test_held_down_usage_counts_only_where_it_is_a_miss_for_certain() -> None:
    held = ~free(400)
    below = calibration()
    below.update(forecast(flat(400)), np.full((400, 1), 0.5), held, tiers(400))
    assert below._counts.sum() == 0
    above = calibration()
    above.update(forecast(flat(400)), np.full((400, 1), 1.5), held, tiers(400))
    np.testing.assert_allclose(above.correction()[..., :2], 0.5, rtol=0.06)


def test_gaps_and_missing_forecasts_count_nothing() -> None:
    online = calibration()
    online.follow(("a", "b"))
    raw = flat(2)
    raw[1] = np.nan
    online.update(forecast(raw), np.array([[np.nan], [1.0]]), free(2), tiers(2))
    assert online._counts.sum() == 0
    assert (online._levels.shift == 0).all()
    assert np.isnan(online.apply(forecast(raw), tiers(2)).peak[1]).all()


@pytest.fixture(scope="module", params=[False, True], ids=["pooled only", "own levels"])
def drifting(request: pytest.FixtureRequest) -> tuple[bool, NDArray[np.float64]]:
    """Miss rates (workload, quantile) over a stream whose spread the model misjudges.

    Each workload's differently, and it drifts.
    """
    rng = np.random.default_rng(5)
    workloads, windows = 60, 2500
    spread = np.exp(rng.normal(0.0, 0.3, workloads))
    raw = forecast(np.tile(-np.log1p(-np.array(QUANTILES)), (workloads, 1, 1)))
    online = calibration()
    if request.param:
        online.follow(tuple(map(str, range(workloads))))
    missed = np.zeros((workloads, len(QUANTILES)))
    for window in range(windows):
        drift = 1.0 + 0.5 * math.sin(window / 600)
        realised = (drift * spread * rng.exponential(1.0, workloads))[:, None]
        if window >= 500:
            missed += (realised[:, :, None] > online.apply(raw, tiers(workloads)).peak)[:, 0]
        online.update(raw, realised, free(workloads), tiers(workloads))
    return request.param, missed / (windows - 500)


def test_realised_coverage_is_the_promised_one_per_tier(
    drifting: tuple[bool, NDArray[np.float64]],
) -> None:
    _, rates = drifting
    nominal = 1.0 - np.array(QUANTILES)
    for tier in (0, 1):
        share = rates[tiers(len(rates)) == tier].mean(axis=0) / nominal
        assert (share > 0.5).all()
        assert (share < 1.2).all()


def test_own_levels_bring_each_workload_near_its_promise(
    drifting: tuple[bool, NDArray[np.float64]],
) -> None:
    own_levels, rates = drifting
    worst = np.quantile(rates[:, 1], 0.95) / 0.1
    assert worst < 1.3 if own_levels else worst > 1.6, worst


def test_a_level_between_two_quantiles_is_interpolated_in_log_odds() -> None:
    levels = Levels(QUANTILES, 1, 1)
    exponential = -np.log1p(-np.array(QUANTILES)).astype(np.float32)[:, None, None]
    np.testing.assert_allclose(levels.apply(exponential), exponential, rtol=1e-6)
    levels.shift[1] = 0.7
    levels.shift[2] = -0.4
    moved = levels.apply(exponential)[:, 0, 0]
    # Exponential tails are straight in lambda, so a shift of lambda is a shift of the quantile.
    np.testing.assert_allclose(moved - exponential[:, 0, 0], [0.0, 0.7, -0.4], atol=1e-6)


def test_levels_balance_at_one_miss_in_the_promised_number_of_windows() -> None:
    levels = Levels((0.5, 0.9), 1, 1)
    known = np.ones((2, 1, 1), dtype=np.bool_)
    for window in range(100):
        levels.update(np.full((2, 1, 1), window % 10 == 0), known)
    np.testing.assert_allclose(levels.shift, 0.0, atol=1e-5)


def test_following_keeps_levels_by_workload() -> None:
    online = calibration()
    online.follow(("a", "b", "c"))
    online._levels.shift[:] = np.array([1.0, 2.0, 3.0])
    online.follow(("c", "new", "a"))
    np.testing.assert_array_equal(online._levels.shift[2, 0], [3.0, 0.0, 1.0])


def test_another_number_of_workloads_is_refused() -> None:
    online = calibration()
    online.follow(("a", "b"))
    with pytest.raises(ValueError, match=r"3 workloads .* follows 2"):
        online.apply(forecast(flat(3)), tiers(3))


def test_state_survives_storage_and_a_new_order() -> None:
    online = calibration()
    rng = np.random.default_rng(2)
    online.follow(("a", "b"))
    for _ in range(500):
        online.update(forecast(flat(2)), rng.gamma(1, 2, (2, 1)), free(2), tiers(2))
    restored = calibration().restored(online.to_bytes())
    restored.follow(("b", "a"))
    swapped = np.array([1, 0], dtype=np.int8)
    np.testing.assert_allclose(
        restored.apply(forecast(flat(2)), swapped).peak,
        online.apply(forecast(flat(2)), tiers(2)).peak[::-1],
        rtol=1e-5,
    )


def test_a_new_tier_keeps_the_seed_and_others_their_state() -> None:
    online = calibration()
    online.update(forecast(flat(400)), np.full((400, 1), 1.5), free(400), tiers(400))
    seed = residual_counts(np.full((5000, 3), 0.1))[None]
    other = Calibration("7", ("standard", "burstable"), ("cpu",), QUANTILES, seed)
    correction = other.restored(online.to_bytes()).correction()
    assert correction[0, 0, 1] == pytest.approx(0.5, rel=0.06)
    assert correction[1, 0, 1] == pytest.approx(0.1, rel=0.06)


def test_a_retrained_model_inherits_levels_but_not_a_baselines() -> None:
    former = calibration()
    former.follow(("a",))
    former._levels.shift[:] = 0.3
    fresh = Calibration("8", TIERS, ("cpu",), QUANTILES)
    fresh.inherit(former)
    assert fresh.ids == ("a",)
    assert fresh._levels.shift[1, 0, 0] == np.float32(0.3)
    baseline = Calibration("baseline:max", TIERS, ("cpu",), QUANTILES)
    baseline.follow(("a",))
    first = Calibration("1", TIERS, ("cpu",), QUANTILES)
    first.inherit(baseline)
    assert first.ids == ()


@pytest.mark.parametrize("where", [0, 40, -5, -1])
def test_damaged_state_is_refused(where: int) -> None:
    state = bytearray(calibration().to_bytes())
    state[where] ^= 0x01
    with pytest.raises(ValueError, match="damaged"):
        calibration().restored(bytes(state))


def test_state_of_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="model_version '7', expected '8'"):
        Calibration("8", TIERS, ("cpu",), QUANTILES).restored(calibration().to_bytes())


def test_forecasts_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match="model '6' met the calibration of '7'"):
        calibration().apply(forecast(flat(2), version="6"), tiers(2))


def test_a_seed_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="calibration seed has shape"):
        calibration(np.zeros((2, 3, BINS)))
