"""Which noise map and PSF belong to which FITS cutout.

Beside ``NAME.fits`` lie ``NAME_noise.fits`` and ``NAME_psf.fits``; beside ``image.fits`` or
``data.fits`` in a folder of its own lie ``noise.fits`` (or ``noise_map.fits``) and ``psf.fits``,
and the folder's name is the id. A bare ``noise.fits`` or ``psf.fits`` serves every cutout of its
folder and the folders in it that has none of its own, ``psf_F814W.fits`` those that have this band
in their name. Further names are in `lumpylens.data.kinds`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from lumpylens.data.kinds import BAND, NOISE_KINDS, Kind, split_title

__all__ = ["ENDINGS", "Companion", "Cutout", "group_cutouts"]

ENDINGS = (".fits.gz", ".fits.fz", ".fits", ".fit", ".fts")


@dataclass(frozen=True)
class Companion:
    """A file that is no image by its name.

    Attributes
    ----------
    path : Path
    base : str
        Name of what it belongs to; empty for ``psf.fits``.
    kind : Kind
    """

    path: Path
    base: str
    kind: Kind

    @property
    def stem(self) -> str:
        """File name without ending."""
        return stem_of(self.path)

    @property
    def pattern(self) -> str:
        """The file name without what is peculiar to one image, such as ``*_noise.fits``."""
        return self.path.name.replace(self.base, "*", 1) if self.base else self.path.name


@dataclass(frozen=True)
class Cutout:
    """The files of one cutout.

    Attributes
    ----------
    path : Path
        The image, which may be missing although its companions are there.
    name_of : Path
        File or folder that gives the id.
    noise, psf : Companion or None
    pixel_scale_arcsec : float or None
        Where something else than the header states it.
    """

    path: Path
    name_of: Path
    noise: Companion | None = None
    psf: Companion | None = None
    pixel_scale_arcsec: float | None = None


def group_cutouts(paths: Sequence[Path], root: Path) -> tuple[list[Cutout], list[Companion]]:
    """Tell images from companions, and bring them together.

    Parameters
    ----------
    paths : sequence of Path
    root : Path
        Folder above all of them.

    Returns
    -------
    cutouts : list of Cutout
        Sorted by path; one for each image, and for each image that only its companions know of.
    left_over : list of Companion
        Masks and the like, and what is there twice.
    """
    images: list[tuple[Path, str]] = []
    left_over: list[Companion] = []
    companions: dict[tuple[Path, str, Kind], Companion] = {}
    for path in sorted(paths):
        base, kind = split_title(stem_of(path))
        if kind is None or kind is Kind.IMAGE:
            images.append((path, base))
            continue
        companion = Companion(path, base, kind)
        if kind in (Kind.MASK, Kind.OTHER) or (path.parent, base, kind) in companions:
            left_over.append(companion)
        else:
            companions[path.parent, base, kind] = companion

    known = {(path.parent, base) for path, base in images}
    for folder, base, _ in companions:
        serves_others = (not base or BAND.fullmatch(base)) and any(
            path.is_relative_to(folder) and base in shared_bases(name) for path, name in images
        )
        if (folder, base) not in known and not serves_others:
            known.add((folder, base))
            images.append((folder / f"{base or 'image'}.fits", base))

    def candidates(folder: Path, base: str, *kinds: Kind) -> Iterator[Companion]:
        yield from (companions[folder, base, k] for k in kinds if (folder, base, k) in companions)
        places = [folder, *(p for p in folder.parents if p.is_relative_to(root))]
        for place, shared in product(places, shared_bases(base)):
            keys = [(place, shared, k) for k in kinds]
            yield from (companions[key] for key in keys if key in companions)

    beside = Counter(path.parent for path, _ in images)
    cutouts = [
        Cutout(
            path,
            path.parent if not base and beside[path.parent] == 1 else path,
            next(candidates(path.parent, base, *NOISE_KINDS), None),
            next(candidates(path.parent, base, Kind.PSF), None),
        )
        for path, base in sorted(images)
    ]
    used = {
        companion.path
        for cutout in cutouts
        for companion in (cutout.noise, cutout.psf)
        if companion is not None
    }
    left_over += [companion for companion in companions.values() if companion.path not in used]
    return cutouts, left_over


def shared_bases(base: str) -> list[str]:
    """What companions that serve several cutouts belong to: the bands in a name, or anything."""
    return [*(word.group() for word in BAND.finditer(base)), ""]


def stem_of(path: Path) -> str:
    """File name without its ending, which may have two dots."""
    name = path.name
    return next((name[: -len(end)] for end in ENDINGS if name.lower().endswith(end)), name)
