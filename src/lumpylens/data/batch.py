"""`ImageBatch`: cutouts of one shape, stacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.checks import same_scales
from lumpylens.data.image import LensImage

__all__ = ["ImageBatch", "stacked"]


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


def stacked(images: Sequence[tuple[int, LensImage]]) -> ImageBatch:
    """A batch of readable images of one shape; a noise map or PSF that some lack is left out.

    Parameters
    ----------
    images : sequence of (int, LensImage)
        Each with its position in the collection that it came from.
    """
    items = [item for _, item in images]
    pixels = np.stack([item.image for item in items if item.image is not None])
    noise = [item.noise for item in items if item.noise is not None]
    psf = [item.psf for item in items if item.psf is not None]
    scales = [item.pixel_scale_arcsec for item in items if item.pixel_scale_arcsec is not None]
    same_scale = len(scales) == len(items) and same_scales(min(scales), max(scales))
    same_psf = len(psf) == len(items) and len({p.shape for p in psf}) == 1
    return ImageBatch(
        positions=np.array([position for position, _ in images]),
        pixels=pixels,
        noise=np.stack(noise) if len(noise) == len(items) else None,
        psf=np.stack(psf) if same_psf else None,
        pixel_scale_arcsec=scales[0] if same_scale else None,
        jpeg_tables=tuple(item.jpeg_table for item in items),
        framed=sum(item.full_shape is not None for item in items),
    )
