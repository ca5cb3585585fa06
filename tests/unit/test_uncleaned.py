"""Images of which some may have substructure: where they stand apart, and learning without them."""

from __future__ import annotations

import numpy as np
import pytest
from mean_detector import MeanDetector

from lumpylens.data.images import LensImages
from lumpylens.data.splits import split
from lumpylens.errors import DataWarning
from lumpylens.results.apart import EXPECTED, start_of_second_group
from lumpylens.store.folder import load_model
from lumpylens.verbs.score import score
from lumpylens.verbs.train import train

pytestmark = pytest.mark.usefixtures("mean_detector")

KINDS = {
    "uniform": lambda rng, n: rng.random(n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy": lambda rng, n: rng.standard_cauchy(n),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [60, 300])
def test_one_distribution_is_no_two_groups(kind, count):
    rng = np.random.default_rng(0)
    samples = [KINDS[kind](rng, count) for _ in range(100)]
    assert sum(start_of_second_group(sample) is not None for sample in samples) <= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.25, 0.4])
def test_a_second_group_is_found_and_begins_between_both(kind, share):
    rng = np.random.default_rng(1)
    normal = KINDS[kind](rng, 800)
    high = rng.lognormal(4.0, 0.7, round(800 * share / (1 - share))) * np.std(normal[normal < 9])
    begins = start_of_second_group(np.concatenate([normal, high]))
    assert (normal > begins).mean() < 0.03
    assert (high > begins).mean() > 0.95


def test_neither_unit_nor_zero_of_a_score_matters():
    rng = np.random.default_rng(2)
    scores = np.concatenate([rng.normal(size=300), rng.normal(20, 3, 60)])
    begins = start_of_second_group(scores)
    assert start_of_second_group(1e-6 * scores - 5) == pytest.approx(1e-6 * begins - 5, rel=1e-9)


def test_scores_that_are_missing_low_or_equal_are_no_group():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=300)
    assert start_of_second_group([*scores, np.nan, np.inf, -50, -60, -70]) is None
    assert start_of_second_group(np.ones(50)) is None
    assert start_of_second_group([]) is None


def test_where_a_group_is_known_a_smaller_sample_of_it_is_enough():
    rng = np.random.default_rng(4)
    scores = np.concatenate([rng.normal(size=70), rng.normal(30, 5, 10)])
    assert start_of_second_group(scores) is None
    assert 3 < start_of_second_group(scores, least=EXPECTED) < 30


@pytest.fixture(scope="module")
def mixture():
    """Noise, and a fifth of images with something in them, which the last 100 are."""
    rng = np.random.default_rng(5)
    pixels = rng.normal(size=(500, 6, 9)).astype(np.float32)
    pixels[400:, :3] += 4
    return pixels


def test_anomalies_are_left_out_of_learning_and_of_calibration(mixture, tmp_path):
    model = train(mixture, "mean", contaminated=True, progress=False, out=tmp_path / "model")
    parts = split(LensImages.from_arrays(mixture))
    train_pixels = parts.train.stack().pixels
    smooth = train_pixels[train_pixels[:, :3].mean(axis=(1, 2)) < 2]
    np.testing.assert_allclose(model.detector.mean, smooth.mean(axis=0), atol=1e-6)
    table = score(model, mixture, progress=False)
    np.testing.assert_allclose(table.p_value[400:], model.calibration.smallest_p_value)
    assert 0.1 < np.mean(table.p_value[:400] <= 0.25) < 0.4
    apart = load_model(tmp_path / "model").info["contaminated"]
    assert apart["train"] == len(train_pixels) - len(smooth)
    assert apart["calibration"] == len(parts.calibration) - len(model.calibration) > 0
    assert "unknown share" in model.card
    assert "--contaminated" in model.info["command"]


def test_an_image_left_out_once_may_come_back(mixture, monkeypatch):
    """All images are judged again by what was learned without the anomalies."""
    counts = []
    fit = MeanDetector._fit
    monkeypatch.setattr(
        MeanDetector, "_fit", lambda self, *given: (counts.append(len(given[0])), fit(self, *given))
    )
    train(mixture, "mean", contaminated=True, progress=False)
    assert len(counts) == 2
    assert counts[1] < 0.85 * counts[0]


def test_clean_images_are_learned_from_once_and_whole(mixture):
    clean = mixture[:400]
    model = train(clean, "mean", contaminated=True, progress=False)
    assert model.info["contaminated"] == {
        "train": 0, "validation": 0, "calibration": 0, "share": 0.0
    }  # fmt: skip
    plain = train(clean, "mean", progress=False)
    np.testing.assert_array_equal(model.detector.mean, plain.detector.mean)
    np.testing.assert_array_equal(model.calibration.scores, plain.calibration.scores)
    assert "No image stands apart" in model.card


def test_training_on_them_as_if_clean_is_remarked_on(mixture):
    with pytest.warns(DataWarning, match=r"stand apart .* train with --contaminated"):
        train(mixture, "mean", progress=False)


def test_checkpoints_of_each_time_lie_apart(mixture, tmp_path, monkeypatch):
    folders = []
    fit = MeanDetector._fit
    monkeypatch.setattr(
        MeanDetector, "_fit",
        lambda self, *given: (folders.append(given[2].folder.name), fit(self, *given)),
    )  # fmt: skip
    train(mixture, "mean", contaminated=True, progress=False, out=tmp_path / "model")
    assert folders == ["model.run", "round-2"]


def test_many_images_of_which_hardly_one_is_ordinary_are_remarked_on(mixture):
    model = train(mixture[:400], "mean", progress=False)
    with pytest.warns(DataWarning, match="0 of 100 images score like the lower half of normal"):
        score(model, mixture[400:], progress=False)
