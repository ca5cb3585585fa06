"""Rays through a power law, multipoles, shear and a perturber, row by row.

The same as `lumpylens.physics.rays`, with the derivatives by every parameter.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import compiled
from lumpylens.physics.rays import SOFTENING_ARCSEC

__all__ = ["ray_tangents", "trace"]

Positions = NDArray[np.float64]

SMALL = 1e-12
"""Part of the first term of a series below which the rest is left out."""

LEAST_TERMS, MOST_TERMS = 4, 60
"""Of the series; the most are enough for an axis ratio of 0.25, flatter than any galaxy."""

CORE_SQUARE = 1e-18
"""Smallest squared radius, so that nothing is divided by zero in the centre."""


def trace(x: Positions, y: Positions, numbers: Positions) -> tuple[Positions, Positions]:
    """Trace rays back to the source, as `lumpylens.physics.rays.trace` does.

    Parameters
    ----------
    x, y : ndarray, shape (h, w)
        Arcsec.
    numbers : ndarray, shape (len(RAYS),)

    Returns
    -------
    pair of ndarray, shape (h, w)
        Positions at which the rays end.
    """
    bx, by = np.empty_like(x), np.empty_like(y)
    ellipse = _ellipse(numbers[1], numbers[2])
    _trace(bx, by, x, y, numbers, ellipse, _series(numbers[3] - 1, ellipse))
    return bx, by


def ray_tangents(
    x: Positions, y: Positions, numbers: Positions, gradient: tuple[Positions, Positions]
) -> NDArray[np.float32]:
    """Change of the brightness where each ray ends, per unit of each parameter in `RAYS`.

    Parameters
    ----------
    x, y : ndarray, shape (h, w)
        Arcsec.
    numbers : ndarray, shape (len(RAYS),)
    gradient : pair of ndarray, shape (h, w)
        Of the source's brightness where each ray ends, along x and y.

    Returns
    -------
    ndarray of float32, shape (len(RAYS), h, w)
    """
    out = np.empty((len(numbers), *x.shape), np.float32)
    ellipse = _ellipse(numbers[1], numbers[2])
    series = _series(numbers[3] - 1, ellipse)
    _ray_tangents(out, *gradient, x, y, numbers, ellipse, series)
    return out


def _ellipse(eta_1: float, eta_2: float) -> Positions:
    """epsilon, the squared root of 1 - |epsilon|^2, and the derivatives of epsilon by eta.

    Returns
    -------
    ndarray, shape (6,)
        epsilon_1, epsilon_2, 1 - |epsilon|^2, then d epsilon_1 / d eta_1, the mixed one, and
        d epsilon_2 / d eta_2.
    """
    square = eta_1 * eta_1 + eta_2 * eta_2
    eta = math.sqrt(square)
    if eta > 1e-2:
        per_eta = math.tanh(eta / 2) / eta
        slope = ((1 - math.tanh(eta / 2) ** 2) / 2 - per_eta) / (2 * square)
    else:
        per_eta, slope = 0.5 - square / 24, -1 / 24 + square / 120
    e_1, e_2 = per_eta * eta_1, per_eta * eta_2
    return np.array(
        [
            e_1,
            e_2,
            1 - e_1 * e_1 - e_2 * e_2,
            per_eta + 2 * slope * eta_1 * eta_1,
            2 * slope * eta_1 * eta_2,
            per_eta + 2 * slope * eta_2 * eta_2,
        ]
    )


def _series(t: float, ellipse: Positions) -> Positions:
    """Coefficients of the angular series and their derivatives by t, shape (2, terms).

    As many as the ellipse needs: their ratio is below |epsilon|.
    """
    flattening = min(max(math.hypot(ellipse[0], ellipse[1]), 1e-6), 0.999)
    terms = math.ceil(math.log(SMALL) / math.log(flattening))
    terms = min(max(terms, LEAST_TERMS), MOST_TERMS)
    coefficients = np.zeros((2, terms))
    value, slope = 1.0, 0.0
    coefficients[:, 0] = value, slope
    for n in range(1, terms):
        below = 2 * n + 2 - t
        ratio = (2 * n - 2 + t) / below
        value, slope = value * ratio, slope * ratio + value * 4 * n / below**2
        coefficients[:, n] = value, slope
    return coefficients


@compiled
def _trace(bx, by, x, y, numbers, ellipse, series):  # type: ignore[no-untyped-def]
    radius, t = math.exp(numbers[0]), numbers[3] - 1
    e_1, e_2 = ellipse[0], ellipse[1]
    shear_1, shear_2 = numbers[6], numbers[7]
    size = radius * radius * ellipse[2]
    width, terms = x.shape[1], series.shape[1]
    step_x, step_y = np.empty(width), np.empty(width)
    sum_x, sum_y = np.empty(width), np.empty(width)
    for i in range(x.shape[0]):
        for j in range(width):
            u, v = x[i, j] - numbers[4], y[i, j] - numbers[5]
            w_x, w_y = u - (e_1 * u + e_2 * v), v - (e_2 * u - e_1 * v)
            square = max(w_x * w_x + w_y * w_y, CORE_SQUARE)
            turn_x, turn_y = (w_x * w_x - w_y * w_y) / square, 2 * w_x * w_y / square
            step_x[j] = -(e_1 * turn_x + e_2 * turn_y)
            step_y[j] = -(e_1 * turn_y - e_2 * turn_x)
            sum_x[j], sum_y[j] = series[0, terms - 1], 0.0
        for n in range(terms - 2, -1, -1):
            term = series[0, n]
            for j in range(width):
                s_x, s_y = sum_x[j], sum_y[j]
                sum_x[j] = s_x * step_x[j] - s_y * step_y[j] + term
                sum_y[j] = s_x * step_y[j] + s_y * step_x[j]
        for j in range(width):
            u, v = x[i, j] - numbers[4], y[i, j] - numbers[5]
            w_x, w_y = u - (e_1 * u + e_2 * v), v - (e_2 * u - e_1 * v)
            power = math.exp(t / 2 * math.log(size / max(w_x * w_x + w_y * w_y, CORE_SQUARE)))
            a_x = power * (w_x * sum_x[j] - w_y * sum_y[j])
            a_y = power * (w_x * sum_y[j] + w_y * sum_x[j])
            # Multipoles, along the radius and across it.
            per_radius = 1 / math.sqrt(max(u * u + v * v, CORE_SQUARE))
            cos, sin = u * per_radius, v * per_radius
            cos_2, sin_2 = cos * cos - sin * sin, 2 * cos * sin
            cos_3, sin_3 = cos_2 * cos - sin_2 * sin, cos_2 * sin + sin_2 * cos
            cos_4, sin_4 = cos_2 * cos_2 - sin_2 * sin_2, 2 * cos_2 * sin_2
            along = -radius * (
                (numbers[8] * cos_3 + numbers[9] * sin_3) / 8
                + (numbers[10] * cos_4 + numbers[11] * sin_4) / 15
            )
            across = -radius * (
                (numbers[9] * cos_3 - numbers[8] * sin_3) * 3 / 8
                + (numbers[11] * cos_4 - numbers[10] * sin_4) * 4 / 15
            )
            a_x += along * cos - across * sin + shear_1 * u + shear_2 * v
            a_y += along * sin + across * cos + shear_2 * u - shear_1 * v
            p_x, p_y = x[i, j] - numbers[12], y[i, j] - numbers[13]
            weight = numbers[14] / (p_x * p_x + p_y * p_y + SOFTENING_ARCSEC**2)
            bx[i, j] = x[i, j] - a_x - weight * p_x
            by[i, j] = y[i, j] - a_y - weight * p_y


@compiled
def _ray_tangents(  # type: ignore[no-untyped-def]
    out, gradient_x, gradient_y, x, y, numbers, ellipse, series
):
    radius, t = math.exp(numbers[0]), numbers[3] - 1
    e_1, e_2 = ellipse[0], ellipse[1]
    size = radius * radius * ellipse[2]
    width, terms = x.shape[1], series.shape[1]
    step_x, step_y = np.empty(width), np.empty(width)
    sum_x, sum_y = np.empty(width), np.empty(width)
    by_step_x, by_step_y = np.empty(width), np.empty(width)
    by_t_x, by_t_y = np.empty(width), np.empty(width)
    for i in range(x.shape[0]):
        for j in range(width):
            u, v = x[i, j] - numbers[4], y[i, j] - numbers[5]
            w_x, w_y = u - (e_1 * u + e_2 * v), v - (e_2 * u - e_1 * v)
            square = max(w_x * w_x + w_y * w_y, CORE_SQUARE)
            turn_x, turn_y = (w_x * w_x - w_y * w_y) / square, 2 * w_x * w_y / square
            step_x[j] = -(e_1 * turn_x + e_2 * turn_y)
            step_y[j] = -(e_1 * turn_y - e_2 * turn_x)
            sum_x[j], sum_y[j] = series[0, terms - 1], 0.0
            by_t_x[j], by_t_y[j] = series[1, terms - 1], 0.0
            by_step_x[j] = by_step_y[j] = 0.0
        for n in range(terms - 2, -1, -1):
            term, term_by_t = series[0, n], series[1, n]
            for j in range(width):
                c, d = step_x[j], step_y[j]
                s_x, s_y, d_x, d_y = sum_x[j], sum_y[j], by_step_x[j], by_step_y[j]
                by_step_x[j], by_step_y[j] = d_x * c - d_y * d + s_x, d_x * d + d_y * c + s_y
                sum_x[j], sum_y[j] = s_x * c - s_y * d + term, s_x * d + s_y * c
                d_x, d_y = by_t_x[j], by_t_y[j]
                by_t_x[j], by_t_y[j] = d_x * c - d_y * d + term_by_t, d_x * d + d_y * c
        for j in range(width):
            # The brightness changes by the real part of conj(gradient) times what a ray moves.
            # All derivatives of the power law are power * w * (series * f + slope * g), with the
            # f and g of each parameter.
            g_x, g_y = gradient_x[i, j], gradient_y[i, j]
            u, v = x[i, j] - numbers[4], y[i, j] - numbers[5]
            w_x, w_y = u - (e_1 * u + e_2 * v), v - (e_2 * u - e_1 * v)
            square = max(w_x * w_x + w_y * w_y, CORE_SQUARE)
            log_power = math.log(size / square)
            power = math.exp(t / 2 * log_power)
            k_x, k_y = power * (g_x * w_x + g_y * w_y), power * (g_y * w_x - g_x * w_y)
            # conj(gradient) * power * w is k_x - i k_y; times the three series:
            s_x, s_y = k_x * sum_x[j] + k_y * sum_y[j], k_x * sum_y[j] - k_y * sum_x[j]
            d_x = k_x * by_step_x[j] + k_y * by_step_y[j]
            d_y = k_x * by_step_y[j] - k_y * by_step_x[j]
            by_t = k_x * by_t_x[j] + k_y * by_t_y[j]
            c, d = step_x[j], step_y[j]
            ds_y = d_x * d + d_y * c
            turn_x, turn_y = (w_x * w_x - w_y * w_y) / square, 2 * w_x * w_y / square
            # w changes by 1 - epsilon per unit of x, by i (1 + epsilon) per unit of y, and by
            # -conj(z) and -i conj(z) with epsilon; r is that over w.
            r_x = ((1 - e_1) * w_x - e_2 * w_y) / square
            r_y = (-e_2 * w_x - (1 - e_1) * w_y) / square
            by_x = (1 - t) * r_x * s_x - r_y * s_y - 2 * r_y * ds_y
            r_x = (-e_2 * w_x + (1 + e_1) * w_y) / square
            r_y = ((1 + e_1) * w_x + e_2 * w_y) / square
            by_y = (1 - t) * r_x * s_x - r_y * s_y - 2 * r_y * ds_y
            r_x, r_y = (-u * w_x + v * w_y) / square, (v * w_x + u * w_y) / square
            by_e_1 = (1 - t) * r_x * s_x - r_y * s_y - 2 * r_y * ds_y
            by_e_1 -= t * e_1 / ellipse[2] * s_x + d_x * turn_x - d_y * turn_y
            r_x, r_y = (-v * w_x - u * w_y) / square, (v * w_y - u * w_x) / square
            by_e_2 = (1 - t) * r_x * s_x - r_y * s_y - 2 * r_y * ds_y
            by_e_2 -= t * e_2 / ellipse[2] * s_x + d_x * turn_y + d_y * turn_x
            # Multipoles: their angular parts, along the radius and across it.
            per_radius = 1 / math.sqrt(max(u * u + v * v, CORE_SQUARE))
            cos, sin = u * per_radius, v * per_radius
            cos_2, sin_2 = cos * cos - sin * sin, 2 * cos * sin
            cos_3, sin_3 = cos_2 * cos - sin_2 * sin, cos_2 * sin + sin_2 * cos
            cos_4, sin_4 = cos_2 * cos_2 - sin_2 * sin_2, 2 * cos_2 * sin_2
            g_along = radius * (g_x * cos + g_y * sin)
            g_across = radius * (g_y * cos - g_x * sin)
            m_3 = (g_along * cos_3 - 3 * g_across * sin_3) / 8
            n_3 = (g_along * sin_3 + 3 * g_across * cos_3) / 8
            m_4 = (g_along * cos_4 - 4 * g_across * sin_4) / 15
            n_4 = (g_along * sin_4 + 4 * g_across * cos_4) / 15
            of_multipoles = -(
                numbers[8] * m_3 + numbers[9] * n_3 + numbers[10] * m_4 + numbers[11] * n_4
            )
            convergence = per_radius * (
                numbers[8] * cos_3 + numbers[9] * sin_3 + numbers[10] * cos_4 + numbers[11] * sin_4
            )
            out[0, i, j] = -(t * s_x + of_multipoles)
            out[1, i, j] = -(by_e_1 * ellipse[3] + by_e_2 * ellipse[4])
            out[2, i, j] = -(by_e_1 * ellipse[4] + by_e_2 * ellipse[5])
            out[3, i, j] = -(by_t + 0.5 * log_power * s_x)
            out[4, i, j] = by_x - convergence * sin * g_across + numbers[6] * g_x + numbers[7] * g_y
            out[5, i, j] = by_y + convergence * cos * g_across + numbers[7] * g_x - numbers[6] * g_y
            out[6, i, j] = v * g_y - u * g_x
            out[7, i, j] = -(v * g_x + u * g_y)
            out[8, i, j], out[9, i, j] = m_3, n_3
            out[10, i, j], out[11, i, j] = m_4, n_4
            p_x, p_y = x[i, j] - numbers[12], y[i, j] - numbers[13]
            weight = 1 / (p_x * p_x + p_y * p_y + SOFTENING_ARCSEC**2)
            inwards = (g_x * p_x + g_y * p_y) * weight
            out[12, i, j] = numbers[14] * weight * (g_x - 2 * inwards * p_x)
            out[13, i, j] = numbers[14] * weight * (g_y - 2 * inwards * p_y)
            out[14, i, j] = -inwards
