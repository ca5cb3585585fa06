"""Colours and axes that all figures share.

Every figure is drawn twice, for light and for dark pages, on a transparent background. Classes
keep their colour everywhere: blue and vermilion of the Okabe-Ito palette, which colour-blind
readers tell apart, brightened on a dark background. Bluish green belongs to both classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lumpylens.files.writing import whole_file

__all__ = [
    "DARK",
    "DOTS_PER_INCH",
    "LEGEND_INCHES",
    "LIGHT",
    "Theme",
    "legend",
    "new_axes",
    "save_both",
]

SIZE_INCHES = (5.6, 3.9)
LEGEND_INCHES = 0.32
"""Room above the axes for a legend."""
DOTS_PER_INCH = 200


@dataclass(frozen=True)
class Theme:
    """Colours for one background."""

    name: str
    ink: str
    muted: str
    grid: str
    normal: str
    anomalous: str
    accent: str
    quiet: str

    def of(self, class_name: str) -> str:
        """Colour of ``normal`` or ``anomalous``."""
        return self.normal if class_name == "normal" else self.anomalous


LIGHT = Theme(
    "light",
    ink="#1b1f24",
    muted="#5b6570",
    grid="#d9dee3",
    normal="#0072b2",
    anomalous="#d55e00",
    accent="#007a5c",
    quiet="#7f8a96",
)
DARK = Theme(
    "dark",
    ink="#e8ebee",
    muted="#a3adb8",
    grid="#2d343c",
    normal="#56b4e9",
    anomalous="#ff8a4c",
    accent="#34c9a3",
    quiet="#8b96a2",
)


def new_axes(
    theme: Theme,
    x_label: str,
    y_label: str,
    *,
    height_inches: float = SIZE_INCHES[1],
    left_inches: float = 0.72,
    right_inches: float = 0.2,
    top_inches: float = 0.1,
) -> tuple[Figure, Axes]:
    """Make a figure with one pair of axes in the colours of a theme.

    Margins are fixed, so that figures side by side line up. A layout engine would also have to
    draw every figure twice.
    """
    width = SIZE_INCHES[0]
    figure = Figure(figsize=(width, height_inches))
    axes: Axes = figure.add_axes(
        (
            left_inches / width,
            0.55 / height_inches,
            1 - (left_inches + right_inches) / width,
            1 - (0.55 + top_inches) / height_inches,
        )
    )
    axes.set_xlabel(x_label, color=theme.ink, fontsize=11)
    axes.set_ylabel(y_label, color=theme.ink, fontsize=11)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(theme.muted)
    axes.tick_params(which="both", colors=theme.muted, labelsize=10)
    axes.grid(color=theme.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def legend(axes: Axes, theme: Theme, loc: str = "") -> None:
    """Add a legend without a box; by default above the axes, where it covers nothing."""
    place: dict[str, Any] = {"loc": loc}
    if not loc:
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "borderaxespad": 0.3}
    axes.legend(frameon=False, fontsize=10, labelcolor=theme.ink, **place)


def save_both(draw: Callable[[Theme], Figure], folder: Path, name: str) -> None:
    """Write ``NAME.png`` and ``NAME-dark.png``."""
    for theme, file in ((LIGHT, f"{name}.png"), (DARK, f"{name}-dark.png")):
        figure = draw(theme)
        with whole_file(folder / file) as part_file:
            figure.savefig(
                part_file, dpi=DOTS_PER_INCH, transparent=True, metadata={"Software": None}
            )
