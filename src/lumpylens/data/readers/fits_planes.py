"""What each image extension of a FITS file is, and which of them belong together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.checks import size_defect
from lumpylens.data.kinds import NOISE_KINDS, Kind, split_title
from lumpylens.data.readers.fits_file import stored_values
from lumpylens.errors import DataError

__all__ = ["BandError", "Plane", "PlaneSet", "choose_planes", "planes_in"]

NAMELESS = ("", "PRIMARY", "CUTOUT", "COMPRESSED_IMAGE")
"""Names that say nothing; astrocut calls every extension CUTOUT."""

TITLE_KEYWORDS = ("O_EXT_NM", "EXTTYPE", "IMAGETYP")
"""Where the name is instead: astrocut's own name of the extension, HSC's, the Legacy Surveys'."""

EUCLID = "VIS"
"""Euclid's band of the lens: its cutouts hold up to eight more, most of them from the ground."""

MOST_BANDS = 32
"""Images of one cube that may be bands; cubes with more are spectra or series."""


WHEELS = ("FILTER", "FILTER1", "FILTER2")
"""Keywords of filters: one, or one for each of the two wheels of Hubble's ACS."""


class BandError(DataError):
    """The bands of a file do not allow for a choice."""


@dataclass(frozen=True)
class Plane:
    """One two-dimensional image of a FITS file.

    Attributes
    ----------
    hdu : astropy HDU
    number : int
        Position of the extension in the file.
    title : str
        As messages call it.
    band : str
        What the title says beside the kind; empty if nothing.
    kind : Kind or None
        None if the title does not say.
    index : int or None
        Of a cube: which of its images.
    filter : str
        Of the telescope, as a header states it; empty if none does.
    """

    hdu: Any
    number: int
    title: str
    band: str
    kind: Kind | None
    index: int | None = None
    filter: str = ""

    @property
    def header(self) -> Any:
        """The header of the extension."""
        return self.hdu.header

    def values(self) -> NDArray[Any]:
        """Pixels, shape (H, W), with blank ones NaN.

        The scaling is done here because astropy leaves BLANK = 0, and BLANK of unsigned
        integers, in the values.
        """
        header = self.header
        if reason := size_defect(math.prod(self.hdu.shape[-2:-1]), self.hdu.shape[-1]):
            raise DataError(reason)
        scale, zero, blank = header.get("BSCALE", 1), header.get("BZERO", 0), header.get("BLANK")
        values = stored_values(self.hdu)
        values = values.reshape(-1, *values.shape[-2:])[self.index or 0]
        blanks = None
        if blank is not None and values.dtype.kind in "iu":
            blanks = values == blank
        if scale != 1 or zero != 0:
            values = values * np.float64(scale) + np.float64(zero)
        return values if blanks is None else np.where(blanks, np.nan, values)


@dataclass(frozen=True)
class PlaneSet:
    """An image, and the planes of the same file that belong to it.

    Attributes
    ----------
    image : Plane
    band : str
        Empty if the file does not say.
    companions : dict of Kind to list of Plane
    others : sequence of Plane
        What belongs to no image.
    remark : str
        What was chosen, where there was a choice.
    """

    image: Plane
    band: str
    companions: Mapping[Kind, list[Plane]]
    others: Sequence[Plane] = ()
    remark: str = ""

    def about_unused(self, used: Sequence[Plane]) -> str:
        """Say which of the planes are not used; empty if all are."""
        companions = [plane for planes in self.companions.values() for plane in planes]
        unused = [
            f"{plane.title} ({plane.kind or 'of no known name'})"
            for plane in (*companions, *self.others)
            if not any(plane is other for other in used)
        ]
        return f"not used: {', '.join(unused)}" if unused else ""


def planes_in(hdus: Sequence[Any]) -> list[Plane]:
    """All images of a file, the ones of a cube one by one."""
    planes: list[Plane] = []
    for number, hdu in enumerate(hdus):
        if not hdu.is_image or len(hdu.shape) < 2:
            continue
        title = _title(hdu)
        band, kind = split_title(title)
        filter_name = _filter_in((hdu.header, hdus[0].header))
        plane = Plane(hdu, number, title or _place(number), band, kind, filter=filter_name)
        count = math.prod(hdu.shape[:-2])
        if count == 1:
            planes.append(plane)
            continue
        if count > MOST_BANDS or sum(length > 1 for length in hdu.shape) > 3:
            raise DataError(
                f"holds an array of shape {hdu.shape}, not one image of height and width"
            )
        for index, name in enumerate(_bands_of_cube(hdu.header, count)):
            planes.append(replace(plane, title=f"{title} {name}".strip(), band=name, index=index))
    return planes


def _place(number: int) -> str:
    return f"extension {number}" if number else "primary array"


def _title(hdu: Any) -> str:
    name = str(hdu.name).strip()
    if name.upper() not in NAMELESS:
        return name
    for keyword in TITLE_KEYWORDS:
        title = str(hdu.header.get(keyword) or "").strip()
        # IMAGETYP may be any word of an observatory's.
        if split_title(title)[1] is not None:
            return title
    return ""


