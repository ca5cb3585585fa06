"""Figure of one explanation: images, maps, unusual parameters, scores and a sentence."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lumpylens.report.pictures import display
from lumpylens.report.style import LIGHT, Theme
from lumpylens.results.explanation import Explanation, Peak, PositionMap, Surprise
from lumpylens.results.position import ROW_ZERO

__all__ = ["draw_explanation", "figure_png"]

SIDE_INCHES, GAP_INCHES = 2.7, 1.0
LEFT_INCHES, RIGHT_INCHES = 0.5, 0.6
COLUMNS = 3
WIDTH_INCHES = LEFT_INCHES + COLUMNS * SIDE_INCHES + (COLUMNS - 1) * GAP_INCHES + RIGHT_INCHES
TITLE_INCHES, FOOT_INCHES, CAPTION_INCHES = 0.5, 0.55, 0.3
"""Room above a panel for its title and ticks in arcsec; below for ticks in pixels and the words of
the mark; and at the bottom of the figure."""
LINE_INCHES, SCORES_INCHES = 0.22, 0.62
"""Of a line of the sentence, and of the scores with their p-values."""
GROUND = {"light": "white", "dark": "#1b1f25"}
LINE_CHARACTERS, MARK_CHARACTERS = 122, 52
EXPLANATION_DPI = 130
"""Dots per inch: text stays readable, and a page of many figures stays small."""

CONTOURS = (0.15, 0.35, 0.55, 0.75)
"""Brightness of the model's outlines, on the scale of the pictures."""

LEAST_SIGMA = 4.0
"""Smallest half-range of a residual in units of its noise, and of the bars of parameters. Below it,
the scale would stretch pure noise until it looks like a signal."""

NORMAL_SIGMA = 2.0
"""Half-width of the shaded range behind the bars, which holds 95 % of normal lenses."""


def figure_png(explanation: Explanation, theme: Theme = LIGHT) -> bytes:
    """Draw an explanation and return the content of a PNG file, on a white or a dark background."""
    png = io.BytesIO()
    draw_explanation(theme, explanation).savefig(
        png, dpi=EXPLANATION_DPI, facecolor=GROUND[theme.name], metadata={"Software": None}
    )
    return png.getvalue()


