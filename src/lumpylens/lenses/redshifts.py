"""Redshifts of lenses and sources, and the masses that follow from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lumpylens.data.readers.companions import ENDINGS
from lumpylens.errors import DataError
from lumpylens.files.tables import read_columns
from lumpylens.lenses.lens_row import LensRow
from lumpylens.physics.cosmology import msun_per_square_arcsec

__all__ = ["Redshifts", "read_redshifts", "redshifts_by_lens", "with_masses"]


@dataclass(frozen=True)
class Redshifts:
    """Redshifts of a lens and its source."""

    lens: float
    source: float

    def __str__(self) -> str:
        return f"{self.lens:g} {self.source:g}"

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
    needed = ("id", "lens_redshift", "source_redshift")
    if missing := [name for name in needed if name not in columns]:
        raise DataError(
            f"{path} has no column {missing[0]}; redshifts need the columns {', '.join(needed)}"
        )
    by_id: dict[str, Redshifts] = {}
    for name, z_lens, z_source in zip(*(columns[key] for key in needed), strict=True):
        if not isinstance(z_lens, float) or not isinstance(z_source, float):
            raise DataError(f"{path}: the redshifts of {name} are not numbers")
        if math.isnan(z_lens) or math.isnan(z_source):
            continue
        if not 0 < z_lens < z_source:
            raise DataError(
                f"{path}: lens {name} at redshift {z_lens:g} needs a source behind it, not at "
                f"{z_source:g}"
            )
        if by_id.setdefault(name, Redshifts(z_lens, z_source)) != Redshifts(z_lens, z_source):
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
    unmatched : list of str
        Ids of the table that match no lens, or more than one.
    """
    by_name: dict[str, list[str]] = {}
    for name in dict.fromkeys(ids):
        by_name.setdefault(_bare(name), []).append(name)
    matched = {name: redshifts[name] for name in ids if name in redshifts}
    entries = Counter(map(_bare, redshifts))
    unmatched = []
    for name in redshifts:
        if name in matched:
            continue
        lenses = by_name.get(_bare(name), [])
        if len(lenses) == 1 and lenses[0] not in matched and entries[_bare(name)] == 1:
            matched[lenses[0]] = redshifts[name]
        else:
            unmatched.append(name)
    return matched, unmatched


def _bare(name: str) -> str:
    """An id without its folders and the ending of a FITS file."""
    last = name.rsplit("/", 1)[-1]
    return next((last[: -len(end)] for end in ENDINGS if last.lower().endswith(end)), last)


def with_masses(rows: Sequence[LensRow], redshifts: Mapping[str, Redshifts]) -> list[LensRow]:
    """Fill in the masses of perturbers where redshifts are known; other rows stay as they are."""
    filled = []
    for row in rows:
        if row.id in redshifts:
            unit = redshifts[row.id].mass(1.0)
            radius = row.perturber_einstein_radius_arcsec
            error = row.perturber_einstein_radius_error_arcsec
            row = replace(
                row,
                perturber_mass_msun=unit * radius**2,
                perturber_mass_error_msun=2 * unit * radius * error,
                pseudo_jaffe_mass_msun=unit * row.pseudo_jaffe_strength_arcsec2,
                pseudo_jaffe_mass_error_msun=unit * row.pseudo_jaffe_strength_error_arcsec2,
                companion_mass_msun=unit * row.companion_einstein_radius_arcsec**2,
                msun_per_square_arcsec=unit,
            )
        filled.append(row)
    return filled
