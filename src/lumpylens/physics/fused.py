"""Light of one lens in a single pass over its pixels, compiled for the processor.

The formulas and the grid are those of `lumpylens.physics.render.Scene`, which is for batches,
graphics cards and derivatives. Here no intermediate arrays of whole images are stored, so one image
takes a fraction of the time of the same steps as operations on whole arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lumpylens.physics.deflection import ROUND
from lumpylens.physics.light import CORE_PX, sersic_coefficient
from lumpylens.physics.masses import Masses
from lumpylens.physics.parameters import INDEX
from lumpylens.physics.render import Scene
from lumpylens.physics.truncated_nfw import (
    LEAST_TRUNCATION,
    TABLE_BITS,
    TABLE_FIRST,
    mass_table,
)

__all__ = ["blurred", "lens_light", "rays", "sersic_light"]

Image = NDArray[np.float32]

compiled: Callable[[Any], Any] = njit(cache=True, fastmath=True, error_model="numpy", nogil=True)

F = np.float32
SOFTENING_SQUARE = F(1e-8)
TINY = F(1e-12)
SHIFT = 23 - TABLE_BITS
MASK = (1 << SHIFT) - 1
PIECE = F(1 / (1 << SHIFT))
CORE_SQUARE = F(CORE_PX**2)
LENS_LIGHT_SHAPE = (
    "lens_light_eta_1",
    "lens_light_eta_2",
    "log_lens_light_radius_px",
    "log_lens_light_index",
)


def rays(scene: Scene, parameters: NDArray[np.float64], masses: Masses) -> tuple[Image, Image]:
    """Source-plane positions relative to the source, as `Scene.rays` returns them.

    Parameters
    ----------
    scene : Scene
    parameters : ndarray, shape (COUNT,)
        In the order of `lumpylens.physics.parameters.NAMES`.
    masses : Masses
        Of one image.

    Returns
    -------
    u, v : ndarray of float32, shape (height, width)
    """
    u = np.empty((scene.height, scene.width), np.float32)
    v = np.empty_like(u)
    table, rows_per_unit = mass_table() if masses.haloes.shape[1] else (_NO_TABLE, 0.0)
    x, y = _corner(scene, parameters)
    _trace(
        u, v, F(x), F(y), F(scene.pixel), _halo_numbers(parameters),
        masses.points[0], masses.spheres[0], masses.haloes[0], masses.rods[0],
        table, rows_per_unit,
    )  # fmt: skip
    return u, v


_NO_TABLE = np.zeros((2, 2), np.float32)


def lens_light(scene: Scene, parameters: NDArray[np.float64]) -> Image:
    """Light of the lens galaxy at unit amplitude, as `Scene.light` returns it."""
    out = np.empty((scene.height, scene.width), np.float32)
    x, y = _corner(scene, parameters)
    shape = _sersic_numbers(*(parameters[INDEX[name]] for name in LENS_LIGHT_SHAPE))
    samples = scene.cusp_samples
    rows, columns = scene.cusp_patch()
    patch = (rows.start, rows.stop, columns.start, columns.stop) if samples > 1 else (0, 0, 0, 0)
    _sersic_on_grid(out, F(x), F(y), F(scene.pixel), shape, samples, F(scene.pitch), patch)
    return out


def sersic_light(
    u: Image, v: Image, eta_1: float, eta_2: float, log_radius: float, log_index: float
) -> Image:
    """Evaluate a Sersic profile at given positions, as `lumpylens.physics.light.sersic` does."""
    out = np.empty_like(u)
    _sersic_at(out, u, v, _sersic_numbers(eta_1, eta_2, log_radius, log_index))
    return out


def blurred(light: Image, sigma_px: float, radius: int) -> Image:
    """Blur with a sampled, truncated, normalised Gaussian; the sky beyond the edge is dark."""
    at = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (at / sigma_px) ** 2)
    out = np.empty_like(light)
    _convolve(out, light, (taps / taps.sum()).astype(np.float32))
    return out


def _corner(scene: Scene, parameters: NDArray[np.float64]) -> tuple[float, float]:
    """Position of the first pixel relative to the lens."""
    x = -(scene.width - 1) / 2 * scene.pixel + scene.offset_x
    y = -(scene.height - 1) / 2 * scene.pixel + scene.offset_y
    return x - parameters[INDEX["centre_x_px"]], y - parameters[INDEX["centre_y_px"]]


def _halo_numbers(parameters: NDArray[np.float64]) -> Image:
    """Radius, shear, source position, eta, and the ellipse's q, root of q, f, cos and sin."""
    names = ("shear_1", "shear_2", "source_x", "source_y", "mass_eta_1", "mass_eta_2")
    g1, g2, sx, sy, eta_1, eta_2 = (parameters[INDEX[name]] for name in names)
    radius = math.exp(parameters[INDEX["log_einstein_radius_px"]])
    eta = math.hypot(eta_1, eta_2)
    q, phi = math.exp(-eta), 0.5 * math.atan2(eta_2, eta_1)
    return np.array(
        [radius, g1, g2, radius * sx, radius * sy, eta_1, eta_2, eta, q, math.sqrt(q),
         math.sqrt(1 - q * q), math.cos(phi), math.sin(phi)], np.float32,
    )  # fmt: skip


