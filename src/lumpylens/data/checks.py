"""What makes pixels usable: each check returns the reason why not, in plain words.

An empty string means that nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "as_float32",
    "image_defect",
    "noise_defect",
    "psf_defect",
    "size_defect",
    "stack_defect",
]

LARGEST_PIXEL_COUNT = 2**26
"""8192 x 8192: well above any cutout, well below what exhausts a laptop's memory."""

LARGEST_VALUE = 1e15
"""Squares of smaller values, summed over a cutout, stay finite in float32."""


def as_float32(values: ArrayLike) -> tuple[NDArray[np.float32], str]:
    """Convert real numbers of any type and byte order; masked ones become NaN.

    Parameters
    ----------
    values : array_like

    Returns
    -------
    array : ndarray of float32, same shape
    reason : str
        Why the conversion is impossible; the array is then empty.
    """
    array = np.asanyarray(values)
    if array.dtype.kind not in "biuf":
        return np.empty((0, 0), np.float32), f"the values are {array.dtype}, not real numbers"
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array.astype(np.float64), np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        converted = np.asarray(array, dtype=np.float32, order="C")
    # A view of a memory-mapped file is read-only, which torch warns of.
    return converted if converted.flags.writeable else converted.copy(), ""


def size_defect(height: int, width: int) -> str:
    """Refuse what no cutout is, before its pixels are read."""
    if height * width > LARGEST_PIXEL_COUNT:
        return (
            f"{width}x{height} pixels are too many for a cutout "
            f"(at most {LARGEST_PIXEL_COUNT / 1e6:.0f} million)"
        )
    return ""


def stack_defect(shape: Sequence[int]) -> str:
    """Say why an array of this shape is no stack of images (..., H, W)."""
    if len(shape) < 2:
        return f"an array of shape {tuple(shape)} has no height and width"
    if len(shape) > 2 and shape[-1] in (1, 3, 4) and shape[-2] > 8:
        return (
            f"an array of shape {tuple(shape)} seems to have colours last; "
            "give one number per pixel, shape (..., height, width)"
        )
    return size_defect(int(shape[-2]), int(shape[-1]))


def image_defect(image: NDArray[np.float32]) -> str:
    """Say why an image cannot be scored."""
    if image.ndim != 2 or 0 in image.shape:
        return f"not a single two-dimensional image: shape {image.shape}"
    finite = np.isfinite(image)
    if not finite.all():
        return f"{np.count_nonzero(~finite)} of {image.size} pixels are NaN or infinite"
    low, high = float(image.min()), float(image.max())
    if low == high:
        return f"constant image: every pixel is {low:g}"
    if max(-low, high) > LARGEST_VALUE:
        return f"pixel values from {low:g} to {high:g} are too large (at most {LARGEST_VALUE:g})"
    return ""


def noise_defect(noise: NDArray[np.float32], shape: tuple[int, ...]) -> str:
    """Say why a noise map does not belong to an image of this shape (H, W)."""
    if noise.shape != shape:
        return f"the noise map has shape {noise.shape}, the image {shape}"
    bad = ~(np.isfinite(noise) & (noise > 0))
    if bad.any():
        return (
            f"{np.count_nonzero(bad)} of {noise.size} pixels of the noise map are NaN, infinite or "
            "not positive (give masked pixels a large number, such as 1e8)"
        )
    return ""


def psf_defect(psf: NDArray[np.float32]) -> str:
    """Say why an array is no point-spread function."""
    if psf.ndim != 2 or 0 in psf.shape:
        return f"the PSF is not a two-dimensional image: shape {psf.shape}"
    if psf.shape[0] % 2 == 0 or psf.shape[1] % 2 == 0:
        return (
            f"the PSF has {psf.shape[1]}x{psf.shape[0]} pixels; both numbers must be odd, "
            "so that its centre is a pixel"
        )
    total: Any = psf.sum(dtype=np.float64)
    if not np.isfinite(total) or total <= 0:
        return f"the pixels of the PSF add up to {total:g}, not to a positive number"
    return ""
