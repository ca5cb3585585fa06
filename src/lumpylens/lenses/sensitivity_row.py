"""The row of a lens in the table of sensitivities, and what decides it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lumpylens.files.digests import digest_of
from lumpylens.lenses.analysis import SmoothLens
from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.perturber import MAP_SPACING
from lumpylens.lenses.quality import remarks
from lumpylens.lenses.recipe import digest_of_lens
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.lenses.remarks import codes, words
from lumpylens.lenses.sensitivity import SensitivityMap, Subhaloes, expected_detections
from lumpylens.lenses.sensitivity_table import AREAS, SensitivityRow

__all__ = ["SensitivitySettings", "row_of"]

LEAST_QUANTILE = 0.1
"""Part of the positions near the arcs at which the least mass of a lens is seen, and smaller ones.
A single best position depends on where the positions happen to lie."""


@dataclass(frozen=True)
class SensitivitySettings:
    """What decides the row of a lens besides its pixels and redshifts.

    Attributes
    ----------
    subhaloes : Subhaloes
    significance : float
        Signal-to-noise ratio from which a subhalo is seen.
    inflation : bool
        Whether it is divided by the scatter of the lens's own residuals.
    fraction : float
        Of the lens's projected mass that is in subhaloes.
    """

    subhaloes: Subhaloes
    significance: float
    inflation: bool
    fraction: float

    def digest(self, cutout: Cutout, redshifts: Redshifts) -> str:
        """Fingerprint of pixels, redshifts and settings."""
        return digest_of(repr(self), repr(redshifts), digest_of_lens(cutout, 0))[:16]

    def factor(self, sensitivity: SensitivityMap) -> float:
        """Factor by which signal-to-noise ratios of a lens are divided."""
        return max(sensitivity.scatter, 1.0) if self.inflation else 1.0


def row_of(
    fitted: SmoothLens,
    sensitivity: SensitivityMap,
    redshifts: Redshifts,
    settings: SensitivitySettings,
) -> SensitivityRow:
    """Make the row of a lens; rank, time and digest are filled in later."""
    factor = settings.factor(sensitivity)
    log_least = sensitivity.log_least_mass(settings.significance * factor)
    near = log_least[sensitivity.near_arcs].sort().values
    notes = remarks(fitted)
    # A threshold a rounding above a mass of the table must not exclude it.
    seen = {mass: log_least <= math.log10(mass) + 1e-9 for mass in AREAS}
    parts: dict[str, Any] = {
        name: float(seen[mass].sum()) * MAP_SPACING**2 for mass, name in AREAS.items()
    }
    for power in (8, 9, 10):
        parts[f"fraction_1e{power}"] = float(seen[10.0**power].double().mean())
    return SensitivityRow(
        id=fitted.cutout.id,
        expected_detections=expected_detections(
            fitted, sensitivity, log_least, redshifts, settings.fraction
        ),
        least_mass_msun=_mass_at(near, LEAST_QUANTILE),
        median_mass_msun=_mass_at(near, 0.5),
        **parts,
        best_snr_1e10=float(sensitivity.snr_of(1e10).max()) / factor,
        quality=words(notes),
        doubts=codes(notes),
        einstein_radius_arcsec=fitted.einstein_radius,
        lens_redshift=redshifts.lens,
        source_redshift=redshifts.source,
        chi2_per_pixel=fitted.chi2_per_pixel,
        map_scatter=sensitivity.scatter,
        inflation=factor,
        significance=settings.significance,
    )


def _mass_at(sorted_log_least: Tensor, quantile: float) -> float:
    """Mass at a quantile; NaN where it is infinite, or there are no positions."""
    if not len(sorted_log_least):
        return math.nan
    log_mass = float(sorted_log_least[int(quantile * (len(sorted_log_least) - 1))])
    return 10**log_mass if math.isfinite(log_mass) else math.nan
