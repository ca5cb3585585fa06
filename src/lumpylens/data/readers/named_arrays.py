"""Which of the named arrays of a file are images, noise maps and PSFs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lumpylens.data.kinds import Kind, split_title
from lumpylens.errors import DataError

__all__ = ["COMPANIONS", "choose_images", "companions_of", "listed", "origins_of"]

COMPANIONS = ("ids", "labels", "noise", "psf", "pixel_scale_arcsec", "jpeg_table")


def choose_images(shapes: Mapping[str, Sequence[int]], band: str | None = None) -> str:
    """Find the array that holds the images.

    It is called like `band` or ``images``, or is the only one with two axes or more.

    Parameters
    ----------
    shapes : mapping of array name to shape
        A name may have folders; its last part counts.
    band : str, optional

    Raises
    ------
    DataError
        If there is none, or more than one.
    """
    last = {name: name.rsplit("/", 1)[-1] for name in shapes}
    wanted = [name for name in shapes if band is not None and last[name] == band]
    named = wanted or [name for name in shapes if last[name] == "images"]
    large = [
        name
        for name, shape in shapes.items()
        if len(shape) >= 2 and last[name] not in COMPANIONS and not _is_companion(last[name])
    ]
    candidates = named or large
    if len(candidates) == 1:
        return candidates[0]
    arrays = listed(f"{name} {tuple(shape)}" for name, shape in shapes.items())
    advice = "; if they are bands, choose one by its name with --band" if len(large) > 1 else ""
    raise DataError(
        f"needs one array called images with axes (..., height, width); found {arrays}{advice}"
    )


def _is_companion(name: str) -> bool:
    return split_title(name)[1] not in (None, Kind.IMAGE)


def companions_of(
    shapes: Mapping[str, Sequence[int]], images: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Noise map and PSF that lie beside the images, by their names.

    Parameters
    ----------
    shapes : mapping of array name to shape
    images : str
        The array that was chosen.

    Returns
    -------
    beside : dict
        Names of ``noise`` and ``psf``, where they are there.
    remarks : tuple of str
        On what is not used.
    """
    group = images.rpartition("/")[0]
    beside: dict[str, str] = {}
    unused = []
    for name, shape in shapes.items():
        kind = split_title(name.rpartition("/")[2])[1]
        if name == images or len(shape) < 2:
            continue
        key = {Kind.NOISE: "noise", Kind.PSF: "psf"}.get(kind) if kind else None
        if key and key not in beside and name.rpartition("/")[0] == group:
            beside[key] = name
        elif kind is not None:
            unused.append(f"{name} ({kind})")
    return beside, (f"not used: {listed(unused)}",) if unused else ()


def origins_of(images: str, beside: Mapping[str, str], pixel_scale: str = "") -> dict[str, str]:
    """What became image, noise map, PSF and pixel scale, by the names in the file.

    Parameters
    ----------
    images : str
        The array that was chosen.
    beside : mapping
        What `companions_of` gives.
    pixel_scale : str
        Where the scale comes from; empty if the file does not say it.
    """
    names = {
        "image": images,
        "noise map": beside.get("noise", ""),
        "PSF": beside.get("psf", ""),
        "pixel scale": pixel_scale,
    }
    return {part: name for part, name in names.items() if name}


def listed(parts: Iterable[str]) -> str:
    """The first few of a list, in words."""
    every = list(parts)
    return (", ".join(every[:6]) + (", ..." if len(every) > 6 else "")) or "nothing"
