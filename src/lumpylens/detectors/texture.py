"""How grainy and how sharp the training images were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_SIDE", "Texture"]

SCALES_PX = (1, 2, 4)
"""Sides of the squares that are compared with the square of twice the side in which they lie, as in
a Haar transform: a tenth of the time that differences of Gaussian blurs need."""

NAMES = (
    "the texture of its faint half at 1 pixel",
    "the texture of its faint half at 2 pixels",
    "the texture of its faint half at 4 pixels",
    "the sharpness of its bright half at 1 pixel",
    "the sharpness of its bright half at 2 pixels",
)

LEAST_RMS = 1e-4
"""Of the image's range: a fortieth of a step of 8 bits, so that a black sky has a logarithm."""

MARGIN = 0.25
"""How far, in widths of the training images' range, a logarithm may lie outside it. Of 1,200
normal images of the challenge, compared with 1,200 others, none lies outside by more than 0.1."""

LEAST_SIDE = 2 * SCALES_PX[-1]
"""Of an image, in pixels, so that it has a square of the coarsest scale."""

BATCH = 16
"""Images measured at once, so that their squares stay in the cache."""


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
        """Oddity of each image on the [0, 1] scale, shape (n, H, W), or an empty string."""
        values = measured(unit)
        beyond = np.maximum(self.low - values, values - self.high)
        beyond -= MARGIN * (self.high - self.low) + 0.05
        reasons = []
        for row, over in zip(values, beyond, strict=True):
            k = int(np.argmax(over))
            low, high = np.exp(self.low[k]), np.exp(self.high[k])
            reasons.append(
                f"{NAMES[k]} is {np.exp(row[k]):.2g}, in training images {low:.2g} to {high:.2g}"
                if over[k] > 0
                else ""
            )
        return reasons

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Named arrays of all that was learned."""
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
    coarsest = 2 * SCALES_PX[-1]
    height, width = (side - side % coarsest for side in unit.shape[1:])
    mean, details = unit[:, :height, :width], []
    for side in SCALES_PX:
        mean, detail = _halved(mean)
        details.append(side**2 * detail)
    faint = mean <= np.median(mean, axis=(1, 2), keepdims=True)
    # An image of few values may have no bright half.
    pixels = coarsest**2 * np.stack([faint, ~faint]).sum(axis=(2, 3)).clip(min=1)

    logarithms = []
    for detail in details:
        times = detail.shape[1] // faint.shape[1]
        inside = faint.repeat(times, axis=1).repeat(times, axis=2)
        halves = np.stack([(detail * half).sum(axis=(1, 2)) for half in (inside, ~inside)])
        logarithms.append(np.log(np.sqrt(halves / pixels) + LEAST_RMS))
    grain, contrast = np.stack(logarithms, axis=-1)
    return np.concatenate([grain, contrast[:, :-1] - contrast[:, -1:]], axis=1)


def _halved(finer: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means of squares of two by two values, and the sum of the squared differences from them."""
    half, quarter = np.float32(0.5), np.float32(0.25)
    rows, steps = finer[:, ::2] + finer[:, 1::2], finer[:, ::2] - finer[:, 1::2]
    left, right = rows[:, :, ::2], rows[:, :, 1::2]
    detail = quarter * np.square(left - right)
    detail += half * (np.square(steps[:, :, ::2]) + np.square(steps[:, :, 1::2]))
    return quarter * (left + right), detail
