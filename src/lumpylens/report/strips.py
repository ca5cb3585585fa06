"""Images of single examples: data, reconstruction and residual side by side."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.report.pictures import (
    DIFFERENCE_PALETTE,
    scale_bar,
    shrunk,
    write_light,
    write_picture,
)
from lumpylens.results.examples import Example

__all__ = ["residual_range", "write_example"]

LONGEST_PX = 400
"""Longest side of a picture in its file; it is shown at about this size."""


def residual_range(examples: Iterable[Example]) -> float:
    """Common colour range of all residuals, as a fraction of each image's own range.

    It is the upper quartile, over images, of their 99.5th percentile: a few images with large
    residuals do not make the others pale.
    """
    peaks = [
        float(np.percentile(np.abs(part), 99.5))
        for part in (residual(example) for example in examples)
        if part is not None
    ]
    return max(float(np.percentile(peaks, 75)), 1e-6) if peaks else 1.0


def write_example(example: Example, span: float, folder: Path, stem: str) -> dict[str, Any]:
    """Write the image and, where there is one, its reconstruction and their difference.

    Row 0 is at the bottom.

    Parameters
    ----------
    example : Example
    span : float
        Residuals from ``-span`` to ``span`` fill the colour scale.
    folder : Path
    stem : str
        Start of the names of the files.

    Returns
    -------
    dict
        ``image``, ``model`` and ``residual``: names of files, of the latter two only where there
        is a reconstruction; ``bar``: length of the scale bar in percent of the width, and its
        text.
    """
    image = shrunk(example.image, LONGEST_PX)
    files = {"image": f"{stem}-image.png"}
    write_light(image, image, folder / files["image"])
    difference = residual(example)
    if example.reconstruction is not None and difference is not None:
        files |= {name: f"{stem}-{name}.png" for name in ("model", "residual")}
        write_light(shrunk(example.reconstruction, LONGEST_PX), image, folder / files["model"])
        unit = 0.5 + 0.5 * shrunk(difference, LONGEST_PX) / span
        write_picture(unit, DIFFERENCE_PALETTE, folder / files["residual"])
    width = example.image.shape[1]
    length, text = scale_bar(width, example.pixel_scale_arcsec)
    return {**files, "bar": (100 * length / width, text)}


def residual(example: Example) -> NDArray[np.float32] | None:
    """Image minus reconstruction in units of the image's range, or None."""
    if example.reconstruction is None:
        return None
    difference = example.image.astype(np.float64) - example.reconstruction
    return (difference / float(np.ptp(example.image))).astype(np.float32)
