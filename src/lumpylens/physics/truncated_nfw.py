"""Projected mass of a truncated NFW halo: exact, and as a table for fast interpolation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "LEAST_TRUNCATION",
    "MOST_TRUNCATION",
    "TABLE_BITS",
    "TABLE_FIRST",
    "enclosed_mass",
    "mass_table",
    "total_mass",
]

LEAST_TRUNCATION, MOST_TRUNCATION = 0.25, 64.0
"""Smallest and largest truncation radius over scale radius in the table."""

INNER = 3e-3
"""Projected radius over scale radius below which the mass is expanded."""

ROWS_PER_OCTAVE = 32
TABLE_BITS = 5
"""Rows per doubling of the truncation, and ``2**TABLE_BITS`` equal pieces per doubling of the
squared radius: deflections are then right to 2e-4. A finer table needs more memory and cache."""

OCTAVES = (-40, 28)
"""Powers of two of the squared radius over scale radius: 1e-6 to 2e4 scale radii."""

TABLE_FIRST = (OCTAVES[0] + 127) << TABLE_BITS
"""Leading bits of the first node as a float32: its exponent, and `TABLE_BITS` of its mantissa."""


def enclosed_mass(x: ArrayLike, truncation: ArrayLike) -> NDArray[np.float64]:
    """Compute the mass in a cylinder, as a fraction of the halo's total mass.

    Parameters
    ----------
    x : array_like
        Projected radius over scale radius.
    truncation : array_like, broadcasting with `x`
        Truncation radius over scale radius.

    Notes
    -----
    The density is that of an NFW halo times ``1 / (1 + (r / r_t)^2)``: Baltz, Marshall & Oguri
    2009 (arXiv:0705.0682), appendix A. Their formula loses its digits to cancellation towards the
    centre; below `INNER` it is continued by ``x^2 (k - c ln x)``, the leading terms there.
    """
    x, tau = np.broadcast_arrays(np.asarray(x, float), np.asarray(truncation, float))
    square = tau**2
    total = (square - 1) * np.log(tau) + np.pi * tau - (square + 1)
    at = np.maximum(x, INNER)
    root = np.sqrt(square + at**2)
    mass = (
        (square + 2 * at**2 - 1) * _arc(at)
        + np.pi * tau
        + (square - 1) * np.log(tau)
        + root * ((square - 1) / tau * np.log(at / (root + tau)) - np.pi)
    )
    slope = (square + 1) ** 2 / (2 * square)
    steeper = slope * x**2 * np.log(at / np.maximum(x, 1e-300))
    mass = mass * (x / at) ** 2 + steeper
    enclosed: NDArray[np.float64] = mass / total
    return enclosed


def total_mass(truncation: float) -> float:
    """Compute the total mass over ``4 pi rho_s r_s^3`` (Baltz et al. 2009, equation A.4).

    Parameters
    ----------
    truncation : float
        Truncation radius over scale radius.
    """
    square = truncation**2
    terms = (square - 1) * np.log(truncation) + np.pi * truncation - (square + 1)
    return float(square / (square + 1) ** 2 * terms)


def _arc(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """arccosh(1 / x) / sqrt(1 - x^2), continued beyond 1 as arccos(1 / x) / sqrt(x^2 - 1)."""
    regular = np.abs(x - 1) > 1e-4
    below, above = (
        np.where(regular & (x < 1), x, 0.5),
        np.where(regular & (x > 1), x, 2.0),
    )
    inside = np.arccosh(1 / below) / np.sqrt(1 - below**2)
    outside = np.arccos(1 / above) / np.sqrt(above**2 - 1)
    series = 1 - 2 / 3 * (x - 1) + 7 / 15 * (x - 1) ** 2
    return np.where(regular, np.where(x < 1, inside, outside), series)


@lru_cache(maxsize=1)
def mass_table() -> tuple[NDArray[np.float32], float]:
    """Tabulate the enclosed mass over squared radii and truncations.

    Returns
    -------
    ndarray of float32, shape (truncations, nodes)
        Rows are evenly spaced in the logarithm of the truncation from `LEAST_TRUNCATION`; nodes
        lie where the leading bits of the squared radius, as a float32, change.
    float
        Rows per unit of the natural logarithm of the truncation.
    """
    octaves = np.log2(MOST_TRUNCATION / LEAST_TRUNCATION)
    rows = round(octaves * ROWS_PER_OCTAVE)
    truncation = LEAST_TRUNCATION * 2 ** (np.arange(rows + 1) / ROWS_PER_OCTAVE)
    pieces = 1 << TABLE_BITS
    power, piece = np.divmod(np.arange((OCTAVES[1] - OCTAVES[0]) * pieces + 1), pieces)
    square = 2.0 ** (power + OCTAVES[0]) * (1 + piece / pieces)
    table = enclosed_mass(np.sqrt(square)[None, :], truncation[:, None]).astype(np.float32)
    return table, ROWS_PER_OCTAVE / float(np.log(2))
