"""Files of the Roman Data Challenge, in the layout of its simulator (see `roman_file`)."""

from __future__ import annotations

import pickle

import h5py
import numpy as np
import pytest
from roman_file import add_psf, pixels_of, write_challenge

import lumpylens
from lumpylens.data import LensImages
from lumpylens.data.noise import background_scatter
from lumpylens.errors import DataError


@pytest.fixture
def path(tmp_path):
    return write_challenge(tmp_path / "rung_1.h5")


def gaussian(size, sigma, x=0.0, y=0.0):
    at = np.arange(size) - size // 2
    return np.exp(-((at[:, None] - y) ** 2 + (at - x) ** 2) / (2 * sigma**2))


def test_each_system_is_an_image_in_the_band_that_was_asked_for(path):
    images = LensImages.open(path, band="F129")
    assert images.ids == [f"strong_lens_{k:08d}" for k in range(4)]
    for number, item in enumerate(images):
        assert item.error == ""
        np.testing.assert_array_equal(item.image, pixels_of(number, "F129"))
        assert item.pixel_scale_arcsec == 0.11
        assert item.noise is None
        assert item.psf is None
        assert item.remarks == ()
    assert images.labels.tolist() == [-1] * 4
    assert images.remarks() == []


def test_a_band_may_be_written_in_other_letters(path):
    (item,) = LensImages.open(path, band="f158")[:1]
    np.testing.assert_array_equal(item.image, pixels_of(0, "F158"))


def test_without_a_band_the_bands_are_listed(path, tmp_path):
    with pytest.raises(DataError, match="F106, F129, F158; choose one with band, such as --band"):
        LensImages.open(path)
    with pytest.raises(DataError, match="no bands to choose 'F184' from: it holds F106, F129"):
        LensImages.open(path, band="F184")
    alone = write_challenge(tmp_path / "one.h5", bands=["F129"])
    assert LensImages.open(alone)[0].error == ""


def test_a_system_without_the_band_is_a_row_that_says_which_it_has(tmp_path):
    missing = {1: ("F129",), 2: ("F106", "F129", "F158"), 3: ("F158",)}
    images = LensImages.open(write_challenge(tmp_path / "a.h5", missing=missing), band="F129")
    assert [item.error for item in images] == [
        "",
        "no bands to choose 'F129' from: it holds F106, F158",
        "no bands to choose 'F129' from: it holds no exposure",
        "",
    ]
    assert images[0].origins["band"] == "F129, one of F106, F129, F158"
    assert images[3].origins["band"] == "F129, one of F106, F129"


def test_a_band_that_few_systems_have_is_found(tmp_path):
    missing = {k: ("F106",) for k in range(300) if k != 201}
    path = write_challenge(tmp_path / "a.h5", 300, missing=missing)
    images = LensImages.open(path, band="F106")
    assert [k for k, item in enumerate(images) if not item.error] == [201]


def test_labels_are_there_only_where_the_file_has_them(tmp_path):
    labelled = LensImages.open(write_challenge(tmp_path / "a.h5", labelled=True), band="F129")
    assert labelled.labels.tolist() == [0, 1, 0, 1]
    assert [item.label for item in labelled] == [0, 1, 0, 1]
    in_folder = write_challenge(tmp_path / "no_sub" / "b.h5")
    assert LensImages.open(in_folder.parent, band="F129").labels.tolist() == [0] * 4


def test_opening_reads_no_pixels_and_no_attributes(tmp_path, monkeypatch):
    path = write_challenge(tmp_path / "a.h5", 1)
    with h5py.File(path, "a") as file:
        for number in range(1, 3000):
            uid = f"{number:08d}"
            file[f"images/strong_lens_{uid}/exposure_{uid}_F129"] = np.eye(2)

    def refuse(*_):
        raise AssertionError("something was read")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", refuse)
    monkeypatch.setattr(h5py.AttributeManager, "__getitem__", refuse)
    images = LensImages.open(path, band="F129")
    assert len(images.ids) == len(images[10:]) + 10 == 3000
    with pytest.raises(AssertionError, match="something was read"):
        images[0]


def test_the_psf_is_the_nearest_of_the_detector_and_on_the_pixels_of_the_image(tmp_path):
    places = {0: ("18", "3576", "3576"), 1: ("18", "600", "3000"), 2: ("7", "600", "600")}
    path = write_challenge(tmp_path / "a.h5", 3, places=places)
    fine = gaussian(365, 6.0)
    add_psf(path, fine, x=3576, y=3576)
    add_psf(path, gaussian(365, 9.0), x=511, y=3576)
    add_psf(path, gaussian(365, 3.0), x=511, y=3576, band="F106")
    add_psf(path, gaussian(365, 3.0), detector=8, x=600, y=3000)
    first, second, third = LensImages.open(path, band="F129")
    binned = fine.reshape(73, 5, 73, 5).sum(axis=(1, 3))
    np.testing.assert_allclose(first.psf, binned / binned.sum(), rtol=1e-5, atol=1e-9)
    binned = gaussian(365, 9.0).reshape(73, 5, 73, 5).sum(axis=(1, 3))
    np.testing.assert_allclose(second.psf, binned / binned.sum(), rtol=1e-5, atol=1e-9)
    assert first.origins["PSF"] == "psfs, the nearest of the same detector"
    assert third.psf is None
    assert third.remarks == ("the file has PSFs, but none of the detector of this lens in F129",)


