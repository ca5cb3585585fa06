"""The table of sensitivities: one row per lens, ranked for follow-up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lumpylens.files.tables import html_table
from lumpylens.lenses.rows import RowTable, meanings, number, text

__all__ = ["AREAS", "SensitivityRow", "SensitivityTable", "with_ranks"]

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


def with_ranks(rows: Sequence[SensitivityRow]) -> list[SensitivityRow]:
    """Fill in the ranks of all lenses that were fitted without doubt.

    Where as many detections are expected, such as none, the larger signal of a massive subhalo
    comes first.
    """
    good = [k for k, row in enumerate(rows) if not row.error and not row.doubts]
    good.sort(key=lambda k: (-rows[k].expected_detections, -rows[k].best_snr_1e10))
    rank = {k: float(place) for place, k in enumerate(good, 1)}
    return [replace(row, rank=rank.get(k, math.nan)) for k, row in enumerate(rows)]
