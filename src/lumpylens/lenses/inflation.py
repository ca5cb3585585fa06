"""Inflation of significances by errors of noise map and model, and the p-values that follow.

Significances assume that an image is the smooth model plus noise. On real lenses they scatter
more. By how much is measured in two ways: on the residuals of the same lens outside its arcs, which
tell whether its noise map is right, and on the perturbers that were fitted to other lenses, which
tell how wrong smooth models are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lumpylens.lenses.lens_row import LensRow

__all__ = ["model_error", "p_value", "with_p_values"]

FEWEST = 8
"""Number of other lenses needed to learn the model's error; with fewer, `REFERENCE_ERROR` is used,
since a quantile of a few values scatters too much."""

REFERENCE_ERROR = 2.2
"""Model error of Hubble images of 24 lenses of the SLACS survey, in the units of `excess`."""

SEEN_SNR = 10.0
"""Signal-to-noise ratio, after inflation, from which a perturber counts as seen. Of 36 masses that
were planted in real lenses with ratios of 10, 14 and 20, 31 had p-values below 0.01."""

TYPICAL = 0.68
"""Quantile of the other lenses' excesses that counts as the error: one standard deviation."""


def excess(row: LensRow) -> float:
    """Significance of a lens's best perturber over the median of noise, its noise map corrected.

    NaN where no perturber could be detected.
    """
    median = row.noise_maximum - row.noise_maximum_scale * math.log(math.log(2))
    expected = row.residual_scatter * median
    return row.perturber_significance / expected if expected > 0 else math.nan


def model_error(rows: Sequence[LensRow]) -> float:
    """Factor by which significances exceed those of noise in well-fitted lenses.

    Parameters
    ----------
    rows : sequence of LensRow
        Other lenses, without the one that the factor is applied to.
    """
    return _typical(_sorted_excesses(rows))


def with_p_values(rows: Sequence[LensRow]) -> list[LensRow]:
    """Fill in inflation, p-value and limit of every row, each from the other rows.

    A fit in doubt has neither p-value nor limit: where the smooth model is wrong, its residuals
    are not noise.
    """
    learned = _sorted_excesses(rows)
    filled = []
    for row in rows:
        if row.error:
            filled.append(row)
            continue
        position = int(np.searchsorted(learned, excess(row))) if _teaches(row) else None
        inflation = row.residual_scatter * _typical(learned, without=position)
        law = (row.noise_maximum, row.noise_maximum_scale)
        chance = p_value(row.perturber_significance / inflation, law) if row.trusted else math.nan
        least = min([row.perturber_log_evidence, *row.gains_of_masses.values()])
        in_any = p_value(_significance(least) / inflation, law) if row.trusted else math.nan
        of_companion, without_it = _companion_p_values(row, inflation)
        limit = math.sqrt(_least_strength(row, inflation))
        filled.append(
            replace(
                row,
                inflation=inflation,
                perturber_p_value=chance,
                perturber_p_value_any_mass=in_any,
                perturber_limit_arcsec=limit,
                perturber_limit_msun=limit**2 * row.msun_per_square_arcsec,
                companion_p_value=of_companion,
                without_companion_p_value=without_it,
            )
        )
    return filled


def _significance(log_evidence: float) -> float:
    """Significance in standard deviations that corresponds to a gain in log evidence."""
    return math.sqrt(2 * max(log_evidence, 0.0))


def _companion_p_values(row: LensRow, inflation: float) -> tuple[float, float]:
    """p-value of a companion's mass, and of a perturber if that mass were left out; else NaN.

    The place of a companion is known from its light, so that nothing had to be looked for, and its
    mass cannot be negative: the first is the upper tail of a normal law.
    """
    if not row.trusted or math.isnan(row.companion_log_evidence):
        return math.nan, math.nan
    significance = math.sqrt(2 * row.companion_log_evidence) / inflation
    both = math.sqrt(2 * (row.companion_log_evidence + max(row.perturber_log_evidence, 0.0)))
    law = (row.noise_maximum, row.noise_maximum_scale)
    return math.erfc(significance / math.sqrt(2)) / 2, p_value(both / inflation, law)


def _least_strength(row: LensRow, inflation: float) -> float:
    """Smallest squared Einstein radius, arcsec^2, that would be seen; NaN for a fit in doubt."""
    return SEEN_SNR * inflation * row.strength_error_arcsec2 if row.trusted else math.nan


def _teaches(row: LensRow) -> bool:
    """Tell whether the model's error is learned from this row."""
    return row.trusted and math.isfinite(excess(row))


def _sorted_excesses(rows: Sequence[LensRow]) -> NDArray[np.float64]:
    return np.sort([excess(row) for row in rows if _teaches(row)])


def _typical(ordered: NDArray[np.float64], without: int | None = None) -> float:
    """Quantile `TYPICAL` of sorted excesses, with one left out; at least that of noise, 1.

    The excesses are sorted once and not for every lens, since large tables are written often.
    """
    count = len(ordered) - (without is not None)
    if count < FEWEST:
        return REFERENCE_ERROR
    low, part = divmod(TYPICAL * (count - 1), 1)
    ends = [k + (without is not None and k >= without) for k in (int(low), int(low) + 1)]
    return max(float(ordered[ends] @ (1 - part, part)), 1.0)


def p_value(snr: float, noise_maxima: tuple[float, float]) -> float:
    """Probability that noise alone reaches a signal-to-noise ratio somewhere in the map."""
    location, scale = noise_maxima
    if not scale > 0:
        return math.nan
    return -math.expm1(-math.exp(-(snr - location) / scale))
