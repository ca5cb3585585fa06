"""Files of lenstronomy and dolphin, written as dolphin 1.3 has them in its example data."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from lenstronomy.Data.image_noise import covariance_matrix

from lumpylens.data import LensImages
from lumpylens.errors import DataError


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(0.5, 1, (24, 21))


@pytest.fixture
def kernel():
    y, x = np.mgrid[-5:6, -5:6]
    return np.exp(-(x**2 + y**2) / 6)


def write(path, **datasets):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


def write_image(path, image, **more):
    turned = 0.05 * np.array([[-np.cos(0.3), np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    return write(
        path, image_data=image, background_rms=0.02, exposure_time=np.full(image.shape, 900.0),
        ra_at_xy_0=3.2, dec_at_xy_0=-3.2, transform_pix2angle=turned, **more,
    )  # fmt: skip


def test_image_noise_psf_and_scale_are_those_of_lenstronomy(image, kernel, tmp_path):
    write_image(tmp_path / "image_l0_VIS.h5", image)
    write(tmp_path / "psf_l0_VIS.h5", kernel_point_source=kernel, psf_variance_map=kernel)
    images = LensImages.open(tmp_path)
    assert images.ids == ["image_l0_VIS.h5"]
    assert images.remarks() == []
    (item,) = images
    np.testing.assert_array_equal(item.image, image.astype(np.float32))
    variance = covariance_matrix(image, 0.02, np.full(image.shape, 900.0))
    np.testing.assert_allclose(item.noise, np.sqrt(variance), rtol=1e-6)
    np.testing.assert_allclose(item.psf, kernel / kernel.sum(), rtol=1e-6)
    assert item.pixel_scale_arcsec == pytest.approx(0.05)
    assert item.origins == {
        "image": "image_data", "noise map": "background_rms and exposure_time",
        "PSF": "kernel_point_source in a file of its own", "pixel scale": "transform_pix2angle",
    }  # fmt: skip
    alone = LensImages.open(tmp_path / "image_l0_VIS.h5")[0]
    np.testing.assert_array_equal(alone.psf, item.psf)


def test_a_noise_map_counts_more_than_the_background(image, tmp_path):
    path = write_image(tmp_path / "image_l0_VIS.h5", image, noise_map=np.full(image.shape, 0.3))
    np.testing.assert_allclose(LensImages.open(path)[0].noise, 0.3)


def test_a_finer_psf_is_binned(image, kernel, tmp_path):
    path = write_image(tmp_path / "image_l0_VIS.h5", image)
    write(tmp_path / "psf_l0_VIS.h5", kernel_point_source=kernel,
          point_source_supersampling_factor=3)  # fmt: skip
    assert LensImages.open(path)[0].psf.shape == (5, 5)


def test_a_psf_is_never_an_image(image, kernel, tmp_path):
    path = write(tmp_path / "star.h5", kernel_point_source=kernel)
    with pytest.raises(DataError, match="holds a PSF .kernel_point_source. and no image"):
        LensImages.open(path)
    write(tmp_path / "psf_l7_VIS.h5", kernel_point_source=kernel)
    write_image(tmp_path / "image_l0_VIS.h5", image)
    images = LensImages.open(tmp_path)
    assert [bool(item.error) for item in images] == [False, True]
    assert images.ids == ["image_l0_VIS.h5", "star.h5"]
    assert images.remarks() == ["not used: 1 files such as psf_l7_VIS.h5 (PSF)"]


def test_a_damaged_psf_is_named(image, tmp_path):
    path = write_image(tmp_path / "image_l0_VIS.h5", image)
    (tmp_path / "psf_l0_VIS.h5").write_bytes(b"no PSF")
    assert LensImages.open(path)[0].error.startswith("PSF psf_l0_VIS.h5: ")


def test_bands_in_the_names_of_files_are_chosen(image, tmp_path):
    for number, lens in enumerate(("l0", "l1")):
        for k, band in enumerate(("F475X", "F600LP")):
            write_image(tmp_path / lens / f"image_{lens}_{band}.h5", image + 2 * number + k)
    refused = LensImages.open(tmp_path)
    assert [item.error for item in refused] == [
        "several bands of one lens: F475X, F600LP; choose one with --band"
    ] * 2
    chosen = LensImages.open(tmp_path, band="f600lp")
    assert chosen.ids == ["l0/image_l0_F600LP.h5", "l1/image_l1_F600LP.h5"]
    np.testing.assert_allclose(chosen[1].image, image + 3, rtol=1e-5)
    with pytest.raises(DataError, match="no bands to choose 'VIS' from: it holds F475X, F600LP"):
        LensImages.open(tmp_path, band="VIS")


def test_lenses_with_numbers_and_no_bands_are_lenses(image, tmp_path):
    for k in range(3):
        write_image(tmp_path / f"image_lens_{k}.h5", image + k)
    assert len(LensImages.open(tmp_path)) == 3


@pytest.mark.parametrize("sides", [(0.05, 0.05), (0.05, 0.0505), (0.05, 0.1)])
def test_pixels_that_are_not_square_are_told(sides, image, tmp_path):
    x, y = sides
    path = write_image(tmp_path / "image_a.h5", image)
    with h5py.File(path, "a") as file:
        file["transform_pix2angle"][...] = [[-x, 0], [0, y]]
    if y > 0.051:
        with pytest.raises(DataError, match="the pixels are not square but 0.1 by 0.05 arcsec"):
            LensImages.open(path)
        return
    (item,) = LensImages.open(path)
    assert [text.split(";")[0] for text in item.remarks] == [
        "the pixels are not square but 0.0505 by 0.05 arcsec"
    ] * (y > x)
    assert item.pixel_scale_arcsec == pytest.approx((x * y) ** 0.5)