def _sersic_numbers(eta_1: float, eta_2: float, log_radius: float, log_index: float) -> Image:
    """Coefficients of x^2, y^2 and xy, logarithm of the radius, 1/n and b_n."""
    eta = math.hypot(eta_1, eta_2)
    sinhc = math.sinh(eta) / eta if eta > 1e-9 else 1.0
    n = math.exp(log_index)
    return np.array(
        [math.cosh(eta) - sinhc * eta_1, math.cosh(eta) + sinhc * eta_1, -2 * sinhc * eta_2,
         log_radius, 1 / n, sersic_coefficient(n)], np.float32,
    )  # fmt: skip


@compiled
def _trace(  # type: ignore[no-untyped-def]
    u, v, first_x, first_y, step, halo, points, spheres, haloes, rods, table, rows_per_unit
):
    height, width = u.shape
    radius, g1, g2, sx, sy, eta_1, eta_2, eta = halo[:8]
    x = np.empty(width, np.float32)
    ratio = np.empty(width, np.float32)
    bits = ratio.view(np.int32)
    exponent, other = np.empty(width, np.int32), np.empty(width, np.float32)
    for j in range(width):
        x[j] = first_x + F(j) * step
    blended = _blend(haloes, table, rows_per_unit)
    for i in range(height):
        y = first_y + F(i) * step
        ax, ay = u[i], v[i]  # deflections first, turned into positions below
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
        for k in range(points.shape[0]):
            square, at, dy = points[k, 2] * points[k, 2], points[k, 0], y - points[k, 1]
            for j in range(width):
                dx = x[j] - at
                weight = square / (dx * dx + dy * dy + SOFTENING_SQUARE)
                ax[j] += dx * weight
                ay[j] += dy * weight
        for k in range(spheres.shape[0]):
            size, at, dy = spheres[k, 2], spheres[k, 0], y - spheres[k, 1]
            for j in range(width):
                dx = x[j] - at
                weight = size / math.sqrt(dx * dx + dy * dy + SOFTENING_SQUARE)
                ax[j] += dx * weight
                ay[j] += dy * weight
        for k in range(haloes.shape[0]):
            square, at, dy = haloes[k, 2] * haloes[k, 2], haloes[k, 0], y - haloes[k, 1]
            scale = F(1) / (haloes[k, 3] * haloes[k, 3])
            last = blended.shape[1] - 2
            for j in range(width):
                dx = x[j] - at
                ratio[j] = (dx * dx + dy * dy + SOFTENING_SQUARE) * scale
            for j in range(width):
                node = min(max((bits[j] >> SHIFT) - TABLE_FIRST, 0), last)
                part = F(bits[j] & MASK) * PIECE
                low = blended[k, node]
                mass = low + part * (blended[k, node + 1] - low)
                weight = square * scale * mass / ratio[j]
                ax[j] += (x[j] - at) * weight
                ay[j] += dy * weight
        for k in range(rods.shape[0]):
            strength = rods[k, 2] * rods[k, 2] / (F(2) * rods[k, 3])
            c, s = F(math.cos(rods[k, 4])), F(math.sin(rods[k, 4]))
            for j in range(width):
                dx, dy = x[j] - rods[k, 0], y - rods[k, 1]
                along, across = c * dx + s * dy, c * dy - s * dx
                plus, minus = along + rods[k, 3], along - rods[k, 3]
                square = across * across + TINY
                ratio_of_squares = (plus * plus + square) / (minus * minus + square)
                da = strength * F(0.5) * math.log(ratio_of_squares)
                db = strength * (math.atan2(across, minus) - math.atan2(across, plus))
                ax[j] += c * da - s * db
                ay[j] += s * da + c * db
        for j in range(width):
            ax[j] = x[j] - ax[j] - (g1 * x[j] + g2 * y) - sx
            ay[j] = y - ay[j] - (g2 * x[j] - g1 * y) - sy


