"""Figures of a fraction of mass in substructure: its posterior, and the lenses that it is from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lumpylens.files.writing import whole_file
from lumpylens.report.style import DOTS_PER_INCH, LEGEND_INCHES, Theme, legend, new_axes

__all__ = ["draw_compared", "draw_posterior", "write_figure"]

SHOWN_MASS = 0.9999
"""Probability inside the drawn range of fractions."""


def draw_posterior(
    theme: Theme,
    fraction: NDArray[np.float64],
    density: NDArray[np.float64],
    intervals: Sequence[tuple[float, float]],
) -> Figure:
    """Draw a posterior with its intervals of 68 and 95 %.

    Parameters
    ----------
    theme : Theme
    fraction, density : ndarray, shape (m,)
    intervals : sequence of (float, float)
        The inner one first.
    """
    figure, axes = new_axes(
        theme, "mass in substructure, %", "probability density, per %", top_inches=LEGEND_INCHES
    )
    percent, per_percent = 100 * fraction, density / 100
    for (low, high), alpha, words in zip(
        intervals, (0.35, 0.16), ("68 % probability", "95 %"), strict=True
    ):
        fine = np.linspace(low, high, 400)
        axes.fill_between(
            100 * fine,
            np.interp(fine, fraction, per_percent),
            color=theme.normal,
            alpha=alpha,
            linewidth=0,
            label=words,
        )
    axes.plot(percent, per_percent, color=theme.normal)
    total = np.cumsum(density) / density.sum()
    first, last = np.searchsorted(total, [(1 - SHOWN_MASS) / 2, (1 + SHOWN_MASS) / 2])
    last = min(int(last) + 1, len(percent) - 1)
    low = percent[max(int(first) - 1, 0)]
    # From zero where that is near: how far it is from none is the first question.
    axes.set_xlim(0 if low < percent[last] / 2 else low, percent[last])
    axes.set_ylim(bottom=0)
    legend(axes, theme)
    return figure


def draw_compared(
    theme: Theme,
    observed: NDArray[np.float64],
    simulated: NDArray[np.float64],
    words: str,
) -> Figure:
    """Draw how a number is distributed in the lenses of the set and in simulated ones.

    Parameters
    ----------
    theme : Theme
    observed, simulated : ndarray, shape (n,) and (m,)
    words : str
        What the number is.
    """
    figure, axes = new_axes(theme, words, "share of the lenses", top_inches=LEGEND_INCHES)
    both = np.concatenate([observed, simulated])
    low, high = np.quantile(both, (0.001, 0.999))
    edges = np.linspace(low, high, 31)
    for values, colour, name, filled in (
        (simulated, theme.quiet, "simulated", True),
        (observed, theme.anomalous, "the set", False),
    ):
        share = np.histogram(values, edges)[0] / len(values)
        axes.stairs(share, edges, color=colour, fill=filled, alpha=0.4 if filled else 1, label=name)
    legend(axes, theme)
    return figure


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with whole_file(path) as part_file:
        figure.savefig(part_file, dpi=DOTS_PER_INCH, format="png", metadata={"Software": None})
