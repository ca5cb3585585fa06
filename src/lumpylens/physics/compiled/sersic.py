"""Sersic light of one lens in a single pass over its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import LOG2E, F, Image, compiled, exp2_row, log2_row
from lumpylens.physics.light import CORE_PX, sersic_coefficient

__all__ = ["CORE_SQUARE", "LENS_LIGHT_SHAPE", "sersic_light", "sersic_numbers", "sersic_of_squares"]

Number = float | NDArray[np.float64]

CORE_SQUARE = F(CORE_PX**2)
LENS_LIGHT_SHAPE = (
    "lens_light_eta_1",
    "lens_light_eta_2",
    "log_lens_light_radius_px",
    "log_lens_light_index",
)


def sersic_light(
    u: Image, v: Image, eta_1: float, eta_2: float, log_radius: float, log_index: float
) -> Image:
    """Evaluate a Sersic profile at given positions, as `lumpylens.physics.light.sersic` does."""
    out = np.empty_like(u)
    _sersic_at(out, u, v, sersic_numbers(eta_1, eta_2, log_radius, log_index))
    return out


def sersic_numbers(eta_1: Number, eta_2: Number, log_radius: Number, log_index: Number) -> Image:
    """Coefficients of x^2, y^2 and xy, logarithm of the radius, 1/n and b_n; shape (..., 6).

    A step of a fit may end where they are infinite; it is undone.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        eta = np.hypot(eta_1, eta_2)
        sinhc = np.where(eta > 1e-9, np.sinh(eta) / np.maximum(eta, 1e-9), 1.0)
        n = np.exp(log_index)
        numbers = (
            np.cosh(eta) - sinhc * eta_1, np.cosh(eta) + sinhc * eta_1, -2 * sinhc * eta_2,
            log_radius, 1 / n, sersic_coefficient(n),
        )  # fmt: skip
        return np.stack(np.broadcast_arrays(*numbers), axis=-1).astype(np.float32)


@compiled
def sersic_of_squares(values, shape, exponent, other):  # type: ignore[no-untyped-def]
    """Replace the squared elliptical radii of a row by the profile."""
    log2_row(values, exponent, other)
    half, shift = F(0.5) * shape[4], shape[3] * LOG2E * shape[4]
    for j in range(values.shape[0]):
        values[j] = values[j] * half - shift
    exp2_row(values, exponent, other)
    steepness = shape[5] * LOG2E
    for j in range(values.shape[0]):
        values[j] = steepness * (F(1) - values[j])
    exp2_row(values, exponent, other)


@compiled
def _sersic_at(out, u, v, shape):  # type: ignore[no-untyped-def]
    exponent, other = np.empty(u.shape[1], np.int32), np.empty(u.shape[1], np.float32)
    for i in range(u.shape[0]):
        row, x, y = out[i], u[i], v[i]
        for j in range(u.shape[1]):
            along, across = shape[0] * x[j] * x[j], shape[1] * y[j] * y[j]
            row[j] = along + across + shape[2] * x[j] * y[j] + CORE_SQUARE
        sersic_of_squares(row, shape, exponent, other)