@compiled
def _blend(haloes, table, rows_per_unit):  # type: ignore[no-untyped-def]
    """Interpolate the row of enclosed masses of each halo in the table."""
    blended = np.empty((haloes.shape[0], table.shape[1]), np.float32)
    for k in range(haloes.shape[0]):
        at = rows_per_unit * math.log(haloes[k, 4] / LEAST_TRUNCATION)
        low = min(max(int(at), 0), table.shape[0] - 2)
        part = F(at - low)
        for node in range(table.shape[1]):
            blended[k, node] = table[low, node] + part * (table[low + 1, node] - table[low, node])
    return blended


LOG2E = F(math.log2(math.e))


def _polynomial(function: Callable[[Any], Any], low: float, degree: int) -> tuple[Any, ...]:
    """Approximate a function on `low` to `low` + 1: coefficients about the middle, lowest first."""
    middle = low + 0.5
    chebyshev = np.polynomial.chebyshev.chebinterpolate(lambda t: function(middle + t / 2), degree)
    power = np.polynomial.chebyshev.cheb2poly(chebyshev)
    return tuple(F(c) for c in power * 2.0 ** np.arange(degree + 1))


LOG2 = _polynomial(np.log2, 1.0, 9)
EXP2 = _polynomial(np.exp2, 0.0, 6)
ARCTAN = _polynomial(lambda square: np.arctan(np.sqrt(square)) / np.sqrt(square), 0.0, 9)
HALF_PI, HALF_LN2 = F(math.pi / 2), F(math.log(2) / 2)


@compiled
def _log2(values, exponent, mantissa):  # type: ignore[no-untyped-def]
    """Logarithm to base 2 in place, to 2e-7, in loops that a processor computes eight at a time."""
    bits, mantissa_bits = values.view(np.int32), mantissa.view(np.int32)
    for j in range(values.shape[0]):
        exponent[j] = (bits[j] >> 23) - 127
        mantissa_bits[j] = (bits[j] & 0x7FFFFF) | 0x3F800000
    for j in range(values.shape[0]):
        m = mantissa[j] - F(1.5)
        total = LOG2[9]
        for k in range(9):
            total = total * m + LOG2[8 - k]
        values[j] = total + F(exponent[j])


@compiled
def _exp2(values, exponent, scale):  # type: ignore[no-untyped-def]
    """Power of two in place, to 2e-7 of it; at least 2^-126."""
    scale_bits = scale.view(np.int32)
    for j in range(values.shape[0]):
        power = min(max(values[j], F(-126)), F(126))
        whole = np.floor(power)
        values[j] = power - whole
        exponent[j] = np.int32(whole)
    for j in range(values.shape[0]):
        scale_bits[j] = (exponent[j] + 127) << 23
    for j in range(values.shape[0]):
        part = values[j] - F(0.5)
        total = EXP2[6]
        for k in range(6):
            total = total * part + EXP2[5 - k]
        values[j] = total * scale[j]


@compiled
def _sersic_of_squares(values, shape, exponent, other):  # type: ignore[no-untyped-def]
    """Replace the squared elliptical radii of a row by the profile."""
    _log2(values, exponent, other)
    half, shift = F(0.5) * shape[4], shape[3] * LOG2E * shape[4]
    for j in range(values.shape[0]):
        values[j] = values[j] * half - shift
    _exp2(values, exponent, other)
    steepness = shape[5] * LOG2E
    for j in range(values.shape[0]):
        values[j] = steepness * (F(1) - values[j])
    _exp2(values, exponent, other)


