"""Light of many lenses and its derivatives, in a single pass over the pixels of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import LOG2E, F, Image, compiled, exp2_row, log2_row
from lumpylens.physics.compiled.halo import TINY, halo_numbers, halo_row
from lumpylens.physics.compiled.sersic import CORE_SQUARE, LENS_LIGHT_SHAPE, sersic_numbers
from lumpylens.physics.deflection import ROUND
from lumpylens.physics.light import sersic_index_slope
from lumpylens.physics.parameters import INDEX

__all__ = [
    "LENS_COLUMNS", "SOURCE_COLUMNS", "SOURCE_SHAPE", "Grid", "corners", "lens_tangents",
    "places_of", "profile", "profile_numbers", "source_tangents", "write_row",
]  # fmt: skip

SOURCE_SHAPE = (
    "source_eta_1",
    "source_eta_2",
    "log_source_radius_px",
    "log_source_index",
)
SOURCE_COLUMNS = (
    "log_einstein_radius_px", "shear_1", "shear_2", "source_x", "source_y", *SOURCE_SHAPE,
    "mass_eta_1", "mass_eta_2", "centre_x_px", "centre_y_px",
)  # fmt: skip
"""What the source's light depends on."""
LENS_COLUMNS = (*LENS_LIGHT_SHAPE, "centre_x_px", "centre_y_px")
"""What the light of the lens depends on."""

VALUE, D_LOG_R, GRADIENT_X, GRADIENT_Y, D_ETA_1, D_ETA_2, D_INDEX = range(7)
LENS_SIGNS = (
    (D_ETA_1, 1), (D_ETA_2, 1), (D_LOG_R, -1), (D_INDEX, 1), (GRADIENT_X, -1), (GRADIENT_Y, -1),
)  # fmt: skip
"""Of each of `LENS_COLUMNS`, the derivative of the profile that it is, and its sign."""
SMALL_ETA = 0.05
"""Below it series replace quotients that tend to 0/0; they are right to 1e-8 there."""

TERMS, SIGNS = (np.array(part) for part in zip(*LENS_SIGNS, strict=True))


class Grid(NamedTuple):
    """Pixels of a `lumpylens.physics.render.Scene`.

    Attributes
    ----------
    height, width : int
    first_x, first_y : float
        Position of the first pixel relative to the middle of the image.
    step : float
    samples : int
        Sub-pixels per axis in the patch.
    pitch : float
        Their distance in pixels.
    patch : tuple of int
        First row, row behind the last, and the same of columns.
    """

    height: int
    width: int
    first_x: float
    first_y: float
    step: float
    samples: int
    pitch: float
    patch: tuple[int, int, int, int]


def source_tangents(
    grid: Grid, parameters: NDArray[np.float64], names: Sequence[str]
) -> Iterator[tuple[Image, Image]]:
    """Light of sources of unit amplitude, with its derivatives.

    Parameters
    ----------
    grid : Grid
    parameters : ndarray, shape (n, COUNT)
        In the order of `lumpylens.physics.parameters.NAMES`.
    names : sequence of str
        Some of `SOURCE_COLUMNS`.

    Yields
    ------
    light : ndarray of float32, shape (1 + len(names), h, w)
        Of one lens after the other, in the same memory: first the light, then its derivatives.
    gradient : ndarray of float32, shape (2, h, w)
        Of the source's brightness, where each ray ends; in the same memory, too.
    """
    light = np.empty((1 + len(names), grid.height, grid.width), np.float32)
    gradient = np.empty((2, grid.height, grid.width), np.float32)
    columns = places_of(SOURCE_COLUMNS, names)
    shapes, bends = profile_numbers(parameters, SOURCE_SHAPE)
    firsts, haloes = corners(grid, parameters), halo_numbers(parameters)
    for k in range(len(parameters)):
        numbers = (*firsts[k], F(grid.step), haloes[k], shapes[k], bends[k], columns)
        _source(light, gradient, *numbers)
        yield light, gradient


def lens_tangents(
    grid: Grid, parameters: NDArray[np.float64], names: Sequence[str]
) -> Iterator[Image]:
    """Light of lens galaxies of unit amplitude, with its derivatives.

    Parameters
    ----------
    grid : Grid
    parameters : ndarray, shape (n, COUNT)
    names : sequence of str
        Some of `LENS_COLUMNS`.

    Yields
    ------
    ndarray of float32, shape (1 + len(names), h, w)
        As the light of `source_tangents`.
    """
    light = np.empty((1 + len(names), grid.height, grid.width), np.float32)
    columns = places_of(LENS_COLUMNS, names)
    shapes, bends = profile_numbers(parameters, LENS_LIGHT_SHAPE)
    firsts = corners(grid, parameters)
    for k in range(len(parameters)):
        numbers = (*firsts[k], F(grid.step), shapes[k], bends[k], columns)
        _lens(light, *numbers)
        if grid.samples > 1:
            _patch(light, *numbers, grid.samples, F(grid.pitch), grid.patch)
        yield light


