"""Which way the training images lie and how large they are, compared with other images' together.

A single image seldom shows that it was turned, mirrored or resized by some percent: every angle and
every size occurs. The means of many images show it, if their simulator or selection prefers an
angle. ``benchmarks/orientation.py`` measures how many images that takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lumpylens.results.calibration import LEAST_TOGETHER

__all__ = ["MEASURES", "Shapes"]

MEASURES = ("e1", "e2", "log_size")
"""(Qxx - Qyy) / (Qxx + Qyy), 2 Qxy / (Qxx + Qyy) and ln(Qxx + Qyy) / 2 of the second moments Q of
an image's light around its middle."""
ANGLE, SIZE = slice(0, 2), 2

CHANCE = 1e-4
"""Probability of a remark on as many normal images, for each of angle and size."""

FAINT = 0.05
"""Brightness, in units of the range of an image's bins, up to which they are linear, then
logarithmic, so that arcs count beside the lens galaxy; that of `changes`."""


@dataclass(frozen=True)
class Shapes:
    """Means of `MEASURES` over the training images, and how far others may lie from them.

    Attributes
    ----------
    mean : ndarray of float64, shape (3,)
    covariance : ndarray of float64, shape (3, 3)
        Of single images.
    count : int
        Number of training images.
    slack : ndarray of float64, shape (2,)
        Distance of the mean angle and of the mean size, in standard deviations of single images, to
        which substructure may bring a set: the largest of the training images bent outward.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    count: int
    slack: NDArray[np.float64]

    @classmethod
    def learn(cls, pixels: NDArray[np.float32]) -> Self:
        """Learn from normal images, shape (n, H, W)."""
        import torch

        from lumpylens.detectors.changes import BATCH, bent
        from lumpylens.detectors.layout import BENDS

        values = measured(pixels)
        alone = cls(values.mean(axis=0), np.cov(values, rowvar=False), len(values), np.zeros(2))
        slack = []
        for bend in BENDS:
            change = partial(bent, outward=bend)
            parts = [change(part) for part in torch.from_numpy(pixels).split(BATCH)]
            of_bent = np.concatenate([measured(part.numpy()) for part in parts])
            slack.append(alone.distances(of_bent.mean(axis=0)))
        return cls(alone.mean, alone.covariance, alone.count, np.max(slack, axis=0))

    def distances(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance of the angle and the size of a mean, in standard deviations of single images."""
        departure = mean - self.mean
        angle = math.sqrt(
            departure[ANGLE] @ np.linalg.solve(self.covariance[ANGLE, ANGLE], departure[ANGLE])
        )
        return np.array([angle, abs(departure[SIZE]) / math.sqrt(self.covariance[SIZE, SIZE])])

    def limits(self, count: int) -> NDArray[np.float64]:
        """Largest `distances` of the mean of `count` normal images."""
        from scipy.special import chdtri  # chi2.isf, which takes a second to import

        # Squared distances of means, in one or two dimensions, divided by their variance.
        errors = np.sqrt(chdtri([2, 1], CHANCE) * (1 / self.count + 1 / count))
        limits: NDArray[np.float64] = self.slack + errors
        return limits

    def remark(self, values: NDArray[np.float64]) -> str:
        """Say how images, taken together, differ from the training images; empty if not, or if few.

        Parameters
        ----------
        values : ndarray of float64, shape (n, 3)
            `measured` of the images.
        """
        if len(values) < LEAST_TOGETHER:
            return ""
        mean = values.mean(axis=0)
        angle, size = self.distances(mean) > self.limits(len(values))
        sentences = []
        if angle:
            sentences.append(
                f"not oriented as the training images are (on average {_orientation(mean)}, theirs "
                f"{_orientation(self.mean)}): were they rotated or mirrored?"
            )
        if size:
            percent = 100 * math.expm1(mean[SIZE] - self.mean[SIZE])
            word = "larger" if percent > 0 else "smaller"
            sentences.append(
                f"{abs(percent):.0f} % {word} than the training images: do they have another scale?"
            )
        return (
            f"these images, taken together, are {' They are '.join(sentences)}" if sentences else ""
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Named arrays of all that was learned."""
        return {
            "mean": self.mean,
            "covariance": self.covariance,
            "count": np.array([self.count]),
            "slack": self.slack,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take back what `arrays` gave.

        Raises
        ------
        KeyError, ValueError
            If one is not there, or has another shape.
        """
        number = len(MEASURES)
        shapes = {"mean": (number,), "covariance": (number, number), "count": (1,), "slack": (2,)}
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise ValueError(f"the shapes' {name} has shape {arrays[name].shape}, not {shape}")
        return cls(arrays["mean"], arrays["covariance"], int(arrays["count"][0]), arrays["slack"])


def measured(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """`MEASURES` of images, shape (n, 3), from bins on a logarithmic scale.

    Parameters
    ----------
    pixels : ndarray of float32, shape (n, H, W)
        On any linear scale. Columns of square images are x, rows y.
    """
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    from lumpylens.detectors.changes import SIDE

    bins = adaptive_avg_pool2d(torch.from_numpy(pixels)[:, None], SIDE)[:, 0].numpy()
    bins = bins.reshape(len(bins), -1)
    low, high = bins.min(axis=1, keepdims=True), bins.max(axis=1, keepdims=True)
    scaled = np.arcsinh((bins - low) / (high - low + np.finfo(np.float32).tiny) / FAINT)
    light = (scaled - np.median(scaled, axis=1, keepdims=True)).clip(min=0)
    light = light.reshape(-1, SIDE, SIDE).astype(np.float64)
    place = (np.arange(SIDE) - (SIDE - 1) / 2) / SIDE
    total = light.sum(axis=(1, 2)) + np.finfo(np.float32).tiny
    xx = light.sum(axis=1) @ place**2 / total
    yy = light.sum(axis=2) @ place**2 / total
    xy = light @ place @ place / total
    size = xx + yy + np.finfo(np.float32).tiny
    return np.stack([(xx - yy) / size, 2 * xy / size, np.log(size) / 2], axis=1)


def _orientation(mean: NDArray[np.float64]) -> str:
    """Angle and strength of a mean ellipticity."""
    degrees = math.degrees(math.atan2(mean[1], mean[0])) / 2
    return f"an ellipticity of {math.hypot(*mean[ANGLE]):.2f} at {degrees:.0f} degrees"
