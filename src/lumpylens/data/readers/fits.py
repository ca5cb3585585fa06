"""FITS cutouts: one per file, with noise map and PSF in it or beside it."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import math
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.checks import size_defect
from lumpylens.data.image import LensImage
from lumpylens.data.readers.companions import ENDINGS, Cutout, group_cutouts
from lumpylens.data.readers.files import (
    LARGEST_FILE_BYTES,
    DataFiles,
    file_bytes_of,
    one_line,
    system_reason,
)
from lumpylens.errors import DataError

__all__ = ["FitsSource", "open_fits", "pixel_scale_of"]

MOST_EXTENSIONS = 100
GZIP_MARK = b"\x1f\x8b"

EXTENSION_NAMES = {
    "image": ("SCI", "IMAGE"),
    "noise": ("NOISE", "ERR", "ERROR", "RMS"),
    "variance": ("VARIANCE", "VAR"),
    "psf": ("PSF",),
}
SCALE_KEYWORDS = ("PIXSCALE", "PIXSCAL1", "PIXELSCL", "PIXSIZE")
"""Arcsec per pixel in headers without a coordinate system."""

ARCSEC_PER = {"deg": 3600.0, "arcmin": 60.0, "arcsec": 1.0, "rad": math.degrees(3600.0)}


@dataclass(frozen=True)
class FitsSource:
    """FITS cutouts, read when asked for."""

    cutouts: Sequence[Cutout]
    ids: Sequence[str]
    labels: Sequence[int]
    location: str
    pixel_scale_arcsec: float | None = None
    remarks: Sequence[str] = ()

    def load(self, position: int) -> LensImage:
        """Read one cutout with its noise map and PSF."""
        cutout, label = self.cutouts[position], self.labels[position]
        try:
            planes = read_planes(cutout.path)
            noise, psf = planes.noise, planes.psf
            if cutout.noise is not None:
                noise = beside(cutout.noise, "noise map").image
            if cutout.psf is not None:
                psf = beside(cutout.psf, "PSF").image
        except DataError as problem:
            return LensImage(self.ids[position], None, label=label, error=str(problem))
        scale = planes.pixel_scale_arcsec
        return LensImage.checked(
            self.ids[position],
            planes.image,
            noise=noise,
            psf=psf,
            stretched=planes.stretched,
            pixel_scale_arcsec=self.pixel_scale_arcsec if scale is None else scale,
            file_bytes=planes.file_bytes,
            label=label,
        )


def open_fits(files: DataFiles) -> FitsSource:
    """Find cutouts and their companions without reading any."""
    files.refuse_band("FITS files of one image each")
    if files.alone:
        named = files.paths[0]
        around = [path for path in named.parent.iterdir() if path.name.lower().endswith(ENDINGS)]
        cutouts = [c for c in group_cutouts(around, named.parent) if c.path == named]
        cutouts = cutouts or [Cutout(named, named)]
    else:
        cutouts = group_cutouts(files.paths, files.root)
    names = [files.name(cutout.name_of) for cutout in cutouts]
    labels = [files.label(cutout.path) for cutout in cutouts]
    return FitsSource(cutouts, names, labels, files.location, files.pixel_scale_arcsec)


@dataclass(frozen=True)
class Planes:
    """What one file holds."""

    image: NDArray[Any]
    noise: NDArray[Any] | None
    psf: NDArray[Any] | None
    pixel_scale_arcsec: float | None
    stretched: bool
    file_bytes: int


def beside(path: Path, what: str) -> Planes:
    """Read a companion; its defects name it."""
    try:
        return read_planes(path)
    except DataError as problem:
        raise DataError(f"{what} {path.name}: {problem}") from None


READING = threading.Lock()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Silence astropy's remarks on headers: what matters here becomes an error of the image.

    Python's switch for warnings is shared by all threads, hence the lock.
    """
    with READING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_planes(path: Path) -> Planes:
    """Read the image of a FITS file, and noise map and PSF if they are extensions of it.

    Raises
    ------
    DataError
        If the file cannot be read, in plain words.
    """
    from astropy.io import fits

    try:
        size = file_bytes_of(path)
        with (
            quietly(),
            fits.open(io.BytesIO(content_of(path)), do_not_scale_image_data=True) as hdus,
        ):
            # Asking for the length would read on; a damaged header may lead in circles.
            parts = list(itertools.islice(iter(hdus), MOST_EXTENSIONS + 1))
            if len(parts) > MOST_EXTENSIONS:
                raise DataError(f"the FITS file has more than {MOST_EXTENSIONS} extensions")
            return planes_of(parts, size)
    except FileNotFoundError:
        raise DataError(f"{path.name} is missing") from None
    except OSError as problem:
        raise DataError(f"the FITS file cannot be read: {system_reason(problem)}") from None
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        EOFError,
        MemoryError,
        struct.error,
        zlib.error,
        fits.VerifyError,
    ) as problem:
        raise DataError(f"the FITS file is cut off or damaged: {one_line(problem)}") from None


