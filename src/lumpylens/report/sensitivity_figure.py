"""Figure of sensitivities: in how large an area a subhalo is seen, by its mass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lumpylens.files.writing import whole_file
from lumpylens.report.style import DOTS_PER_INCH, LEGEND_INCHES, LIGHT, Theme, legend, new_axes

__all__ = ["draw_areas", "write_areas"]

LEAST_AREA = 0.005
"""Lower end of the axis, square arcsec: half a position of the maps. A smaller area is none."""


def draw_areas(theme: Theme, areas: Mapping[float, NDArray[np.float64]], best: str) -> Figure:
    """Draw areas against mass: the mean of all lenses, their middle two thirds, and the best.

    Parameters
    ----------
    theme : Theme
    areas : mapping of float to ndarray, shape (lenses,)
        Square arcsec, by mass in solar masses; the first lens is the best.
    best : str
        Its name.
    """
    masses = np.array(list(areas))
    values = np.array(list(areas.values()))
    figure, axes = new_axes(
        theme, "mass of the subhalo, solar masses", "area in which it is seen, arcsec²",
        top_inches=LEGEND_INCHES,
    )  # fmt: skip
    low, high = np.quantile(values, (1 / 6, 5 / 6), axis=1).clip(LEAST_AREA)
    axes.fill_between(masses, low, high, color=theme.normal, alpha=0.16, linewidth=0)
    mean = values.mean(axis=1)
    for line, colour, words in (
        (mean, theme.normal, f"mean of {values.shape[1]:,}; band: two thirds"),
        (values[:, 0], theme.anomalous, best),
    ):
        shown = np.where(line >= LEAST_AREA, line, np.nan)
        axes.plot(masses, shown, marker="o", markersize=4, color=colour, label=words)
    axes.set(xscale="log", yscale="log", xlim=(masses[0] * 0.8, masses[-1] * 1.25))
    axes.set_ylim(bottom=LEAST_AREA)
    legend(axes, theme)
    return figure


def write_areas(areas: Mapping[float, NDArray[np.float64]], best: str, path: Path) -> None:
    """Write the figure as PNG, for a light background."""
    figure = draw_areas(LIGHT, areas, best)
    with whole_file(path) as part_file:
        figure.savefig(part_file, dpi=DOTS_PER_INCH, format="png", metadata={"Software": None})
