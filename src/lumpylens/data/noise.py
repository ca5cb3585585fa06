"""Make a noise map of what files give instead: variances, weights, zeros where there is no data."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumpylens.data.kinds import Kind

__all__ = ["MASKED_OVER_TYPICAL", "background_scatter", "noise_from"]

MASKED_OVER_TYPICAL = 1e8
"""Noise of a masked pixel over the typical one: it then weighs nothing wherever it is used."""

LAG = 3
"""Pixels between those that are compared; drizzled neighbours share their noise."""

MOST_OFF = 3.0
"""Largest factor between the noise of a weight map and the scatter of the background. Noise that
drizzling has correlated scatters 1.5 to 2 times less from pixel to pixel than it is."""


def noise_from(
    values: ArrayLike, kind: Kind, image: NDArray[np.generic], *, is_inverse: bool = False
) -> tuple[NDArray[np.float64] | None, list[str]]:
    """One standard deviation per pixel.

    Parameters
    ----------
    values : array_like, shape (H, W)
    kind : Kind
        Noise map, variance map or weight map.
    image : ndarray, shape (H, W)
        In its unit.
    is_inverse : bool
        Of weights: whether they are known to be 1 / variance. Others, such as the WHT of a
        drizzled image, may be exposure times; they are used only if they agree with the image.

    Returns
    -------
    noise : ndarray, shape (H, W), or None
        None for weights that are no inverse variance. Where a noise of 0, or a weight of 0, says
        that there is no data, it is `MASKED_OVER_TYPICAL` times the median.
    remarks : list of str
    """
    remarks = []
    filled = np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        empty = filled == 0
        noise = filled
        if kind is Kind.VARIANCE:
            noise = np.sqrt(filled)
        elif kind is Kind.WEIGHT:
            noise = 1 / np.sqrt(filled)
    sound = np.isfinite(noise) & ~empty
    typical = float(np.median(noise[sound])) if sound.any() else math.nan
    if kind is Kind.WEIGHT:
        scatter = background_scatter(image, sound)
        alike = not scatter > 0 or 1 / MOST_OFF <= typical / scatter <= MOST_OFF
        if not (is_inverse or alike):
            return None, [
                "weights are not used: 1 / sqrt(weight) does not agree with the scatter of the "
                "background, so they are no inverse variances; give a noise map"
            ]
        remarks.append("weights are taken as 1 / variance")
    if empty.any() and typical > 0:
        noise = np.where(empty, MASKED_OVER_TYPICAL * typical, noise)
        remarks.append("pixels without noise (or with weight 0) are taken as masked")
    return noise, remarks


def background_scatter(image: NDArray[np.generic], sound: NDArray[np.bool_] | None = None) -> float:
    """Standard deviation of the background, from differences of pixels of one row or column.

    Parameters
    ----------
    image : ndarray, shape (H, W)
    sound : ndarray of bool, shape (H, W), optional
        Pixels to use. Default: all.

    Returns
    -------
    float
        NaN if there is none to compare.
    """
    values = image.astype(np.float64)
    if sound is not None:
        if sound.shape != image.shape:
            return math.nan
        values = np.where(sound, values, np.nan)
    steps = [(values[LAG:] - values[:-LAG]).ravel(), (values[:, LAG:] - values[:, :-LAG]).ravel()]
    differences = np.concatenate(steps)
    differences = differences[np.isfinite(differences)]
    if not len(differences):
        return math.nan
    # 1.4826 turns the median deviation of a Gaussian into its standard deviation.
    return float(1.4826 * np.median(np.abs(differences)) / math.sqrt(2))
