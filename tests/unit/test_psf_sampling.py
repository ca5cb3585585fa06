"""PSFs that are sampled more finely than their image, or say another pixel scale."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from lumpylens.data import LensImages
from lumpylens.data.psf import Kernel, kernel_on_grid
from lumpylens.errors import DataError

SIGMA = 0.06
"""Arcsec, of the Gaussian that all kernels here are."""


def gaussian(side, scale, sigma=SIGMA, steps=1):
    """A Gaussian integrated over pixels, sum about 1, on (side, side) pixels of `scale` arcsec."""
    from scipy.special import erf

    edges = (np.arange(side + 1) - side / 2) * scale
    line = np.diff(erf(edges / sigma / np.sqrt(2))) / 2
    return np.outer(line, line)


EXPECTED = gaussian(15, 0.05)


def compared(psf):
    """The central 15x15 pixels."""
    row, column = (length // 2 for length in psf.shape)
    return psf[row - 7 : row + 8, column - 7 : column + 8]


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@pytest.mark.parametrize("side", [15, 16])
def test_a_finer_kernel_is_binned_about_its_middle(factor, side):
    kernel = Kernel(gaussian(side * factor + side % 2, 0.05 / factor), 0.05 / factor)
    psf, remark = kernel_on_grid([kernel], 0.05)
    assert all(length % 2 == 1 for length in psf.shape)
    assert psf.sum() == pytest.approx(kernel.values.sum(), rel=1e-12)
    # Shared pixels blur by less than the finer pixel.
    np.testing.assert_allclose(compared(psf), EXPECTED, atol=0.05 * EXPECTED.max())
    np.testing.assert_allclose(psf, psf[::-1, ::-1], atol=1e-15)
    assert remark == f"the PSF is sampled {factor} times finer than the image, and was binned"


def test_binning_is_exact_where_pixels_fit():
    psf, _ = kernel_on_grid([Kernel(gaussian(60, 0.0125), 0.0125)], 0.05)
    np.testing.assert_allclose(psf, EXPECTED, atol=1e-15)


def test_oversampling_may_be_stated_instead_of_a_scale():
    for scale in (0.05, None):
        psf, _ = kernel_on_grid([Kernel(gaussian(60, 0.0125), None, 4)], scale)
        np.testing.assert_allclose(psf, EXPECTED, atol=1e-15)


def effective(factor):
    """What photutils' EPSFBuilder gives: an image pixel's share, at every place of a finer grid."""
    from scipy.special import erf

    at = (np.arange(25 * factor + 1 - factor % 2) - 25 * factor // 2) * 0.05 / factor
    line = (erf((at + 0.025) / SIGMA / np.sqrt(2)) - erf((at - 0.025) / SIGMA / np.sqrt(2))) / 2
    return np.outer(line, line)


@pytest.mark.parametrize("stated", [None, 0.0125])
def test_an_effective_psf_is_sampled_and_not_blurred_twice(stated):
    values = effective(4)
    assert values.shape == (101, 101)
    assert values.sum() == pytest.approx(16, rel=1e-4)
    psf, remark = kernel_on_grid([Kernel(values, stated)], 0.05)
    assert psf.shape == (25, 25)
    np.testing.assert_allclose(compared(psf), EXPECTED, atol=1e-15)
    assert "adds up to 16, as effective PSFs do (photutils): every 4th pixel is taken" in remark


def test_a_small_kernel_that_adds_up_to_a_square_is_left_alone():
    kernel = np.outer([1, 2, 1], [1, 2, 1])
    psf, remark = kernel_on_grid([Kernel(kernel)], 0.05)
    assert psf is kernel
    assert remark == ""


@pytest.mark.parametrize(("psf_scale", "image_scale"), [(0.03, 0.05), (0.1, 0.05), (0.0012, 0.05)])
def test_a_scale_that_does_not_fit_is_refused_with_both_numbers(psf_scale, image_scale):
    with pytest.raises(DataError, match=f"the PSF has {psf_scale:g} arcsec per pixel, the image "
                                        f"{image_scale:g}"):  # fmt: skip
        kernel_on_grid([Kernel(EXPECTED, psf_scale)], image_scale)


def test_scales_that_nearly_agree_are_one_and_said():
    assert kernel_on_grid([Kernel(EXPECTED, 0.0307999)], 0.0308)[1] == ""
    psf, remark = kernel_on_grid([Kernel(EXPECTED, 0.0311)], 0.0307)
    assert psf is EXPECTED
    assert remark == (
        "the PSF, of 0.0311 arcsec per pixel, is taken as it is for an image of 0.0307"
    )


def test_an_unknown_scale_of_the_image_is_said():
    _, remark = kernel_on_grid([Kernel(EXPECTED, 0.0125)], None)
    assert remark.startswith("the pixel scale is not known; the PSF, of 0.0125 arcsec per pixel")


def seen(sigma_px, noise=0.001, side=41):
    """A round galaxy seen with some blur, and the kernel of that blur."""
    at = np.hypot(*(np.indices((side, side)) - side // 2))
    from scipy.ndimage import gaussian_filter

    image = gaussian_filter(np.exp(-np.sqrt(at / 2)), sigma_px)
    return image + np.random.default_rng(0).normal(0, noise, image.shape)


@pytest.mark.parametrize("with_noise", [True, False])
def test_a_kernel_wider_than_the_sharpest_peak_is_a_remark(with_noise):
    image = seen(1.0)
    noise = np.full_like(image, 0.001)[None] if with_noise else None
    for factor, said in ((1, False), (4, True)):
        psf = gaussian(41, 1.0, sigma=float(factor))
        (item,) = LensImages.from_arrays(image[None], noise=noise, psf=psf)
        assert any("the PSF is much wider" in remark for remark in item.remarks) is said


def test_noise_and_hot_pixels_are_no_sharp_peaks():
    wide = gaussian(41, 1.0, sigma=4.0)
    faint = np.random.default_rng(1).normal(0, 1, (41, 41))
    hot = seen(4.0)
    hot[5, 5] = 20
    for image in (faint, hot):
        (item,) = LensImages.from_arrays(image[None], psf=wide)
        assert item.remarks == ()


def lit(side):
    """A kernel of one lit pixel."""
    kernel = np.zeros((side, side))
    kernel[side // 2, side // 2] = 1
    return kernel


@pytest.mark.parametrize(
    ("kernel", "share"),
    [
        (lit(9), "0%"),
        (lit(1), "0%"),
        (gaussian(9, 1.0, sigma=0.28), "4%"),
        (gaussian(9, 1.0, sigma=0.31), ""),
        (gaussian(3, 1.0, sigma=0.5), ""),
    ],
)
def test_a_kernel_narrower_than_any_star_is_a_remark(kernel, share):
    (item,) = LensImages.from_arrays(seen(1.0)[None], psf=kernel)
    said = [text for text in item.remarks if "narrower than a telescope's" in text]
    assert len(said) == bool(share)
    assert all(f"have {share} of its value" in text for text in said)


def test_no_real_lens_has_a_psf_without_width(real_data):
    for folder in ("slacs", "euclid"):
        for item in LensImages.open(real_data / folder):
            assert not any("narrower" in remark for remark in item.remarks)


def test_no_real_lens_is_sharper_than_its_psf(real_data):
    for folder in ("slacs", "euclid"):
        for item in LensImages.open(real_data / folder):
            assert not any("much wider" in remark for remark in item.remarks)


def stpsf(path, side):
    """The four planes of STPSF (and WebbPSF), those with the detector's distortion last."""
    hdus = []
    for name, factor, sigma in (("OVERSAMP", 4, SIGMA), ("DET_SAMP", 1, SIGMA),
                                ("OVERDIST", 4, 0.07), ("DET_DIST", 1, 0.07)):  # fmt: skip
        scale = 0.05 / factor
        header = fits.Header({"PIXELSCL": scale, "OVERSAMP": factor, "DET_SAMP": 4})
        made = fits.ImageHDU if hdus else fits.PrimaryHDU
        hdus.append(made(gaussian(side * factor, scale, sigma), header))
        hdus[-1].name = name
    fits.HDUList(hdus).writeto(path)


