"""Detail of sources that a Sersic profile leaves out: shapelets with a learned prior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lumpylens.physics.batches import per_lens
from lumpylens.physics.parameters import COUNT, INDEX
from lumpylens.physics.shapelets import Shapelets, orders

__all__ = [
    "LOWEST", "SCALE", "UNUSED", "DetailLight", "SourceDetail", "detail_light", "is_shapelet",
    "largest_order",
]  # fmt: skip

SCALE = 0.9
"""Width of the shapelets' Gaussian in effective radii of the Sersic profile. Chosen among 0.5, 0.7,
0.9 and 1.1 on 40 smooth lenses like `roman`: signals of perturbers scatter least around noise."""


LOWEST = 3
"""Lowest total order. Those below it are what brightness, place, radius and ellipticity of the
profile change already. With them most fits of lenses like `roman` do not converge: the same source
can be described in many ways."""

UNUSED = LOWEST * (LOWEST + 1) // 2
"""Number of shapelets below the lowest order."""

MOST_SPREAD = 0.5
"""Largest spread that is learned. With more, shapelets would take the place of the profile."""

PREFIX = "source_shapelet_"


def is_shapelet(name: str) -> bool:
    """Whether this is the name of a coefficient of a shapelet."""
    return name.startswith(PREFIX)


def largest_order(count: int) -> int:
    """Largest total order of so many shapelets.

    Examples
    --------
    >>> largest_order(4), largest_order(39)
    (3, 8)
    """
    return (math.isqrt(8 * (count + UNUSED) + 1) - 3) // 2


@dataclass(frozen=True)
class SourceDetail:
    """Shapelets on the Sersic profile of every source, and the prior of their coefficients.

    The brightness of a source is its Sersic profile plus the sum of ``w h_a(x / s) h_b(y / s)``,
    with h the orthonormal Gauss-Hermite functions (Refregier 2003, astro-ph/0105178, equation 1)
    and s the effective radius times `SCALE`. Coefficients w are in units of the profile's
    brightness at that radius, so that a prior holds for sources of any size and brightness.

    Attributes
    ----------
    spread : tuple of float
        Standard deviation of the coefficients of each total order, from `LOWEST` on. Their mean
        is 0.
    """

    spread: tuple[float, ...]

    @property
    def largest(self) -> int:
        """Largest total order."""
        return LOWEST + len(self.spread) - 1

    @cached_property
    def orders(self) -> list[tuple[int, int]]:
        """Orders along x and y of each shapelet."""
        return orders(self.largest)[UNUSED:]

    @cached_property
    def totals(self) -> Tensor:
        """Total order of each coefficient, int, shape (m,)."""
        return torch.tensor([sum(pair) for pair in self.orders], device="cpu")

    @property
    def count(self) -> int:
        """Number m of coefficients."""
        return len(self.orders)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the coefficients, after the orders along x and y."""
        return tuple(f"{PREFIX}{x}_{y}" for x, y in self.orders)

    @cached_property
    def variance(self) -> Tensor:
        """Prior variance of each coefficient, float64, shape (m,)."""
        spread = torch.tensor(self.spread, dtype=torch.float64, device="cpu")
        return spread.square()[self.totals - LOWEST]

    def learned(self, coefficients: Tensor, errors: Tensor) -> SourceDetail:
        """Learn the spread of each order from fitted sources, by their evidence.

        The new variance is the sum of the squares over the number of well-measured coefficients
        (MacKay 1992, Neural Computation 4, 415, equation 4.9). It may change by a factor of
        `FASTEST` at most, since a coefficient of which nothing is seen yet tells nothing.

        Parameters
        ----------
        coefficients : Tensor, shape (n, m)
            Of n sources, fitted under this prior.
        errors : Tensor, shape (n, m)
            Their variances under this prior.
        """
        squares = coefficients.double().square().sum(dim=0)
        measured = (1 - errors.double() / self.variance).clamp_min(0).sum(dim=0)
        spread = []
        for order, before in enumerate(self.spread, start=LOWEST):
            of_order = self.totals == order
            ratio = float(squares[of_order].sum() / measured[of_order].sum().clamp_min(1e-9))
            low = max(before / FASTEST, LEAST_SPREAD)
            high = min(before * FASTEST, MOST_SPREAD)
            spread.append(min(max(math.sqrt(ratio), low), high))
        return SourceDetail(tuple(spread))

    def change(self, earlier: SourceDetail) -> float:
        """Largest change of the logarithm of a spread since an earlier state."""
        pairs = zip(self.spread, earlier.spread, strict=True)
        return max(abs(math.log(new / old)) for new, old in pairs)


FASTEST = 3.0
"""Largest factor by which a spread changes at once. Not tuned."""

LEAST_SPREAD = 1e-3
"""Spread of coefficients that normal images do not need: nothing is seen of one so small."""


@dataclass(frozen=True)
class DetailLight:
    """Light of shapelets where rays end, and its derivatives.

    Attributes
    ----------
    value, gradient_x, gradient_y : Tensor, shape (n, h, w)
    columns : Tensor, shape (n, m, h, w)
        Derivatives by the coefficients.
    """

    value: Tensor
    gradient_x: Tensor
    gradient_y: Tensor
    columns: Tensor


def detail_light(parameters: Tensor, u: Tensor, v: Tensor) -> DetailLight:
    """Evaluate the shapelets of sources, on any device and in any precision.

    Parameters
    ----------
    parameters : Tensor, shape (n, COUNT + m)
        The last m are the coefficients.
    u, v : Tensor, shape (n, h, w)
        Positions relative to the source, pixels.
    """
    scales = SCALE * per_lens(torch.exp, parameters[:, INDEX["log_source_radius_px"]])
    largest = largest_order(parameters.shape[1] - COUNT)
    parts = []
    for row, x, y, scale in zip(parameters[:, COUNT:], u, v, scales.tolist(), strict=True):
        shapelets = Shapelets.at(x, y, scale, largest)
        # Those have unit integral of the square; these are brightness, whatever the size.
        weights = torch.cat([row.new_zeros(UNUSED), scale * row])
        columns = scale * shapelets.columns()[UNUSED:]
        parts.append((shapelets.sum(weights), *shapelets.gradient(weights), columns))
    return DetailLight(*map(torch.stack, zip(*parts, strict=True)))
