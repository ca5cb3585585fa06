"""Figure of one real lens: the image, the fit, and the maps of a perturber."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lumpylens.report.pictures import LIGHT_PALETTE, shrunk, write_light
from lumpylens.report.style import Theme, save_both

__all__ = ["LensPictures", "draw_lens_figure", "write_lens_figure", "write_lens_thumbnail"]

Array = NDArray[np.float64]
Extent = tuple[float, float, float, float]
Vector = tuple[float, float]
PANEL_INCHES, BARS_INCHES = 3.3, 1.2
"""Side of a panel with its labels, and room for the colour bars of both rows."""

NOTE_CHARACTERS = 130
"""Longest line below the panels."""

THUMBNAIL_PX = 150
RING_POINTS, ARROW_POINTS = 11, 26
"""Diameter of the circle around a perturber, and length of the arrows to north and east."""

OUTLINE = [withStroke(linewidth=3, foreground="black")]
"""Of what is drawn in white on images: it shows on every colour."""


@dataclass(frozen=True)
class LensPictures:
    """Images and numbers that the figure of a lens shows; NaN is not drawn.

    Attributes
    ----------
    title : str
        Empty for none.
    data, model, residual : ndarray, shape (h, w)
        Data and model in one unit, the residual in units of the noise.
    extent : (float, float, float, float)
        Left, right, bottom and top of these three, arcsec from the lens's centre.
    source : ndarray, shape (s, s)
    source_extent : (float, float, float, float)
        Arcsec from the source's centre.
    snr, sensitivity : ndarray, shape (m, m)
        Signal-to-noise ratio of a perturber, and the smallest mass or Einstein radius that would
        have been detected.
    map_extent : (float, float, float, float)
    sensitivity_label : str
        With the unit.
    perturber : (float, float)
        Position of the explicitly fitted one.
    note : str
        What the circle is, and why it lies where it does.
    north, east : (float, float) or None
        Unit vectors along columns and rows, if the sky coordinates are known.
    """

    title: str
    data: Array
    model: Array
    residual: Array
    extent: Extent
    source: Array
    source_extent: Extent
    snr: Array
    sensitivity: Array
    map_extent: Extent
    sensitivity_label: str
    perturber: tuple[float, float]
    note: str = ""
    north: Vector | None = None
    east: Vector | None = None


def write_lens_figure(pictures: LensPictures, folder: Path, name: str) -> None:
    """Write ``NAME.png`` and ``NAME-dark.png``, without the title: see `write_title`."""
    bare = replace(pictures, title="")
    save_both(lambda theme: draw_lens_figure(theme, bare), folder, name)


def write_lens_thumbnail(pictures: LensPictures, path: Path) -> None:
    """Write a small picture of the data, with row 0 at the bottom as in the figure."""
    data = pictures.data.astype(np.float32)
    write_light(shrunk(data, THUMBNAIL_PX), data, path)


def draw_lens_figure(theme: Theme, pictures: LensPictures) -> Figure:
    """Draw six panels: data, model, residual; source, perturbation map, sensitivity map."""
    figure = Figure(figsize=(3 * PANEL_INCHES, 2 * PANEL_INCHES + BARS_INCHES), layout="compressed")
    if pictures.title:
        figure.suptitle(pictures.title, color=theme.ink, fontsize=10)
    if pictures.note:
        figure.supxlabel(
            textwrap.fill(pictures.note, NOTE_CHARACTERS), color=theme.muted, fontsize=8
        )
    panels = figure.subplots(2, 3)
    low, high = _range(pictures.data)
    stretch = {"vmin": 0.0, "vmax": 1.0, "cmap": LIGHT_PALETTE}
    for axes, image, title in (
        (panels[0, 0], pictures.data, "data"),
        (panels[0, 1], pictures.model, "smooth model"),
    ):
        stretched = _stretched(image, low, high)
        _panel(figure, axes, theme, stretched, pictures.extent, title, None, stretch)
    noise: dict[str, Any] = {"vmin": -4, "vmax": 4, "cmap": "RdBu_r"}
    extent, label = pictures.extent, "in units of the noise"
    _panel(figure, panels[0, 2], theme, pictures.residual, extent, "residual", label, noise)
    bright = float(np.nanmax(np.abs(pictures.source))) or 1.0
    stretched = _stretched(pictures.source, 0.0, bright)
    _panel(figure, panels[1, 0], theme, stretched, pictures.source_extent, "source", None, stretch)
    span = max(float(np.nanmax(np.abs(pictures.snr), initial=0.0)), 5.0)
    diverging = {"vmin": -span, "vmax": span, "cmap": "RdBu_r"}
    extent, label = pictures.map_extent, "signal-to-noise ratio of a mass"
    _panel(figure, panels[1, 1], theme, pictures.snr, extent, "perturbation", label, diverging)
    sensitivities = pictures.sensitivity[np.isfinite(pictures.sensitivity)]
    scale: dict[str, Any] = {"cmap": "viridis_r"}
    if len(sensitivities):
        scale["norm"] = LogNorm(*np.percentile(sensitivities, [1, 99]))
    label = pictures.sensitivity_label
    _panel(figure, panels[1, 2], theme, pictures.sensitivity, extent, "sensitivity", label, scale)
    for axes in panels[:, 0]:
        axes.set_ylabel("arcsec", color=theme.muted, fontsize=8)
    for axes in (*panels[0], *panels[1, 1:]):
        # One frame for all, so that a place is the same place in every panel.
        axes.set(xlim=pictures.extent[:2], ylim=pictures.extent[2:])
        _mark(axes, pictures)
    if pictures.north and pictures.east:
        _compass(panels[0, 0], pictures.north, pictures.east)
    return figure


def _mark(axes: Axes, pictures: LensPictures) -> None:
    """Draw a circle around the perturber; an arrow at the edge if it lies beyond."""
    x, y = pictures.perturber
    left, right, bottom, top = pictures.extent
    if left < x < right and bottom < y < top:
        axes.plot(x, y, "o", ms=RING_POINTS, mfc="none", color="white", path_effects=OUTLINE)
        return
    # Where the line from the lens to the perturber leaves the panel.
    across = (right if x > 0 else left) / x if x else math.inf
    up = (top if y > 0 else bottom) / y if y else math.inf
    tip = (min(across, up) * x, min(across, up) * y)
    arrow = {"arrowstyle": "->", "color": "white", "path_effects": OUTLINE}
    axes.annotate("", xy=tip, xytext=(0.85 * tip[0], 0.85 * tip[1]), arrowprops=arrow)


def _compass(axes: Axes, north: Vector, east: Vector) -> None:
    """Draw arrows to north and east in the corner where they have room."""
    across, up = (north[k] + east[k] for k in (0, 1))
    corner = (0.8 if across < 0 else 0.2, 0.8 if up < 0 else 0.2)
    for letter, (x, y) in (("N", north), ("E", east)):
        axes.annotate(
            letter,
            xy=corner,
            xycoords="axes fraction",
            xytext=(ARROW_POINTS * x, ARROW_POINTS * y),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            color="white",
            path_effects=OUTLINE,
            arrowprops={"arrowstyle": "<-", "color": "white", "path_effects": OUTLINE},
        )


def _round_numbers(low: float, high: float) -> list[float]:
    """Up to three numbers of one digit between the ends of a logarithmic scale."""
    inner = np.geomspace(low, high, 5)[1:-1]
    rounded = sorted({float(f"{value:.1g}") for value in inner})
    return [value for value in rounded if low <= value <= high]


def _power_of_ten(value: float) -> str:
    """Write a number of one digit, as a power of ten where it is large."""
    digit, _, power = f"{value:.0e}".partition("e")
    return f"{value:g}" if abs(int(power)) < 4 else rf"${digit}\times10^{{{int(power)}}}$"


def _range(image: Array) -> tuple[float, float]:
    """Brightness that is black, and that which is white."""
    low, high = np.nanpercentile(image, [1, 99.7])
    return float(low), float(high)


def _stretched(image: Array, low: float, high: float) -> Array:
    """Map brightness to [0, 1], linear where it is faint: arcs are fainter than lens galaxies."""
    softening = 0.1
    unit = np.clip((image - low) / max(high - low, 1e-30), 0, 1)
    stretched: Array = np.arcsinh(unit / softening) / np.arcsinh(1 / softening)
    return stretched


def _panel(
    figure: Figure,
    axes: Axes,
    theme: Theme,
    image: Array,
    extent: tuple[float, float, float, float],
    title: str,
    label: str | None,
    colours: Mapping[str, Any],
) -> None:
    finite = np.where(np.isfinite(image), image, np.nan)
    picture = axes.imshow(finite, origin="lower", extent=extent, interpolation="nearest", **colours)
    axes.set_title(title, color=theme.ink, fontsize=10)
    axes.set_xlabel("arcsec", color=theme.muted, fontsize=8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    axes.tick_params(colors=theme.muted, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(theme.muted)
    if label is not None:
        bar = figure.colorbar(picture, ax=axes, location="bottom", shrink=0.8, pad=0.02)
        bar.set_label(label, color=theme.muted, fontsize=8)
        bar.ax.tick_params(which="both", colors=theme.muted, labelsize=7)
        bar.outline.set_edgecolor(theme.muted)
        if isinstance(colours.get("norm"), LogNorm):
            # matplotlib's own labels are too many to stand side by side, or none.
            ticks = _round_numbers(*picture.get_clim())
            bar.set_ticks(ticks, labels=[_power_of_ten(tick) for tick in ticks])
            bar.minorticks_off()
