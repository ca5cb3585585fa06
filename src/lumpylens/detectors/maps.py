"""Maps of where a score comes from: sums over small circles, one around each pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lumpylens.results.explanation import PositionMap

__all__ = ["circle_radius_px", "image_map", "largest_at", "sums_in_circles"]

CIRCLE = 1 / 30
"""Radius of the circles, in units of the image's shorter side: 5 px of 150, about the width of an
arc of the challenge's images. By eye: smaller ones show noise, larger ones hide where it is."""


def circle_radius_px(image_shape: tuple[int, int]) -> int:
    """Radius in whole pixels of the circles over which maps of images of this shape sum."""
    return max(1, round(CIRCLE * min(image_shape)))


def sums_in_circles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of `values` over the circle around each pixel, shape (H, W); nothing lies outside."""
    # scipy.signal takes a third of a second to load, and scoring does not need it.
    from scipy.signal import fftconvolve

    height, width = values.shape
    radius = circle_radius_px((height, width))
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    circle = (x**2 + y**2 <= radius**2).astype(np.float64)
    sums: NDArray[np.float64] = fftconvolve(values, circle, mode="same")
    return sums


def largest_at(values: NDArray[np.float64], sums: NDArray[np.float64]) -> tuple[int, int]:
    """Row and column of what makes the largest sum: the middle of the values in its circle.

    All circles that hold a single bright pixel have the same sum, so that the middle of the
    first of them would lie beside it.

    Parameters
    ----------
    values, sums : ndarray, shape (H, W)
        What `sums_in_circles` takes and gives.
    """
    height, width = values.shape
    row, column = np.unravel_index(sums.argmax(), sums.shape)
    y, x = np.ogrid[:height, :width]
    inside = np.hypot(x - column, y - row) <= circle_radius_px((height, width))
    weights = np.where(inside, np.maximum(values, 0), 0)
    total = weights.sum()
    if total <= 0:
        return int(row), int(column)
    return round(float((weights * y).sum() / total)), round(float((weights * x).sum() / total))


def image_map(
    name: str,
    title: str,
    values: NDArray[np.float64],
    unit: str,
    least_range: float = 0.0,
) -> PositionMap:
    """A diverging map with one value per pixel of the image; arguments as in `PositionMap`."""
    height, width = values.shape
    extent = (-0.5, width - 0.5, -0.5, height - 0.5)
    return PositionMap(
        name,
        title,
        values.astype(np.float32),
        extent,
        unit,
        diverging=True,
        least_range=least_range,
    )