def places_of(known: Sequence[str], names: Sequence[str]) -> NDArray[np.int_]:
    """Where each known derivative goes; 0, the place of the light, if it is not wanted."""
    places = {name: place for place, name in enumerate(names, start=1)}
    return np.array([places.get(name, 0) for name in known])


def corners(grid: Grid, parameters: NDArray[np.float64]) -> Image:
    """Position of the first pixel relative to each lens, shape (n, 2)."""
    centres = parameters[:, [INDEX["centre_x_px"], INDEX["centre_y_px"]]]
    return (np.array([grid.first_x, grid.first_y]) - centres).astype(np.float32)


def profile_numbers(parameters: NDArray[np.float64], names: Sequence[str]) -> tuple[Image, Image]:
    """Numbers of `sersic_numbers`; eta, and how sinh(eta) / eta and b_n change (see `light`)."""
    eta_1, eta_2, log_radius, log_index = (parameters[:, INDEX[name]] for name in names)
    with np.errstate(over="ignore", invalid="ignore"):
        eta, index = np.hypot(eta_1, eta_2), np.exp(log_index)
        near, size = eta < SMALL_ETA, eta.clip(min=SMALL_ETA)
        sinhc = np.where(near, 1 + eta**2 / 6, np.sinh(eta) / size)
        bend = np.where(near, 1 / 3 + eta**2 / 30, (eta * np.cosh(eta) - np.sinh(eta)) / size**3)
        slope = index * sersic_index_slope(index)
        bends = np.stack([eta_1, eta_2, sinhc, bend, slope], axis=1).astype(np.float32)
    return sersic_numbers(eta_1, eta_2, log_radius, log_index), bends


# A loop is computed eight pixels at a time only where it has few arrays, so there are many
# loops. Rows are taken by their numbers: unpacked, they would not be known to be contiguous.


@compiled
def profile(  # type: ignore[no-untyped-def]
    terms, u, v, shape, bend, exponent, other, index_too, gradient_too
):
    """Profile and its derivatives along a row; see `physics.light.sersic_with_derivatives`."""
    value, d_log_r, d_index = terms[VALUE], terms[D_LOG_R], terms[D_INDEX]
    gradient_x, gradient_y = terms[GRADIENT_X], terms[GRADIENT_Y]
    d_eta_1, d_eta_2 = terms[D_ETA_1], terms[D_ETA_2]
    a, b, c, inverse, steepness = shape[0], shape[1], shape[2], shape[4], shape[5]
    eta_1, eta_2, sinhc, curve, slope = bend
    width, half, half_c = u.shape[0], F(0.5), F(0.5) * c
    for j in range(width):
        value[j] = a * u[j] * u[j] + b * v[j] * v[j] + c * u[j] * v[j] + CORE_SQUARE
    for j in range(width):
        gradient_x[j] = F(1) / value[j]
    log2_row(value, exponent, other)
    scale, shift = half * inverse, shape[3] * LOG2E * inverse
    for j in range(width):
        value[j] = value[j] * scale - shift
    if index_too:
        for j in range(width):
            d_index[j] = value[j] / LOG2E  # ln(r / R) / n
    exp2_row(value, exponent, other)
    steep = steepness * LOG2E
    for j in range(width):
        d_log_r[j] = value[j]  # (r / R)^(1/n)
    for j in range(width):
        value[j] = steep * (F(1) - value[j])
    exp2_row(value, exponent, other)
    if index_too:
        for j in range(width):
            power = d_log_r[j]
            d_index[j] = value[j] * (slope * (F(1) - power) + steepness * power * d_index[j])
    for j in range(width):
        d_log_r[j] *= -steepness * inverse * value[j]
    for j in range(width):
        other[j] = d_log_r[j] * gradient_x[j]
    if gradient_too:
        for j in range(width):
            gradient_x[j] = other[j] * (a * u[j] + half_c * v[j])
        for j in range(width):
            gradient_y[j] = other[j] * (b * v[j] + half_c * u[j])
    for j in range(width):
        x, y = u[j], v[j]
        minus, cross = x * x - y * y, F(2) * x * y
        tilt = sinhc * (x * x + y * y) - curve * (eta_1 * minus + eta_2 * cross)
        d_eta_1[j] = half * other[j] * (eta_1 * tilt - sinhc * minus)
    for j in range(width):
        x, y = u[j], v[j]
        minus, cross = x * x - y * y, F(2) * x * y
        tilt = sinhc * (x * x + y * y) - curve * (eta_1 * minus + eta_2 * cross)
        d_eta_2[j] = half * other[j] * (eta_2 * tilt - sinhc * cross)


