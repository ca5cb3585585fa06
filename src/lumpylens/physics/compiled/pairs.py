"""Real images in pairs, as real and imaginary parts, and back.

A point-spread function is real, so that both parts of a complex image are blurred separately. The
transform of one complex image takes half as long as those of two real ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import F, compiled

__all__ = ["paired", "unpaired"]

FAINTEST = F(1e-20)
"""Smaller numbers become 0. Their transforms would end in numbers below 1e-38, with which
processors are a hundred times slower."""


def paired(images: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Pair neighbours.

    Parameters
    ----------
    images : ndarray of float32, shape (k, h, w)

    Returns
    -------
    ndarray of complex64, shape ((k + 1) // 2, h, w)
        The last imaginary part is 0 where k is odd.
    """
    count, height, width = images.shape
    pairs = np.empty(((count + 1) // 2, height * width, 2), np.float32)
    _pair(pairs, images.reshape(count, -1))
    return pairs.reshape(-1).view(np.complex64).reshape(-1, height, width)


def unpaired(
    pairs: NDArray[np.complex64],
    out: NDArray[np.float64],
    pixels: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> None:
    """Take some pixels of paired images, times their weights.

    Parameters
    ----------
    pairs : ndarray of complex64, shape ((k + 1) // 2, h, w)
    out : ndarray of float64, shape (k, n)
        Is filled.
    pixels : ndarray of int, shape (n,)
        Flat positions.
    weights : ndarray of float64, shape (n,)
    """
    _unpair(out, pairs.view(np.float32).reshape(len(pairs), -1, 2), pixels, weights)


@compiled
def _pair(pairs, images):  # type: ignore[no-untyped-def]
    for k in range(images.shape[0]):
        pair, part, image = pairs[k // 2], k % 2, images[k]
        for j in range(images.shape[1]):
            pair[j, part] = image[j] if abs(image[j]) > FAINTEST else F(0)
    if images.shape[0] % 2:
        pairs[-1, :, 1] = 0


@compiled
def _unpair(out, pairs, pixels, weights):  # type: ignore[no-untyped-def]
    for k in range(out.shape[0]):
        pair, part, row = pairs[k // 2], k % 2, out[k]
        for n in range(pixels.shape[0]):
            row[n] = pair[pixels[n], part] * weights[n]
