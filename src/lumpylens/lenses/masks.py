"""Pixels that belong to neither lens nor source: neighbours and defects the noise map missed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.observation import Observation
from lumpylens.lenses.smooth import SmoothFit
from lumpylens.lenses.starts import FARTHEST

__all__ = ["mask_intruders", "without_neighbours"]

PEAK, EDGE = 10.0, 3.0
"""Significance of a neighbour's brightest point, and down to which its light is masked. Of 24
lenses of the SLACS survey 7 have such neighbours beyond 3 arcsec. Not tuned."""

SMOOTHED = 0.1
"""Standard deviation of the Gaussian with which an image is smoothed before neighbours are looked
for, arcsec, but at least a pixel. Not tuned."""

NEIGHBOUR = 6.0
"""Significance of three by three pixels, in units of the residual's robust scatter, above which
light far from any arc is a neighbour. Not tuned."""

DEFECT, SHARE = 6.0, 0.2
"""Scatters beyond which a pixel may be a defect, and the part of it that its neighbours then have
less than on average: a point source gives them a third. Not tuned."""


def mask_intruders(observation: Observation, rough: SmoothFit) -> Observation:
    """Mask neighbours outside the arcs, and single bad pixels.

    Parameters
    ----------
    observation : Observation
    rough : SmoothFit
        From the same image; may be of another disc.

    Notes
    -----
    Only positive residuals beyond 1.4 Einstein radii plus 0.4 arcsec count as neighbours, where
    the source has no light: nothing that lensing makes may be masked.
    """
    model, values = rough.best.model, rough.best.lens.values
    lens = replace(model, observation=observation).lens(values)
    residual = torch.nan_to_num(observation.picture(lens.linear.residual))
    counted = observation.usable.double()
    box = torch.ones(1, 1, 3, 3, dtype=torch.float64)

    def boxed(image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(image[None, None], box, padding=1)[0, 0]

    number = boxed(counted)
    mean = boxed(residual) / number.clamp_min(1).sqrt()
    around = (boxed(residual) - residual) / (number - 1).clamp_min(1)
    scatter = lens.residual_scatter
    x, y = observation.x - lens["light_x"], observation.y - lens["light_y"]
    outside = torch.hypot(x, y) > 1.4 * math.exp(lens["log_einstein_radius"]) + 0.4
    bright = observation.blur(lens.source_light[None])[0].abs() * observation.weight > 1.0
    neighbour = outside & ~bright & (mean > NEIGHBOUR * scatter)
    grown = torch.nn.functional.max_pool2d(neighbour.double()[None, None], 7, 1, 3)[0, 0] > 0
    defect = (residual.abs() > DEFECT * scatter) & (around.abs() < SHARE * residual.abs())
    return observation.masked(~((grown & outside & ~bright) | defect))


def without_neighbours(cutout: Cutout, *, beyond: float) -> Cutout:
    """Mask the light of galaxies and stars whose brightest points are far from the lens.

    A neighbour whose light reaches into the disc of a fit would be taken for a lensed image.

    Parameters
    ----------
    cutout : Cutout
    beyond : float
        Arcsec from the lens galaxy.

    Notes
    -----
    The image turned by half a circle about the lens galaxy is subtracted, which leaves nothing of a
    galaxy that is symmetric. From each pixel a way leads uphill to a brightest point, and those
    whose point is far away and significant belong to a neighbour. Arcs have brightest points of
    their own, which are nearer.
    """
    significance, distance = _asymmetry(cutout)
    summit = _summits(significance)
    neighbour = (
        (distance.flat[summit] > beyond)
        & (significance.flat[summit] > PEAK)
        & (significance > EDGE)
    )
    return replace(cutout, noise=np.where(neighbour, np.inf, cutout.noise).astype(np.float32))


def _asymmetry(cutout: Cutout) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Significance of smoothed light that has no counterpart, and distance from the lens galaxy.

    Both of shape (H, W); the significance is minus infinity where there is nothing to compare.
    """
    from scipy.ndimage import gaussian_filter

    usable, scale = cutout.usable, cutout.pixel_scale_arcsec
    width = max(SMOOTHED / scale, 1.0)
    known = gaussian_filter(usable.astype(float), width)
    light = gaussian_filter(np.where(usable, cutout.image, 0.0).astype(float), width)
    squared_noise = np.where(usable, cutout.noise, 0.0).astype(float) ** 2
    # The square of a Gaussian is one of a width smaller by the root of 2.
    variance = gaussian_filter(squared_noise, width / math.sqrt(2)) / (4 * math.pi * width**2)
    light, variance = light / known.clip(1e-9), variance / known.clip(1e-9) ** 2
    row, column = _middle(np.where(usable, light, -np.inf), FARTHEST / scale)
    rows, columns = np.indices(light.shape)
    opposite = 2 * row - rows, 2 * column - columns
    inside = np.logical_and.reduce(
        [(at >= 0) & (at < length) for at, length in zip(opposite, light.shape, strict=True)]
    )
    mirror = tuple(np.where(inside, at, 0) for at in opposite)
    compared = inside & (known > 0.5) & (known[mirror] > 0.5)
    error = np.sqrt(np.where(compared, variance + variance[mirror], 1.0))
    significance = np.where(compared, (light - light[mirror]) / error, -np.inf)
    return significance, np.hypot(rows - row, columns - column) * scale


def _middle(light: NDArray[np.float64], reach: float) -> tuple[int, int]:
    """Row and column of the brightest pixel within `reach` pixels of the middle."""
    rows, columns = np.indices(light.shape)
    height, width = light.shape
    near = np.hypot(rows - (height - 1) / 2, columns - (width - 1) / 2) < reach
    row, column = np.unravel_index(np.where(near, light, -np.inf).argmax(), light.shape)
    return int(row), int(column)


def _summits(height: NDArray[np.float64]) -> NDArray[np.int64]:
    """Flat index of the summit that the steepest way uphill leads to, from each pixel, (H, W)."""
    rows, columns = np.indices(height.shape)
    padded = np.pad(height, 1, constant_values=-np.inf)
    steps = [(i, j) for i in (0, -1, 1) for j in (0, -1, 1)]
    around = np.stack([
        padded[1 + i : 1 + i + height.shape[0], 1 + j : 1 + j + height.shape[1]] for i, j in steps
    ])  # fmt: skip
    up = np.array(steps)[around.argmax(axis=0)]
    summit: NDArray[np.int64] = np.ravel_multi_index(
        (rows + up[..., 0], columns + up[..., 1]), height.shape
    )
    while not np.array_equal(further := summit.flat[summit], summit):
        summit = further
    return summit
