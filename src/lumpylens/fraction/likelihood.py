"""Likelihood of many lenses together, with the errors of what was learned from simulations.

The logarithms of many lenses add up, and so do the errors of each: a density that is wrong by a
thousandth per lens moves a thousand lenses by their own error. At the true fraction the slope of a
logarithm of a likelihood is zero on average. What it is instead, for simulated lenses that the
density never saw, is its *drift*, a smooth function of the fraction. It is taken off, and the error
with which it is known, since simulations are finite, widens the posterior.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from lumpylens.fraction.density import PowerDensity, learn_densities
from lumpylens.fraction.posterior import FractionPosterior
from lumpylens.fraction.stretch import FractionAxis
from lumpylens.fraction.summaries import LensSummaries

__all__ = ["Drift", "SetLikelihood"]

DEGREE = 4
"""Of the polynomial that the drift is. Not tuned."""

DRAWS = 400
"""Drifts among which the posterior is averaged."""


@dataclass(frozen=True)
class Drift:
    """Mean slope of the logarithm of the likelihood of a lens, at its true fraction.

    Attributes
    ----------
    mean : ndarray, shape (DEGREE + 1,)
        Coefficients of Legendre polynomials on the axis of fractions.
    covariance : ndarray, shape (DEGREE + 1, DEGREE + 1)
        Of the coefficients.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def learn(cls, place: NDArray[np.float64], slope: NDArray[np.float64]) -> Drift:
        """Learn from lenses at known places, with the slopes of their curves there, (n,) each.

        Weighted least squares; the variance of slopes is smooth on the axis, too.
        """
        basis = legendre.legvander(2 * place - 1, DEGREE)
        # Logarithms of squares: the variance is positive everywhere.
        log_square = np.log(slope**2 + 1e-6 * np.mean(slope**2))
        spread = basis @ np.linalg.lstsq(basis, log_square, rcond=None)[0]
        weight = np.exp(-spread)
        bread = np.linalg.inv(basis.T @ (weight[:, None] * basis))
        mean = bread @ (basis.T @ (weight * slope))
        rest = (weight * (slope - basis @ mean))[:, None] * basis
        return cls(mean, bread @ (rest.T @ rest) @ bread)

    def total(
        self, place: NDArray[np.float64], coefficients: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Integral from 0 to each place, of drifts with coefficients (k, d); shape (k, m)."""
        rise = legendre.legint(np.eye(DEGREE + 1), lbnd=-1, axis=1)
        integrals: NDArray[np.float64] = legendre.legval(2 * place - 1, rise.T) / 2
        return coefficients @ integrals

    def draws(self, count: int, random: np.random.Generator) -> NDArray[np.float64]:
        """Coefficients that are as probable as the mean ones, shape (count, d)."""
        return random.multivariate_normal(self.mean, self.covariance, count, method="eigh")


@dataclass(frozen=True)
class SetLikelihood:
    """What simulations taught of the likelihood of the fraction.

    Attributes
    ----------
    axis : FractionAxis
    densities : sequence of PowerDensity
    drift : Drift
        Of the mean of the logarithms of all densities.
    lenses : LensSummaries
        The simulated lenses that it was learned from.
    fraction : ndarray, shape (n,)
        Their fractions.
    fold : ndarray of int, shape (n,)
        Which density never saw each of them.
    seed : int
    """

    axis: FractionAxis
    densities: Sequence[PowerDensity]
    drift: Drift
    lenses: LensSummaries
    fraction: NDArray[np.float64]
    fold: NDArray[np.int_]
    seed: int

    @classmethod
    def learn(
        cls,
        lenses: LensSummaries,
        fraction: NDArray[np.float64],
        largest: float,
        *,
        seed: int,
        on_epoch: Callable[[], None] = lambda: None,
    ) -> SetLikelihood:
        """Learn from simulated lenses whose fractions are known, n of them."""
        axis = FractionAxis(largest)
        densities, fold = learn_densities(lenses, fraction, axis, seed=seed, on_epoch=on_epoch)
        place, drifts = axis.place(fraction), []
        for number, density in enumerate(densities):
            unseen = fold == number
            curves = density.log_likelihood(lenses[unseen])
            drifts.append(Drift.learn(place[unseen], axis.slopes(curves, place[unseen])))
        # The mean of the logarithms drifts by the mean of the drifts, each from lenses of its own.
        drift = Drift(
            np.mean([each.mean for each in drifts], axis=0),
            np.sum([each.covariance for each in drifts], axis=0) / len(drifts) ** 2,
        )
        return cls(axis, densities, drift, lenses, fraction, fold, seed)

    def curves(self, lenses: LensSummaries) -> NDArray[np.float64]:
        """Logarithm of the likelihood of each lens at the nodes, up to a constant, (n, 33).

        The mean over all densities; the drift is not taken off.
        """
        every = [density.log_likelihood(lenses) for density in self.densities]
        curves: NDArray[np.float64] = np.mean(every, axis=0)
        curves -= curves.max(axis=1, keepdims=True)
        return curves

    def posterior(
        self,
        curves: NDArray[np.float64],
        log_prior: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.zeros_like,
    ) -> FractionPosterior:
        """Posterior of the fraction that all lenses share.

        Parameters
        ----------
        curves : ndarray of float64, shape (n, 33)
            From `curves`, of the lenses of the set.
        log_prior : callable
            Logarithm of the prior of fractions, up to a constant. Default: uniform.
        """
        grid = self.axis.grid
        place = self.axis.place(grid)
        random = np.random.default_rng((self.seed, 2))
        drifts = self.drift.total(place, self.drift.draws(DRAWS, random))
        likelihood = self.axis.between(curves.sum(axis=0), place)
        return FractionPosterior.of(grid, likelihood + log_prior(grid) - len(curves) * drifts)
