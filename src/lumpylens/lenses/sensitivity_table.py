"""The table of sensitivities: one row per lens, ranked for follow-up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from lumpylens.files.digests import digest_of
from lumpylens.files.tables import html_table
from lumpylens.lenses.analysis import SmoothLens
from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.perturber import MAP_SPACING
from lumpylens.lenses.quality import remarks
from lumpylens.lenses.recipe import digest_of_lens
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.lenses.remarks import codes, words
from lumpylens.lenses.rows import RowTable, meanings, number, text
from lumpylens.lenses.sensitivity import SensitivityMap, Subhaloes, expected_detections

__all__ = [
    "AREAS",
    "SensitivityRow",
    "SensitivitySettings",
    "SensitivityTable",
    "row_of",
    "with_ranks",
]

LEAST_QUANTILE = 0.1
"""Part of the positions near the arcs at which the least mass of a lens is seen, and smaller ones.
A single best position depends on where the positions happen to lie."""

VIEW_COLUMNS = ("id", "rank", "expected_detections", "least_mass_msun", "area_1e10_arcsec2")
LENSES_IN_VIEW = 20
"""Columns and rows of a notebook's view."""


def _area(mass: str) -> Any:
    return number(f"area within two Einstein radii in which a subhalo of {mass} Msun is seen")


def _part(mass: str) -> Any:
    return number(
        f"fraction of the positions within two Einstein radii at which {mass} Msun are seen"
    )


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


@dataclass(frozen=True)
class SensitivityRow:
    """One line of the table; numbers that are not known are NaN.

    The meaning of each field is in its metadata, which is also what ECSV files say.
    """

    id: str = text("name of the lens")
    rank: float = number(
        "place in the order of follow-up: 1 has the most expected detections; empty for a fit in "
        "doubt"
    )
    expected_detections: float = number(
        "expected number of subhaloes that are seen, if the stated fraction of the lens's mass is "
        "in subhaloes"
    )
    least_mass_msun: float = number(
        "mass that is seen at the best tenth of the positions near the arcs; empty if it is above "
        "1e11 solar masses"
    )
    median_mass_msun: float = number("the same at half of these positions")
    area_1e8_arcsec2: float = _area("1e8")
    area_3e8_arcsec2: float = _area("3e8")
    area_1e9_arcsec2: float = _area("1e9")
    area_3e9_arcsec2: float = _area("3e9")
    area_1e10_arcsec2: float = _area("1e10")
    area_3e10_arcsec2: float = _area("3e10")
    area_1e11_arcsec2: float = _area("1e11")
    fraction_1e8: float = _part("1e8")
    fraction_1e9: float = _part("1e9")
    fraction_1e10: float = _part("1e10")
    best_snr_1e10: float = number(
        "largest signal-to-noise ratio, over all positions, of a subhalo of 1e10 solar masses"
    )
    error: str = text("why the lens has no numbers")
    quality: str = text("`good`, or the reasons for doubt in words")
    doubts: str = text("codes of these reasons, separated by spaces")
    einstein_radius_arcsec: float = number("Einstein radius of the smooth lens")
    lens_redshift: float = number("redshift of the lens")
    source_redshift: float = number("redshift of the source")
    chi2_per_pixel: float = number("chi2 per pixel of the smooth lens")
    map_scatter: float = number(
        "scatter of the signal-to-noise ratios that the residuals have; 1 for the given noise"
    )
    inflation: float = number(
        "factor by which signal-to-noise ratios were divided; 1 for the given noise"
    )
    significance: float = number("signal-to-noise ratio from which a subhalo counts as seen")
    seconds: float = number("time on one core")
    digest: str = text(
        "fingerprint of pixels, redshifts and settings; a lens whose row has the same is not "
        "computed again"
    )


AREAS = {
    float(name.split("_")[1]): name for name in meanings(SensitivityRow) if name.startswith("area_")
}
"""Mass in solar masses -> column of its area."""


@dataclass(frozen=True, repr=False)
class SensitivityTable(RowTable[SensitivityRow]):
    """Result of `lumpylens.sensitivity`: one row per lens, in the order of the images.

    Attributes
    ----------
    rows : tuple of SensitivityRow
    """

    row_type = SensitivityRow
    kind = "table of sensitivities"
    meanings = meanings(SensitivityRow)

    @property
    def ranked(self) -> list[SensitivityRow]:
        """Lenses that have a rank, first the one with the most expected detections."""
        return sorted((row for row in self if row.rank > 0), key=lambda row: row.rank)

    def __repr__(self) -> str:
        lines = [f"SensitivityTable of {len(self)} lenses, {len(self.failed)} failed"]
        if self.failed:
            lines.append(f"  the first that failed is {self.failed[0].id}: {self.failed[0].error}")
        if ranked := self.ranked:
            expected = sum(row.expected_detections for row in ranked)
            lines.append(
                f"  expected detections: {expected:.2g} in {len(ranked)} lenses, "
                f"{ranked[0].expected_detections:.2g} of them in {ranked[0].id}"
            )
            if not math.isnan(ranked[0].least_mass_msun):
                lines.append(f"  least mass there: {ranked[0].least_mass_msun:.1e} Msun")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        columns = self[:LENSES_IN_VIEW].columns()
        return html_table(
            {name: columns[name] for name in VIEW_COLUMNS}, repr(self).splitlines()[0]
        )


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


def _mass_at(sorted_log_least: torch.Tensor, quantile: float) -> float:
    """Mass at a quantile; NaN where it is infinite, or there are no positions."""
    if not len(sorted_log_least):
        return math.nan
    log_mass = float(sorted_log_least[int(quantile * (len(sorted_log_least) - 1))])
    return 10**log_mass if math.isfinite(log_mass) else math.nan


def with_ranks(rows: Sequence[SensitivityRow]) -> list[SensitivityRow]:
    """Fill in the ranks of all lenses that were fitted without doubt.

    Where as many detections are expected, such as none, the larger signal of a massive subhalo
    comes first.
    """
    good = [k for k, row in enumerate(rows) if not row.error and not row.doubts]
    good.sort(key=lambda k: (-rows[k].expected_detections, -rows[k].best_snr_1e10))
    rank = {k: float(place) for place, k in enumerate(good, 1)}
    return [replace(row, rank=rank.get(k, math.nan)) for k, row in enumerate(rows)]
