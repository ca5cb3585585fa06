"""The catalogue of real lenses: one row each, fitted or not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from lumpylens.data.readers.companions import ENDINGS
from lumpylens.errors import DataError
from lumpylens.files.tables import (
    astropy_table,
    html_table,
    pandas_frame,
    read_columns,
    write_columns,
)
from lumpylens.lenses.remarks import Note, codes, words
from lumpylens.physics.cosmology import msun_per_square_arcsec

if TYPE_CHECKING:
    from astropy.table import Table
    from pandas import DataFrame

    from lumpylens.lenses.analysis import LensAnalysis

__all__ = [
    "LensCatalogue",
    "LensRow",
    "Redshifts",
    "read_redshifts",
    "redshifts_by_lens",
    "row_of",
    "with_masses",
]

TEXT_COLUMNS = ("id", "quality", "error", "digest", "doubts")
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


def _number(meaning: str) -> Any:
    return field(default=math.nan, metadata={"meaning": meaning})


def _text(meaning: str) -> Any:
    return field(default="", metadata={"meaning": meaning})


@dataclass(frozen=True)
class LensRow:
    """One line of the catalogue; numbers that are not known are NaN.

    The meaning of each field is in its metadata, which is also what ECSV files say.
    """

    id: str = _text("name of the lens")
    einstein_radius_arcsec: float = _number("of the ellipse that holds the mass of a circle")
    einstein_radius_err: float = _number("statistical standard deviation, arcsec")
    ellipticity: float = _number("1 - axis ratio of the mass")
    ellipticity_angle_deg: float = _number(
        "of the mass's major axis, from x towards y; row 0 is at the bottom"
    )
    shear: float = _number("external shear")
    shear_angle_deg: float = _number(
        "direction in which it stretches, from x towards y; row 0 is at the bottom"
    )
    slope: float = _number("three-dimensional slope of the mass, 2 is isothermal")
    chi2_per_pixel: float = _number("of the smooth lens; given noise maps are often too large")
    quality: str = _text("good, or what to doubt, in words")
    perturber_x_arcsec: float = _number("from the lens's centre along columns")
    perturber_y_arcsec: float = _number(
        "from the lens's centre along rows; row 0 has the smallest y"
    )
    perturber_einstein_radius_arcsec: float = _number("of the explicitly fitted perturber")
    perturber_mass_msun: float = _number("solar masses; needs redshifts")
    perturber_log_evidence: float = _number("gain of the explicitly fitted perturber")
    perturber_log_evidence_multipoles: float = _number("the same with multipoles of the mass free")
    perturber_p_value: float = _number(
        "look-elsewhere included, model error divided out; none for a fit in doubt"
    )
    error: str = _text("why the lens could not be fitted")
    perturber_snr: float = _number("largest signal-to-noise ratio of the map, as it is")
    inflation: float = _number("of significances by errors of noise map and model")
    residual_scatter: float = _number("of smoothed residuals off the arcs, 1 for the given noise")
    map_scatter: float = _number("of the perturbation map, 1 for the given noise")
    noise_maximum: float = _number("location of the largest signal-to-noise ratio of noise")
    noise_maximum_scale: float = _number("scale of its Gumbel law")
    centre_x_arcsec: float = _number("of the lens from the image's centre along columns")
    centre_y_arcsec: float = _number("of the lens from the image's centre along rows")
    source_order: float = _number("highest order of the source's shapelets")
    seconds: float = _number("of one core, of which the next five are parts")
    seconds_smooth: float = _number("smooth fit")
    seconds_filter: float = _number("perturbation map")
    seconds_noise: float = _number("draws of noise")
    seconds_perturber: float = _number("explicit perturber")
    seconds_multipoles: float = _number("explicit perturber with multipoles")
    digest: str = _text("of pixels and settings: a row with the same digest is not made again")
    doubts: str = _text("codes of what makes the fit doubtful, with spaces between")

    @property
    def perturber_significance(self) -> float:
        """Significance in standard deviations that corresponds to the gain in log evidence."""
        return math.sqrt(2 * max(self.perturber_log_evidence, 0.0))

    @property
    def trusted(self) -> bool:
        """Whether the lens was fitted, and its fit is not in doubt."""
        return not self.error and not self.doubts


MEANINGS = {column.name: column.metadata["meaning"] for column in fields(LensRow)}
"""Name -> meaning, of each column of the catalogue."""


@dataclass(frozen=True, repr=False)
class LensCatalogue(Sequence[LensRow]):
    """Result of `lumpylens.fit`: one row per lens, in the order of the images.

    Attributes
    ----------
    rows : tuple of LensRow
    """

    rows: tuple[LensRow, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> LensRow: ...
    @overload
    def __getitem__(self, index: str) -> list[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> LensCatalogue: ...
    def __getitem__(self, index: int | str | slice) -> LensRow | list[Any] | LensCatalogue:
        """Get one row by its position, one column by its name, or a catalogue of some rows."""
        if isinstance(index, str):
            return self.columns()[index]
        if isinstance(index, slice):
            return LensCatalogue(self.rows[index])
        return self.rows[index]

    @property
    def failed(self) -> list[LensRow]:
        """Lenses that could not be fitted."""
        return [row for row in self if row.error]

    @property
    def doubtful(self) -> list[LensRow]:
        """Lenses whose fit is in doubt; `quality` says why."""
        return [row for row in self if not row.error and not row.trusted]

    @property
    def most_significant(self) -> LensRow | None:
        """The lens with the smallest p-value of a perturber, if any has one."""
        rows = [row for row in self if not math.isnan(row.perturber_p_value)]
        return min(rows, key=lambda row: row.perturber_p_value, default=None)

    def columns(self) -> dict[str, list[Any]]:
        """Name -> values of each column, in the order of the file."""
        return {name: [getattr(row, name) for row in self] for name in MEANINGS}

    def to_table(self) -> Table:
        """Convert to an `astropy.table.Table` in which missing numbers are masked."""
        return astropy_table(self.columns(), MEANINGS)

    def to_pandas(self) -> DataFrame:
        """Convert to a `pandas.DataFrame`, one row per lens.

        Raises
        ------
        DataError
            If pandas is not installed.
        """
        return pandas_frame(self.columns())

    def write(self, path: str | Path) -> Path:
        """Write CSV, ECSV or Parquet, by suffix.

        Raises
        ------
        DataError
            If the suffix is another one, or the file cannot be written.
        """
        write_columns(self.columns(), Path(path), descriptions=MEANINGS)
        return Path(path)

    @classmethod
    def read(cls, path: str | Path) -> LensCatalogue:
        """Read a catalogue that `write` wrote.

        Raises
        ------
        DataError
            If it is no catalogue.
        """
        columns = read_columns(Path(path), text=TEXT_COLUMNS)
        if missing := [name for name in MEANINGS if name not in columns]:
            raise DataError(
                f"{path} is no catalogue of lenses (it lacks {', '.join(missing[:3])}); "
                "give another --out, or remove it"
            )
        return cls(
            tuple(
                LensRow(**dict(zip(MEANINGS, values, strict=True)))
                for values in zip(*(columns[name] for name in MEANINGS), strict=True)
            )
        )

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
                f"  most significant perturber: {best.id}, p = {best.perturber_p_value:.2g}"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        columns = self[:LENSES_IN_VIEW].columns()
        return html_table(
            {name: columns[name] for name in VIEW_COLUMNS}, repr(self).splitlines()[0]
        )


def row_of(analysis: LensAnalysis, notes: Sequence[Note], digest: str) -> LensRow:
    """Make the row of an analysis; mass, inflation and p-value are filled in later."""
    best = analysis.smooth.best
    lens, perturber = best.lens, analysis.perturber
    radius = math.exp(lens["log_einstein_radius"])
    return LensRow(
        id=analysis.cutout.id,
        einstein_radius_arcsec=radius,
        einstein_radius_err=radius * best.spread("log_einstein_radius"),
        ellipticity=1 - math.exp(-math.hypot(lens["eta_1"], lens["eta_2"])),
        ellipticity_angle_deg=_angle(lens["eta_1"], lens["eta_2"]),
        shear=math.hypot(lens["shear_1"], lens["shear_2"]),
        shear_angle_deg=_angle(lens["shear_1"], lens["shear_2"]),
        slope=lens["slope"],
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
    )


def _angle(first: float, second: float) -> float:
    """Position angle of a quantity that turns by twice the angle, degrees from -90 to 90."""
    return math.degrees(math.atan2(second, first)) / 2


@dataclass(frozen=True)
class Redshifts:
    """Redshifts of a lens and its source."""

    lens: float
    source: float

    def mass(self, einstein_radius_arcsec: float) -> float:
        """Mass in solar masses inside an Einstein radius."""
        return msun_per_square_arcsec(self.lens, self.source) * einstein_radius_arcsec**2


def read_redshifts(path: Path) -> dict[str, Redshifts]:
    """Read a table with columns ``id``, ``lens_redshift`` and ``source_redshift``.

    Raises
    ------
    DataError
        If it has other columns, a source in front of its lens, or two rows for one lens.
    """
    columns = read_columns(path, text=("id",))
    wanted = ("id", "lens_redshift", "source_redshift")
    if missing := [name for name in wanted if name not in columns]:
        raise DataError(
            f"{path} has no column {missing[0]}; redshifts need the columns {', '.join(wanted)}"
        )
    by_id: dict[str, Redshifts] = {}
    for name, near, far in zip(*(columns[key] for key in wanted), strict=True):
        if not isinstance(near, float) or not isinstance(far, float):
            raise DataError(f"{path}: the redshifts of {name} are not numbers")
        if math.isnan(near) or math.isnan(far):
            continue
        if not 0 < near < far:
            raise DataError(
                f"{path}: lens {name} at redshift {near:g} needs a source behind it, not at {far:g}"
            )
        if by_id.setdefault(name, Redshifts(near, far)) != Redshifts(near, far):
            raise DataError(f"{path} has several rows for {name}, with different redshifts")
    return by_id


def redshifts_by_lens(
    redshifts: Mapping[str, Redshifts], ids: Sequence[str]
) -> tuple[dict[str, Redshifts], list[str]]:
    """Match a table of redshifts with the ids of lenses.

    Folders and file endings are ignored unless they are needed to tell lenses apart.

    Returns
    -------
    matched : dict
        Redshifts by id of the lens.
    left : list of str
        Ids of the table that match no lens, or more than one.
    """
    by_name: dict[str, list[str]] = {}
    for name in dict.fromkeys(ids):
        by_name.setdefault(_bare(name), []).append(name)
    matched = {name: redshifts[name] for name in ids if name in redshifts}
    left = []
    for name in redshifts:
        if name in matched:
            continue
        lenses = by_name.get(_bare(name), [])
        rivals = [other for other in redshifts if _bare(other) == _bare(name)]
        if len(lenses) == 1 and lenses[0] not in matched and len(rivals) == 1:
            matched[lenses[0]] = redshifts[name]
        else:
            left.append(name)
    return matched, left


def _bare(name: str) -> str:
    """An id without its folders and the ending of a FITS file."""
    last = name.rsplit("/", 1)[-1]
    return next((last[: -len(end)] for end in ENDINGS if last.lower().endswith(end)), last)


def with_masses(rows: Sequence[LensRow], redshifts: Mapping[str, Redshifts]) -> list[LensRow]:
    """Fill in the masses of perturbers where redshifts are known; other rows stay as they are."""
    return [
        replace(
            row,
            perturber_mass_msun=redshifts[row.id].mass(row.perturber_einstein_radius_arcsec),
        )
        if row.id in redshifts
        else row
        for row in rows
    ]
