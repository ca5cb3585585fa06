"""Scores from fits: how unusual the parameters of a lens and its residual are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from lumpylens.physics.fit_data import Prior
from lumpylens.physics.model import Linearisation, SmoothModel
from lumpylens.physics.noise import Evidence, expected_deviance
from lumpylens.physics.population import GaussianPopulation

__all__ = [
    "ResidualLaw",
    "Tail",
    "lit_deviance",
    "log_mean",
    "parameter_distance",
    "parameter_surprise",
    "squared_distance",
]

LIT_RATIO = 2.0
"""Ratio of light to noise at which a coefficient gets half weight in the residual; the weight rises
from 0 to 1 between 0.5 below and 0.5 above. The empty sky is rounded to exact constants, whose
likelihood holds no information on the lens. Not tuned."""

TAIL_BEGINS = 0.9
KNOTS = 60
"""Quantile of normal images at which the exponential tail begins, and knots below it. A later start
leaves fewer images to learn the tail from; an earlier one follows the bulk less closely. Not
tuned."""


def parameter_surprise(
    population: GaussianPopulation, values: Tensor, information: Tensor, prior: Prior
) -> NDArray[np.float64]:
    """Departure of each parameter from the population in standard deviations, shape (n, k).

    Parameters
    ----------
    population : GaussianPopulation
    values : Tensor, shape (n, k)
        Estimates.
    information : Tensor, shape (n, k, k)
        Of each image about them.
    prior : Prior
        Of the estimates.
    """
    spread = _spread_of_estimates(population, information, prior)
    departure = values.double() - population.mean
    return (departure / torch.diagonal(spread, dim1=1, dim2=2).sqrt()).numpy()


def parameter_distance(
    population: GaussianPopulation, values: Tensor, information: Tensor, prior: Prior
) -> NDArray[np.float64]:
    """Squared Mahalanobis distance of each lens from the population, shape (n,).

    Of the same as `parameter_surprise`.
    """
    departure = values.double() - population.mean
    spread = _spread_of_estimates(population, information, prior)
    return squared_distance(departure, spread).numpy()


def _spread_of_estimates(
    population: GaussianPopulation, information: Tensor, prior: Prior
) -> Tensor:
    """Covariance (n, k, k) of estimates, over lenses of the population and noise.

    With information I and the precision P of the prior, estimates lie at (I + P)^-1 I of what an
    estimate without a prior departs by, whose covariance is C + I^-1.
    """
    seen, covariance = information.double(), population.covariance
    pull = torch.linalg.inv(seen + prior.precision.double())
    # An image without information on a number leaves it exactly at the mean.
    ridge = 1e-6 * torch.diag(covariance.diagonal())
    spread: Tensor = pull @ (seen + seen @ covariance @ seen) @ pull + ridge
    return spread


def squared_distance(departure: Tensor, covariance: Tensor, without: int | None = None) -> Tensor:
    """Squared Mahalanobis lengths, shape (n,).

    Parameters
    ----------
    departure : Tensor, shape (n, k)
    covariance : Tensor, shape (k, k) or (n, k, k)
    without : int, optional
        Coordinate that is marginalised: its row and column are left out.
    """
    if without is not None:
        keep = [k for k in range(departure.shape[1]) if k != without]
        departure, covariance = departure[:, keep], covariance[..., keep, :][..., keep]
    solved = torch.linalg.solve(covariance.expand(len(departure), -1, -1), departure[..., None])[
        ..., 0
    ]
    distance: Tensor = (departure * solved).sum(dim=1)
    return distance


def lit_deviance(
    model: SmoothModel, line: Linearisation, evidence: Evidence
) -> tuple[Tensor, Tensor]:
    """Compute the deviance of the lit part of each image, and its expectation for noise alone.

    Parameters
    ----------
    model : SmoothModel
    line : Linearisation
        Of `model`, for n images.
    evidence : Evidence
        Of the images, at `line`.

    Returns
    -------
    observed, expected : Tensor of float64, shape (n,)
    """
    # A ramp from 0 to 1: with a step, the score would jump when a coefficient crosses it.
    lit = (line.light / line.sigma - LIT_RATIO + 0.5).clamp(0, 1)
    expected, _ = expected_deviance(line.predicted, line.sigma, model.measurement.active_steps)
    return (
        (evidence.deviance * lit).sum(dim=1, dtype=torch.float64),
        (expected * lit).sum(dim=1, dtype=torch.float64),
    )


def log_mean(log_ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the mean of likelihood ratios whose logarithms are (n, s); shape (n,).

    The ratio against alternatives that are equally probable (Jaynes 2003, chapter 4).
    """
    mean: NDArray[np.float64] = logsumexp(log_ratios, axis=1) - math.log(log_ratios.shape[1])
    return mean


