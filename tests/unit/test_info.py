"""What `info` says of images: what each part of the files was taken for, and what is left out."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
from astropy.io import fits

from lumpylens.data import LensImage, LensImages
from lumpylens.errors import DataError
from lumpylens.report.as_read import draw_as_read
from lumpylens.verbs.info import describe, lines

PSF = np.outer([1, 2, 1], [1, 2, 1]).astype(float)


@pytest.fixture
def folder(tmp_path):
    """Two lenses in folders of their own, one in one file with two bands."""
    pixels = np.random.default_rng(0).normal(size=(20, 22)).astype(np.float32)
    place = tmp_path / "lenses"
    for name in ("a", "b"):
        (place / name).mkdir(parents=True)
        for part, values in (("data", pixels), ("noise_map", pixels * 0 + 1), ("psf", PSF),
                             ("mask", pixels * 0)):  # fmt: skip
            header = fits.Header({"PIXSCALE": 0.05 * (1 + 1e-8 * (name == "b"))})
            fits.PrimaryHDU(values, header).writeto(place / name / f"{part}.fits")
    planes = [
        fits.ImageHDU(pixels + (band == "VIS"), name=f"{band}_{part}")
        for band in ("DES_G", "VIS")
        for part in ("BGSUB", "RMS")
    ]
    planes[1].data = planes[3].data = pixels * 0 + 2
    planes.append(fits.ImageHDU(np.zeros((3, 3)), name="FLAG"))
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(place / "c.fits")
    return place


def test_info_says_what_was_taken_for_what_and_what_is_left_out(folder):
    found = describe(folder, progress=False)
    assert found["pixel_scales_arcsec"] == [0.05]
    assert found["layouts"] == [
        {"images": 2, "origins": {"image": "primary array", "noise map": "noise_map.fits",
                                  "PSF": "psf.fits", "pixel scale": "header"}},
        {"images": 1, "origins": {"image": "VIS_BGSUB", "noise map": "VIS_RMS", "band": "VIS"}},
    ]  # fmt: skip
    assert lines(found) == [
        f"3 images in {folder}: 0 normal, 0 anomalous, 3 unlabelled",
        '3 of 20x22 pixels, 3 with a noise map, 2 with a PSF, 0.05"/pixel',
        "2 of them: image from primary array, noise map from noise_map.fits, PSF from psf.fits, "
        "pixel scale from header",
        "1 of them: image from VIS_BGSUB, noise map from VIS_RMS, band VIS",
        "not used: 2 files such as a/mask.fits (mask)",
        "1 of them: of the bands DES_G, VIS, VIS is taken (choose with band)",
        "1 of them: not used: FLAG (mask)",
    ]


def test_companions_are_named_without_what_is_peculiar_to_one_image(tmp_path):
    pixels = np.random.default_rng(0).normal(size=(9, 9))
    for name in ("J1", "J2"):
        fits.PrimaryHDU(pixels).writeto(tmp_path / f"{name}.fits")
        fits.PrimaryHDU(pixels * 0 + 1).writeto(tmp_path / f"{name}_err.fits")
    (layout,) = describe(tmp_path, progress=False)["layouts"]
    assert layout == {"images": 2, "origins": {"image": "primary array", "noise map": "*_err.fits"}}


def test_the_band_is_chosen_for_info_too(folder):
    found = describe(folder / "c.fits", band="DES_G", progress=False)
    assert found["layouts"][0]["origins"]["band"] == "DES_G"


def test_the_figure_shows_images_as_read(folder, tmp_path):
    place = tmp_path / "new" / "figure.png"
    found = describe(folder, figure=place, progress=False)
    assert lines(found)[-1] == f"figure: {place}"
    assert matplotlib.image.imread(place).std() > 0.1


def test_row_0_of_the_figure_is_at_the_bottom():
    pixels = np.zeros((8, 8), np.float32)
    pixels[0, 0] = 1
    broken = LensImage("b", None, error="cut off")
    figure = draw_as_read([LensImage.checked("a", pixels, pixel_scale_arcsec=0.1), broken])
    (drawn,) = figure.axes[0].get_images()
    assert drawn.origin == "lower"
    assert drawn.get_array()[0, 0] == drawn.get_array().max()
    assert figure.axes[0].get_title() == 'a\nunlabelled, 0.1"/pixel\n8x8 pixels'
    said = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert said == [[], ["no noise map"], ["no PSF"], ["cut off"], [""], [""]]


def test_masked_noise_leaves_the_rest_of_the_map_visible():
    noise = np.random.default_rng(0).uniform(1, 2, (20, 20)).astype(np.float32)
    noise[:5] = 1e8
    item = LensImage.checked("a", noise, noise=noise)
    shown = draw_as_read([item]).axes[1].get_images()[0].get_array()
    assert shown[5:].std() > 0.1 * shown.max()


def test_figures_are_refused_where_there_is_nothing_to_draw(folder, tmp_path):
    for what in (None, "slc-pixel"):
        with pytest.raises(DataError, match="a figure is drawn of images"):
            describe(what, figure=tmp_path / "a.png", progress=False)
    with pytest.raises(DataError, match="a figure ends in .png, .pdf, .svg; got"):
        describe(folder, figure=tmp_path / "a.txt", progress=False)


def test_images_that_say_nothing_of_their_parts_have_no_layout(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((2, 9, 9)))
    assert describe(tmp_path, progress=False)["layouts"] == []
    assert LensImages.open(tmp_path)[0].origins == {}
