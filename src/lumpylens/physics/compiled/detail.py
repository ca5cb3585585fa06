"""Light of many sources with shapelets on their Sersic profiles, and its derivatives.

The rest of what `lumpylens.physics.compiled.tangents` computes. Its functions of single rows serve
here, too, so that shapelets move with the rays as the profile does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import F, Image, compiled
from lumpylens.physics.compiled.halo import halo_numbers, halo_row
from lumpylens.physics.compiled.shapelets import add_row, prepare_row, slopes_row
from lumpylens.physics.compiled.tangents import (
    D_LOG_R,
    GRADIENT_X,
    GRADIENT_Y,
    SOURCE_COLUMNS,
    SOURCE_SHAPE,
    VALUE,
    Grid,
    corners,
    places_of,
    profile,
    profile_numbers,
    source_tangents,
    write_row,
)
from lumpylens.physics.parameters import COUNT, INDEX
from lumpylens.physics.source_detail import LOWEST, SCALE, UNUSED, largest_order

__all__ = ["any_source_tangents"]


def any_source_tangents(
    grid: Grid, parameters: NDArray[np.float64], names: Sequence[str]
) -> Iterator[tuple[Image, Image]]:
    """Light of sources of unit amplitude, with or without shapelets, and its derivatives.

    Parameters
    ----------
    grid : Grid
    parameters : ndarray, shape (n, COUNT + m)
        The last m are the coefficients of shapelets, if there are any.
    names : sequence of str
        Some of `SOURCE_COLUMNS`, then all coefficients or none.

    Yields
    ------
    light, gradient : ndarray of float32
        See `lumpylens.physics.compiled.tangents.source_tangents`.
    """
    of_profile = [name for name in names if name in SOURCE_COLUMNS]
    if parameters.shape[1] == COUNT:
        return source_tangents(grid, parameters, of_profile)
    return _detailed(grid, parameters, of_profile, shapelets=len(names) > len(of_profile))


def _detailed(
    grid: Grid, parameters: NDArray[np.float64], names: Sequence[str], *, shapelets: bool
) -> Iterator[tuple[Image, Image]]:
    count = parameters.shape[1] - COUNT
    coefficients = np.zeros((len(parameters), UNUSED + count))
    coefficients[:, UNUSED:] = parameters[:, COUNT:]
    planes, first = 1 + len(names), 0
    if shapelets:
        planes, first = planes + count, planes
    light = np.empty((planes, grid.height, grid.width), np.float32)
    gradient = np.empty((2, grid.height, grid.width), np.float32)
    columns = places_of(SOURCE_COLUMNS, names)
    shapes, bends = profile_numbers(parameters, SOURCE_SHAPE)
    firsts, haloes = corners(grid, parameters), halo_numbers(parameters)
    with np.errstate(over="ignore"):
        scales = SCALE * np.exp(parameters[:, INDEX["log_source_radius_px"]])
    largest = largest_order(count)
    for k in range(len(parameters)):
        numbers = (*firsts[k], F(grid.step), haloes[k], shapes[k], bends[k], columns)
        _source(light, gradient, *numbers, coefficients[k], scales[k], largest, first)
        yield light, gradient


@compiled
def _source(  # type: ignore[no-untyped-def]
    out, gradient, first_x, first_y, step, halo, shape, bend, columns, coefficients, scale, largest,
    first,
):  # fmt: skip
    height, width = out.shape[1:]
    g1, g2, sx, sy = halo[1:5]
    x, u, v = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    ax, ay = np.empty(width, np.float32), np.empty(width, np.float32)
    terms = np.empty((7, width), np.float32)
    exponent, other = np.empty(width, np.int32), np.empty(width, np.float32)
    along_x, along_y = np.empty((largest + 2, width)), np.empty((largest + 2, width))
    slope_x, slope_y = np.empty((largest + 1, width)), np.empty((largest + 1, width))
    scratch_x, scratch_y, detail = np.empty(width), np.empty(width), np.empty((3, width))
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
        prepare_row(along_x, along_y, scratch_x, scratch_y, u, v, scale, largest)
        for n in range(largest + 2):
            for j in range(width):
                along_x[n, j] *= scale  # brightness, whatever the size of the source
        slopes_row(slope_x, along_x, scale)
        slopes_row(slope_y, along_y, scale)
        detail[:] = 0
        light, d_x, d_y = detail[0], detail[1], detail[2]
        along, slopes = (along_x, along_y), (slope_x, slope_y)
        add_row(light, d_x, d_y, along, slopes, coefficients, largest, scratch_x, scratch_y)
        for j in range(width):
            terms[VALUE, j] += F(light[j])
            terms[GRADIENT_X, j] += F(d_x[j])
            terms[GRADIENT_Y, j] += F(d_y[j])
        for j in range(width):
            terms[D_LOG_R, j] += F(u[j] * d_x[j] + v[j] * d_y[j])
        if first > 0:
            plane = first
            for total in range(LOWEST, largest + 1):
                for n in range(total + 1):
                    row, of_x, of_y = out[plane, i], along_x[n], along_y[total - n]
                    for j in range(width):
                        row[j] = of_x[j] * of_y[j]
                    plane += 1
        write_row(out, gradient, i, (x, y), (u, v), (ax, ay), halo, terms, other, columns)
