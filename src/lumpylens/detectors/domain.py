"""What the training images looked like, so that foreign images are told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Domain"]

LEVELS = (0.1, 0.5, 0.9, 0.99)
MARGIN = 1.0
"""How far, in widths of the training images' range, a quantile may lie outside it."""

FLAT_MARGIN = 0.05
"""How many more of the pixels may have one value than in any training image."""


@dataclass(frozen=True)
class Domain:
    """Range of the brightness quantiles of the training images, and how much of them is flat.

    A picture with another stretch (square root, logarithm, histogram), of another object or
    with another field of view has other quantiles; substructure moves them by far less than
    the margin.

    Attributes
    ----------
    low, high : ndarray, shape (4,)
        Smallest and largest value, over the training images, of the quantiles 0.1, 0.5, 0.9
        and 0.99 of the pixels on the image's [0, 1] scale.
    one_value : float
        Largest share of the pixels of a training image that have one and the same value. The edge
        of a detector, filled with zeros, raises it.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    one_value: float = 1.0

    @classmethod
    def learn(cls, pixels: NDArray[np.float32]) -> Domain:
        """Learn from normal images, shape (n, H, W)."""
        ascending = sorted_pixels(pixels)
        values = brightness_quantiles(ascending)
        shares = one_value_shares(ascending)
        return cls(values.min(axis=0), values.max(axis=0), float(shares.max()))

    def warnings(self, pixels: NDArray[np.float32]) -> list[str]:
        """Per image of shape (n, H, W): what is foreign about it, or an empty string."""
        ascending = sorted_pixels(pixels)
        values, shares = brightness_quantiles(ascending), one_value_shares(ascending)
        slack = MARGIN * (self.high - self.low) + 0.01
        outside = (values < self.low - slack) | (values > self.high + slack)
        found = []
        for row, bad, share in zip(values, outside, shares, strict=True):
            if share > self.one_value + FLAT_MARGIN:
                found.append(
                    f"not like the training images: {share:.0%} of its pixels have one and the "
                    f"same value, of theirs at most {self.one_value:.0%}"
                )
            elif bad.any():
                k = int(np.argmax(bad))
                found.append(
                    f"not like the training images: its {LEVELS[k]:g} brightness quantile is "
                    f"{row[k]:.3f} of the peak, theirs {self.low[k]:.3f} to {self.high[k]:.3f}"
                )
            else:
                found.append("")
        return found


def sorted_pixels(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixels of each image from the faintest on, shape (n, H x W)."""
    return np.sort(pixels.reshape(len(pixels), -1), axis=1)


def brightness_quantiles(ascending: NDArray[np.float32]) -> NDArray[np.float64]:
    """Quantiles at `LEVELS` of each image's sorted pixels on its [0, 1] scale, shape (n, 4)."""
    at = [round(level * (ascending.shape[1] - 1)) for level in LEVELS]
    chosen = ascending[:, [0, *at, -1]].astype(np.float64)
    low, high = chosen[:, :1], chosen[:, -1:]
    result: NDArray[np.float64] = (chosen[:, 1:-1] - low) / (high - low)
    return result


def one_value_shares(ascending: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of each image's sorted pixels that have its most common value, shape (n,)."""
    steps = ascending[:, 1:] != ascending[:, :-1]
    ends = np.pad(steps, ((0, 0), (1, 1)), constant_values=True)
    longest = [np.diff(np.flatnonzero(row)).max() for row in ends]
    shares: NDArray[np.float64] = np.array(longest) / ascending.shape[1]
    return shares
