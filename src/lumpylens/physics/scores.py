"""From fits to scores: the surprise in a lens's numbers, its residual, its deflections."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.physics.model import Linearisation, SmoothModel
from lumpylens.physics.noise import Evidence, expected_deviance
from lumpylens.physics.population import Population

__all__ = [
    "ResidualLaw", "Tail", "lit_deviance", "parameter_distance", "parameter_surprise",
    "squared_distance",
]  # fmt: skip

LIT = 2.0
"""A coefficient counts half in the residual where the light is this many times its noise, and
fully or not at all half a time above or below. The empty sky is rounded to exact constants, whose
likelihood says nothing of the lens."""

TAIL_BEGINS = 0.9
KNOTS = 60


def parameter_surprise(
    population: Population, values: Tensor, information: Tensor
) -> NDArray[np.float64]:
    """Departure of each parameter from the population in standard deviations, shape (n, k).

    Parameters
    ----------
    values : Tensor, shape (n, k)
        Estimates under a weak prior.
    information : Tensor, shape (n, k, k)
        Of each image about them.
    """
    total = _total(population, information)
    off = values.double() - population.mean
    surprise: NDArray[np.float64] = (off / torch.diagonal(total, dim1=1, dim2=2).sqrt()).numpy()
    return surprise


def parameter_distance(
    population: Population, values: Tensor, information: Tensor, without: int | None = None
) -> NDArray[np.float64]:
    """Squared Mahalanobis distance of each lens from the population, shape (n,).

    Parameters
    ----------
    without : int, optional
        A parameter whose row and column are left out: the others' marginal distribution.
    """
    off = values.double() - population.mean
    distance: NDArray[np.float64] = squared_distance(
        off, _total(population, information), without
    ).numpy()
    return distance


def squared_distance(off: Tensor, covariance: Tensor, without: int | None = None) -> Tensor:
    """Squared Mahalanobis lengths, shape (n,).

    Parameters
    ----------
    off : Tensor, shape (n, k)
    covariance : Tensor, shape (k, k) or (n, k, k)
    without : int, optional
        A coordinate whose row and column are left out: the others' marginal distribution.
    """
    if without is not None:
        keep = [k for k in range(off.shape[1]) if k != without]
        off, covariance = off[:, keep], covariance[..., keep, :][..., keep]
    solved = torch.linalg.solve(covariance.expand(len(off), -1, -1), off[..., None])[..., 0]
    distance: Tensor = (off * solved).sum(dim=1)
    return distance


def _total(population: Population, information: Tensor) -> Tensor:
    weak = 1e-9 * torch.diag_embed(torch.diagonal(information, dim1=1, dim2=2))
    errors: Tensor = torch.linalg.inv(information.double() + weak)
    return population.covariance + errors


def lit_deviance(model: SmoothModel, line: Linearisation, seen: Evidence) -> tuple[Tensor, Tensor]:
    """Deviance of the lit part of each image, and what noise alone would give.

    Parameters
    ----------
    model : SmoothModel
    line : Linearisation
        Of `model`, for n images.
    seen : Evidence
        Of the images, at `line`.

    Returns
    -------
    observed, expected : Tensor of float64, shape (n,)
    """
    # A step would make the score jump where a coefficient crosses it; this rises from 0 to 1.
    lit = (line.light / line.sigma - LIT + 0.5).clamp(0, 1)
    expected, _ = expected_deviance(line.predicted, line.sigma, model.measurement.active_steps)
    return (
        (seen.deviance * lit).sum(dim=1, dtype=torch.float64),
        (expected * lit).sum(dim=1, dtype=torch.float64),
    )


@dataclass(frozen=True)
class ResidualLaw:
    """What the deviance of normal images is at their noise level and brightness.

    The logarithm of deviance over expectation is normal about a line in the logarithm of the
    expectation, which follows both.

    Attributes
    ----------
    offset, slope, scatter : float
    """

    offset: float
    slope: float
    scatter: float

    @classmethod
    def learn(cls, observed: NDArray[np.float64], expected: NDArray[np.float64]) -> ResidualLaw:
        """Learn from normal images, shape (n,) each; robust against a few misfits."""
        x, y = np.log(expected), np.log(observed / expected)
        keep = np.ones(len(x), dtype=bool)
        for _ in range(3):
            slope, offset = np.polyfit(x[keep], y[keep], 1)
            off = y - offset - slope * x
            scatter = 1.4826 * np.median(np.abs(off))
            keep = np.abs(off) < 4 * scatter
        return cls(float(offset), float(slope), float(scatter))

    def __call__(
        self, observed: NDArray[np.float64], expected: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Standard deviations by which the residual exceeds that of normal images."""
        x = np.log(np.maximum(expected, 1e-9))
        y = np.log(np.maximum(observed, 1e-9)) - x
        result: NDArray[np.float64] = (y - self.offset - self.slope * x) / self.scatter
        return result


@dataclass(frozen=True)
class Tail:
    """Minus the logarithm of the probability that a normal image scores higher.

    Empirical up to the 0.9 quantile of normal images, exponential beyond it, so that it has no
    ties and no upper bound.

    Attributes
    ----------
    scores, levels : ndarray, shape (60,)
        Knots: a score, and minus the logarithm of the part of normal images above it.
    scale : float
        Mean excess over the last knot.
    """

    scores: NDArray[np.float64]
    levels: NDArray[np.float64]
    scale: float

    @classmethod
    def learn(cls, scores: NDArray[np.float64]) -> Tail:
        """Learn from scores of normal images, shape (n,)."""
        part = np.linspace(0, TAIL_BEGINS, KNOTS)
        knots = np.quantile(scores, part)
        above = scores[scores > knots[-1]] - knots[-1]
        spread = float(above.mean()) if len(above) else float(np.std(scores))
        return cls(knots, -np.log1p(-part), max(spread, 1e-9))

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate at scores of shape (n,); strictly increasing."""
        inside = np.interp(scores, self.scores, self.levels)
        beyond = np.maximum(scores - self.scores[-1], 0) / self.scale
        # A trace of slope keeps the order below the lowest normal score.
        below = 1e-6 * np.minimum(scores - self.scores[0], 0) / self.scale
        result: NDArray[np.float64] = inside + beyond + below
        return result

    def arrays(self) -> NDArray[np.float64]:
        """As one array, shape (61, 2)."""
        knots = np.stack([self.scores, self.levels], axis=1)
        return np.vstack([knots, [[self.scale, math.nan]]])

    @classmethod
    def from_arrays(cls, stored: NDArray[np.float64]) -> Tail:
        """From what `arrays` gave."""
        return cls(stored[:-1, 0], stored[:-1, 1], float(stored[-1, 0]))
