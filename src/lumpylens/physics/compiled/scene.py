"""Rays through one lens in a single pass over its pixels, compiled for the processor.

The formulas and the grid are those of `lumpylens.physics.render.Scene`, which is for batches
and graphics cards. Here no intermediate arrays of whole images are stored, so one image takes a
fraction of the time of the same steps as operations on whole arrays.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import F, Image, compiled
from lumpylens.physics.compiled.halo import TINY, halo_numbers, halo_row
from lumpylens.physics.compiled.sersic import (
    CORE_SQUARE,
    LENS_LIGHT_SHAPE,
    sersic_numbers,
    sersic_of_squares,
)
from lumpylens.physics.masses import Masses
from lumpylens.physics.parameters import INDEX
from lumpylens.physics.render import Scene
from lumpylens.physics.truncated_nfw import (
    LEAST_TRUNCATION,
    TABLE_BITS,
    TABLE_FIRST,
    mass_table,
)

__all__ = ["lens_light", "rays"]

SOFTENING_SQUARE = F(1e-8)
SHIFT = 23 - TABLE_BITS
MASK = (1 << SHIFT) - 1
PIECE = F(1 / (1 << SHIFT))


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
        u, v, F(x), F(y), F(scene.pixel), halo_numbers(parameters),
        masses.points[0], masses.spheres[0], masses.haloes[0], masses.rods[0],
        table, rows_per_unit,
    )  # fmt: skip
    return u, v


_NO_TABLE = np.zeros((2, 2), np.float32)


@compiled
def _trace(  # type: ignore[no-untyped-def]
    u, v, first_x, first_y, step, halo, points, spheres, haloes, rods, table, rows_per_unit
):
    height, width = u.shape
    g1, g2, sx, sy = halo[1:5]
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
        halo_row(ax, ay, x, y, halo, exponent, other, ratio)
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


def lens_light(scene: Scene, parameters: NDArray[np.float64]) -> Image:
    """Light of the lens galaxy at unit amplitude, as `Scene.light` returns it."""
    out = np.empty((scene.height, scene.width), np.float32)
    x, y = _corner(scene, parameters)
    shape = sersic_numbers(*(parameters[INDEX[name]] for name in LENS_LIGHT_SHAPE))
    samples = scene.cusp_samples
    rows, columns = scene.cusp_patch()
    patch = (rows.start, rows.stop, columns.start, columns.stop) if samples > 1 else (0, 0, 0, 0)
    _sersic_on_grid(out, F(x), F(y), F(scene.pixel), shape, samples, F(scene.pitch), patch)
    return out


def _corner(scene: Scene, parameters: NDArray[np.float64]) -> tuple[float, float]:
    """Position of the first pixel relative to the lens."""
    x = -(scene.width - 1) / 2 * scene.pixel + scene.offset_x
    y = -(scene.height - 1) / 2 * scene.pixel + scene.offset_y
    return x - parameters[INDEX["centre_x_px"]], y - parameters[INDEX["centre_y_px"]]


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
        sersic_of_squares(row, shape, exponent, other)
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
            sersic_of_squares(row, shape, exponent, other)
            for k in range(fine):
                out[i, patch[2] + k // samples] += row[k] / F(samples * samples)
