"""FITS cutouts: one per file, with noise map and PSF in it or beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lumpylens.data.image import LensImage
from lumpylens.data.kinds import NOISE_KINDS, Kind
from lumpylens.data.noise import noise_from
from lumpylens.data.pixel_sides import about_sides
from lumpylens.data.psf import Kernel, kernel_on_grid
from lumpylens.data.readers.companions import ENDINGS, Companion, Cutout, group_cutouts
from lumpylens.data.readers.coolest import observations
from lumpylens.data.readers.files import DataFiles
from lumpylens.data.readers.fits_file import read_file, reading
from lumpylens.data.readers.fits_planes import BandError, Plane, PlaneSet, choose_planes, planes_in
from lumpylens.data.readers.fits_scale import pixel_scale_of, pixel_sides_of
from lumpylens.data.readers.header_filters import of_one_filter
from lumpylens.data.sky import sky_of
from lumpylens.errors import DataError

__all__ = ["FitsSource", "open_fits"]

LOOKED_INTO = 8
"""Files that a band is looked for in before it is said to be nowhere."""

UNCERTAINTIES = {
    "StdDevUncertainty": Kind.NOISE,
    "VarianceUncertainty": Kind.VARIANCE,
    "InverseVariance": Kind.WEIGHT,
}
"""What astropy's CCDData writes into UTYPE of its extension UNCERT."""

INVERSE_VARIANCES = ("ivar", "invvar", "inverse_variance")
"""Names of weights that are nothing else."""


@dataclass(frozen=True)
class FitsSource:
    """FITS cutouts, read when asked for."""

    cutouts: Sequence[Cutout]
    ids: Sequence[str]
    labels: Sequence[int]
    location: str
    pixel_scale_arcsec: float | None = None
    band: str | None = None
    remarks: Sequence[str] = ()

    def load(self, position: int) -> LensImage:
        """Read one cutout with its noise map and PSF."""
        name, label = self.ids[position], self.labels[position]
        try:
            with reading():
                parts = self._parts(self.cutouts[position])
        except DataError as problem:
            return LensImage(name, None, label=label, error=str(problem))
        return LensImage.checked(name, label=label, **parts)

    def _parts(self, cutout: Cutout) -> dict[str, Any]:
        """Arguments of `LensImage.checked`."""
        file = read_file(cutout.path)
        chosen = choose_planes(planes_in(file.hdus), self.band)
        image, header = chosen.image.values(), chosen.image.header
        stating = next(filter(pixel_scale_of, (header, file.hdus[0].header)), header)
        stated = pixel_scale_of(stating)
        scale = stated or cutout.pixel_scale_arcsec or self.pixel_scale_arcsec
        noise = noise_of(cutout.noise, chosen, image, self.band)
        psf = psf_of(cutout.psf, chosen, scale, self.band)
        oblong = about_sides(pixel_sides_of(stating))
        unused = chosen.about_unused([*noise.planes, *psf.planes])
        origins = {
            "image": chosen.image.title,
            "noise map": noise.origin,
            "PSF": psf.origin,
            "band": chosen.band,
            "pixel scale": scale_origin(stated, cutout, scale),
        }
        return {
            "pixels": image,
            "noise": noise.values,
            "psf": psf.values,
            "pixel_scale_arcsec": scale,
            "sky": sky_of(header),
            "stretched": header.get("BITPIX") == 8 and header.get("BSCALE", 1) == 1,
            "file_bytes": file.size,
            "origins": {part: origin for part, origin in origins.items() if origin},
            "remarks": tuple(
                filter(None, [chosen.remark, oblong, *noise.remarks, *psf.remarks, unused])
            ),
        }


def open_fits(files: DataFiles) -> FitsSource:
    """Find cutouts and their companions without reading any.

    Raises
    ------
    DataError
        If the one file that is named is a noise map, a PSF or a mask by its name, or if a band is
        asked for that is in no file.
    """
    root, around = files.root, files.paths
    if files.alone:
        root = files.paths[0].parent
        around = [path for path in root.iterdir() if path.name.lower().endswith(ENDINGS)]
    of_templates = observations(sorted({path.parent for path in around}))
    observed = {cutout.path.parent for cutout in of_templates}
    cutouts, left_over = group_cutouts([p for p in around if p.parent not in observed], root)
    cutouts = sorted([*cutouts, *of_templates], key=lambda cutout: cutout.path)
    if files.alone:
        cutouts = [cutout for cutout in cutouts if cutout.path == files.paths[0]]
        left_over = []
        if not cutouts:
            raise DataError(
                f"{files.paths[0]} is no image by its name, but a companion such as a noise map, a "
                "PSF or a mask; name the image, or rename the file"
            )
    chosen, about_filters = of_one_filter(cutouts, files.band, files.location)
    refuse_missing_band(chosen, files)
    return FitsSource(
        chosen,
        [files.name(cutout.name_of) for cutout in chosen],
        [files.label(cutout.path) for cutout in chosen],
        files.location,
        files.pixel_scale_arcsec,
        files.band,
        about_filters + about_left_over(left_over, files) + about_models(around, of_templates),
    )


