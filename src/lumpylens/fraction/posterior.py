"""Posterior of the fraction, from the likelihoods of many lenses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS", "FractionPosterior", "shortest_interval"]

LEVELS = (0.68, 0.95)
"""Probabilities of the intervals that are given."""


@dataclass(frozen=True)
class FractionPosterior:
    """Probability of each fraction.

    Attributes
    ----------
    fraction : ndarray of float64, shape (m,)
        Equally spaced, from zero.
    density : ndarray of float64, shape (m,)
        Its integral is 1.
    """

    fraction: NDArray[np.float64]
    density: NDArray[np.float64]

    @classmethod
    def of(
        cls, fraction: NDArray[np.float64], log_posteriors: NDArray[np.float64]
    ) -> FractionPosterior:
        """Mean of posteriors whose logarithms, up to a constant each, have shape (k, m)."""
        each = np.exp(log_posteriors - log_posteriors.max(axis=1, keepdims=True))
        each /= np.trapezoid(each, fraction, axis=1)[:, None]
        return cls(fraction, each.mean(axis=0))

    @property
    def mean(self) -> float:
        """Mean fraction."""
        return float(np.trapezoid(self.fraction * self.density, self.fraction))

    @property
    def most_probable(self) -> float:
        """Fraction of the largest density."""
        return float(self.fraction[int(np.argmax(self.density))])

    def below(self, fraction: float) -> float:
        """Probability that the fraction is smaller than `fraction`."""
        return float(np.interp(fraction, self.fraction, self._cumulative()))

    def quantile(self, probability: float) -> float:
        """Fraction below which the truth lies with this probability."""
        return float(np.interp(probability, self._cumulative(), self.fraction))

    def interval(self, level: float) -> tuple[float, float]:
        """Shortest interval that holds the truth with probability `level`."""
        return shortest_interval(self.fraction, self._cumulative(), level)

    def _cumulative(self) -> NDArray[np.float64]:
        step = np.diff(self.fraction) * (self.density[1:] + self.density[:-1]) / 2
        total = np.concatenate([[0.0], np.cumsum(step)])
        cumulative: NDArray[np.float64] = total / total[-1]
        return cumulative


def shortest_interval(
    values: NDArray[np.float64], cumulative: NDArray[np.float64], level: float
) -> tuple[float, float]:
    """Shortest interval with a given probability.

    Parameters
    ----------
    values, cumulative : ndarray, shape (m,)
        Increasing values, and the probability below each.
    level : float

    Examples
    --------
    >>> shortest_interval(np.linspace(0, 1, 101), np.linspace(0, 1, 101) ** 2, 0.75)
    (0.5, 1.0)
    """
    lows = np.linspace(0, 1 - level, 2001)
    # Where the density is zero, several values have the same probability below them.
    rising = np.concatenate([[True], np.diff(cumulative) > 0])
    inverse = np.interp(
        np.concatenate([lows, lows + level]), cumulative[rising], values[rising]
    ).reshape(2, -1)
    best = int(np.argmin(inverse[1] - inverse[0]))
    return float(inverse[0, best]), float(inverse[1, best])
