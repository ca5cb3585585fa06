"""What other programs take from a fit: FITS images with world coordinates, and DS9 regions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.files.writing import whole_file
from lumpylens.lenses.analysis import LensAnalysis, SmoothLens
from lumpylens.lenses.catalogue import LensRow
from lumpylens.lenses.pictures import file_stem
from lumpylens.lenses.verdict import Status, status_of

if TYPE_CHECKING:
    from lumpylens.report.lens_figure import LensPictures

__all__ = ["REGIONS", "coordinates", "product_paths", "write_products", "write_regions"]

REGIONS = "lenses.reg"
"""Region file of all lenses whose place on the sky is known."""

COLOURS = {Status.CANDIDATE: "red", Status.NO_PERTURBER: "cyan", Status.LUMINOUS: "cyan"}
"""Of the circle around a perturber; others are yellow."""


PLACE = "best position of a perturber"


def product_paths(id: str, folder: str | Path) -> tuple[Path, Path]:
    """Paths of the FITS file and of the region file of a lens."""
    # The ending tells them from the images, should they come to lie in one folder.
    name = f"{file_stem(id)}-fit"
    return Path(folder) / f"{name}.fits", Path(folder) / f"{name}.reg"


def write_products(
    analysis: LensAnalysis, pictures: LensPictures, row: LensRow, folder: str | Path
) -> None:
    """Write ``ID-fit.fits`` and ``ID-fit.reg`` of one lens.

    The FITS file has the extensions DATA and MODEL in the unit of the image, RESIDUAL in units of
    the noise, SOURCE in the unit of the image, and SNR and SENSITIVITY, the maps of a perturber.
    Their coordinates are those of the sky where the image has them, else arcsec from the lens's
    centre along columns and rows.

    Parameters
    ----------
    analysis : LensAnalysis
    pictures : LensPictures
        Of that analysis.
    row : LensRow
        Of that analysis.
    folder : str or Path
    """
    from astropy.io import fits

    unit = analysis.cutout.unit
    lens = analysis.reported.lens
    source_at = (lens["source_x"] - lens["light_x"], lens["source_y"] - lens["light_y"])
    left, right, bottom, top = pictures.source_extent
    source_extent = (
        left + source_at[0],
        right + source_at[0],
        bottom + source_at[1],
        top + source_at[1],
    )
    extensions = (
        ("DATA", pictures.data * unit, pictures.extent, "unit of the image"),
        ("MODEL", pictures.model * unit, pictures.extent, "unit of the image"),
        ("RESIDUAL", pictures.residual, pictures.extent, "noise"),
        ("SOURCE", pictures.source * unit, source_extent, "unit of the image"),
        ("SNR", pictures.snr, pictures.map_extent, "signal-to-noise ratio of a mass"),
        ("SENSITIVITY", pictures.sensitivity, pictures.map_extent, pictures.sensitivity_label),
    )
    images = [
        fits.ImageHDU(
            image.astype(np.float32),
            fits.Header([*coordinates(analysis, image, extent).items(), ("COMMENT", words)]),
            name=name,
        )
        for name, image, extent, words in extensions
    ]
    first = fits.PrimaryHDU()
    # A header takes printable ASCII alone.
    first.header["OBJECT"] = ascii(row.id)[1:-1]
    first.header["COMMENT"] = "Fit of a strong lens by lumpylens. Row 0 has the smallest y."
    fits_file, region_file = product_paths(row.id, folder)
    with whole_file(fits_file) as part_file:
        fits.HDUList([first, *images]).writeto(part_file)
    with whole_file(region_file) as part_file:
        _write_lines(part_file, _regions_of(row, analysis))


def coordinates(
    analysis: SmoothLens, image: NDArray[np.float64], extent: tuple[float, float, float, float]
) -> dict[str, Any]:
    """Cards of the world coordinates of an image with edges in arcsec from the lens's centre."""
    left, right, bottom, _ = extent
    pixel = (right - left) / image.shape[1]
    lens, sky = analysis.reported.lens, analysis.cutout.sky
    # Where the lens's centre is in this array.
    column, row = -left / pixel - 0.5, -bottom / pixel - 0.5
    if sky is not None:
        middle_column = column - lens["light_x"] / pixel
        middle_row = row - lens["light_y"] / pixel
        return sky.header(middle_column, middle_row, pixel)
    return {
        "WCSAXES": 2,
        "CTYPE1": "X",
        "CTYPE2": "Y",
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CRVAL1": 0.0,
        "CRVAL2": 0.0,
        "CRPIX1": column + 1,
        "CRPIX2": row + 1,
        "CDELT1": pixel,
        "CDELT2": pixel,
    }


def _regions_of(row: LensRow, analysis: LensAnalysis) -> list[str]:
    """Lines of the region file of one lens, in pixels where its place on the sky is unknown."""
    if not math.isnan(row.ra_deg):
        return ["icrs", *_sky_regions(row)]
    pixel = analysis.cutout.pixel_scale_arcsec
    # DS9 counts from 1 at the middle of the first pixel.
    rows, columns = ((length + 1) / 2 for length in analysis.cutout.image.shape)
    x, y = columns + row.centre_x_arcsec / pixel, rows + row.centre_y_arcsec / pixel
    at = (x + row.perturber_x_arcsec / pixel, y + row.perturber_y_arcsec / pixel)
    return [
        "image",
        _circle((x, y), row.einstein_radius_arcsec / pixel, "", "white", row.id, digits=3),
        _circle(at, row.perturber_einstein_radius_arcsec / pixel, "", "yellow", PLACE, digits=3),
    ]


def write_regions(rows: Sequence[LensRow], folder: str | Path) -> None:
    """Write `REGIONS`: Einstein radius and best perturber of all lenses with a place on the sky."""
    lines = ["icrs"]
    for row in rows:
        if not math.isnan(row.ra_deg):
            lines += _sky_regions(row)
    with whole_file(Path(folder) / REGIONS) as part_file:
        _write_lines(part_file, lines)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace")


def _sky_regions(row: LensRow) -> list[str]:
    status = status_of(row)
    at, radius = (row.perturber_ra_deg, row.perturber_dec_deg), row.perturber_einstein_radius_arcsec
    words = f"{PLACE} ({status})"
    return [
        _circle((row.ra_deg, row.dec_deg), row.einstein_radius_arcsec, '"', "white", row.id),
        _circle(at, radius, '"', COLOURS.get(status, "yellow"), words),
    ]


def _circle(
    at: tuple[float, float], radius: float, unit: str, colour: str, words: str, digits: int = 8
) -> str:
    # Braces and line ends would end the text in DS9's format.
    text = words.translate(str.maketrans("{}\n\r", "()  "))
    x, y = (f"{number:.{digits}f}" for number in at)
    return f"circle({x},{y},{radius:.4f}{unit}) # color={colour} text={{{text}}}"
