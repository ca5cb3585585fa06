"""`ImageBatch`: cutouts of one shape, stacked."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumpylens.data.checks import (
    as_float32,
    same_scales,
    usable_images,
    usable_noise,
    usable_psfs,
)
from lumpylens.data.image import LensImage

__all__ = ["ImageBatch", "batch_of_one", "checked_batch", "joined_batches"]


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Readable cutouts of one shape, stacked.

    Attributes
    ----------
    positions : ndarray of int, shape (n,)
        Where each image stands in the collection it came from.
    pixels : ndarray of float32, shape (n, H, W)
    noise, psf : ndarray of float32 or None
        Stacked like `pixels`; None unless every image of the batch has one.
    pixel_scale_arcsec : float or None
        Common to the batch; None where unknown or mixed.
    jpeg_tables : tuple of ndarray of int, shape (8, 8), or None
        Of each image: see `LensImage`.
    framed : int
        How many of them were brought to this shape from another.
    """

    positions: NDArray[np.int_]
    pixels: NDArray[np.float32]
    noise: NDArray[np.float32] | None = None
    psf: NDArray[np.float32] | None = None
    pixel_scale_arcsec: float | None = None
    jpeg_tables: tuple[NDArray[np.int_] | None, ...] = ()
    framed: int = 0

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def kind(self) -> Hashable:
        """Equal for batches of one image shape that can be joined without a loss."""
        scale = self.pixel_scale_arcsec
        return (
            self.noise is not None,
            None if self.psf is None else self.psf.shape[1:],
            scale and f"{scale:.6g}",
        )


def batch_of_one(position: int, item: LensImage) -> ImageBatch:
    """A readable image alone.

    Parameters
    ----------
    position : int
        In the collection that it came from.
    item : LensImage
    """
    assert item.image is not None
    return ImageBatch(
        positions=np.array([position]),
        pixels=np.stack([item.image]),
        noise=None if item.noise is None else np.stack([item.noise]),
        psf=None if item.psf is None else np.stack([item.psf]),
        pixel_scale_arcsec=item.pixel_scale_arcsec,
        jpeg_tables=(item.jpeg_table,),
        framed=int(item.full_shape is not None),
    )


def joined_batches(parts: Sequence[ImageBatch]) -> ImageBatch:
    """Batches of one image shape as one; a noise map or PSF that some lack is left out.

    Parameters
    ----------
    parts : sequence of ImageBatch
        At least one.
    """
    if len(parts) == 1:
        return parts[0]
    noise = [part.noise for part in parts if part.noise is not None]
    psf = [part.psf for part in parts if part.psf is not None]
    scales = [part.pixel_scale_arcsec for part in parts if part.pixel_scale_arcsec is not None]
    same_scale = len(scales) == len(parts) and same_scales(min(scales), max(scales))
    same_psf = len(psf) == len(parts) and len({stack.shape[1:] for stack in psf}) == 1
    return ImageBatch(
        positions=np.concatenate([part.positions for part in parts]),
        pixels=np.concatenate([part.pixels for part in parts]),
        noise=np.concatenate(noise) if len(noise) == len(parts) else None,
        psf=np.concatenate(psf) if same_psf else None,
        pixel_scale_arcsec=scales[0] if same_scale else None,
        jpeg_tables=tuple(table for part in parts for table in part.jpeg_tables),
        framed=sum(part.framed for part in parts),
    )


def checked_batch(
    pixels: ArrayLike,
    *,
    noise: ArrayLike | None = None,
    psf: ArrayLike | None = None,
    pixel_scale_arcsec: float | None = None,
    jpeg_table: NDArray[np.int_] | None = None,
) -> ImageBatch | None:
    """The images of a stack in which `LensImage.checked` would find no error, all checked at once.

    Parameters
    ----------
    pixels : array_like, shape (n, H, W)
        Kept, where these are writable numbers of float32.
    noise : array_like, shape (n, H, W) or (H, W), optional
    psf : array_like, shape (n, h, w) or (h, w), optional
        One for each image, or one for all. Scaled to sum 1.
    pixel_scale_arcsec : float, optional
    jpeg_table : ndarray of int, shape (8, 8), optional

    Returns
    -------
    ImageBatch or None
        Its `positions` are places in `pixels`; the images left out are to be looked at one by one.
        None if that is so of all.
    """
    images, reason = as_float32(pixels)
    if reason or images.ndim != 3 or not images.size:
        return None
    usable = usable_images(images)
    arrays: dict[str, Any] = {"pixels": images}
    if noise is not None:
        maps, reason = as_float32(noise)
        if reason or maps.shape not in (images.shape, images.shape[1:]):
            return None
        arrays["noise"] = maps = _for_all(maps, len(images))
        usable &= usable_noise(maps)
    if psf is not None:
        kernels, reason = as_float32(psf)
        if reason or kernels.ndim not in (2, 3):
            return None
        arrays["psf"] = kernels = _for_all(kernels, len(images))
        usable &= usable_psfs(kernels)
    if not usable.any():
        return None
    if not usable.all():
        arrays = {name: array[usable] for name, array in arrays.items()}
    if "psf" in arrays:
        sums = arrays["psf"].sum(axis=(1, 2), keepdims=True, dtype=np.float64)
        arrays["psf"] = (arrays["psf"] / sums).astype(np.float32)
    return ImageBatch(
        np.flatnonzero(usable),
        pixel_scale_arcsec=pixel_scale_arcsec,
        jpeg_tables=(jpeg_table,) * int(usable.sum()),
        **arrays,
    )


def _for_all(array: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The same map for each image, where there is one for all."""
    return np.repeat(array[None], count, axis=0) if array.ndim == 2 else array
