"""Deflection by an NFW halo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["elliptical_nfw", "nfw_mass"]

Image = NDArray[np.float64]

INNERMOST = 1e-4
"""Least radius over scale radius: further in, the formula loses its digits."""

AT_SCALE_RADIUS = 1e-5
"""Distance of the radius over scale radius from 1 within which the formula is 0 / 0."""


def nfw_mass(x: Image) -> Image:
    """Mass in a cylinder over ``4 pi rho_s r_s^3``.

    Parameters
    ----------
    x : ndarray
        Projected radius over scale radius.

    Notes
    -----
    Wright & Brainerd 2000 (astro-ph/9908213), equation 13, times x^2 / 4.
    """
    x = np.maximum(x, INNERMOST)
    square = np.where(np.abs(x - 1) < AT_SCALE_RADIUS, (1 + AT_SCALE_RADIUS) ** 2, x * x)
    root = np.sqrt(np.abs(1 - square))
    half = root / (1 + np.sqrt(square))
    arc = np.where(square < 1, np.arctanh(np.minimum(half, 1 - 1e-16)), np.arctan(half))
    mass: Image = np.log(x / 2) + 2 * arc / root
    return mass


def elliptical_nfw(
    x: Image, y: Image, epsilon: tuple[float, float], scale_radius: float
) -> tuple[Image, Image]:
    """Deflection by a halo whose potential is elliptical, over ``4 pi rho_s r_s^3``.

    Parameters
    ----------
    x, y : ndarray, shape (h, w)
        Relative to the centre, arcsec.
    epsilon : (float, float)
        ``(1 - q^2) / (1 + q^2) (cos 2 phi, sin 2 phi)`` of the potential.
    scale_radius : float
        Arcsec.

    Returns
    -------
    pair of ndarray, shape (h, w)
        Along x and y, in units in which a point has ``1 / r``.

    Notes
    -----
    The radius is that of Golse & Kneib 2002 (astro-ph/0112138), equation 9:
    ``R^2 = (1 - epsilon) x^2 + (1 + epsilon) y^2`` along the axes.
    """
    e_1, e_2 = epsilon
    along_x, along_y = x - e_1 * x - e_2 * y, y + e_1 * y - e_2 * x
    square = np.maximum(x * along_x + y * along_y, (INNERMOST * scale_radius) ** 2)
    per_square = nfw_mass(np.sqrt(square) / scale_radius) / square
    return per_square * along_x, per_square * along_y
