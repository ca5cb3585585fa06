"""Anomalies among images that nobody has cleaned: where scores stand apart from the others.

Scores of images of one kind thin out towards high values, whatever their distribution. Where they
thicken again, a second kind begins, and what lies below is taken for normal (the zero assumption of
Efron 2004, section 4). Nothing is assumed of the shape of either group.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["EXPECTED", "UNEXPECTED", "start_of_second_group"]

UNEXPECTED, EXPECTED = 2.5, 1.5
"""Height of a rise, from `_rise`, above which it is a second group. Among 50 to 1,000 scores of one
uniform, exponential, normal or Cauchy distribution, 1 in 1,000 samples has one above 2.4, and 1 in
5 has one above 1.5, which is enough where such a group is known to be there."""

SPREAD_BELOW = 0.16
"""Share of a normal distribution more than a standard deviation below its mean. The spread of
scores is measured below their median, where anomalies are rare."""

GRID = 1000
"""Points at which densities are computed, far closer than their bandwidth."""


def start_of_second_group(scores: ArrayLike, *, least: float = UNEXPECTED) -> float | None:
    """Find the score above which a second group of images lies; None if there is none.

    Parameters
    ----------
    scores : array_like, shape (n,)
        Those that are not finite are left out.
    least : float
        Height of the rise that is taken for a group: `UNEXPECTED`, or `EXPECTED` for a sample of
        the same images as another one in which the group was seen.

    Examples
    --------
    >>> normal, lumpy = np.linspace(-2, 3, 300), np.linspace(50, 70, 60)
    >>> start_of_second_group(normal) is None
    True
    >>> 3 < start_of_second_group([*normal, *lumpy]) < 50
    True
    """
    values = np.asarray(scores, dtype=np.float64)
    values = np.sort(values[np.isfinite(values)])
    stretched = _stretched(values)
    if stretched is None:
        return None
    grid = np.linspace(stretched[0], stretched[-1], GRID)
    density = _density(stretched, grid)
    mode = grid[density.argmax()]
    height, place = _rise(stretched[stretched >= mode])
    between = (grid > mode) & (grid < place)
    if height < least or not between.any():
        return None
    emptiest = grid[between][density[between].argmin()]
    below = int(np.searchsorted(stretched, emptiest))
    return float((values[below - 1] + values[below]) / 2)


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Sorted scores on an axis that is linear in the bulk and logarithmic beyond.

    On it a group of any width has about the same width. None where the scores do not differ.
    """
    if len(values) < 2:
        return None
    low, middle = np.quantile(values, [SPREAD_BELOW, 0.5])
    if not middle > low:
        return None
    stretched: NDArray[np.float64] = np.arcsinh((values - middle) / (middle - low))
    return stretched


def _density(values: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kernel estimate of a density up to a factor (bandwidth: Silverman 1986, equation 3.31)."""
    low, high = np.quantile(values, [0.25, 0.75])
    bandwidth = 0.9 * min(values.std(), (high - low) / 1.34) * len(values) ** -0.2
    distances = (grid[:, None] - values) / bandwidth
    density: NDArray[np.float64] = np.exp(-0.5 * distances**2).sum(axis=1)
    return density


def _rise(values: NDArray[np.float64]) -> tuple[float, float]:
    """Height and place of the largest rise in a density that ought to fall.

    The best falling density has the slopes of the least concave majorant of the empirical
    distribution (Grenander 1956). Where it is constant over k values although the true density
    falls or is constant, the distribution lies below it by some times sqrt(k) values; the height is
    that factor, and the place where the distance is largest.
    """
    places, counts = np.unique(values, return_counts=True)
    if len(places) < 2:
        return 0.0, float(places[0])
    from scipy.optimize import isotonic_regression

    gaps, counts = np.diff(places), counts[1:]
    densities = counts / gaps
    falling = isotonic_regression(densities, weights=gaps, increasing=False).x
    distance = np.cumsum((falling - densities) * gaps)
    step = np.concatenate([[0], np.cumsum(np.diff(falling) != 0)])
    in_step = np.bincount(step, weights=counts)[step]
    height = distance / np.sqrt(in_step)
    highest = int(height.argmax())
    return float(height[highest]), float(places[1:][highest])
