"""Figures of the ROC curves of several detectors, each with its name beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from lumpylens.report.style import Theme, new_axes

__all__ = ["Curves", "compared", "compared_low"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""The palette of Okabe and Ito, which colour-blind readers tell apart, without its yellow, which a
white page swallows, and its black, which is the reference's."""

DASHES = ("solid", (0, (5, 2)), (0, (2, 1.5)))
"""Of the first detectors, of as many as there are colours; then of the next, and so on."""

HEIGHT_INCHES = 4.4
LONGEST_NAME = 24
"""Characters of a name that stand beside a curve; of longer ones, such as ``module:Class``, the
end says more."""
LEAST_GAP = 0.062
"""Height of a name over that of the axis; names are at least this far apart."""


@dataclass(frozen=True)
class Curves:
    """ROC curves of several detectors.

    Attributes
    ----------
    fpr : sequence of float, length k
        False-positive rates, ascending from 0.
    tpr : dict of str to sequence of float, length k
        Name -> true-positive rates; best detector first.
    areas : dict of str to float
        Name -> AUC.
    reference : str
        The name that is no detector, drawn in ink.
    n_normal : int
        Normal images in the test; sets where the logarithmic axis begins.
    """

    fpr: Sequence[float]
    tpr: Mapping[str, Sequence[float]]
    areas: Mapping[str, float]
    reference: str
    n_normal: int

    def label(self, name: str) -> str:
        """Name and AUC."""
        return f"{name} {self.areas[name]:.3f}"


def compared(theme: Theme, curves: Curves) -> Figure:
    """Draw all curves, both rates from 0 to 1; names stand below the diagonal, best first."""
    figure, axes = new_axes(
        theme, "false-positive rate", "true-positive rate", height_inches=HEIGHT_INCHES
    )
    _draw(axes, theme, curves)
    axes.plot([0, 1], [0, 1], color=theme.muted, linewidth=1, linestyle=(0, (1, 2)))
    axes.set_xlim(-0.01, 1)
    axes.legend(
        frameon=False,
        fontsize=9.5,
        labelcolor=theme.ink,
        loc="lower right",
        title="AUC",
        title_fontsize=9.5,
        alignment="right",
        labelspacing=0.3,
        handlelength=2.4,
    ).get_title().set_color(theme.muted)
    return figure


def compared_low(theme: Theme, curves: Curves) -> Figure:
    """Draw all curves on a logarithmic axis, with each name where its curve begins."""
    texts = {
        name: name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
        for name in curves.tpr
    }
    figure, axes = new_axes(
        theme,
        "false-positive rate",
        "true-positive rate",
        height_inches=HEIGHT_INCHES,
        left_inches=0.45 + 0.08 * max(map(len, texts.values())),
        right_inches=0.65,
    )
    first = max(1e-4, min(0.005, 0.5 / curves.n_normal))
    _draw(axes, theme, curves)
    grid = np.geomspace(first, 1, 200)
    axes.plot(grid, grid, color=theme.muted, linewidth=1, linestyle=(0, (1, 2)))
    axes.set_xscale("log")
    axes.set_xlim(first, 1)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.spines["right"].set_visible(True)
    axes.spines["right"].set_color(theme.muted)
    begins = {name: float(np.interp(first, curves.fpr, tpr)) for name, tpr in curves.tpr.items()}
    names = sorted(begins, key=lambda name: (begins[name], curves.areas[name]))
    heights = spread([begins[name] for name in names], LEAST_GAP)
    looks = _looks(theme, curves)
    for name, height in zip(names, heights, strict=True):
        axes.annotate(
            texts[name],
            (first, begins[name]),
            xytext=(-0.07, height),
            textcoords=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=9.5,
            color=theme.ink,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": looks[name][0],
                "lw": 1.4,
                "shrinkA": 2,
                "shrinkB": 0,
                "relpos": (1, 0.5),
            },
        )
    return figure


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move ascending heights on [0, 1] apart, so that they differ by at least `gap`.

    Examples
    --------
    >>> [round(height, 2) for height in spread([0.0, 0.5, 0.5, 1.0, 1.0], 0.2)]
    [0.0, 0.4, 0.6, 0.8, 1.0]
    """
    gap = min(gap, 1 / max(len(heights) - 1, 1))
    apart: list[float] = []
    for height in heights:
        apart.append(max(height, apart[-1] + gap) if apart else height)
    top = 1.0
    for place in reversed(range(len(apart))):
        apart[place] = min(apart[place], top)
        top = apart[place] - gap
    return apart


def _draw(axes: Axes, theme: Theme, curves: Curves) -> None:
    looks = _looks(theme, curves)
    for name, tpr in curves.tpr.items():
        colour, dashes = looks[name]
        label = curves.label(name)
        # between two rates that were kept, a curve is at least as high as at the lower one
        axes.step(
            curves.fpr,
            tpr,
            where="post",
            color=colour,
            linestyle=dashes,
            linewidth=1.9,
            label=label,
        )
    axes.set_ylim(0, 1.02)


def _looks(theme: Theme, curves: Curves) -> dict[str, tuple[str, object]]:
    """Colour and dashes of each curve."""
    names = [name for name in curves.tpr if name != curves.reference]
    looks: dict[str, tuple[str, object]] = {
        name: (COLOURS[k % len(COLOURS)], DASHES[k // len(COLOURS) % len(DASHES)])
        for k, name in enumerate(names)
    }
    return looks | {curves.reference: (theme.ink, (0, (1, 1.2)))}
