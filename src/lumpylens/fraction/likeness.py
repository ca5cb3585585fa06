"""`Likeness`: whether a set of lenses is like simulated ones; if not, it has no fraction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_P", "MOST_OUTSIDE", "WHAT", "Likeness"]

LEAST_P = 0.01
"""p-value below which a set is not like simulated ones, as of one in a hundred that are."""

MOST_OUTSIDE = 0.1
"""Share of lenses outside of the simulated depths beyond which a set is none of this recipe. Not
tuned."""

WHAT = (
    "power of the deflections",
    "share of their power in middle detail",
    "share of their power in coarse detail",
    "residual of the smooth fits",
)
"""What is compared, in the order of the columns."""


@dataclass(frozen=True)
class Likeness:
    """How a set compares with simulated sets of its most probable fraction.

    Attributes
    ----------
    fraction : float
        At which they are compared.
    p_value : float
        How often a simulated set differs from others as much; at least 1 / 2000.
    outside : float
        Share of lenses that are deeper or shallower than nearly all simulated ones.
    difference : str
        What differs most, in words.
    observed, simulated : ndarray, shape (n, 4) and (m, 4)
        What is compared: three deviates of the powers, which are standard normal if the densities
        are right, and the residual in excess of what lenses of such power have.
    """

    fraction: float
    p_value: float
    outside: float
    difference: str
    observed: NDArray[np.float64]
    simulated: NDArray[np.float64]

    @property
    def refusal(self) -> str:
        """Why the set has no fraction; empty if it has one."""
        if self.outside > MOST_OUTSIDE:
            return (
                f"{self.outside:.0%} of the lenses are deeper or shallower than all simulated "
                "ones; give a recipe that has such lenses"
            )
        if self.p_value < LEAST_P:
            return (
                f"the set is not like simulated lenses, whatever their fraction (p = "
                f"{self.p_value:.2g}): {self.difference}"
            )
        return ""
