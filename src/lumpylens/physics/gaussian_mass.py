"""Deflection by elliptical Gaussians of mass, which can describe the stars of any galaxy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["enclosed", "gaussian_deflection"]

Image = NDArray[np.float64]

ROUNDEST = 1e-6
"""Smallest 1 - q: the formula divides by it. The error of a rounder ellipse is as small."""


def gaussian_deflection(
    x: Image, y: Image, eta: tuple[float, float], widths: Image, masses: Image
) -> tuple[Image, Image]:
    """Deflection by concentric Gaussians that share their ellipse.

    Parameters
    ----------
    x, y : ndarray, shape (h, w)
        Relative to the centre, arcsec.
    eta : (float, float)
        ``-ln(q) (cos 2 phi, sin 2 phi)``.
    widths : ndarray, shape (k,)
        Standard deviations where the ellipse is a circle of the same area, arcsec.
    masses : ndarray, shape (k,)
        Squared Einstein radii of points of the same mass, arcsec^2.

    Returns
    -------
    pair of ndarray, shape (h, w)
        Along x and y, arcsec.

    Notes
    -----
    Shajib 2019 (arXiv:1906.08263), equations 27 to 31, with the Faddeeva function.
    """
    from scipy.special import wofz

    q = min(math.exp(-math.hypot(*eta)), 1 - ROUNDEST)
    turn = complex(*eta) / max(math.hypot(*eta), 1e-300) if any(eta) else 1.0
    axis = np.sqrt(turn)
    along = (x + 1j * y) * np.conj(axis)
    u, v = along.real, np.abs(along.imag)
    flat = 1 - q * q
    total = np.zeros(np.shape(x), complex)
    for width, mass in zip(widths, masses, strict=True):
        if mass == 0:
            continue
        # Their ellipse is q^2 x^2 + y^2, which is q times that with the area of a circle.
        sigma = width * math.sqrt(q)
        scale = q / (sigma * math.sqrt(2 * flat))
        a, b = u * scale, v * scale
        faded = np.exp(-(a * a) * flat - b * b * (1 / q**2 - 1))
        difference = wofz(a + 1j * b) - faded * wofz(q * a + 1j * b / q)
        central = mass / (2 * width**2)
        factor = central * sigma * math.sqrt(2 * math.pi / flat)
        total += factor * (difference.imag + 1j * np.sign(along.imag) * difference.real)
    bent = total * axis
    return bent.real, bent.imag


def enclosed(radius: float, widths: Image, masses: Image) -> float:
    """Mass of Gaussians within an ellipse with the area of a circle, in the unit of `masses`.

    Parameters
    ----------
    radius : float
        Of the circle, arcsec.
    widths, masses : ndarray, shape (k,)
    """
    return float(masses @ -np.expm1(-(radius**2) / (2 * widths**2)))
