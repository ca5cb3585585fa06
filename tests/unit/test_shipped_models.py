"""The models that come with the package do what their cards say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lumpylens.data.images import LensImages
from lumpylens.detectors.physics.detector import PhysicsDetector
from lumpylens.errors import ModelError
from lumpylens.results.metrics import auc
from lumpylens.simulation import simulate
from lumpylens.store.folder import load_model
from lumpylens.store.layout import SHIPPED, list_models
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.score import score

LARGEST_MB = 5.0


@pytest.fixture(scope="module")
def physics() -> TrainedModel:
    return load_model("slc-physics")


@pytest.fixture(scope="module")
def pixel() -> TrainedModel:
    return load_model("slc-pixel")


@pytest.mark.parametrize("name", list_models())
def test_it_is_small(name: str) -> None:
    folder = SHIPPED / name
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size < LARGEST_MB * 1e6


def test_those_that_the_documentation_names_are_there() -> None:
    assert list_models() == ["euclid-physics", "slc-physics", "slc-pixel"]


@pytest.mark.slow
def test_it_separates_simulated_lenses(physics: TrainedModel) -> None:
    normal = simulate("slc", 12, seed=71)
    lumpy = simulate("slc", 12, seed=72, substructure="points")
    low, high = physics.detector.anomaly_score(normal), physics.detector.anomaly_score(lumpy)
    assert np.median(high) > 3 * np.median(low)
    assert high.min() > np.median(low)


def test_its_fast_score_is_calibrated_apart(physics: TrainedModel) -> None:
    normal = simulate("slc", 40, seed=71)
    lumpy = simulate("slc", 40, seed=72, substructure="points")
    quiet, loud = (score(physics, images, fast=True, progress=False) for images in (normal, lumpy))
    assert list(quiet.components) == ["reconstruction_mse", "parameters", "free_mass"]
    assert quiet.anomaly_score[0] != score(physics, normal[:1], progress=False).anomaly_score[0]
    assert len(physics.fast().calibration) == len(physics.calibration)
    # Ten of 40 below 0.1 would be a wrong calibration: four are expected of a normal population.
    assert (quiet.p_value <= 0.1).sum() < 10
    assert np.median(loud.p_value) < 0.02


@pytest.mark.slow
def test_it_separates_the_challenge_images(physics: TrainedModel, real_data: Path) -> None:
    """Ranks 40 real lumpy lenses above all but one of 40 real smooth ones."""
    root = real_data / "slc" / "lenses"
    normal = physics.detector.anomaly_score(LensImages.open(root / "no_sub")[:40])
    lumpy = physics.detector.anomaly_score(LensImages.open(root / "sub")[:40])
    assert (lumpy > np.sort(normal)[-2]).all()


def test_an_image_in_another_unit_is_told_apart(physics: TrainedModel) -> None:
    pixels = simulate("slc", 2, seed=71).stack().pixels
    fluxes = score(physics, pixels * 3.7e-21, progress=False)
    assert all("not in the unit of the training images" in text for text in fluxes.warning)
    assert np.isnan(fluxes.p_value).all()
    for factor in (1.0, 1 / 255):
        table = score(physics, pixels * np.float32(factor), progress=False)
        assert table.warning == ["", ""]
        assert np.isfinite(table.p_value).all()


def test_a_fit_worse_than_substructure_can_make_it_has_no_p_value(physics: TrainedModel) -> None:
    """A galaxy beside the ring, which no lens bends its light for."""
    pixels = simulate("slc", 3, seed=9).stack().pixels
    y, x = np.mgrid[:150, :150]
    galaxy = 150 * np.exp(-(np.square(x - 97) + np.square(y - 80)) / 32)
    table = score(physics, np.rint(pixels + galaxy).astype(np.float32), progress=False)
    told = [text for text in table.warning if "fit is worse than substructure" in text]
    assert told
    assert all(table.warning)
    assert np.isnan(table.p_value).all()
    lumpy = score(physics, simulate("slc", 3, seed=9, substructure="points"), progress=False)
    assert lumpy.warning == [""] * 3


def test_a_hubble_image_is_refused_in_words(physics: TrainedModel, real_data: Path) -> None:
    table = physics.detector.score(LensImages.open(real_data / "slacs")[:2])
    assert np.isnan(table.anomaly_score).all()
    assert all("expected 150x150" in reason for reason in table.error)


def test_pixel_separates_simulated_lenses(pixel: TrainedModel) -> None:
    """Of another simulator than the real images it learned from, at the same places."""
    normal = score(pixel, simulate("slc", 40, seed=71), progress=False)
    lumpy = score(pixel, simulate("slc", 40, seed=72, substructure="points"), progress=False)
    assert auc(normal.anomaly_score, lumpy.anomaly_score).value > 0.9
    assert lumpy.components["outward_px"].mean() > normal.components["outward_px"].mean() + 0.3
    assert abs(normal.components["outward_px"].mean()) < 0.2


@pytest.mark.slow
def test_pixel_separates_the_challenge_images(pixel: TrainedModel, real_data: Path) -> None:
    root = real_data / "slc" / "lenses"
    normal = pixel.detector.anomaly_score(LensImages.open(root / "no_sub")[:100])
    lumpy = pixel.detector.anomaly_score(LensImages.open(root / "sub")[:100])
    assert auc(normal, lumpy).value > 0.9


def test_one_that_an_earlier_version_trained_is_refused(physics: TrainedModel) -> None:
    """Its scores have another unit."""
    arrays = dict(physics.detector._arrays())
    del arrays["cusp"]
    again = PhysicsDetector()
    again.image_shape = (150, 150)
    with pytest.raises(ModelError, match="an earlier version trained this model.*train it again"):
        again._restore(arrays)
