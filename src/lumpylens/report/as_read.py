"""The first images of a collection, drawn as they were read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lumpylens.data.image import LABEL_WORDS, LensImage
from lumpylens.data.images import LensImages
from lumpylens.errors import DataError
from lumpylens.files.writing import check_writable, whole_file

__all__ = ["check_figure_place", "draw_as_read", "write_as_read"]

DRAWN = 4
"""Images in the figure: few, so that the figure is small and quick to draw."""

MARKED = 1e4
"""Multiple of the median of absolute values above which a value only marks a masked pixel. Masks
in noise maps lie a factor of 1e6 and more above the noise, real noise within a factor of 20."""

FIGURE_ENDINGS = (".png", ".pdf", ".svg")
PANEL_INCHES = 2.6
SOFTENING = 0.2
"""Brightness on [0, 1] up to which the display is linear, so that faint arcs show. By eye."""


def check_figure_place(path: Path) -> None:
    """Raise if no figure can be written to `path`: wrong ending, or a folder that is not writable.

    Raises
    ------
    DataError
    """
    if path.suffix.lower() not in FIGURE_ENDINGS:
        raise DataError(f"a figure ends in {', '.join(FIGURE_ENDINGS)}; got {path}")
    check_writable(path)


def write_as_read(images: LensImages, path: Path) -> None:
    """Draw the first four images with their noise maps and PSFs.

    Row 0 is at the bottom, as everywhere in lumpylens.

    Parameters
    ----------
    images : LensImages
    path : Path

    Raises
    ------
    DataError
        If `path` cannot be written.
    """
    check_figure_place(path)
    with whole_file(path) as part_file:
        draw_as_read(list(images[:DRAWN])).savefig(part_file, dpi=120)


def draw_as_read(items: list[LensImage]) -> Figure:
    """Draw one row for each image: pixels, noise map, PSF."""
    size = (3 * PANEL_INCHES, max(len(items), 1) * PANEL_INCHES + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle("as read; row 0 at the bottom", fontsize=9)
    panels = figure.subplots(max(len(items), 1), 3, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for row, item in zip(panels, items, strict=False):
        _draw(row[0], item.image, _title(item), item.error)
        _draw(row[1], item.noise, "noise map", "" if item.error else "no noise map")
        _draw(row[2], item.psf, "PSF", "" if item.error else "no PSF")
    return figure


def _title(item: LensImage) -> str:
    scale = item.pixel_scale_arcsec
    parts = [LABEL_WORDS[item.label]] + ([f'{scale:.4g}"/pixel'] if scale is not None else [])
    return f"{item.id}\n{', '.join(parts)}"


def _draw(axes: Axes, pixels: NDArray[np.float32] | None, title: str, missing: str) -> None:
    """Draw one panel, or write why there is nothing to draw."""
    if pixels is None or pixels.ndim != 2 or not np.isfinite(pixels).any():
        axes.text(0.5, 0.5, missing, ha="center", va="center", fontsize=7, wrap=True)
        return
    finite = pixels[np.isfinite(pixels)].astype(np.float64)
    low = np.quantile(finite, 0.01)
    # The few brightest pixels and the enormous noise of masked ones would leave the rest black.
    high = np.quantile(finite[np.abs(finite) <= MARKED * np.median(np.abs(finite))], 0.995)
    unit = np.clip((pixels - low) / max(high - low, 1e-30), 0, 1)
    axes.imshow(np.arcsinh(unit / SOFTENING), origin="lower", cmap="magma", interpolation="nearest")
    height, width = pixels.shape
    axes.set_title(f"{title}\n{width}x{height} pixels", fontsize=7)
