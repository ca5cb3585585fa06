"""Choice of the part of an image that is compared, from normal images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumpylens.physics.noise import BLOCK, Measurement, jpeg_steps
from lumpylens.physics.render import Scene

__all__ = ["choose_region", "scene_of"]

ENCLOSED = 0.99
"""Fraction of the variance between normal images that lies inside the compared square. A larger
square takes longer and adds pixels that hardly differ between lenses. Not tuned."""

RENDERED_MARGIN_PX = 8
"""Pixels that are rendered around the compared square, since light is blurred into it from
there."""


def choose_region(
    images: Tensor, jpeg_table: Tensor | None, noise: Tensor | None = None
) -> Measurement:
    """Find the centred square in which normal images differ from each other.

    Parameters
    ----------
    images : Tensor, shape (n, H, W)
    jpeg_table : Tensor, shape (8, 8), or None
        Quantisation table of compressed images, for which the square consists of whole blocks.
    noise : Tensor, shape (n, H, W), optional
        Standard deviations. Pixels then count by how far they vary beyond noise, in its units: the
        middle of bright lens galaxies does not hide the arcs.
    """
    height, width = images.shape[1:]
    grid = BLOCK if jpeg_table is not None else 2
    variance = images.var(dim=0)
    if noise is not None:
        variance = ((images / noise).var(dim=0) - 1).clamp_min(0)
    y = (torch.arange(height, device=images.device) - (height - 1) / 2).abs()
    x = (torch.arange(width, device=images.device) - (width - 1) / 2).abs()
    distance = torch.maximum(y[:, None], x[None, :])
    order = distance.flatten().argsort()
    share = variance.flatten()[order].cumsum(0) / variance.sum()
    reach = float(distance.flatten()[order][int((share < ENCLOSED).sum())]) + 0.5
    largest = min(height, width) // grid * grid
    size = min(math.ceil((2 * reach + grid) / grid) * grid, largest)
    row = _first(height, size, grid)
    column = _first(width, size, grid)
    if jpeg_table is None:
        return Measurement(row, column, size)
    return Measurement(row, column, size, jpeg_steps(jpeg_table, size // BLOCK))


def _first(side: int, size: int, grid: int) -> int:
    """First pixel of a square on the grid that is as close to the centre as possible."""
    centred = round((side - size) / 2 / grid) * grid
    return min(max(centred, 0), side // grid * grid - size)


def scene_of(
    measurement: Measurement,
    shape: tuple[int, int],
    *,
    pixel: int = 1,
    cusp_samples: int = 4,
    cusp_pitch: float | None = None,
) -> Scene:
    """Make the grid on which the compared square is rendered.

    Parameters
    ----------
    shape : (int, int)
        Of the whole image.
    pixel : int
        Image pixels per rendered pixel along each axis.
    cusp_samples, cusp_pitch
        See `Scene`.
    """
    middle = (measurement.size - 1) / 2
    side = (measurement.size + 2 * RENDERED_MARGIN_PX) // pixel
    return Scene(
        side,
        side,
        offset_x=measurement.column + middle - (shape[1] - 1) / 2,
        offset_y=measurement.row + middle - (shape[0] - 1) / 2,
        pixel=pixel,
        cusp_samples=cusp_samples,
        cusp_pitch=cusp_pitch,
        cusp_radius=8 if pixel == 1 else 6,
    )
