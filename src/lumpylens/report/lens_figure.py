"""Figure of one real lens: the image, the fit, and the maps of a perturber."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lumpylens.report.style import Theme, save_both

__all__ = ["LensPictures", "draw_lens_figure", "write_lens_figure"]

Array = NDArray[np.float64]
PANEL_INCHES = 3.3


@dataclass(frozen=True)
class LensPictures:
    """Images and numbers that the figure of a lens shows; NaN is not drawn.

    Attributes
    ----------
    title : str
    data, model, residual : ndarray, shape (h, w)
        The residual in units of the noise.
    extent : (float, float, float, float)
        Left, right, bottom and top of these three, arcsec from the lens's centre.
    source : ndarray, shape (s, s)
    source_extent : (float, float, float, float)
    snr, sensitivity : ndarray, shape (m, m)
        Signal-to-noise ratio of a perturber, and the smallest mass or Einstein radius that would
        have been detected.
    map_extent : (float, float, float, float)
    sensitivity_label : str
        With the unit.
    perturber : (float, float)
        Position of the explicitly fitted one.
    """

    title: str
    data: Array
    model: Array
    residual: Array
    extent: tuple[float, float, float, float]
    source: Array
    source_extent: tuple[float, float, float, float]
    snr: Array
    sensitivity: Array
    map_extent: tuple[float, float, float, float]
    sensitivity_label: str
    perturber: tuple[float, float]


def write_lens_figure(pictures: LensPictures, folder: Path, name: str) -> None:
    """Write ``NAME.png`` and ``NAME-dark.png``."""
    save_both(lambda theme: draw_lens_figure(theme, pictures), folder, name)


def draw_lens_figure(theme: Theme, pictures: LensPictures) -> Figure:
    """Draw six panels: data, model, residual; source, perturbation map, sensitivity map."""
    figure = Figure(figsize=(3 * PANEL_INCHES, 2 * PANEL_INCHES), layout="constrained")
    figure.suptitle(pictures.title, color=theme.ink, fontsize=10)
    panels = figure.subplots(2, 3)
    low, high = np.nanpercentile(pictures.data, [1, 99.7])
    stretch = {"vmin": 0.0, "vmax": 1.0, "cmap": "magma"}
    for axes, image, title in (
        (panels[0, 0], pictures.data, "data"),
        (panels[0, 1], pictures.model, "smooth model"),
    ):
        shown = _stretched(image, float(low), float(high))
        _panel(figure, axes, theme, shown, pictures.extent, title, None, stretch)
    noise: dict[str, Any] = {"vmin": -4, "vmax": 4, "cmap": "RdBu_r"}
    extent, label = pictures.extent, "in units of the noise"
    _panel(figure, panels[0, 2], theme, pictures.residual, extent, "residual", label, noise)
    bright = float(np.nanmax(np.abs(pictures.source))) or 1.0
    shown = _stretched(pictures.source, 0.0, bright)
    _panel(figure, panels[1, 0], theme, shown, pictures.source_extent, "source", None, stretch)
    span = max(float(np.nanmax(np.abs(pictures.snr), initial=0.0)), 5.0)
    diverging = {"vmin": -span, "vmax": span, "cmap": "RdBu_r"}
    extent, label = pictures.map_extent, "signal-to-noise ratio of a mass"
    _panel(figure, panels[1, 1], theme, pictures.snr, extent, "perturbation", label, diverging)
    known = pictures.sensitivity[np.isfinite(pictures.sensitivity)]
    scale: dict[str, Any] = {"cmap": "viridis_r"}
    if len(known):
        scale["norm"] = LogNorm(*np.percentile(known, [1, 99]))
    label = pictures.sensitivity_label
    _panel(figure, panels[1, 2], theme, pictures.sensitivity, extent, "sensitivity", label, scale)
    for axes in (panels[0, 2], panels[1, 1], panels[1, 2]):
        axes.plot(*pictures.perturber, "o", markersize=11, fillstyle="none", color=theme.accent)
    return figure


def _stretched(image: Array, low: float, high: float) -> Array:
    """Map brightness to [0, 1], linear where it is faint: arcs are fainter than lens galaxies."""
    softening = 0.1
    unit = np.clip((image - low) / max(high - low, 1e-30), 0, 1)
    shown: Array = np.arcsinh(unit / softening) / np.arcsinh(1 / softening)
    return shown


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
    known = np.where(np.isfinite(image), image, np.nan)
    drawn = axes.imshow(known, origin="lower", extent=extent, interpolation="nearest", **colours)
    axes.set_title(title, color=theme.ink, fontsize=10)
    axes.tick_params(colors=theme.muted, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(theme.muted)
    if label is not None:
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.8, pad=0.02)
        bar.set_label(label, color=theme.muted, fontsize=8)
        bar.ax.tick_params(which="both", colors=theme.muted, labelsize=7)
        bar.outline.set_edgecolor(theme.muted)
