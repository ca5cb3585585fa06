"""Compare a set of lenses with simulated ones of about the same fraction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from lumpylens.fraction.likelihood import SetLikelihood
from lumpylens.fraction.likeness import WHAT, Likeness
from lumpylens.fraction.summaries import LensSummaries

__all__ = ["energy_p_value", "like_simulated"]

PERMUTATIONS = 1999
MOST_COMPARED = 1000
"""Lenses of each side that are compared, drawn at random: enough to see a shift of a sixth of a
standard deviation, and few enough for a matrix of their distances."""

NEAREST_SHARE = 0.25
"""Share of the simulated lenses, those nearest to the fraction, that the set is compared with."""

OUTSIDE = 0.001
"""Quantile of the simulated depths beyond which, on either side, a lens lies outside of them."""


def like_simulated(
    likelihood: SetLikelihood, lenses: LensSummaries, fraction: float, *, seed: int
) -> Likeness:
    """Compare a set with simulated lenses that have about this fraction.

    Energy distance (Szekely & Rizzo 2004), with a p-value from permutations.

    Parameters
    ----------
    likelihood : SetLikelihood
    lenses : LensSummaries
        The set.
    fraction : float
        Its most probable fraction.
    seed : int
        Of the choice of lenses and the permutations.
    """
    random = np.random.default_rng((seed, 3))
    place = likelihood.axis.place(likelihood.fraction)
    distance = np.abs(place - likelihood.axis.place(np.array(fraction)))
    count = max(1, round(NEAREST_SHARE * len(place)))
    near = np.argsort(distance, kind="stable")[:count]
    near = near[random.permutation(count)[:MOST_COMPARED]]
    chosen = random.permutation(len(lenses))[:MOST_COMPARED]
    set_fold = random.integers(len(likelihood.densities), size=len(chosen))
    set_fraction = np.full(len(chosen), fraction)
    residual_law = _ResidualLaw.learn(likelihood.lenses, place)
    observed = np.column_stack(
        [
            deviates(likelihood, lenses[chosen], set_fraction, set_fold),
            residual_law(lenses[chosen], likelihood.axis.place(set_fraction)),
        ]
    )
    simulated = np.column_stack(
        [
            deviates(
                likelihood,
                likelihood.lenses[near],
                likelihood.fraction[near],
                likelihood.fold[near],
            ),
            residual_law(likelihood.lenses[near], place[near]),
        ]
    )
    low, high = np.quantile(likelihood.lenses.depth, (OUTSIDE, 1 - OUTSIDE), axis=0)
    outside = ((lenses.depth < low) | (lenses.depth > high)).any(axis=1)
    return Likeness(
        fraction=fraction,
        p_value=energy_p_value(observed, simulated, random),
        outside=float(outside.mean()),
        difference=_difference(observed, simulated),
        observed=observed,
        simulated=simulated,
    )


def deviates(
    likelihood: SetLikelihood,
    lenses: LensSummaries,
    fraction: NDArray[np.float64],
    fold: NDArray[np.int_],
) -> NDArray[np.float64]:
    """Powers as normal deviates, by the density of each lens's fold, shape (n, 3)."""
    result = np.empty_like(lenses.power)
    for number, density in enumerate(likelihood.densities):
        mine = fold == number
        if mine.any():
            result[mine] = density.deviates(lenses[mine], fraction[mine])
    return result


@dataclass(frozen=True)
class _ResidualLaw:
    """Residual that lenses of given power, depth and fraction have: a quadratic form."""

    coefficients: NDArray[np.float64]
    scatter: float

    @classmethod
    def learn(cls, lenses: LensSummaries, place: NDArray[np.float64]) -> _ResidualLaw:
        terms = cls._terms(lenses, place)
        solution = np.linalg.lstsq(terms, lenses.residual, rcond=None)[0]
        coefficients = np.asarray(solution, dtype=np.float64)
        return cls(coefficients, float((lenses.residual - terms @ coefficients).std()))

    @staticmethod
    def _terms(lenses: LensSummaries, place: NDArray[np.float64]) -> NDArray[np.float64]:
        plain = np.column_stack(
            [np.ones(len(lenses)), place, np.arcsinh(lenses.power), lenses.depth]
        )
        rows, columns = np.triu_indices(plain.shape[1])
        products: NDArray[np.float64] = plain[:, rows] * plain[:, columns]
        return products

    def __call__(self, lenses: LensSummaries, place: NDArray[np.float64]) -> NDArray[np.float64]:
        excess = lenses.residual - self._terms(lenses, place) @ self.coefficients
        return excess / self.scatter


def energy_p_value(
    first: NDArray[np.float64], second: NDArray[np.float64], random: np.random.Generator
) -> float:
    """p-value of two samples from one distribution, shapes (n, k) and (m, k).

    Twice the mean distance between the samples less the mean distances within, against the same
    for samples that are permuted.
    """
    both = np.vstack([first, second])
    distances = cdist(both, both).astype(np.float32)
    n, m = len(first), len(second)
    orders = random.permuted(np.tile(np.arange(n + m), (PERMUTATIONS, 1)), axis=1)
    member = np.zeros((n + m, PERMUTATIONS + 1), dtype=np.float32)
    member[:n, 0] = 1
    for number, order in enumerate(orders, start=1):
        member[order[:n], number] = 1
    towards = distances @ member
    within_first = (member * towards).sum(axis=0, dtype=np.float64)
    across = towards.sum(axis=0, dtype=np.float64) - within_first
    within_second = distances.sum(dtype=np.float64) - within_first - 2 * across
    energy = 2 * across / (n * m) - within_first / n**2 - within_second / m**2
    # Ties with itself: sums of rounded numbers in another order.
    at_least = (energy[1:] >= energy[0] - 1e-9).sum()
    return float((1 + at_least) / (1 + PERMUTATIONS))


def _difference(observed: NDArray[np.float64], simulated: NDArray[np.float64]) -> str:
    """Largest difference in mean or scatter, in units of its error."""
    spread = simulated.std(axis=0)
    shift = (observed.mean(axis=0) - simulated.mean(axis=0)) / spread
    ratio = observed.std(axis=0) / spread
    shift_part, ratio_part = int(np.argmax(np.abs(shift))), int(np.argmax(np.abs(np.log(ratio))))
    # Of normal samples, the logarithm of a scatter has half the variance of a mean.
    if abs(shift[shift_part]) >= np.sqrt(2) * abs(np.log(ratio[ratio_part])):
        size, words = abs(shift[shift_part]), "more" if shift[shift_part] > 0 else "less"
        return (
            f"{WHAT[shift_part]}: {size:.2g} standard deviations {words} than in simulated lenses"
        )
    return f"{WHAT[ratio_part]}: {ratio[ratio_part]:.2g} times the scatter of simulated lenses"
