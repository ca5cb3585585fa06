"""Explanation of a score by its reconstruction: where the squared error lies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.images import ImageBatch
from lumpylens.detectors.maps import circle_radius_px, image_map, largest_at, sums_in_circles
from lumpylens.results.explanation import Explanation, Peak, ScorePart
from lumpylens.results.position import position_words

__all__ = ["LossSum", "explain_loss", "reconstruction_mse"]

LEAST_RANGE = 50.0
"""Smallest half-range of the colours of a map of the excess over the usual, in % of a normal
image's squared error: with `pca`, 90 % of 205 normal images of the challenge stay below 48."""


def unit_squares(
    pixels: NDArray[np.float32], reconstruction: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Squared error of each pixel, shape (n, H, W), on the [0, 1] scale of its image."""
    spread = np.ptp(pixels.reshape(len(pixels), -1), axis=1).astype(np.float64)
    difference = (pixels - reconstruction).astype(np.float64)
    squares: NDArray[np.float64] = np.square(difference) / np.square(spread)[:, None, None]
    return squares


def reconstruction_mse(
    pixels: NDArray[np.float32], reconstruction: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Mean squared error per pixel with both on the [0, 1] scale of the image; shape (n,)."""
    result: NDArray[np.float64] = unit_squares(pixels, reconstruction).mean(axis=(-2, -1))
    return result


class LossSum:
    """Mean squared error at each pixel over images that come in batches.

    Attributes
    ----------
    count : int
        Images that were added.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum: NDArray[np.float64] | None = None

    def add(self, pixels: NDArray[np.float32], reconstruction: NDArray[np.float32]) -> None:
        """Add a batch, shape (n, H, W) each."""
        summed = unit_squares(pixels, reconstruction).sum(axis=0)
        self._sum = summed if self._sum is None else self._sum + summed
        self.count += len(pixels)

    @property
    def mean(self) -> NDArray[np.float32] | None:
        """The mean, shape (H, W); None if nothing was added."""
        return None if self._sum is None else (self._sum / self.count).astype(np.float32)


def explain_loss(
    alone: ImageBatch,
    reconstruction: NDArray[np.float32],
    normal_loss: NDArray[np.float32] | None,
    scores: tuple[ScorePart, ...],
) -> Explanation:
    """Explain the one image of a batch by where its reconstruction is wrong.

    The map sums the squared error over a small circle around each pixel. Where the usual squared
    error is known it is subtracted, so that what no reconstruction gets right, such as the
    cusp of a galaxy, does not stand out.

    Parameters
    ----------
    alone : ImageBatch
    reconstruction : ndarray of float32, shape (H, W)
        On the scale of the image.
    usual : ndarray of float32, shape (H, W), or None
        Mean squared error of normal images at each pixel, image on [0, 1].
    scores : tuple of ScorePart
    """
    image = alone.pixels[0]
    squares = unit_squares(alone.pixels, reconstruction[None])[0]
    # An image that is rebuilt without any error has no largest part.
    total = max(float(squares.sum()), np.finfo(float).tiny)
    height, width = image.shape
    within = f"within {circle_radius_px((height, width))} px"
    if normal_loss is None:
        excess, unit, least = 100 * squares / total, "% of its squared error", 0.0
    else:
        normal_total = max(float(normal_loss.sum()), np.finfo(float).tiny)
        excess = 100 * (squares - normal_loss) / normal_total
        unit, least = "% of a normal image's", LEAST_RANGE
    values = sums_in_circles(excess)
    row, column = largest_at(excess, values)
    share = 100 * float(sums_in_circles(squares)[row, column]) / total
    place = position_words(column, row, (height, width), alone.pixel_scale_arcsec)
    if normal_loss is None:
        sentence = (
            f"Squared error of the reconstruction {squares.mean():.2g} per pixel (image on "
            f"[0, 1]); its largest part, {share:.0f} %, lies {within} of {place}"
        )
    else:
        sentence = (
            f"Squared error of the reconstruction {total / normal_total:.2g} times that of normal "
            f"images; it exceeds that of normal images most {within} of {place}, where "
            f"{share:.0f} % of it lies"
        )
    difference = image.astype(np.float64) - reconstruction
    noise = None if alone.noise is None else alone.noise[0]
    residual = difference / (np.ptp(image) if noise is None else noise)
    loss_map = image_map("loss", "loss map", values, unit, least)
    return Explanation(
        image=image,
        model=reconstruction,
        residual=residual.astype(np.float32),
        residual_unit="of the range" if noise is None else "sigma",
        scores=scores,
        sentence=sentence,
        maps=(loss_map,),
        peak=Peak(float(column), float(row), f"{share:.0f} % of the squared error {within}"),
    )
