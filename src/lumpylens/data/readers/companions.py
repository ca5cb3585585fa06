"""Which noise map and PSF belong to which FITS cutout.

Beside ``NAME.fits`` lie ``NAME_noise.fits`` and ``NAME_psf.fits``; beside ``image.fits`` in a
folder of its own lie ``noise.fits`` and ``psf.fits``, and the folder's name is the id. A bare
``noise.fits`` or ``psf.fits`` serves every cutout of its folder and the folders in it that has
none of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ENDINGS", "Cutout", "group_cutouts"]

ENDINGS = (".fits.gz", ".fits.fz", ".fits", ".fit", ".fts")
KINDS = {
    "image": "image",
    "sci": "image",
    "noise": "noise",
    "err": "noise",
    "rms": "noise",
    "psf": "psf",
}
"""What the last word of a file name says of the file."""


@dataclass(frozen=True)
class Cutout:
    """The files of one cutout.

    Attributes
    ----------
    path : Path
        The image, which may be missing although its companions are there.
    name_of : Path
        File or folder that gives the id.
    noise, psf : Path or None
    """

    path: Path
    name_of: Path
    noise: Path | None = None
    psf: Path | None = None


def group_cutouts(paths: Sequence[Path], root: Path) -> list[Cutout]:
    """Tell images from companions, and bring them together.

    Parameters
    ----------
    paths : sequence of Path
    root : Path
        Folder above all of them.

    Returns
    -------
    list of Cutout
        Sorted by path; one for each image, and for each image that only its companions know of.
    """
    images: list[tuple[Path, str]] = []
    companions: dict[tuple[Path, str, str], Path] = {}
    for path in sorted(paths):
        base, kind = split_name(path)
        if kind == "image":
            images.append((path, base))
        else:
            companions.setdefault((path.parent, base, kind), path)

    known = {(path.parent, base) for path, base in images}
    for folder, base, _ in companions:
        serves_others = not base and any(path.is_relative_to(folder) for path, _ in images)
        if (folder, base) not in known and not serves_others:
            known.add((folder, base))
            images.append((folder / f"{base or 'image'}.fits", base))

    def find(folder: Path, base: str, kind: str) -> Path | None:
        if (folder, base, kind) in companions:
            return companions[folder, base, kind]
        above = [folder, *(place for place in folder.parents if place.is_relative_to(root))]
        return next((companions[p, "", kind] for p in above if (p, "", kind) in companions), None)

    beside = Counter(path.parent for path, _ in images)
    return [
        Cutout(
            path,
            path.parent if not base and beside[path.parent] == 1 else path,
            find(path.parent, base, "noise"),
            find(path.parent, base, "psf"),
        )
        for path, base in sorted(images)
    ]


def split_name(path: Path) -> tuple[str, str]:
    """Split ``J0822_psf.fits`` into ``J0822`` and ``psf``; a bare ``psf.fits`` has no base."""
    name = path.name
    stem = next((name[: -len(end)] for end in ENDINGS if name.lower().endswith(end)), name)
    base, _, last = stem.rpartition("_")
    kind = KINDS.get(last.lower())
    return (stem, "image") if kind is None else (base, kind)