@compiled
def _source(  # type: ignore[no-untyped-def]
    out, gradient, first_x, first_y, step, halo, shape, bend, columns
):
    height, width = out.shape[1:]
    g1, g2, sx, sy = halo[1:5]
    x, u, v = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    ax, ay = np.empty(width, np.float32), np.empty(width, np.float32)
    terms = np.empty((7, width), np.float32)
    exponent, other = np.empty(width, np.int32), np.empty(width, np.float32)
    for j in range(width):
        x[j] = first_x + F(j) * step
    for i in range(height):
        y = first_y + F(i) * step
        halo_row(ax, ay, x, y, halo, exponent, other, u)
        for j in range(width):
            u[j] = x[j] - ax[j] - (g1 * x[j] + g2 * y) - sx
        for j in range(width):
            v[j] = y - ay[j] - (g2 * x[j] - g1 * y) - sy
        profile(terms, u, v, shape, bend, exponent, other, columns[8] > 0, True)
        write_row(out, gradient, i, (x, y), (u, v), (ax, ay), halo, terms, other, columns)


@compiled
def write_row(  # type: ignore[no-untyped-def]
    out, gradient, i, position, ray, deflection, halo, terms, other, columns
):
    """Write a row of the source's light, its gradient, and its derivatives by the parameters."""
    (x, y), (u, v), (ax, ay) = position, ray, deflection
    radius, sx, sy = halo[0], halo[3], halo[4]
    width = x.shape[0]
    dx, dy = terms[GRADIENT_X], terms[GRADIENT_Y]
    out[0, i] = terms[VALUE]
    gradient[0, i], gradient[1, i] = dx, dy
    if columns[0]:
        row = out[columns[0], i]
        for j in range(width):
            row[j] = -(dx[j] * (ax[j] + sx) + dy[j] * (ay[j] + sy))
    if columns[1]:
        row = out[columns[1], i]
        for j in range(width):
            row[j] = dy[j] * y - dx[j] * x[j]
    if columns[2]:
        row = out[columns[2], i]
        for j in range(width):
            row[j] = -(dx[j] * y + dy[j] * x[j])
    if columns[3]:
        row = out[columns[3], i]
        for j in range(width):
            row[j] = -radius * dx[j]
    if columns[4]:
        row = out[columns[4], i]
        for j in range(width):
            row[j] = -radius * dy[j]
    if columns[5]:
        out[columns[5], i] = terms[D_ETA_1]
    if columns[6]:
        out[columns[6], i] = terms[D_ETA_2]
    if columns[7]:
        out[columns[7], i] = -terms[D_LOG_R]
    if columns[8]:
        out[columns[8], i] = terms[D_INDEX]
    if columns[9] or columns[10] or columns[11] or columns[12]:
        _through_halo(out, i, x, y, ax, ay, dx, dy, halo, columns, (u, v, other))


