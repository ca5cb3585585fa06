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

from lumpylens.lenses.catalogue import LensRow

__all__ = ["model_error", "p_value", "with_p_values"]

FEWEST = 8
"""Other lenses that are needed to learn the model's error from; with fewer it is `REFERENCE`."""

REFERENCE = 2.2
"""Model error of Hubble images of 24 lenses of the SLACS survey, in the units of `excess`."""

TYPICAL = 0.68
"""Quantile of the other lenses' excesses that counts as the error: one standard deviation."""


def excess(row: LensRow) -> float:
    """Significance of a lens's best perturber over the median of noise, its noise map put right."""
    median = row.noise_maximum - row.noise_maximum_scale * math.log(math.log(2))
    return row.perturber_significance / (row.residual_scatter * median)


def model_error(others: Sequence[LensRow]) -> float:
    """Factor by which significances exceed those of noise in well-fitted lenses.

    Parameters
    ----------
    others : sequence of LensRow
        Without the lens that the factor is for.
    """
    found = [excess(row) for row in others if row.trusted]
    found = [value for value in found if math.isfinite(value)]
    if len(found) < FEWEST:
        return REFERENCE
    return max(float(np.quantile(found, TYPICAL)), 1.0)


def with_p_values(rows: Sequence[LensRow]) -> list[LensRow]:
    """Fill in inflation and p-value of every row, each from the other rows."""
    made = []
    for row in rows:
        if row.error:
            made.append(row)
            continue
        inflation = row.residual_scatter * model_error([one for one in rows if one is not row])
        law = (row.noise_maximum, row.noise_maximum_scale)
        made.append(
            replace(
                row,
                inflation=inflation,
                perturber_p_value=p_value(row.perturber_significance / inflation, law),
            )
        )
    return made


def p_value(snr: float, noise_maxima: tuple[float, float]) -> float:
    """How often noise alone reaches a signal-to-noise ratio somewhere in the map."""
    location, scale = noise_maxima
    if not scale > 0:
        return math.nan
    return -math.expm1(-math.exp(-(snr - location) / scale))
