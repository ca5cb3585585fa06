"""How much more lenses scatter than noise does, and the p-values that follow.

Significances assume that noise is all that the smooth model does not make. On real lenses they
scatter more. By how much is measured twice: on the residuals of the very lens where its arcs are
not, which says whether its noise map is right, and on the perturbers that fits of other lenses
ask for, which says how wrong smooth models are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lumpylens.lenses.catalogue import LensRow

__all__ = ["model_error", "p_value", "with_p_values"]

FEWEST = 8
"""Other lenses that are needed to learn the model's error from; with fewer it is `REFERENCE`."""

REFERENCE = 2.2
"""Model error of Hubble images of 24 lenses of the SLACS survey, in the units of `excess`."""

TYPICAL = 0.68
"""Quantile of the other lenses' excesses that counts as the error: one standard deviation."""


def excess(row: LensRow) -> float:
    """Significance of a lens's best perturber over the median of noise, its noise map put right.

    NaN where no perturber could be seen.
    """
    median = row.noise_maximum - row.noise_maximum_scale * math.log(math.log(2))
    usual = row.residual_scatter * median
    return row.perturber_significance / usual if usual > 0 else math.nan


def model_error(others: Sequence[LensRow]) -> float:
    """Factor by which significances exceed those of noise in well-fitted lenses.

    Parameters
    ----------
    others : sequence of LensRow
        Without the lens that the factor is for.
    """
    return _typical(_sorted_excesses(others))


def with_p_values(rows: Sequence[LensRow]) -> list[LensRow]:
    """Fill in inflation and p-value of every row, each from the other rows.

    A fit in doubt has no p-value: where the smooth model is wrong, its residuals are no noise.
    """
    learned = _sorted_excesses(rows)
    made = []
    for row in rows:
        if row.error:
            made.append(row)
            continue
        own = int(np.searchsorted(learned, excess(row))) if _teaches(row) else None
        inflation = row.residual_scatter * _typical(learned, without=own)
        law = (row.noise_maximum, row.noise_maximum_scale)
        chance = p_value(row.perturber_significance / inflation, law) if row.trusted else math.nan
        made.append(replace(row, inflation=inflation, perturber_p_value=chance))
    return made


def _teaches(row: LensRow) -> bool:
    """Whether the model's error is learned from this row, too."""
    return row.trusted and math.isfinite(excess(row))


def _sorted_excesses(rows: Sequence[LensRow]) -> NDArray[np.float64]:
    return np.sort([excess(row) for row in rows if _teaches(row)])


def _typical(ordered: NDArray[np.float64], without: int | None = None) -> float:
    """Quantile `TYPICAL` of sorted excesses, one of them left out; never below that of noise.

    One look at the sorted values for each lens: a table of many lenses is written often.
    """
    count = len(ordered) - (without is not None)
    if count < FEWEST:
        return REFERENCE
    low, part = divmod(TYPICAL * (count - 1), 1)
    ends = [k + (without is not None and k >= without) for k in (int(low), int(low) + 1)]
    return max(float(ordered[ends] @ (1 - part, part)), 1.0)


def p_value(snr: float, noise_maxima: tuple[float, float]) -> float:
    """How often noise alone reaches a signal-to-noise ratio somewhere in the map."""
    location, scale = noise_maxima
    if not scale > 0:
        return math.nan
    return -math.expm1(-math.exp(-(snr - location) / scale))
