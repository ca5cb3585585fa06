"""The catalogue of real lenses: one row each, fitted or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lumpylens.files.tables import html_table
from lumpylens.lenses.lens_row import LATER_COLUMNS, LensRow
from lumpylens.lenses.priors import DEFAULT, Priors
from lumpylens.lenses.remarks import Note, codes, words
from lumpylens.lenses.rows import RowTable, meanings, text_columns

if TYPE_CHECKING:
    from lumpylens.lenses.analysis import LensAnalysis
    from lumpylens.lenses.redshifts import Redshifts

__all__ = [
    "LATER_COLUMNS",
    "LensCatalogue",
    "LensRow",
    "p_words",
    "row_of",
]

LEAST_P = 1e-5
"""p-value below which texts say no more than that: the law of noise is known from 1,000 draws, and
its tail is extrapolated."""

VIEW_COLUMNS = (
    "id",
    "einstein_radius_arcsec",
    "einstein_radius_err",
    "perturber_p_value",
    "quality",
)
"""Columns of a notebook's view."""
LENSES_IN_VIEW = 20
"""Rows of a notebook's view; `to_pandas` and `write` have all."""


MEANINGS = meanings(LensRow)
"""Name -> meaning, of each column of the catalogue."""
TEXT_COLUMNS = text_columns(LensRow)


@dataclass(frozen=True, repr=False)
class LensCatalogue(RowTable[LensRow]):
    """Result of `lumpylens.fit`: one row per lens, in the order of the images.

    Attributes
    ----------
    rows : tuple of LensRow
    """

    row_type = LensRow
    kind = "catalogue of lenses"
    meanings = MEANINGS
    later_columns = LATER_COLUMNS

    @property
    def doubtful(self) -> list[LensRow]:
        """Lenses whose fit is in doubt; `quality` says why."""
        return [row for row in self if not row.error and not row.trusted]

    @property
    def most_significant(self) -> LensRow | None:
        """The lens with the smallest p-value of a perturber, if any has one."""
        rows = [row for row in self if not math.isnan(row.perturber_p_value)]
        return min(rows, key=lambda row: row.perturber_p_value, default=None)

    def __repr__(self) -> str:
        lines = [
            f"LensCatalogue of {len(self)} lenses: {len(self) - len(self.failed)} fitted, "
            f"{len(self.doubtful)} of them in doubt"
        ]
        if self.failed:
            first = self.failed[0]
            lines.append(f"  {len(self.failed)} failed; the first is {first.id}: {first.error}")
        if best := self.most_significant:
            lines.append(
                f"  most significant perturber: {best.id}, {p_words(best.perturber_p_value)}"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        columns = self[:LENSES_IN_VIEW].columns()
        return html_table(
            {name: columns[name] for name in VIEW_COLUMNS}, repr(self).splitlines()[0]
        )


def p_words(p_value: float) -> str:
    """A p-value for people, empty if there is none."""
    if math.isnan(p_value):
        return ""
    return f"p < {LEAST_P:.0e}".replace("e-0", "e-") if p_value < LEAST_P else f"p = {p_value:.2g}"


def row_of(
    analysis: LensAnalysis,
    notes: Sequence[Note],
    digest: str,
    priors: Priors = DEFAULT,
    redshifts: Redshifts | None = None,
) -> LensRow:
    """Make the row of an analysis; mass, inflation and p-value are filled in later."""
    # torch is loaded for these alone, and other rows are read without it.
    from lumpylens.lenses.companion_search import measured_companion
    from lumpylens.lenses.competing import measured_competing
    from lumpylens.lenses.measured import (
        measured_area,
        measured_mass,
        measured_perturber,
        mostly_prior,
    )
    from lumpylens.lenses.profiles import measured_profiles

    lens, perturber, sky = analysis.reported.lens, analysis.best_perturber, analysis.cutout.sky
    of_lens = of_perturber = (math.nan, math.nan)
    if sky is not None:
        of_lens = sky.position(lens["light_x"], lens["light_y"])
        of_perturber = sky.position(perturber.x + lens["light_x"], perturber.y + lens["light_y"])
    masses = measured_mass(analysis.mass) | measured_area(analysis.mass)
    joint = measured_mass(analysis.joint)
    joint["einstein_radius_error_arcsec"] = joint.pop("einstein_radius_err")
    numbers: dict[str, Any] = masses | {f"joint_{name}": value for name, value in joint.items()}
    numbers |= measured_perturber(analysis.joint) | measured_companion(analysis.mass)
    numbers |= measured_profiles(analysis.profiles, redshifts)
    numbers |= measured_competing(analysis.other_masses)
    return LensRow(
        id=analysis.cutout.id,
        **numbers,
        centre_x_error_arcsec=analysis.mass.error("light_x"),
        centre_y_error_arcsec=analysis.mass.error("light_y"),
        error_inflation=analysis.mass.inflation,
        joint_error_inflation=analysis.joint.inflation,
        mostly_prior=" ".join(mostly_prior(analysis.mass) + mostly_prior(analysis.joint, "joint_")),
        priors=str(priors),
        seconds_errors=analysis.seconds["errors"],
        seconds_profiles=analysis.seconds["profiles"],
        seconds_masses=analysis.seconds["masses"],
        chi2_per_pixel=analysis.chi2_per_pixel,
        quality=words(notes),
        perturber_x_arcsec=perturber.x,
        perturber_y_arcsec=perturber.y,
        perturber_einstein_radius_arcsec=perturber.einstein_radius,
        perturber_log_evidence=perturber.log_evidence,
        perturber_log_evidence_multipoles=analysis.with_multipoles.log_evidence,
        perturber_snr=analysis.snr,
        residual_scatter=analysis.inflation.off_arcs,
        map_scatter=analysis.inflation.of_map,
        noise_maximum=analysis.noise_maxima[0],
        noise_maximum_scale=analysis.noise_maxima[1],
        centre_x_arcsec=lens["light_x"],
        centre_y_arcsec=lens["light_y"],
        source_order=float(analysis.reported.model.largest_order),
        seconds=sum(analysis.seconds.values()),
        seconds_smooth=analysis.seconds["smooth"],
        seconds_filter=analysis.seconds["filter"],
        seconds_noise=analysis.seconds["noise"],
        seconds_perturber=analysis.seconds["perturber"],
        seconds_multipoles=analysis.seconds["multipoles"],
        digest=digest,
        doubts=codes(notes),
        ra_deg=of_lens[0],
        dec_deg=of_lens[1],
        perturber_ra_deg=of_perturber[0],
        perturber_dec_deg=of_perturber[1],
        strength_error_arcsec2=analysis.map.typical_error(),
    )
