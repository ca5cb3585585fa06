"""Sets of images with another blur or other Einstein radii: noticed, and adapted to."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

from lumpylens.data.image import UNKNOWN
from lumpylens.data.images import LensImages
from lumpylens.data.source import CutoutSource
from lumpylens.detectors.physics.state import OTHER_BLUR, OTHER_RADII
from lumpylens.errors import DataWarning
from lumpylens.physics.parameters import GEOMETRY, INDEX
from lumpylens.simulation import population, simulate
from lumpylens.store.folder import load_model
from lumpylens.verbs.adapt import adapt
from lumpylens.verbs.score import score

SLC = population("slc")
WIDER = replace(SLC, psf_sigma_px=1.1 * SLC.psf_sigma_px)
BLUR, RADIUS = "log_psf_sigma_px", GEOMETRY[0]


@pytest.fixture(scope="module")
def model():
    return load_model("slc-physics")


def made(which, count=60, substructure=None):
    return simulate(which, count, seed=3, substructure=substructure, progress=False)


def test_a_wider_blur_is_told_in_pixels_and_leaves_no_p_value(model):
    with pytest.warns(DataWarning, match=r"the blur is about 1\.6\d px instead of 1\.4\d") as told:
        table = score(model, made(WIDER), progress=False)
    assert len(told) == 1
    assert np.isnan(table.p_value).all()
    assert all("lumpylens adapt" in text for text in table.warning)


def test_scattered_einstein_radii_are_told(model):
    scattered = replace(SLC, einstein_radius_spread=0.15)
    with pytest.warns(DataWarning, match=r"a sixth of the Einstein radii is below 1[67]\.\d px"):
        score(model, made(scattered), progress=False)


@pytest.mark.filterwarnings("error")
def test_images_like_the_training_images_keep_their_p_values(model):
    assert np.isfinite(score(model, made("slc"), progress=False).p_value).mean() > 0.9


def test_substructure_alone_leaves_p_values(model):
    """Of images that are labelled so nothing is said; of others that none looks normal."""
    lumpy = made("slc", substructure="points")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = score(model, lumpy, progress=False)
    assert np.isfinite(table.p_value).all()
    unlabelled = [replace(image, label=UNKNOWN) for image in lumpy]
    with pytest.warns(DataWarning, match="lower half of normal images"):
        score(model, LensImages.from_source(CutoutSource(unlabelled)), progress=False)


def test_limits_of_what_is_told(model):
    learned = model.detector.learned
    mass = learned.model.free.index(RADIUS)
    scatter = float(learned.population.covariance[mass, mass].sqrt())
    usual = learned.usual_low

    def said(blur, radius, count=60):
        return learned.strangeness({BLUR: np.full(count, blur), RADIUS: np.full(count, radius)})

    # What chance makes of so many radii: five times its error of 1.5 / sqrt(n).
    chance = 7.5 * scatter * math.sqrt(1 / 60 + 1 / learned.normals)
    assert said(0.99 * OTHER_BLUR, usual - 0.99 * (OTHER_RADII + chance)) == ""
    assert "blur" in said(-1.01 * OTHER_BLUR, usual)
    assert "blur" not in said(np.nan, usual - 1.01 * (OTHER_RADII + chance)) != ""
    assert said(0.0, usual + 1.0) == ""
    assert said(1.0, usual - 1.0, count=49) == ""


def test_numbers_that_scatter_must_differ_by_more(model):
    """A few images of a wide population are no other population."""
    learned = model.detector.learned
    wide = replace(learned.population, covariance=9e4 * learned.population.covariance)
    radius = np.full(60, learned.usual_low - 2 * OTHER_RADII)
    given = {BLUR: np.zeros(60), RADIUS: radius}
    assert "Einstein radii" in learned.strangeness(given)
    assert replace(learned, population=wide).strangeness(given) == ""
    scattered = np.linspace(-0.5, 0.6, 60)
    calm = np.full(60, learned.usual_low)
    assert learned.strangeness({BLUR: scattered, RADIUS: calm}) == ""
    assert "blur" in learned.strangeness({BLUR: scattered / 20 + 0.09, RADIUS: calm})


def test_what_normal_images_show_is_the_measure(model):
    learned = replace(model.detector.learned, usual_blur=0.2, usual_low=2.0)
    given = {BLUR: np.full(60, 0.2), RADIUS: np.full(60, 2.0)}
    assert learned.strangeness(given) == ""
    assert "blur" in learned.strangeness(given | {BLUR: np.zeros(60)})
    back = type(learned).from_arrays(learned.arrays(), model.detector.image_shape)
    assert (back.usual_blur, back.usual_low) == (0.2, 2.0)


def test_few_lumpy_images_do_not_move_what_is_told(model):
    learned = model.detector.learned
    blur = np.concatenate([np.zeros(60), np.full(40, 1.0)])
    radius = np.full(100, float(learned.population.mean[learned.model.free.index(RADIUS)]))
    assert learned.strangeness({BLUR: blur, RADIUS: radius}) == ""


@pytest.mark.slow
def test_adapting_learns_the_blur_and_gives_p_values_again(model):
    adapted = adapt(model, made(WIDER, 200), progress=False)
    before, after = (
        float(detector.learned.model.shared[INDEX[BLUR]])
        for detector in (model.detector, adapted.detector)
    )
    assert after - before == pytest.approx(math.log(1.1), abs=0.01)
    assert adapted.detector.quick.encoder is not model.detector.quick.encoder
    table = score(adapted, simulate(WIDER, 100, seed=4, progress=False), progress=False)
    assert np.isfinite(table.p_value).mean() > 0.9
    # 21 calibration images leave this share anywhere in the range.
    assert 0.25 < np.nanmean(table.p_value <= 0.5) < 0.8
