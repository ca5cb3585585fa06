"""The arrays of one file that belong together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stack"]


@dataclass(frozen=True)
class Stack:
    """The arrays of one file, not read yet.

    Attributes
    ----------
    images : array with shape, dtype and indexing, shape (..., H, W)
    noise : the same shape or (H, W)
    psf : shape (h, w) or (..., h, w)
    ids, labels : ndarray or None
    pixel_scale_arcsec : float or None
    jpeg_table : ndarray of int, shape (8, 8), or None
        Of the JPEG files that the pixels were decoded from.
    complete : int or None
        Number of images that the file really holds, if it is cut off.
    of_band : bool
        True if the images were chosen by the name of their band.
    remarks : tuple of str
        On what the file holds and is not used.
    """

    images: Any
    noise: Any = None
    psf: Any = None
    ids: NDArray[Any] | None = None
    labels: NDArray[Any] | None = None
    pixel_scale_arcsec: float | None = None
    jpeg_table: NDArray[np.int_] | None = None
    complete: int | None = None
    of_band: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def leading(self) -> tuple[int, ...]:
        """Axes before height and width."""
        return tuple(self.images.shape[:-2])

    @property
    def count(self) -> int:
        """Number of images."""
        return math.prod(self.leading)
