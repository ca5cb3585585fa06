"""What is kept of each lens: how much power of substructure its image has, and could show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.detectors.outcome import Scores
from lumpylens.detectors.physics.state import FLUCTUATIONS
from lumpylens.physics.spectrum import SEEN_FRACTIONS

__all__ = ["LensSummaries", "numbers_of", "summaries_from", "summaries_of"]

LEAST_SEEN = 1e-6
"""Of the sum of weights: a lens in which nothing can be seen has a logarithm all the same."""


@dataclass(frozen=True)
class LensSummaries:
    """Numbers of n lenses.

    Attributes
    ----------
    power : ndarray of float64, shape (n, 3)
        Power of each field of `SEEN_FRACTIONS`, in standard deviations of a smooth lens: its cube
        root is nearly normal (Wilson & Hilferty 1931).
    depth : ndarray of float64, shape (n, 4)
        How much could be seen, whether it is there or not: the logarithm of the number of
        directions in which each field would be seen, and of those among which the power of the
        middle field is divided.
    residual : ndarray of float64, shape (n,)
        That of the smooth fit in standard deviations of normal images: not for the fraction, but
        for the question whether the set is like the simulated ones.
    """

    power: NDArray[np.float64]
    depth: NDArray[np.float64]
    residual: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.residual)

    def __getitem__(self, rows: Any) -> LensSummaries:
        return LensSummaries(self.power[rows], self.depth[rows], self.residual[rows])


def numbers_of(scores: Scores) -> dict[str, NDArray[np.float64]]:
    """What `summaries_from` needs of scores of a `physics` detector, (n,) each; NaN at errors."""
    names = (f"{name}_{fraction:g}" for name in FLUCTUATIONS for fraction in SEEN_FRACTIONS)
    return {name: scores.details[name] for name in names} | {
        "residual": scores.components["residual"]
    }


def summaries_of(scores: Scores) -> LensSummaries:
    """Summaries of the images of `scores` that have neither an error nor a warning."""
    return summaries_from(
        {name: column[scores.trusted] for name, column in numbers_of(scores).items()}
    )


def summaries_from(numbers: Mapping[str, NDArray[np.float64]]) -> LensSummaries:
    """Summaries from what `numbers_of` returned."""
    power, seen, squared = (
        np.stack([numbers[f"{name}_{fraction:g}"] for fraction in SEEN_FRACTIONS], axis=1)
        for name in FLUCTUATIONS
    )
    seen, squared = np.maximum(seen, LEAST_SEEN), np.maximum(squared, LEAST_SEEN**2)
    directions = seen**2 / squared
    spread = 2 / (9 * directions)
    standard = (np.cbrt(power / seen) - 1 + spread) / np.sqrt(spread)
    depth = np.column_stack([np.log(seen), np.log(directions[:, 1])])
    return LensSummaries(standard, depth, numbers["residual"])
