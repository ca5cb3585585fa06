"""The noise map of a real lens, held against the scatter of its background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from lumpylens.data.images import LensImage, LensImages
from lumpylens.errors import DataError
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.remarks import Remark

SIGMA = 0.01


def noise_remarks(noise, *, image=None) -> list[tuple[Remark, float]]:
    """Remarks on the noise map of a bright galaxy with a neighbour, on a slope."""
    rows, columns = np.indices((101, 101)) - 50
    if image is None:
        image = np.random.default_rng(0).normal(0, SIGMA, (101, 101))
    image = image + 5 * np.exp(-np.hypot(rows, columns) / 4) + 0.001 * rows
    image[5:12, 70:78] += 3
    item = LensImage.checked(
        "a", image, noise=np.broadcast_to(noise, image.shape), psf=np.ones((3, 3)),
        pixel_scale_arcsec=0.05,
    )  # fmt: skip
    return [(note.remark, *note.numbers) for note in cutout_of(item).notes]


@pytest.mark.parametrize("factor", [0.6, 1.0, 3.0])
def test_a_noise_map_of_about_the_scatter_is_taken(factor):
    assert noise_remarks(factor * SIGMA) == []


@pytest.mark.parametrize("factor", [0.1, 0.3, 30.0])
def test_a_noise_map_far_from_the_scatter_puts_the_fit_in_doubt(factor):
    ((remark, ratio),) = noise_remarks(factor * SIGMA)
    assert remark is Remark.NOISE_LEVEL
    assert remark.is_doubt
    assert ratio == pytest.approx(factor, rel=0.05)


def test_correlated_noise_of_drizzled_images_is_not_doubted():
    image = uniform_filter(np.random.default_rng(0).normal(0, 3 * SIGMA, (101, 101)), 3)
    assert noise_remarks(2 * SIGMA, image=image) == []


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (SIGMA**-2, "looks like weights.*1/sigma.2.*give 1/sqrt"),
        (SIGMA**2, "looks like variances: .* give sqrt"),
    ],
)
def test_weights_and_variances_are_refused(noise, said):
    with pytest.raises(DataError, match=said):
        noise_remarks(noise)


def test_masked_pixels_and_a_small_background_say_nothing():
    noise = np.full((101, 101), SIGMA)
    noise[:30] = 1e8
    assert noise_remarks(noise) == []
    small = np.random.default_rng(0).normal(size=(21, 21))
    item = LensImage.checked(
        "a", small, noise=np.full((21, 21), 100.0), psf=np.ones((3, 3)), pixel_scale_arcsec=0.05
    )
    assert cutout_of(item).notes == ()


def test_no_slacs_lens_is_doubted_for_its_noise(real_data: Path):
    for item in LensImages.open(real_data / "slacs"):
        assert Remark.NOISE_LEVEL not in [note.remark for note in cutout_of(item).notes], item.id
