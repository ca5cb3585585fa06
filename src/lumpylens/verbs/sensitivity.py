"""Say of every real lens which subhaloes would be seen in its image, and where."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, DataWarning
from lumpylens.files.tables import check_table_place
from lumpylens.files.writing import check_writable
from lumpylens.lenses.growing import unmatched_remark
from lumpylens.lenses.redshifts import read_redshifts, redshifts_by_lens
from lumpylens.lenses.sensitivity_table import AREAS, SensitivityTable

if TYPE_CHECKING:
    from lumpylens.lenses.sensitivity_row import SensitivitySettings

__all__ = ["sensitivity"]


def sensitivity(
    data: Any,
    *,
    band: str | None = None,
    out: str | Path | None = None,
    pixel_scale_arcsec: float | None = None,
    redshifts: str | Path | None = None,
    significance: float = 5.0,
    profile: str = "nfw",
    concentration: float = 1.0,
    inflation: bool = False,
    fraction: float = 0.01,
    maps: str | Path | None = None,
    figure: str | Path | None = None,
    workers: int = 1,
    progress: bool = True,
) -> SensitivityTable:
    """Compute for every lens the smallest mass of a subhalo that would be seen in its image.

    A smooth lens is fitted to each image. The change of the image by a subhalo in the lens plane is
    computed to first order for masses of 1e7 to 1e11 solar masses, at positions 0.1 arcsec apart
    within two Einstein radii; what the smooth lens can imitate is projected out.

    Parameters
    ----------
    data : str, Path or LensImages
        Cutouts with noise map and PSF, as for `fit`.
    band : str, optional
        Which of the bands to take, where the files hold several.
    out : str or Path, optional
        Table to write: CSV, ECSV or Parquet by suffix. It is written at most every half a minute,
        at the end and when the run is stopped. Lenses that it has already are not computed again
        unless their pixels, redshifts or settings changed; rows of other lenses stay in it.
    pixel_scale_arcsec : float, optional
        Where the files do not say.
    redshifts : str or Path, optional
        Table with columns ``id``, ``lens_redshift``, ``source_redshift``. A lens without redshifts
        has an `error`.
    significance : float
        Signal-to-noise ratio from which a subhalo is seen.
    profile : {"nfw", "pseudo-jaffe"}
        ``nfw``: truncated at 5 scale radii, with the concentration of Duffy et al. 2008.
        ``pseudo-jaffe``: isothermal within its tidal radius.
    concentration : float
        Of an ``nfw`` subhalo, times that of Duffy et al. 2008.
    inflation : bool
        Divide signal-to-noise ratios by the scatter that the residuals of the same lens have in
        the map, if it is above 1. Without it, they are for the given noise, as published
        sensitivities are.
    fraction : float
        Of the lens's projected mass that is in subhaloes of 1e6 to 1e11 solar masses, whose number
        goes as the mass to the power -1.9, for the expected number of detections.
    maps : str or Path, optional
        Folder for a FITS image of every lens, of the logarithm of the smallest mass. A lens whose
        map is not there is computed again.
    figure : str or Path, optional
        PNG file of areas against mass.
    workers : int
        Lenses computed at once, each in a process of its own.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    SensitivityTable
        In the order of `data`; a lens that cannot be fitted has an `error`.

    Raises
    ------
    DataError
        If there are no images or none of them can be fitted, an option makes no sense, or a place
        cannot be written.

    Warns
    -----
    DataWarning
        Before the work, if ids of the redshifts are those of no lens.
    """
    from lumpylens.lenses.sensitivity_run import SensitivityRun

    settings = _settings(significance, profile, concentration, inflation, fraction, workers)
    place, folder, picture = (None if p is None else Path(p) for p in (out, maps, figure))
    _check_places(place, folder, picture)
    held = SensitivityTable.read(place) if place is not None and place.is_file() else ()
    known = {} if redshifts is None else read_redshifts(Path(redshifts))
    images = LensImages.open(data, pixel_scale_arcsec=pixel_scale_arcsec, band=band).warned()
    distances, strangers = redshifts_by_lens(known, images.ids)
    if redshifts is not None and strangers:
        remark = unmatched_remark(redshifts, strangers, images.ids)
        warnings.warn(remark, DataWarning, stacklevel=2)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    run = SensitivityRun(images, distances, settings, folder, place, held)
    run.survey(progress)
    run.compute(workers, progress)
    table = run.table()
    if picture is not None:
        _draw(table, picture)
    return table[: len(images)]


def _settings(
    significance: float,
    profile: str,
    concentration: float,
    inflation: bool,
    fraction: float,
    workers: int,
) -> SensitivitySettings:
    from lumpylens.lenses.sensitivity import Subhaloes
    from lumpylens.lenses.sensitivity_row import SensitivitySettings
    from lumpylens.physics.subhaloes import PROFILES

    chosen = next((known for known in PROFILES if known == profile), None)
    if chosen is None:
        raise DataError(f"profile is {' or '.join(PROFILES)}, got {profile!r}")
    if not 0 < significance < math.inf:
        raise DataError(f"significance is a signal-to-noise ratio above 0, got {significance:g}")
    if not 0.1 <= concentration <= 10:
        raise DataError(f"concentration lies between 0.1 and 10, got {concentration:g}")
    if chosen != "nfw" and concentration != 1:
        raise DataError(f"concentration is a number of nfw alone; leave it out for {profile}")
    if not 0 < fraction < 1:
        raise DataError(f"fraction lies between 0 and 1, got {fraction:g}")
    if workers < 1:
        raise DataError(f"at least one worker is needed, got {workers}")
    return SensitivitySettings(Subhaloes(chosen, concentration), significance, inflation, fraction)


def _check_places(place: Path | None, folder: Path | None, picture: Path | None) -> None:
    if place is not None:
        check_table_place(place)
    if folder is not None:
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder} is a file; give a folder to write to")
        check_writable(folder / "map.fits")
    if picture is not None:
        if picture.suffix.lower() != ".png":
            raise DataError(f"the figure is a PNG file, got {picture}")
        check_writable(picture)


def _draw(table: SensitivityTable, picture: Path) -> None:
    from lumpylens.report.sensitivity_figure import write_areas

    if not (ranked := table.ranked):
        warnings.warn(
            f"{picture} is not drawn: no lens was fitted without doubt", DataWarning, stacklevel=3
        )
        return
    areas = {mass: np.array([getattr(row, name) for row in ranked]) for mass, name in AREAS.items()}
    write_areas(areas, ranked[0].id, picture)
