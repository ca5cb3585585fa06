"""Bands of one lens in files of their own, told by names such as ``lens1_F814W.fits``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from lumpylens.data.kinds import BAND, Kind, split_title
from lumpylens.data.readers.companions import stem_of
from lumpylens.data.readers.fits_planes import EUCLID
from lumpylens.errors import DataError

__all__ = ["OneBand", "matching", "one_band_of"]


@dataclass(frozen=True)
class InBand:
    """A file whose name, or whose folder's name, says a band.

    Attributes
    ----------
    lens : Path
        The path without the band: files of one lens have it in common.
    band : str
    """

    lens: Path
    band: str


@dataclass(frozen=True)
class OneBand:
    """Files of one band, chosen among files of several.

    Attributes
    ----------
    chosen : set of Path
        Images of that band, with their companions; empty where names say nothing of bands.
    left_out : set of Path
        Those of other bands.
    missing : dict of Path to str
        First file of each lens that has other bands alone, and the reason.
    remarks : list of str
    """

    chosen: set[Path] = field(default_factory=set)
    left_out: set[Path] = field(default_factory=set)
    missing: dict[Path, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def one_band_of(paths: Sequence[Path], band: str | None, location: str) -> OneBand:
    """Choose the files of one band where files of one lens differ in their band alone.

    A folder counts as such if the names of all its images say a band, and at least one lens has
    several of them.

    Parameters
    ----------
    paths : sequence of Path
        Images and companions of all formats.
    band : str or None
        Default: Euclid's VIS, where it is one of them.
    location : str
        What the user named, for messages.

    Raises
    ------
    DataError
        If no band is asked for and none is the default, or no file is of the one asked for.
    """
    in_bands = files_in_bands(paths)
    images = {path: in_band for path, in_band in in_bands.items() if is_image(path)}
    if not images:
        return OneBand()
    bands = sorted({in_band.band for in_band in images.values()})
    shown = ", ".join(bands)
    wanted = matching(bands, EUCLID if band is None else band)
    if not wanted:
        raise DataError(refusal(images, band, shown, location))
    left_out = {path for path, in_band in in_bands.items() if in_band.band != wanted}
    lenses: dict[Path, list[Path]] = defaultdict(list)
    for path, in_band in images.items():
        lenses[in_band.lens].append(path)
    missing = {
        files[0]: f"no bands to choose {wanted!r} from: it holds "
        + ", ".join(sorted({images[path].band for path in files}))
        for files in lenses.values()
        if all(images[path].band != wanted for path in files)
    }
    homes = {path.parent for path in in_bands}
    remark = f"of the bands {shown}, which have one file each, {wanted} is taken (choose with band)"
    return OneBand(
        chosen={path for path in paths if path.parent in homes} - left_out,
        left_out=left_out,
        missing=missing,
        remarks=[remark] if band is None else [],
    )


def matching(bands: Iterable[str], band: str) -> str:
    """The band of this name; only where none is written alike, one in other letters."""
    alike = [name for name in bands if name.casefold() == band.casefold()]
    return band if band in alike else next(iter(alike), "")


def refusal(images: Mapping[Path, InBand], band: str | None, shown: str, location: str) -> str:
    """Why no file can be chosen."""
    if band is not None:
        return f"{location} has no bands to choose {band!r} from: it holds {shown}"
    by_lens = sorted(images, key=lambda path: (images[path].lens, path))
    first, second = next(
        (path, other)
        for path, other in pairwise(by_lens)
        if images[path].lens == images[other].lens and images[path].band != images[other].band
    )
    return (
        f"{location} holds several bands of one lens, one file each, such as {first.name} "
        f"and {second.name}: {shown}; choose one with band, such as --band {images[first].band}"
    )


def files_in_bands(paths: Sequence[Path]) -> dict[Path, InBand]:
    """Band and lens of each file, of all folders in which files differ in their band alone."""
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    by_folder_above: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        by_folder[path.parent].append(path)
        by_folder_above[path.parent.parent].append(path)
    in_bands: dict[Path, InBand] = {}
    for files in by_folder.values():
        in_bands |= told_apart(files, last_band_of) or told_apart(files, first_band_of)
    for files in by_folder_above.values():
        in_bands |= told_apart(files, band_of_folder)
    return in_bands


def told_apart(
    files: Sequence[Path], band_of: Callable[[Path], InBand | None]
) -> dict[Path, InBand]:
    """Band of each file that has one; empty unless all images have, and a lens has several."""
    in_bands: dict[Path, InBand] = {}
    bands: dict[Path, set[str]] = defaultdict(set)
    for path in files:
        in_band = band_of(path)
        if in_band is not None:
            in_bands[path] = in_band
        if is_image(path):
            if in_band is None:
                return {}
            bands[in_band.lens].add(in_band.band)
    return in_bands if any(len(of_lens) > 1 for of_lens in bands.values()) else {}


def last_band_of(path: Path) -> InBand | None:
    """The band that the name of a file ends with, or has nearest to its end."""
    return band_in_name(path, -1)


def first_band_of(path: Path) -> InBand | None:
    """The band that the name of a file begins with, or has nearest to its beginning."""
    return band_in_name(path, 0)


def band_in_name(path: Path, place: int) -> InBand | None:
    """The first (0) or last (-1) band in the name of a file."""
    name, _ = split_title(name_of(path))
    words = list(BAND.finditer(name))
    if not words:
        return None
    word = words[place]
    return InBand(path.parent / f"{name[: word.start()]}*{name[word.end() :]}", word.group())


def band_of_folder(path: Path) -> InBand | None:
    """The band that the folder of a file is called."""
    folder = path.parent
    if not BAND.fullmatch(folder.name):
        return None
    return InBand(folder.parent / "*" / path.name, folder.name)


def is_image(path: Path) -> bool:
    """Tell whether a file is an image by its name, and no noise map, PSF or mask."""
    return split_title(name_of(path))[1] in (None, Kind.IMAGE)


def name_of(path: Path) -> str:
    """Name of a file without its ending."""
    stem = stem_of(path)
    return stem if stem != path.name else path.stem
