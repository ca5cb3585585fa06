"""Folders of COOLEST: a template that names FITS files, with the keys of its example templates."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits

from lumpylens.data import LensImages
from lumpylens.errors import DataError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("obs", "sigma_of_obs", "kernel", "source_grid", "potential"):
        side = 5 if name == "kernel" else 16
        fits.PrimaryHDU(rng.random((side, side)) + 1).writeto(tmp_path / f"{name}.fits")
    template = {
        "standard": "COOLEST",
        "mode": "MAP",
        "observation": {
            "pixels": {"fits_file": {"path": "obs.fits"}, "num_pix_x": 16, "num_pix_y": 16},
            "noise": {
                "type": "NoiseMap",
                "noise_map": {"fits_file": {"path": "sigma_of_obs.fits"}},
            },
        },
        "instrument": {
            "name": "some instrument",
            "band": "F160W",
            "pixel_size": 0.08,
            "psf": {"type": "PixelatedPSF", "pixels": {"fits_file": {"path": "kernel.fits"}}},
        },
    }
    for model in ("coolest_a.json", "coolest_b.json"):
        (tmp_path / model).write_text(json.dumps(template))
    return tmp_path


def test_the_template_says_what_is_what(folder):
    images = LensImages.open(folder)
    assert images.ids == ["obs.fits"]
    (item,) = images
    np.testing.assert_array_equal(item.image, fits.getdata(folder / "obs.fits").astype("f4"))
    noise = fits.getdata(folder / "sigma_of_obs.fits")
    np.testing.assert_array_equal(item.noise, noise.astype("f4"))
    assert item.psf.shape == (5, 5)
    assert item.pixel_scale_arcsec == 0.08
    assert images.remarks() == [
        "not used: 2 files such as potential.fits, which no COOLEST template calls an observation"
    ]


def test_the_header_of_the_image_counts_more_than_the_template(folder):
    fits.setval(folder / "obs.fits", "PIXSCALE", value=0.05)
    assert LensImages.open(folder)[0].pixel_scale_arcsec == 0.05


def test_an_image_named_alone_has_its_parts_and_a_model_is_refused(folder):
    assert LensImages.open(folder / "obs.fits")[0].noise is not None
    with pytest.raises(DataError, match="source_grid.fits is no image"):
        LensImages.open(folder / "source_grid.fits")


def test_a_file_that_is_missing_is_named(folder):
    (folder / "kernel.fits").unlink()
    assert "kernel.fits is missing" in LensImages.open(folder)[0].error


@pytest.mark.parametrize("text", ["{", "[]", '{"standard": "other"}', '{"standard": "COOLEST"}'])
def test_other_json_changes_nothing(text, folder):
    for path in folder.glob("*.json"):
        path.write_text(text)
    assert len(LensImages.open(folder)) == 4