def _bands_of_cube(header: Any, count: int) -> list[str]:
    """Names of the images of a cube: those of the Legacy Surveys' cutouts, or their positions."""
    names = [str(header.get(f"BAND{k}", "")).strip() for k in range(count)]
    if all(names):
        return names
    letters = str(header.get("BANDS", "")).strip()
    return list(letters) if len(letters) == count else [str(k) for k in range(count)]


def choose_planes(planes: Sequence[Plane], band: str | None) -> PlaneSet:
    """Find the image, and the planes that belong to it.

    Parameters
    ----------
    planes : sequence of Plane
    band : str or None
        Which of the bands to take, or the number of an extension without name.

    Raises
    ------
    BandError
        If there are several images and none is asked for, or none of that name.
    DataError
        If there is no image.
    """
    sets = _sets(planes)
    if not sets:
        titles = ", ".join(f"{plane.title} ({plane.kind})" for plane in planes)
        raise DataError(f"the FITS file holds no image{': ' + titles if titles else ''}")
    labels = _labels(sets)
    remark = ""
    if band is not None:
        wanted = [k for k, label in enumerate(labels) if label.casefold() == band.casefold()]
        if not wanted:
            bands = ", ".join(labels) if len(labels) > 1 else f"one image, {labels[0]}"
            raise BandError(f"no bands to choose {band!r} from: it holds {bands}")
        chosen = wanted[0]
    elif len(sets) == 1:
        chosen = 0
    elif EUCLID in labels:
        chosen = labels.index(EUCLID)
        remark = f"of the bands {', '.join(labels)}, {EUCLID} is taken (choose with band)"
    else:
        first = sets[0][Kind.IMAGE][0]
        contents, shown = "several images", labels
        if first.index is not None:
            contents = f"an array of shape {first.hdu.shape}"
        elif labels[0].isdigit():
            shown = [
                f"{label} ({parts[Kind.IMAGE][0].title}, {_size(parts[Kind.IMAGE][0])})"
                for label, parts in zip(labels, sets, strict=True)
            ]
        raise BandError(
            f"holds {contents}: {', '.join(shown)}; choose one with band, such as --band "
            f"{labels[0]}"
        )
    other_labels = [label for k, label in enumerate(labels) if k != chosen]
    if other_labels and not remark:
        remark = f"not used: the other images, {', '.join(other_labels)}"
    in_sets = {id(plane) for parts in sets for of_kind in parts.values() for plane in of_kind}
    others = [plane for plane in planes if id(plane) not in in_sets]
    companions = dict(sets[chosen])
    (image,) = companions.pop(Kind.IMAGE)
    name = labels[chosen] if other_labels else image.band or image.filter
    return PlaneSet(image, name, companions, others, remark)


def _sets(planes: Sequence[Plane]) -> list[dict[Kind, list[Plane]]]:
    """An entry for each image, with the planes of its band."""
    images = [plane for plane in planes if plane.kind is Kind.IMAGE]
    images = images or [plane for plane in planes if plane.kind is None]
    sets = []
    for band in dict.fromkeys(plane.band for plane in images):
        in_band = [plane for plane in images if plane.band == band]
        companions = {
            kind: _of_band(planes, kind, band, len(images)) for kind in (*NOISE_KINDS, Kind.PSF)
        }
        for k, image in enumerate(in_band):
            parts: dict[Kind, list[Plane]] = {Kind.IMAGE: [image]}
            for kind, planes_of_kind in companions.items():
                if len(in_band) == 1:
                    parts[kind] = planes_of_kind
                elif len(planes_of_kind) == len(in_band):
                    parts[kind] = [planes_of_kind[k]]
            sets.append(parts)
    return sets


def _of_band(planes: Iterable[Plane], kind: Kind, band: str, images: int) -> list[Plane]:
    """Planes of one kind; one without a band serves the only image, or all of them as a PSF."""
    of_kind = [plane for plane in planes if plane.kind is kind]
    in_band = [plane for plane in of_kind if plane.band.casefold() == band.casefold()]
    if in_band or (images > 1 and kind is not Kind.PSF):
        return in_band
    return [plane for plane in of_kind if images == 1 or not plane.band]


def _labels(sets: Sequence[Mapping[Kind, list[Plane]]]) -> list[str]:
    """Names that tell the images from each other."""
    images = [parts[Kind.IMAGE][0] for parts in sets]
    if len(images) == 1:
        return [images[0].band or images[0].filter or images[0].title]
    ways = (
        [plane.band for plane in images],
        [plane.filter for plane in images],
        [PurePath(str(plane.header.get("ORIG_FLE") or "")).stem for plane in images],
    )
    for names in ways:
        if all(names) and max(Counter(name.casefold() for name in names).values()) == 1:
            return list(names)
    return [str(plane.number if plane.index is None else plane.index) for plane in images]


def _size(plane: Plane) -> str:
    return "x".join(str(length) for length in plane.hdu.shape)


def _filter_in(headers: Iterable[Any]) -> str:
    """The filter that the first of some headers states; empty if none does."""
    for header in headers:
        for keyword in WHEELS:
            name = str(header.get(keyword) or "").strip()
            if name and not name.upper().startswith("CLEAR"):
                return name
    return ""
