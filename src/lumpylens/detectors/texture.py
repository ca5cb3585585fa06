"""How grainy and how sharp the training images were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Texture"]

WIDTHS_PX = (1, 2, 4)
"""Gaussian blurs whose differences are the three scales that are compared."""

NAMES = (
    "the grain of its faint half at 1 pixel",
    "the grain of its faint half at 2 pixels",
    "the grain of its faint half at 4 pixels",
    "the sharpness of its bright half at 1 pixel",
    "the sharpness of its bright half at 2 pixels",
)

LEAST_RMS = 1e-4
"""Of the image's range: a fortieth of a step of 8 bits, so that a black sky has a logarithm."""

MARGIN = 0.25
"""How far, in widths of the training images' range, a logarithm may lie outside it."""

BATCH = 8
"""Images measured at once, so that the blurred copies stay in the cache: half the time of 256."""


@dataclass(frozen=True)
class Texture:
    """Range, over the training images, of the logarithms of `NAMES`.

    Noise of another level or correlation changes the first three, another blur the last two.
    Substructure moves light by a pixel or two, and changes none.

    Attributes
    ----------
    low, high : ndarray of float64, shape (5,)
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def learn(cls, unit: NDArray[np.float32]) -> Self:
        """Learn from normal images on the [0, 1] scale, shape (n, H, W)."""
        values = measured(unit)
        return cls(values.min(axis=0), values.max(axis=0))

    def oddities(self, unit: NDArray[np.float32]) -> list[str]:
        """Per image on the [0, 1] scale, shape (n, H, W): what is odd, or an empty string."""
        values = measured(unit)
        beyond = np.maximum(self.low - values, values - self.high)
        beyond -= MARGIN * (self.high - self.low) + 0.05
        said = []
        for row, over in zip(values, beyond, strict=True):
            k = int(np.argmax(over))
            low, high = np.exp(self.low[k]), np.exp(self.high[k])
            said.append(
                f"{NAMES[k]} is {np.exp(row[k]):.2g}, theirs {low:.2g} to {high:.2g}"
                if over[k] > 0
                else ""
            )
        return said

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it, as named arrays."""
        return {"low": self.low, "high": self.high}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take back what `arrays` gave."""
        for name in ("low", "high"):
            if arrays[name].shape != (len(NAMES),):
                raise ValueError(f"the textures' {name} has shape {arrays[name].shape}")
        return cls(arrays["low"], arrays["high"])


def measured(unit: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logarithms of `NAMES`, shape (n, 5), of images on the [0, 1] scale, shape (n, H, W)."""
    parts = [_measured(unit[k : k + BATCH]) for k in range(0, len(unit), BATCH)]
    return np.concatenate(parts)


def _measured(unit: NDArray[np.float32]) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter

    blurred = [gaussian_filter(unit, (0, width, width), mode="nearest") for width in WIDTHS_PX]
    scales = [
        np.square(finer - coarser, dtype=np.float64)
        for finer, coarser in zip([unit, *blurred[:-1]], blurred, strict=True)
    ]
    faint = blurred[-1] <= np.median(blurred[-1], axis=(1, 2), keepdims=True)

    def rms(squares: NDArray[np.float64], where: NDArray[np.bool_]) -> NDArray[np.float64]:
        # An image of few values may have no bright half.
        number = np.maximum(where.sum(axis=(1, 2)), 1)
        rms: NDArray[np.float64] = np.sqrt((squares * where).sum(axis=(1, 2)) / number)
        return rms + LEAST_RMS

    grain = [np.log(rms(squares, faint)) for squares in scales]
    coarse = rms(scales[-1], ~faint)
    sharpness = [np.log(rms(squares, ~faint) / coarse) for squares in scales[:-1]]
    return np.stack([*grain, *sharpness], axis=1)
