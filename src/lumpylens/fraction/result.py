"""`SubstructureFraction`: what a set of lenses says of the mass in substructure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.errors import DataError
from lumpylens.files.tables import pandas_frame
from lumpylens.fraction.likeness import LEAST_P, MOST_OUTSIDE, Likeness
from lumpylens.fraction.posterior import LEVELS, FractionPosterior
from lumpylens.results.summary import Summary

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["SubstructureFraction"]

SMOOTH_AS_FAR_AS = 0.004
"""Fraction below which intervals do not exclude smooth lenses: the 95 % interval of 410 smooth
images of the challenge is 0.06 to 0.33 % (`results/population-challenge.md`)."""


@dataclass(frozen=True, repr=False)
class SubstructureFraction(Summary):
    """Posterior of the fraction of mass in substructure, or why there is none.

    Attributes
    ----------
    id : list of str
        Of all images of the set.
    reason : list of str
        Per image: why it does not count; empty if it does.
    posterior : FractionPosterior or None
        None if the set is not like simulated ones; `refusal` says how.
    likeness : Likeness or None
        None if the model itself finds that the images, taken together, are not like its own.
    refusal : str
        Why there is no posterior; empty if there is one.
    settings : dict
        What it was made with: model, recipe, numbers of lenses, seeds, versions.
    """

    id: list[str]
    reason: list[str]
    posterior: FractionPosterior | None
    likeness: Likeness | None
    refusal: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_used(self) -> int:
        """Number of lenses that count."""
        return sum(not reason for reason in self.reason)

    @property
    def n_failed(self) -> int:
        """Number of images that do not count."""
        return len(self.reason) - self.n_used

    @property
    def mean(self) -> float:
        """Mean of the posterior.

        Raises
        ------
        DataError
            If there is none.
        """
        return self._posterior().mean

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Shortest interval that holds the truth with probability `level`; from 0, a limit.

        Raises
        ------
        DataError
            If there is no posterior, or `level` is no probability.
        """
        if not 0 < level < 1:
            raise DataError(f"level is a probability between 0 and 1, got {level:g}")
        return self._posterior().interval(level)

    @property
    def upper_limit(self) -> float:
        """Fraction below which the truth lies with a probability of 95 %.

        Raises
        ------
        DataError
            If there is no posterior.
        """
        return self._posterior().quantile(0.95)

    @property
    def caveat(self) -> str:
        """What a reader of the interval must know; empty if nothing, or without a posterior."""
        if self.posterior is None or not 0 < self.interval()[0] < SMOOTH_AS_FAR_AS:
            return ""
        return (
            f"no evidence of substructure: the interval begins below {SMOOTH_AS_FAR_AS:.1%}, and "
            "sets of smooth lenses can seem to have as much"
        )

    def _posterior(self) -> FractionPosterior:
        if self.posterior is None:
            raise DataError(f"the set has no fraction: {self.refusal}")
        return self.posterior

    def to_dict(self) -> dict[str, Any]:
        """All numbers, and the posterior at each fraction."""
        found: dict[str, Any] = {"refusal": self.refusal}
        if self.posterior is not None:
            found |= {
                "mean": self.mean,
                "most_probable": self.posterior.most_probable,
                **{f"interval_{100 * level:.0f}": self.interval(level) for level in LEVELS},
                "upper_limit_95": self.upper_limit,
                "zero_is_inside": self.interval()[0] == 0,
                "caveat": self.caveat,
            }
        test = None
        if self.likeness is not None:
            test = {
                "at_fraction": self.likeness.fraction,
                "p_value": self.likeness.p_value,
                "least_p_value": LEAST_P,
                "share_outside_depths": self.likeness.outside,
                "most_outside_depths": MOST_OUTSIDE,
                "largest_difference": self.likeness.difference,
            }
        curve = self.posterior
        return {
            **found,
            "lenses": {"used": self.n_used, "failed": self.n_failed},
            "like_simulated": test,
            "settings": dict(self.settings),
            "posterior": None
            if curve is None
            else {"fraction": curve.fraction, "density": curve.density},
        }

    def to_pandas(self) -> DataFrame:
        """`pandas.DataFrame` of the posterior: fraction, density; no rows if there is none.

        Raises
        ------
        DataError
            If pandas is not installed.
        """
        empty: NDArray[np.float64] = np.zeros(0)
        curve = self.posterior or FractionPosterior(empty, empty)
        return pandas_frame({"fraction": curve.fraction, "density": curve.density})

    def __repr__(self) -> str:
        lines = [f"{self.n_used} lenses used, {self.n_failed} left out"]
        if self.posterior is None:
            return "\n".join([*lines, f"no fraction: {self.refusal}"])
        low, high = self.interval()
        inner = self.interval(LEVELS[0])
        if low == 0:
            lines.append(f"fraction of mass in substructure below {self.upper_limit:.2%} (95 %)")
        else:
            lines.append(
                f"fraction of mass in substructure {self.mean:.2%}, {inner[0]:.2%} to "
                f"{inner[1]:.2%} (68 %), {low:.2%} to {high:.2%} (95 %)"
            )
        if self.caveat:
            lines.append(self.caveat)
        if self.likeness is not None:
            lines.append(f"like simulated sets of this fraction: p = {self.likeness.p_value:.2g}")
        return "\n".join(lines)