def content_of(path: Path) -> bytes:
    """Bytes of a file, unzipped here because astropy does not compare the checksum."""
    content = path.read_bytes()
    if not content.startswith(GZIP_MARK):
        return content
    with gzip.open(io.BytesIO(content)) as packed:
        unpacked = packed.read(LARGEST_FILE_BYTES + 1)
    if len(unpacked) > LARGEST_FILE_BYTES:
        raise DataError("the file unpacks to more than a cutout can need")
    return unpacked


def planes_of(hdus: list[Any], file_bytes: int) -> Planes:
    """Pick the planes by extension name; without names, the first image is the image."""
    images = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) >= 2]
    named: dict[str, Any] = {}
    for hdu in images:
        kind = next((kind for kind, names in EXTENSION_NAMES.items() if hdu.name in names), "image")
        known = hdu.name in EXTENSION_NAMES["image"]
        if kind not in named or (known and named["image"].name not in EXTENSION_NAMES["image"]):
            named[kind] = hdu
    if "image" not in named:
        raise DataError("the FITS file holds no image")
    image = named["image"]
    noise = plane(named["noise"]) if "noise" in named else None
    if noise is None and "variance" in named:
        with np.errstate(invalid="ignore"):
            noise = np.sqrt(plane(named["variance"]).astype(np.float64))
    return Planes(
        plane(image),
        noise,
        plane(named["psf"]) if "psf" in named else None,
        next((s for s in map(pixel_scale_of, (image.header, hdus[0].header)) if s), None),
        image.header.get("BITPIX") == 8 and image.header.get("BSCALE", 1) == 1,
        file_bytes,
    )


def plane(hdu: Any) -> NDArray[Any]:
    """Pixel values of one image extension, shape (H, W), with blank ones NaN.

    The scaling is done here because astropy leaves BLANK = 0, and BLANK of unsigned integers,
    in the values.
    """
    if reason := size_defect(math.prod(hdu.shape[:-1]), hdu.shape[-1]):
        raise DataError(reason)
    header = hdu.header
    scale, zero, blank = header.get("BSCALE", 1), header.get("BZERO", 0), header.get("BLANK")
    values = stored_values(hdu)
    shape = values.shape
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2:
        raise DataError(f"holds an array of shape {shape}, not one image of height and width")
    blanks = None
    if blank is not None and values.dtype.kind in "iu":
        blanks = values == blank
    if scale != 1 or zero != 0:
        values = values * np.float64(scale) + np.float64(zero)
    return values if blanks is None else np.where(blanks, np.nan, values)


def stored_values(hdu: Any) -> NDArray[Any]:
    """The numbers of an extension as they are stored, unscaled."""
    try:
        return np.asarray(hdu.data)
    # The decoders of compressed images raise a private type, derived from Exception alone.
    except Exception as problem:  # noqa: BLE001
        raise DataError(f"the FITS file is cut off or damaged: {one_line(problem)}") from None


def pixel_scale_of(header: Any) -> float | None:
    """Side of a pixel in arcsec from a FITS header, None if it does not say.

    The side of a square with the pixel's area: sqrt(abs(det CD)), or PC and CDELT (Greisen and
    Calabretta 2002, A&A 395, 1061, equations 1 and 2); without them a keyword like PIXSCALE.
    """
    axis = str(header.get("CTYPE1", "")).upper()
    celestial = not axis or axis.startswith("RA") or "LON" in axis or "LN-" in axis
    unit = ARCSEC_PER.get(str(header.get("CUNIT1", "deg")).strip().lower() or "deg")
    area = math.nan
    if "CD1_1" in header or "CD2_2" in header:
        area = _determinant(header, "CD", 0.0)
    elif "CDELT1" in header and "CDELT2" in header:
        steps = _number(header, "CDELT1") * _number(header, "CDELT2")
        area = steps * _determinant(header, "PC", 1.0)
        # The standard's default of 1 for every axis says nothing about the sky.
        celestial = celestial and bool(axis or abs(area) != 1)
    if celestial and unit and math.isfinite(area) and area:
        return math.sqrt(abs(area)) * unit
    stated = (_number(header, keyword) for keyword in SCALE_KEYWORDS)
    return next((scale for scale in stated if math.isfinite(scale) and scale > 0), None)


def _determinant(header: Any, matrix: str, diagonal: float) -> float:
    (a, b), (c, d) = (
        [_number(header, f"{matrix}{i}_{j}", diagonal if i == j else 0.0) for j in (1, 2)]
        for i in (1, 2)
    )
    return a * d - b * c


def _number(header: Any, keyword: str, missing: float = math.nan) -> float:
    """Value of a keyword; NaN if it is not a number."""
    try:
        return float(header.get(keyword, missing))
    except (TypeError, ValueError):
        return math.nan