@dataclass(frozen=True)
class ResidualLaw:
    """Distribution of the deviance of normal images, at given noise level and brightness.

    The logarithm of deviance over expectation is normally distributed around a line in the
    logarithm of the expectation, which depends on noise level and brightness.

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
            departure = y - offset - slope * x
            scatter = 1.4826 * np.median(np.abs(departure))
            keep = np.abs(departure) < 4 * scatter
        return cls(float(offset), float(slope), float(scatter))

    def __call__(
        self, observed: NDArray[np.float64], expected: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Standard deviations by which the residual exceeds that of normal images."""
        x = np.log(np.maximum(expected, 1e-9))
        y = np.log(np.maximum(observed, 1e-9)) - x
        return (y - self.offset - self.slope * x) / self.scatter

    def log_ratio(
        self,
        observed: NDArray[np.float64],
        expected: NDArray[np.float64],
        rise: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Log likelihood ratio of residuals that are larger than those of normal images.

        A rise of the deviance by `rise` shifts the normal distribution by h, the logarithm of what
        it adds, and widens its variance by h^2, since it differs as much from lens to lens.

        Parameters
        ----------
        observed, expected : ndarray, shape (n,)
        rise : ndarray, shape (n, s)

        Returns
        -------
        ndarray of float64, shape (n, s)
        """
        departure = (self(observed, expected) * self.scatter)[:, None]
        shift = np.log1p(rise / np.maximum(expected, 1e-9)[:, None])
        normal, wider = self.scatter**2, self.scatter**2 + shift**2
        ratio: NDArray[np.float64] = 0.5 * (
            departure**2 / normal - (departure - shift) ** 2 / wider + np.log(normal / wider)
        )
        return ratio

    def deviance(self, expected: NDArray[np.float64], excess: float) -> NDArray[np.float64]:
        """Deviance at which the residual is `excess` standard deviations above normal."""
        x = np.log(np.maximum(expected, 1e-9))
        deviance: NDArray[np.float64] = np.exp(
            x + self.offset + self.slope * x + self.scatter * excess
        )
        return deviance


@dataclass(frozen=True)
class Tail:
    """Minus the logarithm of the probability that a normal image scores higher.

    Empirical up to the 0.9 quantile of normal images, exponential beyond it, so that it has no
    ties and no upper bound.

    Attributes
    ----------
    scores, levels : ndarray, shape (60,)
        Knots: a score, and minus the logarithm of the fraction of normal images above it.
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
        # A tiny slope keeps the order of scores below the lowest normal one.
        below = 1e-6 * np.minimum(scores - self.scores[0], 0) / self.scale
        result: NDArray[np.float64] = inside + beyond + below
        return result

    def arrays(self) -> NDArray[np.float64]:
        """Convert to one array, shape (61, 2)."""
        knots = np.stack([self.scores, self.levels], axis=1)
        return np.vstack([knots, [[self.scale, math.nan]]])

    @classmethod
    def from_arrays(cls, stored: NDArray[np.float64]) -> Tail:
        """Make a tail from what `arrays` returned."""
        return cls(stored[:-1, 0], stored[:-1, 1], float(stored[-1, 0]))
