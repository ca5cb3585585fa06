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
COLOURS = 255
"""Colours of an image; of the 256 of a palette, one is kept for unknown pixels."""


def gradient(palette: str) -> list[str]:
    """Nine colours of a palette, for the bar beside an image."""
    return [to_hex(matplotlib.colormaps[palette](part)) for part in np.linspace(0, 1, 9)]


def write_picture(unit: NDArray[Any], palette: str, path: Path) -> None:
    """Write values on [0, 1] as a PNG with a palette; NaN is transparent."""
    values = np.asarray(unit, dtype=np.float64)
    steps = np.clip(np.nan_to_num(values) * (COLOURS - 1), 0, COLOURS - 1).round() + 1
    picture = Image.fromarray(np.where(np.isfinite(values), steps, 0).astype(np.uint8))
    shades = matplotlib.colormaps[palette](np.linspace(0, 1, COLOURS))[:, :3]
    picture.putpalette(b"\0\0\0" + (255 * shades).round().astype(np.uint8).tobytes())
    picture.save(path, transparency=0)


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
        write_picture(panel.values, panel.palette, folder / file)
        left, right, lower, upper = panel.extent
        panels.append(
            {
                "file": f"{folder.name}/{file}",
                "title": panel.title,
                "unit": panel.unit,
                "palette": panel.palette if panel.ends[0] else "",
                "ends": panel.ends,
                "box": [left, upper, right - left, lower - upper],
                "ring": panel.ring,
                "peak": panel.peak,
            }
        )
    peak = explanation.peak
    return {
        "sentence": explanation.sentence,
        "panels": panels,
        "view": view_of(explanation),
        "ring": explanation.ring_px,
        "peak": None if peak is None else [peak.column_px, peak.row_px],
        "peak_text": "" if peak is None else peak.text,
        "scores": [
            [part.name.replace("_", " "), f"{part.value:.4g}", part.p_text]
            for part in explanation.scores
        ],
        "surprises": [
            [surprise.parameter, number_of(surprise), round(surprise.sigma, 2)]
            for surprise in explanation.surprises
        ],
    }


def view_of(explanation: Explanation) -> list[float]:
    """Left, top, width and height of the part of the image that is shown, in pixel coordinates."""
    assert explanation.image is not None
    height, width = explanation.image.shape
    left, right, lower, upper = explanation.view_px or (-0.5, width - 0.5, height - 0.5, -0.5)
    return [left, upper, right - left, lower - upper]


def panels_of(explanation: Explanation) -> list[Panel]:
    """Panels of an explanation, with values on [0, 1]."""
    image, model, residual = explanation.image, explanation.model, explanation.residual
    assert image is not None
    height, width = image.shape
    whole = (-0.5, width - 0.5, height - 0.5, -0.5)
    panels = [Panel("image", "image", display(image, image), LIGHT_PALETTE, whole)]
    if model is not None:
        title = "smooth model" if explanation.ring_px else "reconstruction"
        shown = display(model, image)
        panels.append(Panel("model", title, shown, LIGHT_PALETTE, whole, ring=True))
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
                extent=whole,
                unit=unit,
                ends=ends,
                peak=not explanation.maps,
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
                ends=(f"{scale.vmin:.2g}", f"{scale.vmax:.2g}"),
                ring=True,
                peak=place == 0,
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