@pytest.fixture
def image():
    return np.random.default_rng(0).random((20, 20))


def write(folder, image, scale=0.05):
    header = fits.Header() if scale is None else fits.Header({"PIXSCALE": scale})
    fits.PrimaryHDU(image, header).writeto(folder / "image.fits")
    return folder


@pytest.mark.parametrize("side", [15, 16])
@pytest.mark.parametrize("scale", [0.05, None])
def test_the_plane_of_stpsf_that_fits_is_taken(side, scale, image, tmp_path):
    """An even number of pixels has no middle one: then the finer plane is binned."""
    stpsf(tmp_path / "psf.fits", side)
    (item,) = LensImages.open(write(tmp_path, image, scale))
    assert not item.error
    assert all(length % 2 == 1 for length in item.psf.shape)
    np.testing.assert_allclose(compared(item.psf), gaussian(15, 0.05, 0.07), atol=2e-4)


def test_a_file_of_psfs_alone_is_no_image(tmp_path):
    stpsf(tmp_path / "nircam.fits", 15)
    (item,) = LensImages.open(tmp_path)
    assert item.error.startswith("the FITS file holds no image: OVERSAMP (PSF), DET_SAMP (PSF)")


def test_the_scale_of_a_psf_beside_the_image_counts(image, tmp_path):
    header = fits.Header({"PIXSCALE": 0.0125})
    fits.PrimaryHDU(gaussian(60, 0.0125), header).writeto(tmp_path / "psf.fits")
    (item,) = LensImages.open(write(tmp_path, image))
    np.testing.assert_allclose(item.psf, EXPECTED, atol=1e-6)
    assert item.remarks == ("the PSF is sampled 4 times finer than the image, and was binned",)
    (tmp_path / "image.fits").unlink()
    (item,) = LensImages.open(write(tmp_path, image, 0.03))
    assert item.error.startswith(
        "PSF psf.fits: the PSF has 0.0125 arcsec per pixel, the image 0.03"
    )


def test_the_scale_that_the_user_gives_counts_for_the_psf(image, tmp_path):
    header = fits.Header({"PIXSCALE": 0.0125})
    fits.PrimaryHDU(gaussian(60, 0.0125), header).writeto(tmp_path / "psf.fits")
    (item,) = LensImages.open(write(tmp_path, image, None), pixel_scale_arcsec=0.05)
    np.testing.assert_allclose(item.psf, EXPECTED, atol=1e-6)


def test_a_finer_psf_in_the_same_file(image, tmp_path):
    planes = [("SCI", image, {"PIXSCALE": 0.05}), ("PSF", gaussian(60, 0.0125),
              {"PIXSCALE": 0.0125})]  # fmt: skip
    hdus = [fits.ImageHDU(pixels, fits.Header(header), name) for name, pixels, header in planes]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "a.fits")
    (item,) = LensImages.open(tmp_path)
    np.testing.assert_allclose(item.psf, EXPECTED, atol=1e-6)


def test_the_case_as_reported(real_data):
    (item,) = LensImages.open(real_data / "cases" / "22-fit-psf-4x-oversampled")
    assert not item.error
    assert "4 times finer" in item.remarks[0]
