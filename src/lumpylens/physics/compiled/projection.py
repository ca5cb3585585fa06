"""Blurred light as the coefficients that are compared, compiled for the processor.

A blur reaches a few pixels, and a block cosine transform one block: of each row of the matrices
of `lumpylens.physics.psf.Response` a short band is not zero. Nine tenths of the coefficients of a
compressed image are not compared, and are not computed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import F, Image, compiled

__all__ = ["Bands", "Lines", "bands_of", "project", "project_bent", "project_tangents"]

AT_ONCE = 8
"""Numbers that loops take at once."""

WORTH_FILLING = 4
"""Left-over numbers that take longer one by one than together with zeros that fill them up."""


@dataclass(frozen=True)
class Bands:
    """The part of matrices that is not zero.

    Attributes
    ----------
    first : ndarray of int, shape (c,)
        Column at which the band of each row begins.
    taps : ndarray of float32, shape (n or 1, terms, c, k)
    """

    first: NDArray[np.int64]
    taps: Image

    def of(self, image: int) -> Image:
        """Taps of one image, shape (terms, c, k)."""
        taps: Image = self.taps[image if len(self.taps) > 1 else 0]
        return taps


def bands_of(matrices: Image) -> Bands:
    """Find the bands of matrices, shape (n, terms, c, h).

    They are equally long: that of the longest row, with zeros where that makes loops faster.
    """
    height = matrices.shape[-1]
    filled = (matrices != 0).any(axis=(0, 1))
    first = filled.argmax(axis=1)
    behind = np.where(filled.any(axis=1), height - filled[:, ::-1].argmax(axis=1), 0)
    length = max(int((behind - first).max()), 1)
    if length % AT_ONCE >= WORTH_FILLING:
        length = min(math.ceil(length / AT_ONCE) * AT_ONCE, height)
    first = np.minimum(first, height - length)
    at = first[:, None] + np.arange(length)
    taps = np.take_along_axis(matrices, at[None, None], axis=3)
    return Bands(first, np.ascontiguousarray(taps, np.float32))


@dataclass(frozen=True)
class Lines:
    """Which coefficients (c, c) are compared.

    Attributes
    ----------
    rows, columns : ndarray of int
        Those that have any; first the rows that have most.
    row_place, column_place : ndarray of int, shape (a,)
        Of each compared coefficient, in `rows` and `columns`.
    reach : ndarray of int
        How many of the first rows hold all that is compared in each column. Of a block cosine
        transform few high frequencies are, so that half of the products are left out.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    row_place: NDArray[np.int64]
    column_place: NDArray[np.int64]
    reach: NDArray[np.int64]

    @property
    def count(self) -> int:
        """How many coefficients are compared."""
        return len(self.row_place)

    @property
    def arrays(self) -> tuple[NDArray[np.int64], ...]:
        """All of them, as compiled code takes them."""
        return self.rows, self.columns, self.row_place, self.column_place, self.reach

    def flat(self, side: int) -> NDArray[np.int64]:
        """Places of the compared coefficients among all, flattened, shape (a,)."""
        places: NDArray[np.int64] = (
            self.rows[self.row_place] * side + self.columns[self.column_place]
        )
        return places

    @classmethod
    def of(cls, side: int, active: NDArray[np.int64] | None) -> Lines:
        """Lines of flattened coefficients `active` of (side, side), or of all."""
        flat = np.arange(side * side) if active is None else active
        rows, row_place, count = np.unique(flat // side, return_inverse=True, return_counts=True)
        columns, column_place = np.unique(flat % side, return_inverse=True)
        order = np.argsort(-count, kind="stable")
        row_place = np.argsort(order)[row_place]
        reach = np.zeros(len(columns), np.int64)
        np.maximum.at(reach, column_place, row_place + 1)
        reach = np.minimum(-(-reach // AT_ONCE) * AT_ONCE, len(rows))
        return cls(rows[order], columns, row_place, column_place, reach)


def project_tangents(
    tangents: Image,
    lights: Iterable[Image],
    bands: tuple[Bands, Bands],
    lines: Lines,
    all_lines: Lines,
    amplitudes: Image,
    places: Sequence[int],
) -> Image:
    """Add the coefficients of derivatives to those of other light, one image after the other.

    Parameters
    ----------
    tangents : ndarray of float32, shape (n, k, a)
        To which they are added.
    lights : iterable of ndarray of float32, shape (1 + len(places), h, w)
        Of each image: the light, then its derivatives. May be the same memory each time, which
        stays in the cache.
    bands : pair of Bands
    lines, all_lines : Lines
        Of the compared coefficients, and of all (c, c).
    amplitudes : ndarray of float32, shape (n,)
        By which the derivatives are multiplied.
    places : sequence of int
        Where each derivative stands in `tangents`.

    Returns
    -------
    ndarray of float32, shape (n, c, c)
        All coefficients of the light of unit amplitude.
    """
    side = len(all_lines.rows)
    whole = np.zeros((len(tangents), 1, side * side), np.float32)
    first, rest = np.zeros(1, np.int64), np.array(places, np.int64)
    for k, light in enumerate(lights):
        taps = _taps(bands, k)
        _project(whole[k], light[:1], *taps, *all_lines.arrays, first, F(1))
        _project(tangents[k], light[1:], *taps, *lines.arrays, rest, amplitudes[k])
    return whole.reshape(-1, side, side)


def project(light: Image, bands: tuple[Bands, Bands], lines: Lines) -> Image:
    """Map light to coefficients.

    Parameters
    ----------
    light : ndarray of float32, shape (n, k, h, w)
    bands : pair of Bands
    lines : Lines
        Of the coefficients that are wanted.

    Returns
    -------
    ndarray of float32, shape (n, k, a)
    """
    count, planes = light.shape[:2]
    out = np.zeros((count, planes, lines.count), np.float32)
    places = np.arange(planes)
    for k in range(count):
        _project(out[k], light[k], *_taps(bands, k), *lines.arrays, places, F(1))
    return out


def project_bent(
    gradient: Image,
    grid: tuple[Image, Image],
    places: tuple[Image, Image],
    softening: float,
    bands: tuple[Bands, Bands],
    lines: Lines,
) -> Image:
    """Map the light that point masses move to its compared coefficients, shape (n, m, a).

    Parameters
    ----------
    gradient : ndarray of float32, shape (n, 2, h, w)
        Of the brightness where each ray ends, along x and y.
    grid : pair of ndarray of float32, shape (h, w)
        Positions x and y of the rays in the image.
    places : pair of ndarray of float32, shape (n or 1, m)
        Of the masses, whose Einstein radius is 1.
    softening : float
        See `lumpylens.physics.deflection.softened_point`.
    bands : pair of Bands
    lines : Lines
    """
    # Positions come last, so that loops over them are long and those over pixels need no turning.
    out = np.zeros((len(gradient), lines.count, places[0].shape[1]), np.float32)
    at = lines.rows[lines.row_place], lines.columns[lines.column_place]
    core = F(softening**2)
    for k, of_image in enumerate(gradient):
        x, y = (part[k if len(part) > 1 else 0] for part in places)
        _project_bent(out[k], of_image, *grid, x, y, core, *_taps(bands, k), *at)
    return out.swapaxes(1, 2)


def _taps(bands: tuple[Bands, Bands], image: int) -> tuple[NDArray[Any], ...]:
    rows, columns = bands
    return rows.of(image), rows.first, columns.of(image), columns.first


@compiled
def _project(  # type: ignore[no-untyped-def]
    out, light, row_taps, row_first, column_taps, column_first, rows, columns, row_place,
    column_place, reach, places, scale,
):  # fmt: skip
    """Add the coefficients of planes (p, h, w), times a number, to the rows `places` of `out`."""
    width, row_count, column_count = light.shape[2], rows.shape[0], columns.shape[0]
    blurred = np.empty((row_count, width), np.float32)
    turned = np.empty((width, row_count), np.float32)
    total = np.empty((column_count, row_count), np.float32)
    for plane in range(light.shape[0]):
        total[:] = 0
        for term in range(row_taps.shape[0]):
            for r in range(row_count):
                blurred[r] = 0
                _add_rows(blurred[r], light[plane], row_first[rows[r]], row_taps[term, rows[r]])
            for r in range(row_count):
                for j in range(width):
                    turned[j, r] = blurred[r, j]
            for c in range(column_count):
                line = columns[c]
                _add_rows(total[c, : reach[c]], turned, column_first[line], column_taps[term, line])
        row = out[places[plane]]
        for a in range(out.shape[1]):
            row[a] += scale * total[column_place[a], row_place[a]]


@compiled
def _add_rows(out, table, first, taps):  # type: ignore[no-untyped-def]
    """Add rows of a table from `first` on, each times its tap, eight at a time."""
    in_eights = taps.shape[0] // AT_ONCE * AT_ONCE
    for k in range(0, in_eights, AT_ONCE):
        row = first + k
        a, b, c, d = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        e, f, g, h = taps[k + 4], taps[k + 5], taps[k + 6], taps[k + 7]
        row_a, row_b, row_c, row_d = table[row], table[row + 1], table[row + 2], table[row + 3]
        row_e, row_f, row_g, row_h = table[row + 4], table[row + 5], table[row + 6], table[row + 7]
        for j in range(out.shape[0]):
            upper = (a * row_a[j] + b * row_b[j]) + (c * row_c[j] + d * row_d[j])
            lower = (e * row_e[j] + f * row_f[j]) + (g * row_g[j] + h * row_h[j])
            out[j] += upper + lower
    for k in range(in_eights, taps.shape[0]):
        tap, single = taps[k], table[first + k]
        for j in range(out.shape[0]):
            out[j] += tap * single[j]


@compiled
def _project_bent(  # type: ignore[no-untyped-def]
    out, gradient, x, y, at_x, at_y, core, row_taps, row_first, column_taps, column_first, rows,
    columns,
):  # fmt: skip
    """Add coefficients (a, m) in `rows` and `columns` of the light that point masses move."""
    height, width, count = x.shape[0], x.shape[1], at_x.shape[0]
    light = np.empty((height, width * count), np.float32)
    for i in range(height):
        for j in range(width):
            slope_x, slope_y = gradient[0, i, j], gradient[1, i, j]
            ray_x, ray_y = x[i, j], y[i, j]
            part = light[i, j * count : (j + 1) * count]
            for m in range(count):
                u, v = ray_x - at_x[m], ray_y - at_y[m]
                part[m] = -(slope_x * u + slope_y * v) / (u * u + v * v + core)
    blurred = np.empty(width * count, np.float32)
    by_column = blurred.reshape(width, count)
    for term in range(row_taps.shape[0]):
        row = -1
        for a in range(out.shape[0]):
            if rows[a] != row:
                row = rows[a]
                blurred[:] = 0
                _add_rows(blurred, light, row_first[row], row_taps[term, row])
            column = columns[a]
            _add_rows(out[a], by_column, column_first[column], column_taps[term, column])
