"""Images of an explanation for a page: one small file each, and the texts beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from numpy.typing import NDArray

from lumpylens.report.explained import number_of, residual_span, scale_of
from lumpylens.report.pictures import DIFFERENCE_PALETTE, scale_bar, write_light, write_picture
from lumpylens.results.explanation import Explanation

__all__ = ["explanation_parts"]


@dataclass(frozen=True)
class Panel:
    """Values of one image, and how they are shown; without a palette they are light."""

    name: str
    title: str
    values: NDArray[Any]
    extent: tuple[float, float, float, float]
    palette: str = ""
    unit: str = ""
    ends: tuple[str, str] = ("", "")
    ring: bool = False
    peak: bool = False
    see_through: bool = False


def explanation_parts(
    explanation: Explanation, folder: Path, stem: str, pixel_scale_arcsec: float | None
) -> dict[str, Any]:
    """Write the images of an explanation; return everything that the page shows of it.

    Parameters
    ----------
    explanation : Explanation
    folder : Path
        For the images.
    stem : str
        Start of the names of the images.
    pixel_scale_arcsec : float or None
        For the scale bar.
    """
    assert explanation.image is not None
    panels = []
    for panel in panels_of(explanation):
        file = f"{stem}-{panel.name}.png"
        if panel.palette:
            place, see_through = folder / file, panel.see_through
            write_picture(panel.values, panel.palette, place, see_through=see_through)
        else:
            write_light(panel.values, explanation.image, folder / file)
        panels.append(
            {
                "name": panel.name,
                "file": f"{folder.name}/{file}",
                "title": panel.title,
                "unit": panel.unit,
                "palette": panel.palette,
                "ends": panel.ends,
                "box": box_of(panel.extent, explanation),
                "ring": panel.ring,
                "peak": panel.peak,
            }
        )
    last_row = explanation.image.shape[0] - 1
    peak, ring = explanation.peak, explanation.ring_px
    view = box_of(explanation.view_px or whole_image(explanation), explanation)
    return {
        "sentence": explanation.sentence,
        "panels": panels,
        "view": view,
        "scale": scale_bar(view[2], pixel_scale_arcsec),
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


def whole_image(explanation: Explanation) -> tuple[float, float, float, float]:
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
    """Panels of an explanation; values that are not light are on [0, 1]."""
    image, model, residual = explanation.image, explanation.model, explanation.residual
    assert image is not None
    edges = whole_image(explanation)
    # Maps show the light below them, of the model or else of the image: the panel with a ring.
    panels = [Panel("image", "image", image, edges, ring=model is None, peak=True)]
    if model is not None:
        title = "smooth model" if explanation.ring_px else "reconstruction"
        panels.append(Panel("model", title, model, edges, ring=True))
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
                palette=DIFFERENCE_PALETTE,
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
