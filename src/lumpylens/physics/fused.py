"""The light of one lens in a single pass over its pixels, compiled for the processor.

The formulas and the grid are those of `lumpylens.physics.render.Scene`, which serves batches,
graphics cards and derivatives; here nothing is kept between one pixel and the next, so one image
costs a fraction of what the same steps cost as operations on whole arrays.
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
SOFT = F(1e-8)
TINY = F(1e-12)
SHIFT = 23 - TABLE_BITS
MASK = (1 << SHIFT) - 1
PIECE = F(1 / (1 << SHIFT))
CORE_SQUARE = F(CORE_PX**2)


def rays(scene: Scene, parameters: NDArray[np.float64], masses: Masses) -> tuple[Image, Image]:
    """Source-plane positions relative to the source, as `Scene.rays` gives them.

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
    """Light of the lens galaxy at unit amplitude, as `Scene.light` gives it."""
    out = np.empty((scene.height, scene.width), np.float32)
    x, y = _corner(scene, parameters)
    names = ("lens_light_eta_1", "lens_light_eta_2", "log_lens_light_radius_px",
             "log_lens_light_index")  # fmt: skip
    shape = _sersic_numbers(*(parameters[INDEX[name]] for name in names))
    samples = scene.cusp_samples
    rows, columns = scene.cusp_patch()
    patch = (rows.start, rows.stop, columns.start, columns.stop) if samples > 1 else (0, 0, 0, 0)
    _sersic_on_grid(out, F(x), F(y), F(scene.pixel), shape, samples, patch)
    return out


def sersic_light(
    u: Image, v: Image, eta_1: float, eta_2: float, log_radius: float, log_index: float
) -> Image:
    """Sersic profile at given positions, as `lumpylens.physics.light.sersic`."""
    out = np.empty_like(u)
    _sersic_at(out, u, v, _sersic_numbers(eta_1, eta_2, log_radius, log_index))
    return out


def blurred(light: Image, sigma_px: float, radius: int) -> Image:
    """Blur with a sampled, truncated, normalised Gaussian; the sky beyond the edge is dark."""
    at = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (at / sigma_px) ** 2)
    out = np.zeros_like(light)
    _convolve(out, light, (taps / taps.sum()).astype(np.float32))
    return out


def _corner(scene: Scene, parameters: NDArray[np.float64]) -> tuple[float, float]:
    """Position of the first pixel relative to the lens."""
    x = -(scene.width - 1) / 2 * scene.pixel + scene.offset_x
    y = -(scene.height - 1) / 2 * scene.pixel + scene.offset_y
    return x - parameters[INDEX["centre_x_px"]], y - parameters[INDEX["centre_y_px"]]


def _halo_numbers(parameters: NDArray[np.float64]) -> Image:
    """Radius, shear, place of the source, eta, and the ellipse's q, root of q, f, cos and sin."""
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
    q, root, f, cos, sin = halo[8:]
    x = np.empty(width, np.float32)
    ratio = np.empty(width, np.float32)
    bits = ratio.view(np.int32)
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
            for j in range(width):
                a, b = x[j] + F(1e-6), y + F(1e-6)
                along, across = cos * a + sin * b, cos * b - sin * a
                psi = math.sqrt(q * q * along * along + across * across)
                da = radius * root / f * math.atan(f * along / psi)
                db = radius * root / f * math.atanh(f * across / psi)
                ax[j] = cos * da - sin * db
                ay[j] = sin * da + cos * db
        for k in range(points.shape[0]):
            square, at, dy = points[k, 2] * points[k, 2], points[k, 0], y - points[k, 1]
            for j in range(width):
                dx = x[j] - at
                weight = square / (dx * dx + dy * dy + SOFT)
                ax[j] += dx * weight
                ay[j] += dy * weight
        for k in range(spheres.shape[0]):
            size, at, dy = spheres[k, 2], spheres[k, 0], y - spheres[k, 1]
            for j in range(width):
                dx = x[j] - at
                weight = size / math.sqrt(dx * dx + dy * dy + SOFT)
                ax[j] += dx * weight
                ay[j] += dy * weight
        for k in range(haloes.shape[0]):
            square, at, dy = haloes[k, 2] * haloes[k, 2], haloes[k, 0], y - haloes[k, 1]
            scale = F(1) / (haloes[k, 3] * haloes[k, 3])
            last = blended.shape[1] - 2
            for j in range(width):
                dx = x[j] - at
                ratio[j] = (dx * dx + dy * dy + SOFT) * scale
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
                da = strength * F(0.5) * math.log(
                    (plus * plus + square) / (minus * minus + square)
                )  # fmt: skip
                db = strength * (math.atan2(across, minus) - math.atan2(across, plus))
                ax[j] += c * da - s * db
                ay[j] += s * da + c * db
        for j in range(width):
            ax[j] = x[j] - ax[j] - (g1 * x[j] + g2 * y) - sx
            ay[j] = y - ay[j] - (g2 * x[j] - g1 * y) - sy


@compiled
def _blend(haloes, table, rows_per_unit):  # type: ignore[no-untyped-def]
    """Row of enclosed masses of each halo, between those of the table."""
    blended = np.empty((haloes.shape[0], table.shape[1]), np.float32)
    for k in range(haloes.shape[0]):
        at = rows_per_unit * math.log(haloes[k, 4] / LEAST_TRUNCATION)
        low = min(max(int(at), 0), table.shape[0] - 2)
        part = F(at - low)
        for node in range(table.shape[1]):
            blended[k, node] = table[low, node] + part * (table[low + 1, node] - table[low, node])
    return blended


@compiled
def _sersic(x, y, shape):  # type: ignore[no-untyped-def]
    square = shape[0] * x * x + shape[1] * y * y + shape[2] * x * y + CORE_SQUARE
    log_r = F(0.5) * math.log(square) - shape[3]
    return math.exp(shape[5] * (F(1) - math.exp(log_r * shape[4])))


@compiled
def _sersic_at(out, u, v, shape):  # type: ignore[no-untyped-def]
    for i in range(u.shape[0]):
        for j in range(u.shape[1]):
            out[i, j] = _sersic(u[i, j], v[i, j], shape)


@compiled
def _sersic_on_grid(out, first_x, first_y, step, shape, samples, patch):  # type: ignore[no-untyped-def]
    height, width = out.shape
    for i in range(height):
        y = first_y + F(i) * step
        for j in range(width):
            x = first_x + F(j) * step
            if not (patch[0] <= i < patch[1] and patch[2] <= j < patch[3]):
                out[i, j] = _sersic(x, y, shape)
                continue
            total = F(0)
            for a in range(samples):
                dy = (F(a) - F(samples - 1) * F(0.5)) / F(samples) * step
                for b in range(samples):
                    dx = (F(b) - F(samples - 1) * F(0.5)) / F(samples) * step
                    total += _sersic(x + dx, y + dy, shape)
            out[i, j] = total / F(samples * samples)


@compiled
def _convolve(out, light, taps):  # type: ignore[no-untyped-def]
    height, width = light.shape
    radius = taps.shape[0] // 2
    down = np.zeros((height, width + 2 * radius), np.float32)
    for i in range(height):
        for t in range(max(-radius, -i), min(radius, height - 1 - i) + 1):
            weight = taps[t + radius]
            for j in range(width):
                down[i, j + radius] += weight * light[i + t, j]
    for i in range(height):
        for t in range(2 * radius + 1):
            weight = taps[t]
            for j in range(width):
                out[i, j] += weight * down[i, j + t]
