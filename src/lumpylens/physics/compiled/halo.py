"""Deflection of an isothermal halo, row by row."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import (
    ARCTAN,
    HALF_LN2,
    HALF_PI,
    F,
    Image,
    compiled,
    log2_row,
)
from lumpylens.physics.deflection import ROUND
from lumpylens.physics.parameters import INDEX

__all__ = ["TINY", "halo_numbers", "halo_row"]

TINY = F(1e-12)


def halo_numbers(parameters: NDArray[np.float64]) -> Image:
    """Radius, shear, source position, eta, and the ellipse's q, root of q, f, cos and sin.

    Parameters
    ----------
    parameters : ndarray, shape (..., COUNT)

    Returns
    -------
    ndarray of float32, shape (..., 13)
        Infinite where a step of a fit went too far; it is undone.
    """
    names = ("shear_1", "shear_2", "source_x", "source_y", "mass_eta_1", "mass_eta_2")
    g1, g2, sx, sy, eta_1, eta_2 = (parameters[..., INDEX[name]] for name in names)
    with np.errstate(over="ignore", invalid="ignore"):
        radius = np.exp(parameters[..., INDEX["log_einstein_radius_px"]])
        eta = np.hypot(eta_1, eta_2)
        q, phi = np.exp(-eta), 0.5 * np.arctan2(eta_2, eta_1)
        numbers = (
            radius, g1, g2, radius * sx, radius * sy, eta_1, eta_2, eta, q, np.sqrt(q),
            np.sqrt(1 - q * q), np.cos(phi), np.sin(phi),
        )  # fmt: skip
        return np.stack(numbers, axis=-1).astype(np.float32)


@compiled
def halo_row(ax, ay, x, y, halo, exponent, other, ratio):  # type: ignore[no-untyped-def]
    """Deflection of an isothermal halo along a row (see `physics.deflection.halo`)."""
    radius, eta_1, eta_2, eta = halo[0], halo[5], halo[6], halo[7]
    width = x.shape[0]
    if eta == F(0):
        for j in range(width):
            scale = radius / math.sqrt(x[j] * x[j] + y * y + TINY)
            ax[j] = x[j] * scale
            ay[j] = y * scale
    elif eta <= F(ROUND):
        for j in range(width):
            scale = F(1) / math.sqrt(x[j] * x[j] + y * y + TINY)
            a, b = x[j] * scale, y * scale
            tilt = eta_1 * (a * a - b * b) + F(2) * eta_2 * a * b
            ax[j] = radius * (a - (F(2) * (eta_1 * a + eta_2 * b) - a * tilt) / F(6))
            ay[j] = radius * (b - (F(2) * (eta_2 * a - eta_1 * b) - b * tilt) / F(6))
    else:
        _elliptical(ax, ay, x, y, halo, exponent, other, ratio)


@compiled
def _elliptical(ax, ay, x, y, halo, exponent, other, ratio):  # type: ignore[no-untyped-def]
    """Deflection of an isothermal ellipsoid along a row (see `physics.deflection.halo`)."""
    q, f, cos, sin = halo[8], halo[10], halo[11], halo[12]
    size = halo[0] * halo[9] / f
    for j in range(x.shape[0]):
        a, b = x[j] + F(1e-6), y + F(1e-6)
        along, across = cos * a + sin * b, cos * b - sin * a
        scale = f / math.sqrt(q * q * along * along + across * across)
        ax[j], tilt = along * scale, across * scale
        ratio[j] = (F(1) + tilt) / (F(1) - tilt)
    # Inverse tangents of ax, and half the logarithm of the ratio: the hyperbolic ones of tilt.
    log2_row(ratio, exponent, other)
    for j in range(x.shape[0]):
        z = ax[j]
        steep = abs(z) > F(1)
        small = F(1) / z if steep else z
        square = small * small - F(0.5)
        total = ARCTAN[9]
        for k in range(9):
            total = total * square + ARCTAN[8 - k]
        turn = total * small
        ax[j] = (math.copysign(HALF_PI, z) - turn) if steep else turn
    for j in range(x.shape[0]):
        da, db = size * ax[j], size * HALF_LN2 * ratio[j]
        ax[j] = cos * da - sin * db
        ay[j] = sin * da + cos * db
