"""What the training images looked like, so that foreign images are told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Domain"]

LEVELS = (0.1, 0.5, 0.9, 0.99)
MARGIN = 1.0
"""How far, in widths of the training images' range, a quantile may lie outside it."""


@dataclass(frozen=True)
class Domain:
    """Range of the brightness quantiles of the training images.

    A picture with another stretch (square root, logarithm, histogram), of another object or
    with another field of view has other quantiles; substructure moves them by far less than
    the margin.

    Attributes
    ----------
    low, high : ndarray, shape (4,)
        Smallest and largest value, over the training images, of the quantiles 0.1, 0.5, 0.9
        and 0.99 of the pixels on the image's [0, 1] scale.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def learn(cls, pixels: NDArray[np.float32]) -> Domain:
        """Learn from normal images, shape (n, H, W)."""
        values = brightness_quantiles(pixels)
        return cls(values.min(axis=0), values.max(axis=0))

    def warnings(self, pixels: NDArray[np.float32]) -> list[str]:
        """Per image of shape (n, H, W): what is foreign about it, or an empty string."""
        values = brightness_quantiles(pixels)
        slack = MARGIN * (self.high - self.low) + 0.01
        outside = (values < self.low - slack) | (values > self.high + slack)
        found = []
        for row, bad in zip(values, outside, strict=True):
            if bad.any():
                k = int(np.argmax(bad))
                found.append(
                    f"not like the training images: its {LEVELS[k]:g} brightness quantile is "
                    f"{row[k]:.3f} of the peak, theirs {self.low[k]:.3f} to {self.high[k]:.3f}"
                )
            else:
                found.append("")
        return found


def brightness_quantiles(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Quantiles at `LEVELS` of each image's pixels on its [0, 1] scale, shape (n, 4)."""
    flat = np.sort(pixels.reshape(len(pixels), -1), axis=1).astype(np.float64)
    at = [round(level * (flat.shape[1] - 1)) for level in LEVELS]
    result: NDArray[np.float64] = (flat[:, at] - flat[:, :1]) / (flat[:, -1:] - flat[:, :1])
    return result
