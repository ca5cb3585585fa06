"""Errors of a fitted lens: priors as they are stated, and a likelihood no more certain than it is.

The residuals of a fit tell by how much its likelihood is too certain. A perturbation map of noise
has a standard deviation of 1. Where the model is wrong (a source with more detail than shapelets
have, mass that no multipole describes, a wrong noise map) it scatters more. The likelihood is
raised to the power of 1 / scatter^2. So all errors from the data are larger by the scatter, and the
priors stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lumpylens.lenses.model import ALL, MULTIPOLES, PERTURBER
from lumpylens.lenses.perturber import COARSE, filter_lens
from lumpylens.lenses.refine import Belief, Refined, refine

__all__ = ["MOSTLY", "Posterior", "posterior"]

STEPS = 30
"""Most steps; few lenses need more than eight."""

LEAST_ORDER = 12
"""Least total order of the source's shapelets. The evidence may prefer a smoother source that
misfits a little; but then the misfit shifts the mass, which no error tells. Not tuned."""

LEAST = 1e-10
"""Part of its own information that is added to each parameter's: one that the image does not
depend on, such as the place of a perturber without mass, has a huge error instead of none."""

MOSTLY = 0.5
"""Part of the information on a number that is prior, above which the number is mostly prior."""


@dataclass(frozen=True)
class Posterior:
    """A fitted lens with the Gaussian approximation of its posterior.

    Attributes
    ----------
    fitted : Refined
        At the maximum, with multipoles free.
    stated : Belief
        The priors as they are stated.
    inflation : float
        Factor by which errors from the data are larger than those of the noise alone, at least 1.
    """

    fitted: Refined
    stated: Belief
    inflation: float

    @cached_property
    def covariance(self) -> Tensor:
        """Covariance of the free parameters, shape (k, k), with all light marginalised."""
        # Scaled, since a perturber's strength has numbers a million times smaller than a slope.
        information = self.fitted.information
        scale = information.diagonal().clamp_min(1e-30).rsqrt()
        scaled = information * scale * scale[:, None]
        scaled.diagonal().add_(LEAST)
        inverse = torch.linalg.inv(scaled)
        covariance: Tensor = self.inflation**2 * inverse * scale * scale[:, None]
        return covariance

    def error_along(self, direction: dict[str, float]) -> float:
        """Standard deviation of a sum of parameters, each times its number in `direction`.

        NaN if one of them was not free.
        """
        if any(name not in self.fitted.names for name in direction):
            return math.nan
        vector = torch.zeros(len(self.fitted.names), dtype=torch.float64)
        for name, number in direction.items():
            vector[self.fitted.names.index(name)] = number
        return math.sqrt(max(float(vector @ self.covariance @ vector), 0.0))

    def error(self, name: str) -> float:
        """Standard deviation of one parameter; NaN if it was not free."""
        return self.error_along({name: 1.0})

    def prior_share(self, names: Sequence[str]) -> float:
        """Part of the information on some parameters that is prior, from 0 to 1.

        It is the variance of the posterior over that of the prior (MacKay 1992, Neural
        Computation 4, 415, equation 4.9), on average over these parameters.
        """
        shares = [
            (self.error(name) / self.stated.of[name][1]) ** 2 if name in self.stated.of else 0.0
            for name in names
        ]
        return min(sum(shares) / len(shares), 1.0)


def posterior(earlier: Refined, stated: Belief, reach: float) -> Posterior:
    """Fit a lens for the last time, from where an earlier fit with multipoles ended.

    Parameters
    ----------
    earlier : Refined
        With multipoles free. A perturber is free if it has a mass.
    stated : Belief
        The priors as they are stated.
    reach : float
        Radius of the map whose scatter is measured, arcsec.
    """
    perturbed = earlier.lens["perturber_strength"] > 0
    names = (*ALL, *MULTIPOLES, *(PERTURBER if perturbed else ()))
    scatter = filter_lens(earlier, stated, reach, spacing=COARSE).scatter()
    inflation = max(scatter, 1.0) if math.isfinite(scatter) else 1.0
    # The maximum is the same where the likelihood is raised to a power or the priors are narrowed.
    order = earlier.model.largest_order
    fitted = refine(
        earlier.model.with_source(max(order, LEAST_ORDER)),
        earlier.lens if order >= LEAST_ORDER else earlier.lens.values,
        names,
        stated.narrowed(inflation),
        steps=STEPS,
        learn_curvature=True,
        unit=inflation**2,
    )
    return Posterior(fitted, stated, inflation)