@compiled
def _through_halo(  # type: ignore[no-untyped-def]
    out, i, x, y, ax, ay, dx, dy, halo, columns, scratch
):
    """Derivatives through the halo's shape and centre; see `physics.deflection.halo_slopes`."""
    radius, g1, g2, eta_1, eta_2, eta = halo[0], halo[1], halo[2], halo[5], halo[6], halo[7]
    width, half, yy = x.shape[0], F(0.5), y * y
    narrow = F(1) - halo[8] * halo[8]
    cos, sin = (eta_1 / eta, eta_2 / eta) if eta > F(0) else (F(0), F(0))
    size = radius * halo[9]
    strength, across, other = scratch
    for j in range(width):
        square = x[j] * x[j] + yy + TINY
        tilt = cos * (x[j] * x[j] - yy) + F(2) * sin * x[j] * y
        strength[j] = size / math.sqrt(square - half * narrow * (square + tilt))
    if columns[11] or columns[12]:
        for j in range(width):
            across[j] = strength[j] / (x[j] * x[j] + yy + TINY)
    if columns[11]:
        row = out[columns[11], i]
        for j in range(width):
            row[j] = dx[j] * (across[j] * yy + g1 - F(1)) + dy[j] * (g2 - across[j] * x[j] * y)
    if columns[12]:
        row = out[columns[12], i]
        for j in range(width):
            xx = x[j] * x[j]
            row[j] = dx[j] * (g2 - across[j] * x[j] * y) + dy[j] * (across[j] * xx - g1 - F(1))
    if not (columns[9] or columns[10]):
        return
    first, second = across, other
    if eta > F(ROUND):
        in_eta, in_turn = across, other
        coth, turn = F(1 / math.tanh(eta)), half / eta
        for j in range(width):
            in_turn[j] = dx[j] * (ax[j] - strength[j] * x[j])
        for j in range(width):
            in_turn[j] += dy[j] * (ay[j] - strength[j] * y)
        for j in range(width):
            along = dx[j] * (cos * x[j] + sin * y) + dy[j] * (sin * x[j] - cos * y)
            in_eta[j] = -half * (coth * in_turn[j] + strength[j] * along)
        for j in range(width):
            in_turn[j] = dy[j] * (ax[j] - strength[j] * x[j])
        for j in range(width):
            in_turn[j] = turn * (in_turn[j] - dx[j] * (ay[j] - strength[j] * y))
        for j in range(width):
            strength[j] = cos * in_eta[j] - sin * in_turn[j]
        for j in range(width):
            second[j] = sin * in_eta[j] + cos * in_turn[j]
        first = strength
    else:
        unit = radius / F(6)
        for j in range(width):
            short = F(1) / math.sqrt(x[j] * x[j] + yy + TINY)
            a, b = x[j] * short, y * short
            tilt = a * a - b * b
            first[j] = unit * (dx[j] * a * (tilt - F(2)) + dy[j] * b * (tilt + F(2)))
        for j in range(width):
            short = F(1) / math.sqrt(x[j] * x[j] + yy + TINY)
            a, b = x[j] * short, y * short
            tilt = F(2) * a * b
            second[j] = unit * (dx[j] * (a * tilt - b - b) + dy[j] * (b * tilt - a - a))
    if columns[9]:
        out[columns[9], i] = -first
    if columns[10]:
        out[columns[10], i] = -second


@compiled
def _lens(out, first_x, first_y, step, shape, bend, columns):  # type: ignore[no-untyped-def]
    height, width = out.shape[1:]
    too = columns[3] > 0, columns[4] + columns[5] > 0
    x, y = np.empty(width, np.float32), np.empty(width, np.float32)
    terms = np.empty((7, width), np.float32)
    exponent, other = np.empty(width, np.int32), np.empty(width, np.float32)
    for j in range(width):
        x[j] = first_x + F(j) * step
    for i in range(height):
        y[:] = first_y + F(i) * step
        profile(terms, x, y, shape, bend, exponent, other, *too)
        out[0, i] = terms[VALUE]
        for k in range(columns.shape[0]):
            if columns[k]:
                out[columns[k], i] = F(SIGNS[k]) * terms[TERMS[k]]


@compiled
def _patch(  # type: ignore[no-untyped-def]
    out, first_x, first_y, step, shape, bend, columns, samples, pitch, patch
):
    """Average over sub-pixels near the cusp of the light."""
    top, bottom = patch[0], min(patch[1], out.shape[1])
    left, right = patch[2], min(patch[3], out.shape[2])
    fine = max(right - left, 0) * samples
    too = columns[3] > 0, columns[4] + columns[5] > 0
    x, y = np.empty(fine, np.float32), np.empty(fine, np.float32)
    terms = np.empty((7, fine), np.float32)
    exponent, other = np.empty(fine, np.int32), np.empty(fine, np.float32)
    middle, share = F(samples - 1) * F(0.5), F(1) / F(samples * samples)
    for k in range(fine):
        part = (F(k % samples) - middle) * pitch
        x[k] = first_x + (F(left + k // samples) + part) * step
    for i in range(top, bottom):
        out[:, i, left:right] = F(0)
        for a in range(samples):
            y[:] = first_y + (F(i) + (F(a) - middle) * pitch) * step
            profile(terms, x, y, shape, bend, exponent, other, *too)
            for k in range(fine):
                out[0, i, left + k // samples] += share * terms[VALUE, k]
            for column in range(columns.shape[0]):
                if columns[column]:
                    row, sign = terms[TERMS[column]], share * F(SIGNS[column])
                    for k in range(fine):
                        out[columns[column], i, left + k // samples] += sign * row[k]