def draw_explanation(theme: Theme, explanation: Explanation) -> Figure:
    """Draw everything that an explanation holds.

    Parameters
    ----------
    theme : Theme
    explanation : Explanation
        Its `image` is not None.

    Raises
    ------
    ValueError
        If it has no image.
    """
    if explanation.image is None:
        raise ValueError(f"nothing to draw of {explanation.id}: {explanation.error}")
    panels = [*pictures(theme, explanation), *maps(theme, explanation)]
    if explanation.surprises:
        panels.append(lambda axes: surprises(axes, theme, explanation))
    lines = header_lines(explanation)
    top = 0.4 + LINE_INCHES * len(lines) + 0.12 + SCORES_INCHES
    row_inches = TITLE_INCHES + SIDE_INCHES + FOOT_INCHES
    height = top + -(-len(panels) // COLUMNS) * row_inches + CAPTION_INCHES
    figure = Figure(figsize=(WIDTH_INCHES, height))
    header(figure, theme, explanation, lines)
    for place, fill in enumerate(panels):
        row, column = divmod(place, COLUMNS)
        left = LEFT_INCHES + column * (SIDE_INCHES + GAP_INCHES)
        lower = height - (top + row * row_inches + TITLE_INCHES + SIDE_INCHES)
        side = SIDE_INCHES / WIDTH_INCHES, SIDE_INCHES / height
        fill(figure.add_axes((left / WIDTH_INCHES, lower / height, *side)))
    return figure


def header_lines(explanation: Explanation) -> list[str]:
    """Sentence, reason for no map and warning, wrapped to the width of the figure."""
    texts = [f"{explanation.sentence}."]
    if explanation.no_map:
        texts.append(f"No map: {explanation.no_map}.")
    if explanation.warning:
        texts.append(f"Warning: {explanation.warning}.")
    return [line for text in texts for line in textwrap.wrap(drawable(text), LINE_CHARACTERS)]


def header(figure: Figure, theme: Theme, explanation: Explanation, lines: list[str]) -> None:
    """Write name, sentence, and the scores with their p-values; at the bottom what ticks are."""
    height = figure.get_figheight()

    def say(x: float, y: float, text: str, **style: Any) -> None:
        style = {"color": theme.ink, "va": "top", **style}
        figure.text(x / WIDTH_INCHES, 1 - y / height, text, parse_math=False, **style)

    margin = 0.22
    name = textwrap.shorten(explanation.id, 90, placeholder="…") or explanation.id[:90]
    say(margin, 0.16, drawable(name), fontsize=9.5, color=theme.muted)
    for place, line in enumerate(lines):
        say(margin, 0.4 + LINE_INCHES * place, line, fontsize=11.5)
    below = 0.4 + LINE_INCHES * len(lines) + 0.12
    step = min(1.95, (WIDTH_INCHES - 2 * margin) / max(len(explanation.scores), 1))
    for place, part in enumerate(explanation.scores):
        left = margin + place * step
        say(left, below, part.name.replace("_", " "), fontsize=9, color=theme.muted)
        colour = theme.accent if place == 0 else theme.ink
        say(left, below + 0.16, f"{part.value:.4g}", fontsize=14, color=colour)
        say(left, below + 0.44, part.p_text, fontsize=9, color=theme.muted)
    caption = f"Columns and rows in pixels; {ROW_ZERO}."
    if explanation.pixel_scale_arcsec is not None:
        caption += (
            " Above and right of the image: arcsec from its middle, x to the right, y upwards."
        )
    say(margin, height - 0.1, caption, fontsize=9, color=theme.muted, va="bottom")


def drawable(text: str) -> str:
    """Replace what a font cannot draw: control characters, and bytes that are not UTF-8."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


# -- pictures ---------------------------------------------------------------------------------

Painter = Callable[[Axes], None]
"""Draws one panel into the axes it is given."""

Scale = Callable[[Any], Any]
"""From arrays to arrays of the same shape."""


def pictures(theme: Theme, explanation: Explanation) -> list[Painter]:
    """Painters of image, model and residual; of the last two only where they exist."""
    image, model, residual = explanation.image, explanation.model, explanation.residual
    assert image is not None

    def observed(axes: Axes) -> None:
        axes.imshow(display(image, image), cmap="magma", vmin=0, vmax=1, origin="lower")
        finish(axes, theme, "image", explanation)
        add_arcsec(axes, theme, explanation)
        mark(axes, explanation.peak)

    def rebuilt(axes: Axes) -> None:
        assert model is not None
        axes.imshow(display(model, image), cmap="magma", vmin=0, vmax=1, origin="lower")
        title = "smooth model" if explanation.ring_px else "reconstruction"
        finish(axes, theme, title, explanation)
        add_ring(axes, explanation)

    panels: list[Painter] = [observed] if model is None else [observed, rebuilt]
    if residual is not None:
        panels.append(lambda axes: residual_panel(axes, theme, explanation, residual))
    return panels


def residual_panel(
    axes: Axes, theme: Theme, explanation: Explanation, residual: NDArray[np.float32]
) -> None:
    """Draw image minus model, red where the image is brighter."""
    in_sigma = explanation.residual_unit == "sigma"
    span = residual_span(explanation)
    palette = colours("RdBu_r", theme)
    picture = axes.imshow(residual, cmap=palette, vmin=-span, vmax=span, origin="lower")
    finish(axes, theme, "image − model", explanation)
    if in_sigma:
        bar(axes, theme, picture, "in its noise")
    else:
        bar(axes, theme, picture, "% of the image's range", lambda value: f"{100 * value:.3g}")


def residual_span(explanation: Explanation) -> float:
    """Residual at the end of the colour scale; 1 % of the pixels may lie beyond it."""
    assert explanation.residual is not None
    in_sigma = explanation.residual_unit == "sigma"
    largest = float(np.nanpercentile(np.abs(explanation.residual), 99))
    return max(largest, LEAST_SIGMA if in_sigma else 1e-6)


def maps(theme: Theme, explanation: Explanation) -> list[Painter]:
    """Painters of the maps, with the light of the model, or else of the image, as contours."""

    def panel(position_map: PositionMap, first: bool) -> Painter:
        def fill(axes: Axes) -> None:
            scale, palette = scale_of(position_map)
            values, extent = position_map.values, position_map.extent_px
            picture = axes.imshow(values, extent=extent, norm=scale, cmap=palette, origin="lower")
            finish(axes, theme, position_map.title, explanation)
            axes.set_facecolor("none")
            add_contours(axes, theme, explanation)
            add_ring(axes, explanation, "black")
            bar(axes, theme, picture, position_map.unit)
            if first and explanation.peak is not None:
                mark(axes, explanation.peak)
                write_below(axes, theme, f"+ {explanation.peak.text}")

        return fill

    return [panel(position_map, place == 0) for place, position_map in enumerate(explanation.maps)]


def scale_of(position_map: PositionMap) -> tuple[Normalize, str]:
    """Range and colours of a map."""
    values = position_map.values[np.isfinite(position_map.values)]
    if position_map.diverging:
        span = max(float(np.abs(values).max(initial=0)), position_map.least_range) or 1.0
        return Normalize(-span, span), "PuOr_r"
    if not len(values):
        return Normalize(0, 1), "viridis_r"
    low, high = (float(end) for end in np.percentile(values, [0.5, 97]))
    return LogNorm(low, max(high, 1.01 * low)), "viridis_r"


def colours(name: str, theme: Theme) -> Colormap:
    """Colormap with a colour of its own for unknown values (NaN)."""
    return matplotlib.colormaps[name].with_extremes(bad=theme.grid)


def finish(axes: Axes, theme: Theme, title: str, explanation: Explanation) -> None:
    """Set title, field of view and ticks in pixels; remove the frame."""
    axes.set_title(title, fontsize=10.5, color=theme.ink, loc="left", pad=5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(colors=theme.muted, labelsize=8, length=2)
    axes.set_facecolor(theme.grid)
    for spine in axes.spines.values():
        spine.set_visible(False)
    assert explanation.image is not None
    height, width = explanation.image.shape
    left, right, bottom, top = explanation.view_px or (-0.5, width - 0.5, -0.5, height - 0.5)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal", adjustable="box", anchor="NW")


def add_arcsec(axes: Axes, theme: Theme, explanation: Explanation) -> None:
    """Add ticks above and on the right, in arcsec from the middle, if the scale is known."""
    scale = explanation.pixel_scale_arcsec
    assert explanation.image is not None
    if scale is None:
        return
    height, width = explanation.image.shape
    above = axes.secondary_xaxis("top", functions=arcsec_from((width - 1) / 2, scale))
    right = axes.secondary_yaxis("right", functions=arcsec_from((height - 1) / 2, scale))
    for secondary, axis in ((above, above.xaxis), (right, right.yaxis)):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}″".replace("-", "−")))
        secondary.tick_params(colors=theme.muted, labelsize=8, length=2)
        for spine in secondary.spines.values():
            spine.set_visible(False)
    axes.set_title(axes.get_title(loc="left"), fontsize=10.5, color=theme.ink, loc="left", pad=18)


def arcsec_from(middle_px: float, scale: float) -> tuple[Scale, Scale]:
    """Pixels to arcsec from the middle, and back."""
    return (lambda px: (px - middle_px) * scale, lambda arcsec: arcsec / scale + middle_px)


def add_ring(axes: Axes, explanation: Explanation, colour: str = "white") -> None:
    """Draw the Einstein ring as a dashed circle, if it is known."""
    if explanation.ring_px is not None:
        column, row, radius = explanation.ring_px
        dashes = (0, (3, 3))
        ring = Circle((column, row), radius, fill=False, lw=0.8, ls=dashes, ec=colour, alpha=0.8)
        axes.add_patch(ring)


def add_contours(axes: Axes, theme: Theme, explanation: Explanation) -> None:
    """Draw contours of the light, so that positions can be compared between panels."""
    light = explanation.image if explanation.model is None else explanation.model
    assert light is not None
    # Contours of noise would hide the map.
    smoothed = gaussian_filter(display(light, light), 1.5)
    axes.contour(smoothed, levels=CONTOURS, colors=theme.muted, linewidths=0.6, alpha=0.7)


def mark(axes: Axes, peak: Peak | None) -> None:
    """Draw a cross where the image departs most, in black on white to be seen on any picture."""
    if peak is None:
        return
    for colour, width, size in (("white", 3.4, 15), ("black", 1.6, 13)):
        axes.plot(
            peak.column_px,
            peak.row_px,
            "+",
            color=colour,
            markersize=size,
            markeredgewidth=width,
        )


def write_below(axes: Axes, theme: Theme, text: str) -> None:
    """Write a text below the ticks of a panel."""
    axes.annotate(
        "\n".join(textwrap.wrap(drawable(text), MARK_CHARACTERS)),
        (0, 0),
        xycoords="axes fraction",
        xytext=(0, -17),
        textcoords="offset points",
        va="top",
        fontsize=8.5,
        color=theme.ink,
        parse_math=False,
    )


def bar(
    axes: Axes,
    theme: Theme,
    picture: Any,
    unit: str,
    number_text: Callable[[float], str] | None = None,
) -> None:
    """Draw a colour bar to the right of the image, and write its unit above."""
    bar_axes = axes.inset_axes((1.02, 0, 0.035, 1))
    scale = axes.figure.colorbar(picture, cax=bar_axes)
    scale.outline.set_visible(False)
    bar_axes.tick_params(which="both", colors=theme.muted, labelsize=8, length=2)
    if isinstance(picture.norm, LogNorm):
        bar_axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        bar_axes.yaxis.set_minor_locator(NullLocator())
        bar_axes.yaxis.set_minor_formatter(NullFormatter())
        number_text = number_text or (lambda value: f"{value:.3g}")
    else:
        bar_axes.yaxis.set_major_locator(MaxNLocator(5))
    if number_text is not None:
        write = number_text
        bar_axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axes.set_title(unit, fontsize=8.5, color=theme.muted, loc="right", pad=5, parse_math=False)


# -- surprises --------------------------------------------------------------------------------


def surprises(axes: Axes, theme: Theme, explanation: Explanation) -> None:
    """Draw how far each parameter lies from normal lenses: a bar, its name and its value."""
    rows = explanation.surprises
    reach = 1.12 * max([abs(surprise.sigma) for surprise in rows] + [LEAST_SIGMA])
    for row, surprise in enumerate(rows):
        unusual = abs(surprise.sigma) > NORMAL_SIGMA
        ink = theme.ink if unusual else theme.muted
        width, left = 2 * NORMAL_SIGMA, -NORMAL_SIGMA
        axes.barh(row + 0.33, width, left=left, height=0.36, color=theme.quiet, alpha=0.22)
        colour = theme.anomalous if unusual else theme.normal
        axes.barh(row + 0.33, surprise.sigma, height=0.24, color=colour)
        axes.plot([0, 0], [row + 0.15, row + 0.51], color=theme.muted, linewidth=0.8)
        label, place = f"{surprise.parameter}  {number_of(surprise)}", ("axes fraction", "data")
        for x, side, text in ((0, "left", label), (1, "right", f"{surprise.sigma:+.1f}")):
            axes.annotate(
                text,
                (x, row),
                xycoords=place,
                fontsize=8,
                color=ink,
                ha=side,
                va="center",
                parse_math=False,
            )
    axes.set_xlim(-reach, reach)
    axes.set_ylim(len(rows) - 0.3, -0.5)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(colors=theme.muted, labelsize=8, length=2)
    for side in ("left", "top", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.muted)
    axes.patch.set_visible(False)
    title = "surprise, in sigma of normal lenses"
    axes.set_title(title, fontsize=10.5, color=theme.ink, loc="left", pad=5)


def number_of(surprise: Surprise) -> str:
    """Write the value of a parameter with its unit."""
    return f"{surprise.value:.3g} {surprise.unit}".rstrip()
