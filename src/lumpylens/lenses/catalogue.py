"""The catalogue of real lenses: one row each, fitted or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lumpylens.files.tables import html_table
from lumpylens.lenses.remarks import Note, codes, words
from lumpylens.lenses.rows import RowTable, meanings, number, text, text_columns

if TYPE_CHECKING:
    from lumpylens.lenses.analysis import LensAnalysis
    from lumpylens.lenses.model import SolvedLens

__all__ = [
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


@dataclass(frozen=True)
class LensRow:
    """One line of the catalogue; numbers that are not known are NaN.

    The meaning of each field is in its metadata, which is also what ECSV files say.
    """

    id: str = text("name of the lens")
    einstein_radius_arcsec: float = number(
        "Einstein radius; a circle of this radius has the area of the mass ellipse inside which "
        "the mean convergence is 1"
    )
    einstein_radius_err: float = number(
        "its statistical standard deviation in arcsec, if the noise map is right"
    )
    ellipticity: float = number("1 - axis ratio of the mass")
    ellipticity_angle_deg: float = number(
        "direction of the mass's major axis, from x towards y; row 0 is at the bottom"
    )
    shear: float = number("size of the external shear")
    shear_angle_deg: float = number(
        "direction in which the shear stretches, from x towards y; row 0 is at the bottom"
    )
    slope: float = number("three-dimensional logarithmic slope of the mass; 2 is isothermal")
    chi2_per_pixel: float = number(
        "chi2 per pixel of the smooth lens; 0.5 is usual for drizzled images, whose noise maps are "
        "often too large"
    )
    quality: str = text("`good`, or the reasons for doubt in words")
    perturber_x_arcsec: float = number(
        "best position of a perturber along columns, relative to the centre of the lens"
    )
    perturber_y_arcsec: float = number("the same along rows; row 0 has the smallest y")
    perturber_einstein_radius_arcsec: float = number(
        "Einstein radius of the perturber that fits best"
    )
    perturber_mass_msun: float = number("its mass in solar masses; empty without redshifts")
    perturber_log_evidence: float = number(
        "gain in log evidence: model with this perturber minus smooth lens, both fitted again"
    )
    perturber_log_evidence_multipoles: float = number(
        "the same with third and fourth multipoles of the mass free"
    )
    perturber_p_value: float = number(
        "probability that a lens without a perturber has such a gain anywhere, errors of the model "
        "included; empty for a fit in doubt"
    )
    error: str = text("why the lens could not be fitted")
    perturber_snr: float = number("largest signal-to-noise ratio in the perturbation map")
    inflation: float = number(
        "factor by which errors of noise map and model increase significances; the p-value is "
        "corrected for it"
    )
    residual_scatter: float = number(
        "scatter of smoothed residuals away from the arcs; 1 for the given noise"
    )
    map_scatter: float = number("scatter of the perturbation map; 1 for the given noise")
    noise_maximum: float = number(
        "largest signal-to-noise ratio in maps of noise alone: location of its Gumbel law"
    )
    noise_maximum_scale: float = number("scale of that law")
    centre_x_arcsec: float = number(
        "centre of the lens along columns, relative to the middle of the image"
    )
    centre_y_arcsec: float = number("the same along rows")
    source_order: float = number("highest order of the source's shapelets")
    seconds: float = number("total time on one core; the next five columns are parts of it")
    seconds_smooth: float = number("time of the smooth fit")
    seconds_filter: float = number("time of the perturbation map")
    seconds_noise: float = number("time of the draws of noise")
    seconds_perturber: float = number("time of the fit with a perturber")
    seconds_multipoles: float = number("time of the fit with a perturber and multipoles")
    digest: str = text(
        "fingerprint of pixels and settings; a lens whose row has the same is not fitted again"
    )
    doubts: str = text(
        "codes of the reasons for doubt, separated by spaces; empty for a fit without doubt"
    )
    ra_deg: float = number(
        "right ascension (ICRS) of the lens's centre; empty if the header has no sky coordinates"
    )
    dec_deg: float = number("declination (ICRS) of the lens's centre")
    perturber_ra_deg: float = number("right ascension (ICRS) of the best position of a perturber")
    perturber_dec_deg: float = number("declination (ICRS) of the best position of a perturber")
    perturber_limit_arcsec: float = number(
        "Einstein radius above which a perturber near the arcs would have been seen; empty for a "
        "fit in doubt"
    )
    perturber_limit_msun: float = number(
        "the same as a mass in solar masses; empty without redshifts"
    )
    strength_error_arcsec2: float = number(
        "standard deviation of a perturber's squared Einstein radius near the arcs (median over "
        "the perturbation map), for the given noise"
    )
    msun_per_square_arcsec: float = number(
        "solar masses within an Einstein radius of 1 arcsec; empty without redshifts"
    )
    effective_einstein_radius_arcsec: float = number(
        "radius of a circle with the area inside the tangential critical curve of mass and shear, "
        "as in the catalogue of Euclid"
    )
    mass_x_arcsec: float = number(
        "centre of the mass along columns, relative to the centre of the lens"
    )
    mass_y_arcsec: float = number("the same along rows")
    joint_einstein_radius_arcsec: float = number(
        "Einstein radius of the lens that was fitted together with the perturber; the columns with "
        "`joint` belong to the perturber's place and strength, those without it to the lens alone"
    )
    joint_ellipticity: float = number("ellipticity of its mass")
    joint_ellipticity_angle_deg: float = number("direction of its mass's major axis")
    joint_shear: float = number("its external shear")
    joint_shear_angle_deg: float = number("direction in which that shear stretches")
    joint_slope: float = number("slope of its mass")
    joint_mass_x_arcsec: float = number(
        "centre of its mass along columns, relative to the centre of the lens"
    )
    joint_mass_y_arcsec: float = number("the same along rows")

    @property
    def perturber_significance(self) -> float:
        """Significance in standard deviations that corresponds to the gain in log evidence."""
        return math.sqrt(2 * max(self.perturber_log_evidence, 0.0))

    @property
    def trusted(self) -> bool:
        """Whether the lens was fitted, and its fit is not in doubt."""
        return not self.error and not self.doubts


LATER_COLUMNS = (
    "ra_deg",
    "dec_deg",
    "perturber_ra_deg",
    "perturber_dec_deg",
    "perturber_limit_arcsec",
    "perturber_limit_msun",
    "strength_error_arcsec2",
    "msun_per_square_arcsec",
    "effective_einstein_radius_arcsec",
    "mass_x_arcsec",
    "mass_y_arcsec",
    "joint_einstein_radius_arcsec",
    "joint_ellipticity",
    "joint_ellipticity_angle_deg",
    "joint_shear",
    "joint_shear_angle_deg",
    "joint_slope",
    "joint_mass_x_arcsec",
    "joint_mass_y_arcsec",
)
"""Columns that tables of earlier versions lack; they are empty there."""

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


def row_of(analysis: LensAnalysis, notes: Sequence[Note], digest: str) -> LensRow:
    """Make the row of an analysis; mass, inflation and p-value are filled in later."""
    # torch is loaded for this alone, and other rows are read without it.
    from lumpylens.physics.critical_curve import effective_einstein_radius

    best = analysis.smooth.best
    lens, perturber, sky = best.lens, analysis.perturber, analysis.cutout.sky
    of_lens = of_perturber = (math.nan, math.nan)
    if sky is not None:
        of_lens = sky.position(lens["light_x"], lens["light_y"])
        of_perturber = sky.position(perturber.x + lens["light_x"], perturber.y + lens["light_y"])
    radius = math.exp(lens["log_einstein_radius"])
    curve = (lens[name] for name in ("eta_1", "eta_2", "slope", "shear_1", "shear_2"))
    masses: dict[str, Any] = _mass_of(lens)
    masses |= {f"joint_{name}": value for name, value in _mass_of(perturber.fitted.lens).items()}
    return LensRow(
        id=analysis.cutout.id,
        einstein_radius_err=radius * best.spread("log_einstein_radius"),
        **masses,
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
        source_order=float(best.model.largest_order),
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
        effective_einstein_radius_arcsec=radius * effective_einstein_radius(*curve),
    )


def _mass_of(lens: SolvedLens) -> dict[str, float]:
    """Columns of the mass of a fitted lens."""
    return {
        "einstein_radius_arcsec": math.exp(lens["log_einstein_radius"]),
        "ellipticity": 1 - math.exp(-math.hypot(lens["eta_1"], lens["eta_2"])),
        "ellipticity_angle_deg": _angle(lens["eta_1"], lens["eta_2"]),
        "shear": math.hypot(lens["shear_1"], lens["shear_2"]),
        "shear_angle_deg": _angle(lens["shear_1"], lens["shear_2"]),
        "slope": lens["slope"],
        "mass_x_arcsec": lens["centre_x"] - lens["light_x"],
        "mass_y_arcsec": lens["centre_y"] - lens["light_y"],
    }


def _angle(first: float, second: float) -> float:
    """Position angle of a quantity that turns by twice the angle, degrees from -90 to 90."""
    return math.degrees(math.atan2(second, first)) / 2