def about_models(around: Sequence[Path], of_templates: Sequence[Cutout]) -> list[str]:
    """Say how many files beside observations of COOLEST are none of theirs."""
    used = {cutout.path for cutout in of_templates}
    used |= {part.path for cutout in of_templates for part in (cutout.noise, cutout.psf) if part}
    observed = {cutout.path.parent for cutout in of_templates}
    models = [path for path in around if path.parent in observed and path not in used]
    if not models:
        return []
    return [
        f"not used: {len(models)} files such as {models[0].name}, which no COOLEST template "
        "calls an observation"
    ]


def about_left_over(left_over: Sequence[Companion], files: DataFiles) -> list[str]:
    """Say which files are no images by their names, and belong to none."""
    remarks = []
    for kind in dict.fromkeys(companion.kind for companion in left_over):
        paths = [companion.path for companion in left_over if companion.kind is kind]
        number = f"{len(paths)} files such as" if len(paths) > 1 else "1 file,"
        remarks.append(f"not used: {number} {files.name(paths[0])} ({kind})")
    return remarks


def refuse_missing_band(cutouts: Sequence[Cutout], files: DataFiles) -> None:
    """Refuse a band that none of the first files has."""
    reason = ""
    for cutout in cutouts[:LOOKED_INTO] if files.band is not None else ():
        try:
            with reading():
                choose_planes(planes_in(read_file(cutout.path).hdus), files.band)
        except BandError as problem:
            reason = reason or str(problem)
        except DataError:
            continue
        else:
            return
    if reason:
        raise DataError(f"{files.location} has {reason}")


@dataclass(frozen=True)
class Part:
    """A noise map or PSF, the planes that it was made of, and remarks on it."""

    values: NDArray[Any] | None = None
    planes: Sequence[Plane] = ()
    remarks: Sequence[str] = ()
    beside: Companion | None = None

    @property
    def origin(self) -> str:
        """File beside the image, or extension of its own file; empty if there is none."""
        if self.values is None:
            return ""
        if self.beside is not None:
            return self.beside.pattern
        return " or ".join(plane.title for plane in self.planes)


def noise_of(
    beside: Companion | None, chosen: PlaneSet, image: NDArray[Any], band: str | None
) -> Part:
    """The noise map in the file beside the image, or in its own."""
    if beside is not None:
        with named(beside):
            plane = companion_planes(beside, NOISE_KINDS, band)[0]
            values = plane.values()
        kind: Kind | None = plane.kind if plane.kind in NOISE_KINDS else beside.kind
        words = f"{beside.stem} {plane.title}"
    else:
        noise_planes = [plane for kind in NOISE_KINDS for plane in chosen.companions.get(kind, [])]
        if not noise_planes:
            return Part()
        plane = noise_planes[0]
        kind, values, words = plane.kind, plane.values(), plane.title
    stated = str(plane.header.get("UTYPE") or "")
    if stated == "UnknownUncertainty":
        return Part(remarks=["the noise map is not used: its UTYPE is UnknownUncertainty"])
    noise, remarks = noise_from(
        values,
        UNCERTAINTIES.get(stated, kind or Kind.NOISE),
        image,
        is_inverse=stated == "InverseVariance"
        or any(word in words.lower() for word in INVERSE_VARIANCES),
    )
    return Part(noise, [plane], remarks, beside)


def psf_of(
    beside: Companion | None, chosen: PlaneSet, scale: float | None, band: str | None
) -> Part:
    """The PSF in the file beside the image, or in its own, on the pixels of the image."""
    if beside is None:
        planes = chosen.companions.get(Kind.PSF, [])
        if not planes:
            return Part()
        psf, remark = kernel_on_grid([kernel_of(plane) for plane in planes], scale)
    else:
        with named(beside):
            planes = companion_planes(beside, [Kind.PSF], band)
            psf, remark = kernel_on_grid([kernel_of(plane) for plane in planes], scale)
    return Part(psf, planes, [remark], beside)


@contextlib.contextmanager
def named(companion: Companion) -> Iterator[None]:
    """Put the companion's name before what is wrong with it."""
    try:
        with reading():
            yield
    except DataError as problem:
        raise DataError(f"{companion.kind} {companion.path.name}: {problem}") from None


def companion_planes(companion: Companion, kinds: Sequence[Kind], band: str | None) -> list[Plane]:
    """Planes of a companion's file: those called by one of the kinds, else its only image."""
    planes = planes_in(read_file(companion.path).hdus)
    for kind in kinds:
        called = [plane for plane in planes if plane.kind is kind]
        in_band = [plane for plane in called if band and plane.band.casefold() == band.casefold()]
        if in_band or called:
            if kind is not Kind.PSF and len(in_band or called) > 1:
                break
            return in_band or called
    return [choose_planes(planes, band if len(planes) > 1 else None).image]


def kernel_of(plane: Plane) -> Kernel:
    """A PSF with what its own header says of its pixels."""
    oversampling = plane.header.get("OVERSAMP")
    whole = isinstance(oversampling, int) and oversampling > 0
    return Kernel(plane.values(), pixel_scale_of(plane.header), oversampling if whole else None)


def scale_origin(stated: float | None, cutout: Cutout, scale: float | None) -> str:
    """Where the pixel scale comes from; empty if there is none."""
    if stated:
        return "header"
    if cutout.pixel_scale_arcsec:
        return "COOLEST template"
    return "as given" if scale else ""
