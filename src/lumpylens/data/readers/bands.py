"""Bands that are an axis of an array: (..., bands, H, W) or (..., H, W, bands)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lumpylens.data.checks import MOST_BANDS, band_axis
from lumpylens.data.readers.arrays import Stack
from lumpylens.errors import DataError

__all__ = ["of_band", "plane_count"]


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
        raise DataError("the file is cut off, so that its bands cannot be told apart")

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
