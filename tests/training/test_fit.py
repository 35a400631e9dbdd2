"""Fitting: learns what there is to learn, the same every time, and is honest about what it saw."""

import dataclasses

import numpy as np
import pytest

from pla.core.feature_names import NAMES
from pla.core.fleet import UsageBlock
from pla.core.residuals import BINS_EACH_SIDE
from pla.forecasting.bundle import Bundle
from pla.training.dataset import Dataset, build
from pla.training.fit import SHIPPED, fit, pinball, split

STEP = 1800
START = 1_375_315_200
QUANTILES = (0.5, 0.9, 0.99)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Ten days of 12 workloads with a daily wave, each of another size, and exponential noise."""
    random = np.random.default_rng(0)
    steps, workloads = 480, 12
    size = 10.0 ** np.linspace(-1, 1, workloads)
    wave = 1.5 + np.sin(2 * np.pi * np.arange(steps) / 48)
    noise = 1.0 + random.exponential(0.1, (steps, 1, workloads))
    values = (wave[:, None, None] * size * noise).astype(np.float32)
    none = np.zeros(values.shape, dtype=np.bool_)
    block = UsageBlock(values, none, none[:, 0], START + steps * STEP, STEP)
    return build(block, ("cpu",), 0, STEP)


@pytest.fixture(scope="module")
def bundle(dataset: Dataset) -> Bundle:
    return fit(dataset, QUANTILES, rounds=60, threads=1)


def test_it_beats_persistence_and_covers_what_it_says(dataset: Dataset, bundle: Bundle) -> None:
    _, late = split(dataset.rows["cpu"])
    persistence = pinball(np.repeat(late.target[:, None], len(QUANTILES), axis=1), QUANTILES)
    assert bundle.notes["resources"]["cpu"]["validation_pinball"] < 0.5 * persistence
    # The seed holds the residuals of rows that the trial had not seen: misses lie above zero.
    counts = bundle.seed[0]
    missed = counts[:, BINS_EACH_SIDE:].sum(axis=1) / counts.sum(axis=1)
    assert counts.sum(axis=1).tolist() == [len(late)] * len(QUANTILES)
    np.testing.assert_allclose(missed[:2], [0.5, 0.1], atol=0.1)
    assert missed[2] < 0.06


def test_the_same_seed_gives_the_same_model(dataset: Dataset, bundle: Bundle) -> None:
    again = fit(dataset, QUANTILES, rounds=60, threads=1)
    assert again.boosters["cpu"].save_raw("ubj") == bundle.boosters["cpu"].save_raw("ubj")
    np.testing.assert_array_equal(again.seed, bundle.seed)


def test_a_bundle_knows_its_data(dataset: Dataset, bundle: Bundle) -> None:
    assert bundle.resources == ("cpu",)
    assert bundle.feature_names == NAMES
    assert bundle.quantiles == QUANTILES
    assert (bundle.start_s, bundle.end_s) == (dataset.start_s, dataset.end_s)
    assert bundle.checksum == dataset.checksum
    notes = bundle.notes["resources"]["cpu"]
    assert notes["rows"] == len(dataset.rows["cpu"])
    assert 1 <= notes["rounds"] <= 60
    assert set(notes["importance"]) <= set(NAMES)
    assert sum(notes["importance"].values()) == pytest.approx(1.0)
    assert bundle.notes["parameters"]["max_depth"] == SHIPPED["max_depth"]


def test_progress_reaches_the_end(dataset: Dataset) -> None:
    told: list[tuple[str, int, int]] = []
    made = fit(dataset, QUANTILES, rounds=5, threads=1, progress=lambda *one: told.append(one))
    rounds = made.notes["resources"]["cpu"]["rounds"]
    assert told[0] == ("cpu", 1, 5)
    assert told[-1] == ("cpu", rounds, rounds)


def test_split_never_parts_a_cutoff(dataset: Dataset) -> None:
    early, late = split(dataset.rows["cpu"])
    assert early.cutoff_s.max() < late.cutoff_s.min()
    assert len(late) / (len(early) + len(late)) == pytest.approx(0.15, abs=0.01)


def test_pinball_loss_worked_number() -> None:
    # e = 2 at tau 0.9 costs 1.8, e = -1 costs 0.1; mean of the two.
    assert pinball(np.array([[2.0], [-1.0]], dtype=np.float32), (0.9,)) == pytest.approx(0.95)


def test_too_few_rows_say_so(dataset: Dataset) -> None:
    few = dataclasses.replace(dataset, rows={"cpu": dataset.rows["cpu"].part(slice(0, 300))})
    with pytest.raises(
        ValueError, match=r"cpu: 300 training rows.* needs 100 of each: use a longer"
    ):
        fit(few, QUANTILES, rounds=5, threads=1)
