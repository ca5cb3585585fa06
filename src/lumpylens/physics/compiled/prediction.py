"""Prediction of the compared coefficients and of their noise, in one pass over each image.

The formulas are those of `lumpylens.physics.model.SmoothModel.sigma`, of `NoiseLevel.variance` and
of `lumpylens.physics.noise.Measurement`, which are for graphics cards and double precision.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import F, Image, compiled

__all__ = ["predict_coefficients"]

RINGING = -4 * math.pi**2
"""Of the exponent in `Measurement.rounding_variance`."""


def predict_coefficients(
    columns: tuple[Image, Image, Image],
    amplitudes: Image,
    active: NDArray[np.int64],
    block: tuple[int, int],
    level: tuple[float, float, float, float],
    given: Image | None,
) -> Image:
    """Prediction, standard deviation of the noise and brightness around each coefficient.

    Parameters
    ----------
    columns : tuple of ndarray of float32, shape (n, c, c), (n, c, c) and (c, c)
        Lens light, source and background of unit amplitude.
    amplitudes : ndarray of float32, shape (n, 3)
    active : ndarray of int, shape (a,)
        Which of the flattened coefficients are compared.
    block : (int, int)
        Pixels and coefficients along one side of a block of the cosine transform; (1, 1) if pixels
        are compared.
    level : tuple of float
        Floor, gain, offset and roughness of `NoiseLevel`.
    given : ndarray of float32, shape (n, c, c), or None
        Noise maps of compared pixels.

    Returns
    -------
    ndarray of float32, shape (3, n, a)
    """
    lens, source, flat = columns
    out = np.empty((3, len(lens), len(active)), np.float32)
    noise = np.empty((0, *flat.shape), np.float32) if given is None else given
    numbers = np.array(level, np.float32)
    _predict(out, lens, source, flat, amplitudes, active, *block, numbers, noise)
    return out


@compiled
def _predict(  # type: ignore[no-untyped-def]
    out, lens, source, flat, amplitudes, active, pixels, kept, level, noise
):
    side = flat.shape[0]
    whole, light = np.empty((side, side), np.float32), np.empty((side, side), np.float32)
    variance = np.empty((side, side), np.float32)
    for image in range(lens.shape[0]):
        a_lens, a_source, background = amplitudes[image]
        sky = level[0] + level[2] * background * background
        for i in range(side):
            for j in range(side):
                bright = a_lens * lens[image, i, j] + a_source * source[image, i, j]
                whole[i, j] = bright + background * flat[i, j]
        for i in range(side):
            for j in range(side):
                light[i, j] = whole[i // kept * kept, j // kept * kept] / F(pixels) - background
        for i in range(side):
            for j in range(side):
                lit = max(light[i, j], F(0))
                rough = level[3] * lit
                variance[i, j] = sky + level[1] * lit + rough * rough
        if noise.shape[0]:
            for i in range(side):
                for j in range(side):
                    variance[i, j] += noise[image, i, j] * noise[image, i, j]
        if kept > 1:
            _add_rounding(variance, whole, pixels, kept)
        for a in range(active.shape[0]):
            i, j = active[a] // side, active[a] % side
            out[0, image, a] = whole[i, j]
            out[1, image, a] = math.sqrt(variance[i, j])
            out[2, image, a] = light[i, j]


@compiled
def _add_rounding(variance, whole, pixels, kept):  # type: ignore[no-untyped-def]
    """Variance of the means of blocks from rounding to whole grey levels."""
    area = F(pixels * pixels)
    for top in range(0, whole.shape[0], kept):
        for left in range(0, whole.shape[1], kept):
            power = F(0)
            for i in range(kept):
                for j in range(kept):
                    if i + j > 0:
                        power += whole[top + i, left + j] * whole[top + i, left + j]
            spread = power / area + variance[top, left]
            variance[top, left] += area / F(12) * math.exp(F(RINGING) * spread)
