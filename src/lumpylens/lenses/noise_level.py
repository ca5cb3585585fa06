"""Whether a noise map is one: the scatter of the background tells, before any fit."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lumpylens.errors import DataError
from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.remarks import Note, Remark

__all__ = ["noise_notes"]

GAP_PX = 4
"""Distance of the pixels that are compared: the noise of drizzled and resampled images is alike in
neighbours, whose differences would be too small."""

FAR = 0.6
"""Of the distance from the middle to the nearest edge: beyond is background. Not tuned."""

LEAST_DIFFERENCES = 1000
"""Number of differences that a scatter needs: of a thousand, a robust one is known to 4 %."""

USUAL = (0.1, 2.0)
"""Scatter over noise of maps that are not doubted. It is 0.65 to 0.72 in 24 drizzled lenses of the
Hubble telescope, 0.62 in a lens of Euclid and 0.2 in the ground-based bands resampled to it."""

CERTAIN, FITS = 5.0, (0.5, 1.5)
"""Factor by which a map misses the scatter, and the scatter over what the map would be as weights
or variances, that together tell what it is. A map of 1-sigma noise of a tenth of its due fits as
variances by accident where sigma is near 0.1, so that both are asked for."""


def noise_notes(cutout: Cutout) -> list[Note]:
    """Compare a noise map with the scatter of the background.

    Parameters
    ----------
    cutout : Cutout

    Returns
    -------
    list of Note
        Empty where they agree, or where there is too little background to tell.

    Raises
    ------
    DataError
        If the map holds weights or variances.
    """
    noise = cutout.noise.astype(float)
    scatter = background_scatter(cutout, noise)
    if math.isnan(scatter) or USUAL[0] <= scatter <= USUAL[1]:
        return []
    if not 1 / CERTAIN <= scatter <= CERTAIN:
        for kind, sigma, remedy in (
            ("weights, which are 1/sigma^2", noise**-0.5, "1/sqrt(weight)"),
            ("variances", noise**0.5, "sqrt(variance)"),
        ):
            if FITS[0] <= background_scatter(cutout, sigma) <= FITS[1]:
                raise DataError(
                    f"the noise map looks like {kind}: it is {1 / scatter:.2g} times the scatter "
                    f"of the background; give {remedy}"
                )
    return [Note(Remark.NOISE_LEVEL, (1 / scatter,))]


def background_scatter(cutout: Cutout, sigma: NDArray[np.float64]) -> float:
    """Robust scatter of the background in units of its noise; NaN where there is too little.

    Of second differences along rows and columns, which slopes do not change; neighbours and stars
    are few enough not to move a median.

    Parameters
    ----------
    cutout : Cutout
    sigma : ndarray, shape (H, W)
        Noise of each pixel; used where the cutout is usable.
    """
    height, width = cutout.image.shape
    rows, columns = np.indices((height, width))
    middle = (height - 1) / 2, (width - 1) / 2
    sky = np.hypot(rows - middle[0], columns - middle[1]) > FAR * min(height, width) / 2
    differences = []
    for turned in (False, True):
        image, noise, usable, in_sky = (
            array.T if turned else array
            for array in (cutout.image.astype(float), sigma, cutout.usable, sky)
        )
        if len(image) <= 2 * GAP_PX:
            return math.nan
        parts = [slice(None, -2 * GAP_PX), slice(GAP_PX, -GAP_PX), slice(2 * GAP_PX, None)]
        left, middle_pixel, right = (image[part] for part in parts)
        use = np.logical_and.reduce([usable[part] for part in parts]) & in_sky[parts[1]]
        variance = (noise[parts[0]] ** 2 + noise[parts[2]] ** 2) + 4 * noise[parts[1]] ** 2
        differences.append((2 * middle_pixel - left - right)[use] / np.sqrt(variance[use]))
    deviations = np.abs(np.concatenate(differences))
    return (
        1.4826 * float(np.median(deviations)) if len(deviations) >= LEAST_DIFFERENCES else math.nan
    )
