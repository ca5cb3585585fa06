"""What perturbers at many places change, one after the other.

They are softened point masses, whose deflection is that of
`lumpylens.physics.deflection.softened_point`, or haloes with a table of their deflection.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import compiled

__all__ = ["bent_rays", "light_moved", "light_moved_by_haloes", "radii"]

Positions = NDArray[np.float64]
Pair = tuple[Positions, Positions]

LOG_SQUARE, NODES = (math.log(1e-3**2), math.log(20.0**2)), 200
"""Logarithms of the smallest and largest squared distance of a table, and its nodes: deflections of
smooth profiles are then right to 2e-3. The range, in arcsec, is that of positions in a cutout."""


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


def radii() -> Positions:
    """Distances, arcsec, at which `light_moved_by_haloes` takes deflections."""
    return np.exp(np.linspace(*LOG_SQUARE, NODES) / 2)


def light_moved_by_haloes(
    grid: Pair, places: Pair, gradient: Pair, bending: Positions
) -> NDArray[np.float32]:
    """Change of the light, to first order, by haloes of several masses at each place.

    Parameters
    ----------
    grid : pair of ndarray, shape (h, w)
        Positions of the pixels, x and y, arcsec.
    places : pair of ndarray, shape (k,)
        Positions of the haloes.
    gradient : pair of ndarray, shape (h, w)
        Of the source's brightness where each ray ends.
    bending : ndarray, shape (masses, nodes)
        Deflection over distance of each mass, at `radii`.

    Returns
    -------
    ndarray of float32, shape (k, masses, h, w)
    """
    out = np.empty((len(places[0]), len(bending), *grid[0].shape), np.float32)
    per_unit = (NODES - 1) / (LOG_SQUARE[1] - LOG_SQUARE[0])
    _light_moved_by_haloes(
        out, *grid, *places, *gradient, np.ascontiguousarray(bending), LOG_SQUARE[0], per_unit
    )
    return out


@compiled
def _light_moved_by_haloes(  # type: ignore[no-untyped-def]
    out, x, y, at_x, at_y, gradient_x, gradient_y, bending, first, per_unit
):
    last = bending.shape[1] - 2
    for k in range(out.shape[0]):
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                u, v = x[i, j] - at_x[k], y[i, j] - at_y[k]
                along = gradient_x[i, j] * u + gradient_y[i, j] * v
                at = max((math.log(u * u + v * v + 1e-300) - first) * per_unit, 0.0)
                node = min(int(at), last)
                part = at - node
                for m in range(out.shape[1]):
                    low, high = bending[m, node], bending[m, node + 1]
                    out[k, m, i, j] = -along * (low + part * (high - low))


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
