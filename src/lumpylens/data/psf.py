"""Bring a point-spread function onto the pixels of its image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.noise import background_scatter
from lumpylens.errors import DataError

__all__ = ["Kernel", "kernel_on_grid", "narrow_remark", "wide_remark"]

ALIKE = 0.02
"""Largest relative difference of two pixel scales that count as one: those of STPSF, which are of
the detector, and of drizzled JWST images differ by up to 1.5 %."""

NO_DIFFERENCE = 1e-3
"""Relative difference of two pixel scales that is not worth a remark."""

FINEST = 16
"""Largest whole factor that PSFs are sampled more finely by."""

MOST_SHARPER = 1.3
"""Sharpness of an image's brightest peak over its PSF's that is still no contradiction. Lens
galaxies reach 0.5, stars 1; with a kernel sampled four times too finely it is 2 to 10."""

LEAST_SPREAD = 0.05
"""Least value beside the peak of a PSF, over the peak. Perfect optics with pixels, and nothing else
that blurs, have 0.056 at the shortest wavelength of JWST (F070W), 0.07 at those of Roman, Euclid's
NISP and HST's WFC3, a Gaussian 0.7 pixels wide 0.051; stars have 0.3 in SLACS and Euclid's VIS."""

CLEAR, SURE = 10.0, 3.0
"""Standard deviations by which the neighbours of a peak must stand out of the background, and the
ones that are allowed for in its sharpness."""

PEAK_PIXELS = 5
"""Image pixels that a kernel must span before its sum is taken to say how it is sampled."""


@dataclass(frozen=True)
class Kernel:
    """A PSF as a file gives it.

    Attributes
    ----------
    values : ndarray, shape (h, w)
    pixel_scale_arcsec : float or None
        Of its own pixels.
    oversampling : int or None
        Number of its pixels along the side of one image pixel, where the file says so.
    """

    values: NDArray[np.floating]
    pixel_scale_arcsec: float | None = None
    oversampling: int | None = None


def kernel_on_grid(
    kernels: Sequence[Kernel], pixel_scale_arcsec: float | None
) -> tuple[NDArray[np.floating], str]:
    """Choose the kernel that fits an image, or bin one that is a whole number of times finer.

    Parameters
    ----------
    kernels : sequence of Kernel
        The same PSF on several grids. Of those that fit, the last is taken: STPSF writes the ones
        with the distortion of the detector last.
    pixel_scale_arcsec : float or None
        Of the image.

    Returns
    -------
    psf : ndarray, shape (h, w)
    remark : str
        What was done or assumed; empty if the kernel is as the file has it.

    Raises
    ------
    DataError
        If no kernel fits, with both scales.
    """
    fitting = [
        (kernel, whole)
        for kernel in kernels
        if (whole := _whole(_factor(kernel, pixel_scale_arcsec))) is not None
    ]
    if not fitting:
        scale = kernels[-1].pixel_scale_arcsec
        raise DataError(
            f"the PSF has {scale:.6g} arcsec per pixel, the image {pixel_scale_arcsec:.6g}, which "
            "is no whole multiple; sample the PSF like the image"
        )
    ready = [pair for pair in fitting if pair[1] == 1 and _is_odd(pair[0])]
    # An even number of pixels has none in the middle; binning a finer kernel makes one.
    finer_ones = [pair for pair in fitting if pair[1] > 1]
    kernel, factor = (ready or finer_ones or fitting)[-1]
    kernel_scale = kernel.pixel_scale_arcsec
    if factor == 1:
        if pixel_scale_arcsec is None and kernel_scale is not None:
            return kernel.values, (
                f"the pixel scale is not known; the PSF, of {kernel_scale:.6g} arcsec per pixel, "
                "is taken to be sampled like the image"
            )
        if abs(_factor(kernel, pixel_scale_arcsec) - 1) > NO_DIFFERENCE:
            return kernel.values, (
                f"the PSF, of {kernel_scale:.6g} arcsec per pixel, is taken as it is for an image "
                f"of {pixel_scale_arcsec:.6g}"
            )
        return kernel.values, ""
    finer = f"the PSF is sampled {factor} times finer than the image"
    if _is_effective(kernel.values, factor) and _is_odd(kernel):
        return _sampled(kernel.values, factor), (
            f"{finer} and adds up to {factor**2}, as effective PSFs do (photutils): every "
            f"{_ordinal(factor)} pixel is taken"
        )
    return _binned(kernel.values, factor), f"{finer}, and was binned"


def _factor(kernel: Kernel, pixel_scale_arcsec: float | None) -> float:
    """How many of the kernel's pixels lie along the side of one of the image's."""
    if kernel.pixel_scale_arcsec is not None and pixel_scale_arcsec is not None:
        return pixel_scale_arcsec / kernel.pixel_scale_arcsec
    if kernel.oversampling is not None:
        return kernel.oversampling
    if kernel.pixel_scale_arcsec is None:
        smallest = min(kernel.values.shape)
        for factor in range(2, FINEST + 1):
            if smallest >= PEAK_PIXELS * factor and _is_effective(kernel.values, factor):
                return factor
    return 1.0


def _whole(factor: float) -> int | None:
    """The whole number that a factor is, nearly; None if it is none, or out of reach."""
    whole = round(factor)
    return whole if 1 <= whole <= FINEST and abs(factor / whole - 1) <= ALIKE else None


def _is_effective(values: NDArray[np.floating], factor: int) -> bool:
    """An effective PSF holds what an image pixel gets, at every place of a finer grid.

    Anderson and King 2000 (PASP 112, 1360). Its values add up to the square of the factor.
    """
    total = float(np.sum(values, dtype=np.float64))
    return math.isclose(total, factor**2, rel_tol=1e-3)


def _is_odd(kernel: Kernel) -> bool:
    return all(length % 2 == 1 for length in kernel.values.shape)


def _sampled(values: NDArray[np.floating], factor: int) -> NDArray[np.floating]:
    """Every `factor`-th pixel, counted from the middle: binning would blur by the pixel twice."""
    first = [(length // 2) % factor for length in values.shape]
    return values[first[0] :: factor, first[1] :: factor]


def _binned(values: NDArray[np.floating], factor: int) -> NDArray[np.floating]:
    """Sums over blocks; the middle of the kernel is in the middle of the central block.

    Pixels that lie in two blocks are shared between them, as is needed where an odd number of
    pixels is binned by an even factor or the other way round. Beyond the edge there is nothing.
    """
    rows, columns = (_shares(length, factor) for length in values.shape)
    return rows @ values.astype(np.float64) @ columns.T


def _shares(length: int, factor: int) -> NDArray[np.float64]:
    """Part of each pixel that belongs to each block, shape (odd number of blocks, length)."""
    blocks = math.ceil(length / factor)
    blocks += 1 - blocks % 2
    starts = length / 2 + factor * (np.arange(blocks) - blocks / 2)
    pixels = np.arange(length)
    ends = np.minimum(starts[:, None] + factor, pixels + 1)
    shares: NDArray[np.float64] = np.clip(ends - np.maximum(starts[:, None], pixels), 0, None)
    return shares


def _ordinal(number: int) -> str:
    return f"{number}{'nd' if number == 2 else 'rd' if number == 3 else 'th'}"


def narrow_remark(psf: NDArray[np.floating]) -> str:
    """Say that a PSF is narrower than any star, such as one lit pixel; empty if it is not.

    Parameters
    ----------
    psf : ndarray, shape (h, w)
        On the pixels of its image.
    """
    around = np.pad(psf, 1)
    row, column = _inner_peak(around)
    share = float(_neighbours(around, row, column).mean() / around[row, column])
    if share >= LEAST_SPREAD:
        return ""
    return (
        f"the PSF is narrower than a telescope's: the pixels beside its peak have {share:.0%} of "
        "its value; is it sampled more coarsely than the image, or only a placeholder?"
    )


def wide_remark(
    image: NDArray[np.floating], noise: NDArray[np.floating] | None, psf: NDArray[np.floating]
) -> str:
    """Say that a PSF is much wider than what the image shows; empty if it is not.

    Nothing that a telescope sees is sharper than its PSF. The brightest peak of the image is
    compared with that of the PSF: how far it stands above the mean of its four neighbours.

    Parameters
    ----------
    image, noise : ndarray, shape (H, W)
        Without a noise map the scatter of the background is the noise.
    psf : ndarray, shape (h, w)
    """
    if min(*image.shape, *psf.shape) < 3:
        return ""
    background = float(np.median(image))
    row, column = _inner_peak(image)
    peak = float(image[row, column]) - background
    around = _neighbours(image, row, column) - background
    sigma = background_scatter(image) if noise is None else float(noise[row, column])
    # A lone hot pixel is no source, and a faint peak says nothing of its form.
    if not (sigma > 0 and around.min() > CLEAR * sigma):
        return ""
    # The errors of the peak and of the mean of four, and as many of them as are no chance.
    sharpness = 1 - around.mean() / peak - SURE * math.sqrt(1.25) * sigma / peak
    middle = _inner_peak(psf)
    of_psf = 1 - float(_neighbours(psf, *middle).mean()) / float(psf[middle])
    if sharpness <= MOST_SHARPER * of_psf:
        return ""
    return (
        "the PSF is much wider than the sharpest peak of the image; is it sampled more finely "
        "than the image, or the PSF of another image?"
    )


def _inner_peak(values: NDArray[np.floating]) -> tuple[int, int]:
    """Row and column of the highest pixel that has four neighbours."""
    inner = values[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(inner)), inner.shape)
    return int(row) + 1, int(column) + 1


def _neighbours(values: NDArray[np.floating], row: int, column: int) -> NDArray[np.float64]:
    return np.array(
        [
            values[row + 1, column],
            values[row - 1, column],
            values[row, column + 1],
            values[row, column - 1],
        ],
        dtype=np.float64,
    )
