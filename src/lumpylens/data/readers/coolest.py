"""COOLEST templates: a JSON file that names the FITS files of an observation.

Beside them lie FITS files of models, which are no observations (Galan et al. 2023, JOSS 8, 5567).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lumpylens.data.kinds import Kind
from lumpylens.data.readers.companions import Companion, Cutout

__all__ = ["observations"]

LARGEST_TEMPLATE_BYTES = 2**24
"""A larger JSON file is no template: those have numbers and names of files, and no pixels."""


def observations(folders: Iterable[Path]) -> list[Cutout]:
    """The observations that templates in these folders name, each once.

    Templates of several models may name the same observation.
    """
    by_image: dict[Path, Cutout] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            cutout = cutout_of(path)
            if cutout is not None:
                by_image.setdefault(cutout.path, cutout)
    return list(by_image.values())


def cutout_of(path: Path) -> Cutout | None:
    """The observation of one template; None if this is no template, or it names none."""
    try:
        if path.stat().st_size > LARGEST_TEMPLATE_BYTES:
            return None
        template = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if inside(template, "standard") != "COOLEST":
        return None
    image = file_of(path, inside(template, "observation", "pixels"))
    if image is None:
        return None
    # The noise map has one standard deviation per pixel (coolest.template.classes.noise).
    noise = file_of(path, inside(template, "observation", "noise", "noise_map"))
    psf = file_of(path, inside(template, "instrument", "psf", "pixels"))
    scale = inside(template, "instrument", "pixel_size")
    return Cutout(
        image,
        image,
        None if noise is None else Companion(noise, "", Kind.NOISE),
        None if psf is None else Companion(psf, "", Kind.PSF),
        float(scale) if isinstance(scale, (int, float)) and scale > 0 else None,
    )


def inside(node: Any, *keys: str) -> Any:
    """What lies under these keys; None if one is missing."""
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def file_of(template: Path, pixels: Any) -> Path | None:
    """The FITS file of a grid of pixels, whose path is relative to the template."""
    name = inside(pixels, "fits_file", "path")
    return template.parent / name if isinstance(name, str) and name else None
