"""What perturbers at many places change, one after the other: a softened point mass at each.

The deflection is that of `lumpylens.physics.deflection.softened_point`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import compiled

__all__ = ["bent_rays", "light_moved"]

Positions = NDArray[np.float64]
Pair = tuple[Positions, Positions]


def light_moved(grid: Pair, places: Pair, gradient: Pair, softening: float) -> NDArray[np.float32]:
    """Change of the light per unit of each perturber's strength, where that is small.

    Parameters
    ----------
    grid : pair of ndarray, shape (h, w)
        Positions of the pixels, x and y.
    places : pair of ndarray, shape (k,)
        Positions of the perturbers.
    gradient : pair of ndarray, shape (h, w)
        Of the source's brightness where each ray ends.
    softening : float

    Returns
    -------
    ndarray of float32, shape (k, h, w)
    """
    out = np.empty((len(places[0]), *grid[0].shape), np.float32)
    _light_moved(out, *grid, *places, *gradient, softening)
    return out


def bent_rays(
    grid: Pair, places: Pair, rays: Pair, strength: float, softening: float
) -> NDArray[np.float32]:
    """Positions at which rays end with one of the perturbers in their way.

    Parameters
    ----------
    grid : pair of ndarray, shape (h, w)
        Positions of the pixels, x and y.
    places : pair of ndarray, shape (k,)
        Positions of the perturbers.
    rays : pair of ndarray, shape (h, w)
        Where rays end without a perturber.
    strength : float
        Squared Einstein radius of each.
    softening : float

    Returns
    -------
    ndarray of float32, shape (k, h, w, 2)
    """
    out = np.empty((len(places[0]), *grid[0].shape, 2), np.float32)
    _bent_rays(out, *grid, *places, *rays, strength, softening)
    return out


@compiled
def _light_moved(out, x, y, at_x, at_y, gradient_x, gradient_y, softening):  # type: ignore[no-untyped-def]
    for k in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                u, v = x[i, j] - at_x[k], y[i, j] - at_y[k]
                along = gradient_x[i, j] * u + gradient_y[i, j] * v
                out[k, i, j] = -along / (u * u + v * v + softening * softening)


@compiled
def _bent_rays(out, x, y, at_x, at_y, ray_x, ray_y, strength, softening):  # type: ignore[no-untyped-def]
    for k in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                u, v = x[i, j] - at_x[k], y[i, j] - at_y[k]
                weight = strength / (u * u + v * v + softening * softening)
                out[k, i, j, 0] = ray_x[i, j] - weight * u
                out[k, i, j, 1] = ray_y[i, j] - weight * v
