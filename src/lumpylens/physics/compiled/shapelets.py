"""Shapelets, their sum and its gradient, row by row.

The same as `lumpylens.physics.shapelets.Shapelets`. Functions are computed in double precision,
since their recurrence adds up rounding errors; columns are single, as the blur is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import compiled

__all__ = [
    "add_row", "prepare_row", "shapelet_columns", "shapelet_light", "slopes_row", "weighted_light",
]  # fmt: skip

Positions = NDArray[np.float64]

LEAST_EXPONENT = -80.0
"""Of the Gaussian in all shapelets, so that single precision has all digits of every column."""


def shapelet_columns(x: Positions, y: Positions, scale: float, largest: int) -> NDArray[np.float32]:
    """Surface brightness of every shapelet, in the order of `lumpylens.physics.shapelets.orders`.

    Parameters
    ----------
    x, y : ndarray, shape (h, w)
        Positions relative to the source.
    scale : float
        Width of the Gaussian, in the unit of the positions.
    largest : int
        Highest total order.

    Returns
    -------
    ndarray of float32, shape (count, h, w)
    """
    out = np.empty(((largest + 1) * (largest + 2) // 2, *x.shape), np.float32)
    _columns(out, x, y, scale, largest)
    return out


def shapelet_light(
    x: Positions, y: Positions, scale: float, coefficients: Positions, largest: int
) -> tuple[Positions, Positions, Positions]:
    """Sum of shapelets with the given coefficients (count,), and its gradient along x and y.

    Parameters
    ----------
    x, y : ndarray, shape (h, w)
        Positions relative to the source.
    scale : float
    coefficients : ndarray, shape (count,)
    largest : int
        Highest total order.

    Returns
    -------
    light, d_x, d_y : ndarray, shape (h, w)
    """
    out = np.zeros((3, *x.shape))
    _light(out, x, y, scale, coefficients, largest)
    return out[0], out[1], out[2]


def weighted_light(
    x: Positions, y: Positions, scale: float, weights: NDArray[np.float32], largest: int
) -> tuple[Positions, Positions, Positions]:
    """Sum of shapelets, each times its own image of weights, and that of their gradients.

    Parameters
    ----------
    x, y : ndarray, shape (h, w)
        Positions relative to the source.
    scale : float
    weights : ndarray of float32, shape (count, h, w)
    largest : int
        Highest total order.

    Returns
    -------
    light, d_x, d_y : ndarray, shape (h, w)
        The gradients are those of the shapelets alone.
    """
    out = np.zeros((3, *x.shape))
    _weighted(out, x, y, scale, weights, largest)
    return out[0], out[1], out[2]


@compiled
def _functions(functions, first, u, largest):  # type: ignore[no-untyped-def]
    """Gauss-Hermite functions (largest + 2, w) of a row, times `first` over exp(-u^2 / 2)."""
    width = u.shape[0]
    for j in range(width):
        functions[0, j] = first[j]
        functions[1, j] = math.sqrt(2.0) * u[j] * first[j]
    for n in range(2, largest + 2):
        rise, fall = math.sqrt(2 / n), math.sqrt((n - 1) / n)
        for j in range(width):
            functions[n, j] = rise * u[j] * functions[n - 1, j] - fall * functions[n - 2, j]


@compiled
def prepare_row(along_x, along_y, u, v, x, y, scale, largest):  # type: ignore[no-untyped-def]
    """Functions along x and y of a row; those along x carry the Gaussian of both and the norm."""
    envelope, ones = np.empty(x.shape[0]), np.ones(x.shape[0])
    norm = 1 / (math.sqrt(math.pi) * scale)
    for j in range(x.shape[0]):
        u[j], v[j] = x[j] / scale, y[j] / scale
        exponent = -0.5 * (u[j] * u[j] + v[j] * v[j])
        envelope[j] = norm * math.exp(max(exponent, LEAST_EXPONENT))
    _functions(along_x, envelope, u, largest)
    _functions(along_y, ones, v, largest)


@compiled
def _columns(out, x, y, scale, largest):  # type: ignore[no-untyped-def]
    height, width = x.shape
    along_x, along_y = np.empty((largest + 2, width)), np.empty((largest + 2, width))
    u, v = np.empty(width), np.empty(width)
    for i in range(height):
        prepare_row(along_x, along_y, u, v, x[i], y[i], scale, largest)
        k = 0
        for total in range(largest + 1):
            for n in range(total + 1):
                row, of_x, of_y = out[k, i], along_x[n], along_y[total - n]
                for j in range(width):
                    row[j] = of_x[j] * of_y[j]
                k += 1


@compiled
def _light(out, x, y, scale, coefficients, largest):  # type: ignore[no-untyped-def]
    height, width = x.shape
    along_x, along_y = np.empty((largest + 2, width)), np.empty((largest + 2, width))
    slope_x, slope_y = np.empty((largest + 1, width)), np.empty((largest + 1, width))
    u, v, by_y, rise = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    for i in range(height):
        prepare_row(along_x, along_y, u, v, x[i], y[i], scale, largest)
        slopes_row(slope_x, along_x, scale)
        slopes_row(slope_y, along_y, scale)
        along, slopes = (along_x, along_y), (slope_x, slope_y)
        add_row(out[0, i], out[1, i], out[2, i], along, slopes, coefficients, largest, by_y, rise)


@compiled
def add_row(light, d_x, d_y, along, slopes, coefficients, largest, by_y, rise):  # type: ignore[no-untyped-def]
    """Add the sum of shapelets and its gradient to rows; the last two are scratch."""
    along_x, along_y = along
    slope_x, slope_y = slopes
    for n in range(largest + 1):
        by_y[:] = 0
        rise[:] = 0
        for m in range(largest + 1 - n):
            total = n + m
            amplitude = coefficients[total * (total + 1) // 2 + n]
            for j in range(by_y.shape[0]):
                by_y[j] += amplitude * along_y[m, j]
                rise[j] += amplitude * slope_y[m, j]
        for j in range(by_y.shape[0]):
            light[j] += along_x[n, j] * by_y[j]
            d_x[j] += slope_x[n, j] * by_y[j]
            d_y[j] += along_x[n, j] * rise[j]


@compiled
def _weighted(out, x, y, scale, weights, largest):  # type: ignore[no-untyped-def]
    height, width = x.shape
    along_x, along_y = np.empty((largest + 2, width)), np.empty((largest + 2, width))
    slope_x, slope_y = np.empty((largest + 1, width)), np.empty((largest + 1, width))
    u, v = np.empty(width), np.empty(width)
    for i in range(height):
        prepare_row(along_x, along_y, u, v, x[i], y[i], scale, largest)
        slopes_row(slope_x, along_x, scale)
        slopes_row(slope_y, along_y, scale)
        light, d_x, d_y = out[0, i], out[1, i], out[2, i]
        k = 0
        for total in range(largest + 1):
            for n in range(total + 1):
                m, weight = total - n, weights[k, i]
                for j in range(width):
                    light[j] += weight[j] * along_x[n, j] * along_y[m, j]
                    d_x[j] += weight[j] * slope_x[n, j] * along_y[m, j]
                    d_y[j] += weight[j] * along_x[n, j] * slope_y[m, j]
                k += 1


@compiled
def slopes_row(slopes, functions, scale):  # type: ignore[no-untyped-def]
    """Derivatives of the one-dimensional functions (Refregier 2003, equation 14)."""
    for n in range(slopes.shape[0]):
        fall, rise = math.sqrt(n / 2) / scale, math.sqrt((n + 1) / 2) / scale
        for j in range(slopes.shape[1]):
            below = functions[n - 1, j] if n > 0 else 0.0
            slopes[n, j] = fall * below - rise * functions[n + 1, j]
