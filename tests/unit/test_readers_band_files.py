"""Bands of one lens in files of their own are one lens, never several."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from lumpylens.data import LensImages
from lumpylens.data.kinds import Kind, split_title
from lumpylens.errors import DataError


@pytest.fixture
def put(tmp_path):
    """Write one image per name, each filled from the seed of its place among the names."""

    def write(*names: str) -> Path:
        for number, name in enumerate(names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).normal(10, 1, (7, 9)).astype(np.float32)
            if name.endswith(".npy"):
                np.save(path, pixels)
            elif name.endswith(".png"):
                Image.fromarray(pixels.astype(np.uint8)).save(path)
            elif name.endswith(".h5"):
                with h5py.File(path, "w") as file:
                    file["images"] = pixels
            else:
                part = pixels[:7, :7] if "psf" in name else pixels
                fits.PrimaryHDU(abs(part)).writeto(path)
        return tmp_path

    return write


SURVEYS = {
    "HST": (("F475W", "F814W"), "lens{}_{}.fits"),
    "JWST": (("F115W", "F150W2", "F1130W"), "J1000+02{}_{}_i2d.fits"),
    "Roman": (("F106", "F129"), "l{}-{}.fits"),
    "Legacy Surveys": (("g", "r", "z"), "cutout_150.1_2.{}-{}.fits"),
    "HSC": (("HSC-G", "HSC-R2"), "{1}_lens{0}.fits"),
    "HSC, from its archive": (("HSC-G", "HSC-I"), "{0}-cutout-{1}-9813-pdr2_wide.fits"),
    "Pan-STARRS": (("g", "i"), "rings.v3.skycell.{}.stk.{}.unconv.fits"),
    "JWST, from its archive": (("f115w", "f444w"), "jw01433-o01{}_t001_nircam_clear-{}_i2d.fits"),
    "band first, another last": (("g", "r"), "{1}_lens{0}_i.fits"),
    "small letters": (("f606w", "f814w"), "hst_1{}_acs_{}_drz.fits"),
    "pictures": (("g", "i"), "lens{}_{}.png"),
    "numpy": (("u", "Ks"), "{}_{}.npy"),
    "HDF5": (("Y", "J"), "lens{}_{}.h5"),
    "one folder for each lens": (("F475W", "F814W"), "lens{}/{}.fits"),
    "one folder for each band": (("g", "r"), "{1}/lens{0}.fits"),
    "word of the kind": (("g", "r"), "lens{}_{}_sci.fits"),
    "compressed": (("g", "r"), "lens{}_{}.fits.gz"),
}


@pytest.mark.parametrize("survey", SURVEYS)
def test_bands_in_files_of_their_own_are_chosen_or_refused(survey, put):
    bands, pattern = SURVEYS[survey]
    names = [pattern.format(lens, band) for lens in range(3) for band in bands]
    folder = put(*names)
    with pytest.raises(DataError, match="several bands of one lens, one file each") as said:
        LensImages.open(folder)
    assert f": {', '.join(sorted(bands))}; choose one with band, such as --band" in str(said.value)
    for k, band in enumerate(bands):
        images = LensImages.open(folder, band=band.upper())
        assert images.ids == [pattern.format(lens, band) for lens in range(3)]
        assert [item.error for item in images] == [""] * 3
        assert images.remarks() == [] or not any("VIS" in text for text in images.remarks())
        alone = LensImages.open(folder / names[k])
        assert (images[0].image == alone[0].image).all()
    with pytest.raises(DataError, match=r"has no bands to choose 'F999W' from: it holds \w"):
        LensImages.open(folder, band="F999W")


def test_vis_is_taken_of_euclid_with_a_word(put):
    folder = put("a_VIS.fits", "a_NIR_Y.fits", "a_NIR_H.fits", "b_VIS.fits", "b_NIR_Y.fits")
    images = LensImages.open(folder)
    assert images.ids == ["a_VIS.fits", "b_VIS.fits"]
    assert images.remarks() == [
        "of the bands NIR_H, NIR_Y, VIS, which have one file each, VIS is taken (choose with band)"
    ]
    chosen = LensImages.open(folder, band="NIR_H")
    assert chosen.ids == ["a_NIR_H.fits", "b_NIR_Y.fits"]
    assert [item.error for item in chosen] == [
        "", "no bands to choose 'NIR_H' from: it holds NIR_Y, VIS",
    ]  # fmt: skip
    assert chosen.remarks() == []


@pytest.mark.parametrize(
    "names",
    [
        ("lens1_F814W.fits", "lens2_F814W.fits"),
        ("lens1_F814W.fits", "lens2_F606W.fits"),
        ("lens_a.fits", "lens_b.fits", "lens_g.fits", "lens_r.fits"),
        ("F001.fits", "F002.fits", "F106.fits", "F129.fits"),
        ("i.png", "j.png", "k.png", "l.png"),
        ("ring.fits", "vista.fits", "nir.fits", "ground.fits"),
        ("lens_1.npy", "lens_2.npy"),
        ("no_sub/lens1_g.fits", "sub/lens1_r.fits"),
    ],
)
def test_ordinary_names_and_one_band_alone_stay_as_they_are(names, put):
    images = LensImages.open(put(*names))
    assert images.ids == sorted(names)
    assert images.remarks() == []


def test_letters_in_both_cases_are_two_bands(put):
    folder = put("a_y.fits", "a_Y.fits")
    assert LensImages.open(folder, band="y").ids == ["a_y.fits"]
    assert LensImages.open(folder, band="Y").ids == ["a_Y.fits"]


@pytest.mark.parametrize(
    "psf", ["a_{}_psf.fits", "a_psf_{}.fits", "psf_{}.fits", "psf_a_{}.fits", "{}_psf.fits"]
)
def test_companions_go_with_their_band(psf, put):
    bands = ("F475W", "F814W")
    folder = put(*(f"a_{band}.fits" for band in bands), *(psf.format(band) for band in bands))
    for band in bands:
        images = LensImages.open(folder, band=band)
        assert images.ids == [f"a_{band}.fits"]
        own = LensImages.open(folder / f"a_{band}.fits")
        expected = fits.getdata(folder / psf.format(band))
        np.testing.assert_allclose(images[0].psf, expected / expected.sum(), rtol=1e-5)
        np.testing.assert_array_equal(own[0].psf, images[0].psf)


def test_one_psf_serves_all_bands(put):
    folder = put("a_g.fits", "a_r.fits", "psf.fits")
    assert LensImages.open(folder, band="g")[0].psf is not None


def test_a_psf_of_another_band_serves_nothing(put):
    folder = put("a_g.fits", "b_g.fits", "psf_r.fits")
    images = LensImages.open(folder)
    assert [item.psf for item in images if item.image is not None] == [None, None]
    assert images.ids == ["a_g.fits", "b_g.fits", "r.fits"]
    assert "is missing" in images[2].error


def test_other_folders_are_read_as_without_bands(put):
    folder = put("no_sub/a_g.fits", "no_sub/a_r.fits", "sub/lens7.fits")
    with pytest.raises(DataError, match="no bands to choose 'g' from: it holds one image"):
        LensImages.open(folder, band="g")
    fits.setval(folder / "sub/lens7.fits", "FILTER", value="g")
    images = LensImages.open(folder, band="g")
    assert images.ids == ["no_sub/a_g.fits", "sub/lens7.fits"]
    assert images.labels.tolist() == [0, 1]
    assert [item.error for item in images] == ["", ""]


@pytest.mark.parametrize(
    ("title", "parts"),
    [
        ("a_psf_F814W", ("a_F814W", Kind.PSF)),
        ("a-noise-g", ("a-g", Kind.NOISE)),
        ("a_model_r", ("a_r", Kind.OTHER)),
        ("a_NIR_Y", ("a_NIR_Y", None)),
        ("r", ("r", None)),
        ("model_a", ("model_a", None)),
    ],
)
def test_the_kind_may_stand_before_the_band(title, parts):
    assert split_title(title) == parts
