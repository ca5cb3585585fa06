"""The arrays of one file, and their bands: an axis (..., bands, H, W) or (..., H, W, bands)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.checks import MOST_BANDS, band_axis
from lumpylens.errors import DataError

__all__ = ["Stack", "of_band", "plane_count"]


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
    origins : mapping of str to str
        Name of the array that is the image, the noise map and so on: see `LensImage`.
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
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def leading(self) -> tuple[int, ...]:
        """Axes before height and width."""
        return tuple(self.images.shape[:-2])

    @property
    def count(self) -> int:
        """Number of images."""
        return math.prod(self.leading)


@dataclass(frozen=True)
class BandArray:
    """One band of an array, read when it is indexed.

    Attributes
    ----------
    array : array with shape, dtype and indexing
    axis : int
        -3 or -1: where the bands are.
    band : int
    """

    array: Any
    axis: int
    band: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the axis of bands."""
        shape = list(self.array.shape)
        del shape[self.axis]
        return tuple(shape)

    @property
    def dtype(self) -> Any:
        """Type of the numbers."""
        return self.array.dtype

    def __getitem__(self, at: tuple[Any, ...]) -> Any:
        return self.array[(*at, self.band) if self.axis == -3 else (*at, ..., self.band)]


def plane_count(shape: tuple[int, ...]) -> int:
    """Number of planes of an array (planes, H, W) that may be the bands of one lens, else 0."""
    return shape[0] if len(shape) == 3 and 2 <= shape[0] <= MOST_BANDS else 0


def of_band(stack: Stack, band: str) -> Stack:
    """The same stack with one of its bands, counted from 0.

    Raises
    ------
    DataError
        If there is no such band, or the file is cut off.
    """
    shape = tuple(stack.images.shape)
    axis = band_axis(shape) or (-3 if plane_count(shape) else None)
    count = 0 if axis is None else shape[axis]
    if axis is None or not (band.isdecimal() and int(band) < count):
        numbers = f", with bands from 0 to {count - 1}" if count else ""
        raise DataError(
            f"no bands to choose {band!r} from: it holds an array of shape {shape}{numbers}"
        )
    if stack.complete is not None:
        raise DataError("the file is cut off, so its bands cannot be identified")

    def own(companion: Any) -> Any:
        if companion is None:
            return None
        other = tuple(companion.shape)
        per_band = other[:-2] == shape[:-2] if axis == -3 else other == shape
        if not per_band and axis == -3 and other[:-2] == (count,):
            if shape[:-3] == (count,):
                raise DataError(
                    f"an array of shape {other} beside images of shape {shape} may be one for "
                    "each image or one for each band"
                )
            per_band = True
        return BandArray(companion, axis, int(band)) if per_band else companion

    return replace(
        stack,
        images=BandArray(stack.images, axis, int(band)),
        noise=own(stack.noise),
        psf=own(stack.psf),
    )