@compiled
def _sersic_at(out, u, v, shape):  # type: ignore[no-untyped-def]
    exponent, other = np.empty(u.shape[1], np.int32), np.empty(u.shape[1], np.float32)
    for i in range(u.shape[0]):
        row, x, y = out[i], u[i], v[i]
        for j in range(u.shape[1]):
            along, across = shape[0] * x[j] * x[j], shape[1] * y[j] * y[j]
            row[j] = along + across + shape[2] * x[j] * y[j] + CORE_SQUARE
        _sersic_of_squares(row, shape, exponent, other)


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
    _log2(ratio, exponent, other)
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


@compiled
def _sersic_on_grid(  # type: ignore[no-untyped-def]
    out, first_x, first_y, step, shape, samples, pitch, patch
):
    height, width = out.shape
    exponent, other = np.empty(width, np.int32), np.empty(width, np.float32)
    for i in range(height):
        row, y = out[i], first_y + F(i) * step
        for j in range(width):
            x = first_x + F(j) * step
            row[j] = shape[0] * x * x + shape[1] * y * y + shape[2] * x * y + CORE_SQUARE
        _sersic_of_squares(row, shape, exponent, other)
    fine = max(min(patch[3], width) - patch[2], 0) * samples
    exponent, other = np.empty(fine, np.int32), np.empty(fine, np.float32)
    row, middle = np.empty(fine, np.float32), F(samples - 1) * F(0.5)
    for i in range(patch[0], min(patch[1], height)):
        for j in range(patch[2], min(patch[3], width)):
            out[i, j] = 0
        for a in range(samples):
            y = first_y + (F(i) + (F(a) - middle) * pitch) * step
            for k in range(fine):
                column, part = k // samples, F(k % samples)
                x = first_x + (F(patch[2] + column) + (part - middle) * pitch) * step
                row[k] = shape[0] * x * x + shape[1] * y * y + shape[2] * x * y + CORE_SQUARE
            _sersic_of_squares(row, shape, exponent, other)
            for k in range(fine):
                out[i, patch[2] + k // samples] += row[k] / F(samples * samples)


@compiled
def _convolve(out, light, taps):  # type: ignore[no-untyped-def]
    """Blur by a symmetric kernel, three pairs of taps at a time."""
    height, width = light.shape
    radius = (taps.shape[0] // 2 + 2) // 3 * 3
    half = np.zeros(radius + 1, np.float32)  # from the middle outwards
    half[: taps.shape[0] // 2 + 1] = taps[taps.shape[0] // 2 :]
    padded = np.zeros((height + 2 * radius, width), np.float32)
    padded[radius : radius + height] = light
    down = np.zeros((height, width + 2 * radius), np.float32)
    for i in range(height):
        row, middle = down[i, radius : radius + width], padded[i + radius]
        for j in range(width):
            row[j] = half[0] * middle[j]
        for t in range(1, radius + 1, 3):
            a, b, c = half[t], half[t + 1], half[t + 2]
            up_1, down_1 = padded[i + radius - t], padded[i + radius + t]
            up_2, down_2 = padded[i + radius - t - 1], padded[i + radius + t + 1]
            up_3, down_3 = padded[i + radius - t - 2], padded[i + radius + t + 2]
            for j in range(width):
                pairs = a * (up_1[j] + down_1[j]) + b * (up_2[j] + down_2[j])
                row[j] += pairs + c * (up_3[j] + down_3[j])
    for i in range(height):
        row, whole = out[i], down[i]
        for j in range(width):
            row[j] = half[0] * whole[j + radius]
        for t in range(1, radius + 1, 3):
            a, b, c = half[t], half[t + 1], half[t + 2]
            for j in range(width):
                k = j + radius
                pairs = a * (whole[k - t] + whole[k + t])
                pairs += b * (whole[k - t - 1] + whole[k + t + 1])
                row[j] += pairs + c * (whole[k - t - 2] + whole[k + t + 2])
