"""Images of an explanation for a page: one small file each, and the texts beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import LogNorm, Normalize, to_hex
from numpy.typing import NDArray
from PIL import Image

from lumpylens.report.explained import number_of, residual_span, scale_of
from lumpylens.report.strips import display
from lumpylens.results.explanation import Explanation

__all__ = ["PALETTES", "explanation_parts", "gradient", "write_picture"]

LIGHT_PALETTE, RESIDUAL_PALETTE = "magma", "RdBu_r"
PALETTES = (LIGHT_PALETTE, RESIDUAL_PALETTE, "PuOr_r", "viridis_r")
OPAQUE_FROM = 0.3
"""Share of a diverging map's range from which colours hide the light below. By eye."""
COLOURS = 255
"""Colours of an image; of the 256 of a palette, one is kept for unknown pixels."""


def gradient(palette: str) -> list[str]:
    """Nine colours of a palette, for the bar beside an image."""
    return [to_hex(matplotlib.colormaps[palette](part)) for part in np.linspace(0, 1, 9)]


def write_picture(
    unit: NDArray[Any], palette: str, path: Path, *, see_through: bool = False
) -> None:
    """Write values on [0, 1] as a PNG with a palette, row 0 at the bottom; NaN is transparent.

    Parameters
    ----------
    unit : ndarray, shape (H, W)
    palette : str
    path : Path
    see_through : bool
        Colours near the middle of the palette are transparent, too, the middle itself wholly.
    """
    values = np.asarray(unit, dtype=np.float64)[::-1]
    steps = np.clip(np.nan_to_num(values) * (COLOURS - 1), 0, COLOURS - 1).round() + 1
    picture = Image.fromarray(np.where(np.isfinite(values), steps, 0).astype(np.uint8))
    places = np.linspace(0, 1, COLOURS)
    shades = matplotlib.colormaps[palette](places)[:, :3]
    picture.putpalette(b"\0\0\0" + (255 * shades).round().astype(np.uint8).tobytes())
    opacity = np.clip(np.abs(2 * places - 1) / OPAQUE_FROM, 0, 1) if see_through else places**0
    picture.save(path, transparency=b"\0" + (255 * opacity).round().astype(np.uint8).tobytes())


@dataclass(frozen=True)
class Panel:
    """Values of one image, and how they are shown; see `explanation_parts`."""

    name: str
    title: str
    values: NDArray[Any]
    palette: str
    extent: tuple[float, float, float, float]
    unit: str = ""
    ends: tuple[str, str] = ("", "")
    ring: bool = False
    peak: bool = False
    see_through: bool = False


def explanation_parts(explanation: Explanation, folder: Path, stem: str) -> dict[str, Any]:
    """Write the images of an explanation; return everything that the page shows of it.

    Parameters
    ----------
    explanation : Explanation
    folder : Path
        For the images.
    stem : str
        Start of the names of the images.
    """
    panels = []
    for panel in panels_of(explanation):
        file = f"{stem}-{panel.name}.png"
        write_picture(panel.values, panel.palette, folder / file, see_through=panel.see_through)
        panels.append(
            {
                "file": f"{folder.name}/{file}",
                "title": panel.title,
                "unit": panel.unit,
                "palette": panel.palette if panel.ends[0] else "",
                "ends": panel.ends,
                "box": box_of(panel.extent, explanation),
                "ring": panel.ring,
                "peak": panel.peak,
            }
        )
    assert explanation.image is not None
    last_row = explanation.image.shape[0] - 1
    peak, ring = explanation.peak, explanation.ring_px
    return {
        "sentence": explanation.sentence,
        "panels": panels,
        "view": box_of(explanation.view_px or whole(explanation), explanation),
        "ring": None if ring is None else [ring[0], last_row - ring[1], ring[2]],
        "peak": None if peak is None else [peak.column_px, last_row - peak.row_px],
        "peak_text": f"+ {explanation.peak_words}" if peak else explanation.peak_words,
        "scores": [
            [part.name.replace("_", " "), f"{part.value:.4g}", part.p_text]
            for part in explanation.scores
        ],
        "surprises": [
            [surprise.parameter, number_of(surprise), round(surprise.sigma, 2)]
            for surprise in explanation.surprises
        ],
    }


def whole(explanation: Explanation) -> tuple[float, float, float, float]:
    """Left, right, bottom and top edge of the image, in pixel coordinates."""
    assert explanation.image is not None
    height, width = explanation.image.shape
    return (-0.5, width - 0.5, -0.5, height - 0.5)


def box_of(extent_px: tuple[float, float, float, float], explanation: Explanation) -> list[float]:
    """Left, top, width and height on the page, where y grows downwards and row 0 is at the bottom.

    Parameters
    ----------
    extent_px : (float, float, float, float)
        Left, right, bottom and top edge in pixel coordinates.
    explanation : Explanation
    """
    assert explanation.image is not None
    left, right, bottom, top = extent_px
    return [left, explanation.image.shape[0] - 1 - top, right - left, top - bottom]


def panels_of(explanation: Explanation) -> list[Panel]:
    """Panels of an explanation, with values on [0, 1]."""
    image, model, residual = explanation.image, explanation.model, explanation.residual
    assert image is not None
    edges = whole(explanation)
    # Maps show the light below them, of the model or else of the image: the panel with a ring.
    panels = [
        Panel(
            "image", "image", display(image, image), LIGHT_PALETTE, edges,
            ring=model is None, peak=True,
        )
    ]  # fmt: skip
    if model is not None:
        title = "smooth model" if explanation.ring_px else "reconstruction"
        shown = display(model, image)
        panels.append(Panel("model", title, shown, LIGHT_PALETTE, edges, ring=True))
    if residual is not None:
        span = residual_span(explanation)
        ends, unit = (f"−{span:.3g}", f"+{span:.3g}"), "in its noise"
        if explanation.residual_unit != "sigma":
            ends, unit = (f"−{100 * span:.2g}", f"+{100 * span:.2g}"), "% of the image's range"
        panels.append(
            Panel(
                name="residual",
                title="image − model",
                values=0.5 + 0.5 * residual / span,
                palette=RESIDUAL_PALETTE,
                extent=edges,
                unit=unit,
                ends=ends,
            )
        )
    for place, position_map in enumerate(explanation.maps):
        scale, palette = scale_of(position_map)
        panels.append(
            Panel(
                name=position_map.name,
                title=position_map.title,
                values=unit_values(position_map.values, scale),
                palette=palette,
                extent=position_map.extent_px,
                unit=position_map.unit,
                ends=(f"{scale.vmin:.3g}".replace("-", "−"), f"{scale.vmax:.3g}"),
                ring=True,
                peak=place == 0,
                # Where a map knows nothing, the light shows; one that is known everywhere hides it.
                see_through=position_map.diverging and bool(np.isfinite(position_map.values).all()),
            )
        )
    return panels


def unit_values(values: NDArray[np.float32], scale: Normalize) -> NDArray[np.float64]:
    """Map values to [0, 1] by a colour scale, linear or logarithmic."""
    assert scale.vmin is not None
    assert scale.vmax is not None
    low, high = scale.vmin, scale.vmax
    if isinstance(scale, LogNorm):
        unit = np.log(values.astype(np.float64) / low) / np.log(high / low)
    else:
        unit = (values.astype(np.float64) - low) / (high - low)
    clipped: NDArray[np.float64] = np.clip(unit, 0, 1)
    return clipped
