"""What makes pixels usable: each check returns the reason why not, in plain words.

An empty string means that nothing is wrong.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "MOST_BANDS",
    "as_float32",
    "band_axis",
    "flat_remark",
    "image_defect",
    "memory_bytes",
    "memory_defect",
    "noise_defect",
    "psf_defect",
    "same_scales",
    "size_defect",
    "stack_defect",
    "usable_images",
    "usable_noise",
    "usable_psfs",
]

LARGEST_PIXEL_COUNT = 2**26
"""8192 x 8192: well above any cutout, well below what exhausts a laptop's memory."""

MOST_BANDS = 8
"""Bands of one lens in one array: the Legacy Surveys have 4, LSST 6, and Euclid with a survey from
the ground 8."""

LEAST_FLAT_SIDE = 16
"""Rows shorter than 16 x 16 pixels are hardly flattened cutouts."""

MASKED_NOISE = 1e6
"""Noise over the smallest one, from which on a pixel counts as masked: files mark masked pixels
with 1e8 or so, and the noise of others differs by factors of up to 23 in SLACS and Euclid."""

LEVELS_OF_PICTURES = 256
"""Values that a picture of 8 bits can have."""

LEAST_FLAT_SHARE, LEAST_FLAT_BLOCKS = 0.05, 0.025
"""Shares of the pixels: those with one value, and the centres of 3 x 3 such pixels. Of 24 SLACS
lenses, with bad pixels set to one value, none has more than 0.06 and 0.003 of them."""

LARGEST_SHARE = 0.25
"""Share of the memory for one stack of images: whatever learns from it makes copies."""

CONTROL_GROUP_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)

SCALES_ALIKE = 1e-6
"""Relative difference of pixel scales that are one: what rounding in headers leaves."""

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


def memory_defect(count: int, height: int, width: int) -> str:
    """Refuse to hold more images at once than the memory is for."""
    needed = 4 * count * height * width
    allowed = LARGEST_SHARE * memory_bytes()
    if needed > allowed:
        return (
            f"{count} images of {width}x{height} pixels need {needed / 1e9:.1f} GB at once, and "
            f"{allowed / 1e9:.1f} GB of memory may be used; cut them to the lens, or take fewer"
        )
    return ""


def memory_bytes() -> float:
    """Memory of the machine, or what the control group of this process may use of it."""
    limits = [float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")]
    for place in CONTROL_GROUP_LIMITS:
        with suppress(OSError, ValueError):
            limits.append(float(Path(place).read_text()))
    return min(limits)


def band_axis(shape: Sequence[int]) -> int | None:
    """Where an array has its bands: -1 for colours last, -3 for colours first, None if it has none.

    The first of three axes is not taken for bands: (3, H, W) may well be three images.
    """
    if len(shape) > 2 and shape[-1] <= MOST_BANDS and shape[-2] > max(8, 3 * shape[-1]):
        return -1
    if len(shape) > 3 and 2 <= shape[-3] <= MOST_BANDS:
        return -3
    return None


def stack_defect(shape: Sequence[int]) -> str:
    """Say why an array of this shape is no stack of images (..., H, W)."""
    shape = tuple(shape)
    if len(shape) < 2:
        side = math.isqrt(shape[0]) if shape else 0
        flat = f"; if it is a flattened image: array.reshape({side}, {side})"
        return f"an array of shape {shape} has no height and width" + flat * (
            side > 1 and shape == (side**2,)
        )
    height, width = (int(n) for n in shape[-2:])
    axis = band_axis(shape)
    if axis is not None:
        seems = "seems to have colours last" if axis == -1 else "seems to have colours first"
        images = f"; if they are images: array.reshape(-1, {height}, {width})" * (axis == -3)
        return (
            f"an array of shape {shape} {seems}: choose one by its number, as in --band 0{images}"
        )
    side = math.isqrt(width)
    if len(shape) == 2 and height != width and side >= LEAST_FLAT_SIDE and side**2 == width:
        return (
            f"an array of shape {shape} seems to hold one flattened image in each row: "
            f"array.reshape(-1, {side}, {side}); if it is one image: array.reshape(1, {height}, "
            f"{width})"
        )
    return size_defect(height, width)


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


def flat_remark(image: NDArray[np.float32], noise: NDArray[np.float32] | None = None) -> str:
    """Say that many pixels have one value, as beyond the edge of a detector that was filled.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W)
        The black sky of an 8-bit picture, whatever its numbers were divided by, needs no remark.
    noise : ndarray of float32, shape (H, W), optional
        Pixels that it masks need none either.
    """
    if min(image.shape) < 3:
        return ""
    if noise is not None:
        image = np.where(noise > MASKED_NOISE * noise.min(), np.nan, image)
    # Single pixels of faint sky may be equal when photons are counted, blocks of 3 x 3 hardly.
    beside, below = image[:, 1:] == image[:, :-1], image[1:] == image[:-1]
    rows, columns = beside[:, 1:] & beside[:, :-1], below[1:] & below[:-1]
    centres = rows[:-2] & rows[1:-1] & rows[2:] & columns[:, 1:-1]
    if not centres.any():
        return ""
    values, counts = np.unique(image[1:-1, 1:-1][centres], return_counts=True)
    value = values[np.argmax(counts)] + 0.0  # not -0
    share = np.count_nonzero(image == value) / image.size
    if counts.max() < LEAST_FLAT_BLOCKS * image.size or share < LEAST_FLAT_SHARE:
        return ""
    if len(np.unique(image)) <= LEVELS_OF_PICTURES:
        return ""
    return f"{share:.0%} of the pixels have the same value, {value:g}, as in a filled edge or mask"


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


def usable_images(images: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether `image_defect` finds nothing in each image of a stack (n, H, W)."""
    low, high = _extremes(images)
    # A NaN is its own extreme, and compares with nothing.
    usable: NDArray[np.bool_] = (low < high) & (np.maximum(-low, high) <= LARGEST_VALUE)
    return usable


def usable_noise(noise: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether `noise_defect` finds nothing in each noise map of a stack (n, H, W)."""
    low, high = _extremes(noise)
    usable: NDArray[np.bool_] = (low > 0) & (high < np.inf)
    return usable


def usable_psfs(psfs: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether `psf_defect` finds nothing in each PSF of a stack (n, h, w)."""
    odd = psfs.shape[1] % 2 == 1 and psfs.shape[2] % 2 == 1
    with np.errstate(over="ignore", invalid="ignore"):
        sums = psfs.sum(axis=(1, 2), dtype=np.float64)
    usable: NDArray[np.bool_] = odd & np.isfinite(sums) & (sums > 0)
    return usable


def _extremes(stack: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lowest and highest pixel of each image of a stack (n, H, W); NaN if one of them is."""
    flat = stack.reshape(len(stack), -1)
    return flat.min(axis=1), flat.max(axis=1)


def same_scales(scale: float, other: float) -> bool:
    """Whether two pixel scales differ by no more than rounding does."""
    return math.isclose(scale, other, rel_tol=SCALES_ALIKE)