def test_noise_comes_from_gain_and_exposure_time_where_the_file_has_both(tmp_path):
    def image_of(number, band):
        return (
            3 + 20 * gaussian(40, 3.0) + 0.05 * np.random.default_rng(number).normal(size=(40, 40))
        )

    without = write_challenge(tmp_path / "a.h5", image_of=image_of)
    item = LensImages.open(without, band="F129")[0]
    assert item.noise is None
    assert item.origins["noise"] == "is learned from the images: no gain is known"
    path = write_challenge(tmp_path / "b.h5", image_of=image_of, of_an_exposure={"gain": "1.8"})
    item = LensImages.open(path, band="F129")[0]
    assert item.origins["noise map"] == "scatter of the background, gain and exposure_time"
    assert "noise" not in item.origins
    scatter = background_scatter(item.image)
    assert item.noise[0, 0] == pytest.approx(scatter, rel=0.05)
    # At the peak, 20 DN/s blurred by a pixel: a Gaussian 3 pixels wide becomes one of 10^0.5.
    photons = 20 / (10 / 9) / (1.8 * 642)
    assert item.noise[20, 20] == pytest.approx(np.hypot(scatter, np.sqrt(photons)), rel=0.02)
    counts = write_challenge(tmp_path / "c.h5", of_an_exposure={"gain": "1.8", "units": "Counts"})
    assert LensImages.open(counts, band="F129")[0].noise is None


@pytest.mark.parametrize("text", ["wide", "-0.11", "nan", ""])
def test_an_attribute_that_is_no_number_is_the_defect_of_its_lens(path, text):
    with h5py.File(path, "a") as file:
        exposure = file["images/strong_lens_00000001/exposure_00000001_F129"]
        exposure.attrs["pixel_scale"] = (text, "Pixel scale [arcsec/pixel]")
    images = LensImages.open(path, band="F129")
    assert images[1].error == f"the attribute pixel_scale is {text!r}, and no number from 0 on"
    assert images[0].error == images[2].error == ""


def test_attributes_may_be_plain_values(path):
    with h5py.File(path, "a") as file:
        exposure = file["images/strong_lens_00000000/exposure_00000000_F129"]
        exposure.attrs["pixel_scale"] = 0.05
        file["images/strong_lens_00000000"].attrs["substructure"] = np.bytes_("True")
    item = LensImages.open(path, band="F129")[0]
    assert (item.pixel_scale_arcsec, item.label) == (0.05, 1)


def test_the_light_before_the_camera_is_never_the_image(path):
    with h5py.File(path, "a") as file:
        file["images/strong_lens_00000000/synthetic_image_00000000_F129"] = np.ones((80, 80))
    item = LensImages.open(path, band="F129")[0]
    np.testing.assert_array_equal(item.image, pixels_of(0, "F129"))
    assert item.remarks == ("not used: synthetic_image_* (the light before the camera)",)


def test_what_is_no_image_is_an_error_of_its_lens(path):
    with h5py.File(path, "a") as file:
        for number, shape in ((0, (3, 16, 16)), (1, (2**14, 2**14))):
            system = file[f"images/strong_lens_0000000{number}"]
            del system[f"exposure_0000000{number}_F129"]
            system.create_dataset(f"exposure_0000000{number}_F129", shape, "f4", chunks=True)
        del file["images/strong_lens_00000002/exposure_00000002_F129"]
        file.create_group("images/strong_lens_00000002/exposure_00000002_F129")
    images = LensImages.open(path, band="F129")
    assert images[0].error == "exposure_00000000_F129 is no image: its shape is (3, 16, 16)"
    assert "too many for a cutout" in images[1].error
    assert images[2].error == "exposure_00000002_F129 is no image: its shape is None"
    assert images[3].error == ""


def test_files_of_a_folder_are_one_collection(tmp_path):
    write_challenge(tmp_path / "other" / "a.h5", 2)
    write_challenge(tmp_path / "other" / "b.h5", 2, first=2)
    with h5py.File(tmp_path / "other" / "c.h5", "w") as file:
        file["F129"] = pixels_of(9, "F129")
    images = LensImages.open(tmp_path / "other", band="F129")
    assert images.ids == [*(f"strong_lens_0000000{k}" for k in range(4)), "c.h5"]
    assert [item.error for item in images] == [""] * 5


def test_systems_of_one_name_are_called_like_their_files_too(tmp_path):
    write_challenge(tmp_path / "a.h5", 2)
    write_challenge(tmp_path / "b.h5", 2)
    assert LensImages.open(tmp_path, band="F129").ids == [
        f"{file}[strong_lens_0000000{k}]" for file in ("a.h5", "b.h5") for k in (0, 1)
    ]
    refused = LensImages.open(tmp_path)
    assert refused.ids == ["a.h5", "b.h5"]
    assert "holds several bands of each lens: F106, F129, F158" in refused[0].error


def test_a_collection_travels_to_another_process(path):
    images = LensImages.open(path, band="F129")
    before = images[1].image
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(images))[1].image, before)


def test_info_says_what_is_there_by_band(tmp_path):
    path = write_challenge(tmp_path / "a.h5", missing={1: ("F129",), 3: ("F158",)})
    text = repr(lumpylens.info(path, band="F129", progress=False))
    assert "4 images in" in text
    assert (
        "2 of them: image from exposure_*_F129, noise is learned from the images: no gain is "
        "known, pixel scale from pixel_scale, band F129, one of F106, F129, F158"
    ) in text
    assert "1 of them" in text
    assert "strong_lens_00000001: no bands to choose 'F129' from: it holds F106, F158" in text
