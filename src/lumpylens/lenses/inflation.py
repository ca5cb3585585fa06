"""How much more lenses scatter than noise does, and the p-values that follow.

The signal-to-noise ratios of a map assume that noise is all that the smooth model does not make.
On real lenses they scatter more. By how much is measured twice: on the residuals of the very lens
where its arcs are not, which says whether its noise map is right, and on the arcs of other lenses,
which says how wrong smooth models are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lumpylens.lenses.catalogue import LensRow
from lumpylens.lenses.significance import p_value

__all__ = ["model_error", "with_p_values"]

FEWEST = 8
"""Other lenses that are needed to learn the model's error from; with fewer, the constant below."""

REFERENCE_ERROR = 2.0

TYPICAL_ERROR = 0.5


def excess(row: LensRow) -> float:
    """Largest signal-to-noise ratio over the median of noise's, with the noise map put right."""
    median = row.noise_maximum - row.noise_maximum_scale * math.log(math.log(2))
    return row.perturber_snr / (row.residual_scatter * median)


def model_error(others: Sequence[LensRow]) -> float:
    """Factor by which signal-to-noise ratios of other lenses exceed those of noise."""
    found = [excess(row) for row in others if row.trusted and math.isfinite(excess(row))]
    if len(found) < FEWEST:
        return REFERENCE_ERROR
    return max(float(np.quantile(found, TYPICAL_ERROR)), 1.0)


def with_p_values(rows: Sequence[LensRow]) -> list[LensRow]:
    """Fill in inflation and p-value of every row, each from the other rows."""
    made = []
    for row in rows:
        if row.error:
            made.append(row)
            continue
        others = [other for other in rows if other is not row and not other.error]
        inflation = row.residual_scatter * model_error(others)
        corrected = row.perturber_snr / inflation
        made.append(
            replace(
                row,
                inflation=inflation,
                perturber_snr_corrected=corrected,
                perturber_p_value=p_value(corrected, (row.noise_maximum, row.noise_maximum_scale)),
            )
        )
    return made
