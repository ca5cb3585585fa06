"""Light of neighbours that are far from the lens is masked before the lens is looked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_lens import made_cutout

from lumpylens.data.images import LensImages
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.masks import without_neighbours
from lumpylens.verbs.fit import fit

BEYOND = 3.0


@pytest.fixture(scope="module")
def lens():
    """A lens in an image of 10 arcsec, with arcs at 1.1 arcsec."""
    pytest.importorskip("lenstronomy")
    return made_cutout(side=201)


def with_galaxy(lens, x, y, flux=3.0, width=0.4):
    rows, columns = np.indices(lens.image.shape)
    middle = (len(lens.image) - 1) / 2
    scale = lens.pixel_scale_arcsec
    away = (columns - middle) * scale - x, (rows - middle) * scale - y
    light = flux * np.exp(-(away[0] ** 2 + away[1] ** 2) / (2 * width**2))
    return replace(lens, image=(lens.image + light).astype(np.float32)), np.hypot(*away)


def masked(before, after):
    return before.usable & ~after.usable


def test_a_galaxy_outside_is_masked_as_far_as_its_light_reaches(lens):
    crowded, away = with_galaxy(lens, 0.5, 3.4)
    gone = masked(crowded, without_neighbours(crowded, beyond=BEYOND))
    assert gone[away < 0.8].all()
    assert not gone[away > 2.0].any()


def test_light_within_the_disc_stays(lens):
    """It may be an arc: from one image nobody can tell."""
    crowded, _ = with_galaxy(lens, 0.5, 2.6)
    assert not masked(crowded, without_neighbours(crowded, beyond=BEYOND)).any()


def test_neither_arcs_nor_a_faint_galaxy_nor_noise_is_masked(lens):
    assert not masked(lens, without_neighbours(lens, beyond=BEYOND)).any()
    faint, _ = with_galaxy(lens, 0.5, 3.4, flux=0.02)
    assert not masked(faint, without_neighbours(faint, beyond=BEYOND)).any()


def test_the_unit_does_not_matter_and_masked_pixels_are_no_neighbours(lens):
    crowded, _ = with_galaxy(lens, 0.5, 3.4)
    spoilt = crowded.noise.copy()
    spoilt[20:40, 150:170] = np.nan
    image = crowded.image.copy()
    image[20:40, 150:170] = 1e6
    expected = masked(crowded, without_neighbours(crowded, beyond=BEYOND))
    spoilt = replace(crowded, image=image, noise=spoilt)
    found = masked(spoilt, without_neighbours(spoilt, beyond=BEYOND))
    np.testing.assert_array_equal(found, expected)
    other = replace(crowded, image=1e-9 * crowded.image, noise=1e-9 * crowded.noise)
    np.testing.assert_array_equal(masked(other, without_neighbours(other, beyond=BEYOND)), expected)


@pytest.fixture(scope="module")
def neighbour_case(real_data):
    (folder,) = (real_data / "cases").glob("24-*")
    return folder


def test_a_euclid_lens_is_masked_where_its_publishers_mask_it(neighbour_case):
    (image,) = LensImages.open(neighbour_case / "as_given")
    cutout = cutout_of(image)
    (published,) = LensImages.open(neighbour_case / "neighbour_masked")
    theirs = masked(cutout, cutout_of(published))
    ours = masked(cutout, without_neighbours(cutout, beyond=BEYOND))
    rows, columns = np.indices(ours.shape)
    near = np.hypot(rows - 49.5, columns - 49.5) * cutout.pixel_scale_arcsec < BEYOND
    assert (ours & near).any()
    assert (theirs & ours)[near].sum() > 0.9 * ours[near].sum()


@pytest.mark.slow
def test_a_neighbour_is_not_taken_for_a_lensed_image(neighbour_case):
    """Its publishers' mask gives 0.604 arcsec; with the neighbour it was 1.93."""
    (row,) = fit(neighbour_case / "as_given", progress=False)
    assert 0.58 < row.einstein_radius_arcsec < 0.77
