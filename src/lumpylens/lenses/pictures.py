"""Images that explain the analysis of a lens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.lenses.analysis import LensAnalysis
from lumpylens.lenses.perturber import MAP_SPACING
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.lenses.remarks import Note, words
from lumpylens.physics.shapelets import Shapelets

if TYPE_CHECKING:
    from lumpylens.report.lens_figure import LensPictures

__all__ = ["figure_paths", "file_stem", "pictures_of"]

SOURCE_PIXELS = 120
"""Pixels per side of the drawn source, which is smooth: more would look the same."""


def file_stem(id: str) -> str:
    """Name of the files of a lens, without ending."""
    return id.replace("/", "-")


def figure_paths(id: str, folder: str | Path) -> tuple[Path, Path]:
    """Paths of the figure of a lens, for a light and a dark background."""
    name = file_stem(id)
    return Path(folder) / f"{name}.png", Path(folder) / f"{name}-dark.png"


def pictures_of(
    analysis: LensAnalysis, redshifts: Redshifts | None = None, notes: Sequence[Note] = ()
) -> LensPictures:
    """Make the images of a lens, with positions relative to the lens galaxy's centre."""
    from lumpylens.report.lens_figure import LensPictures

    lens, observation = analysis.reported.lens, analysis.observation
    centre = (lens["light_x"], lens["light_y"])
    used = observation.usable
    model = observation.data - lens.linear.residual
    rows, columns = torch.nonzero(used, as_tuple=True)
    window = (
        slice(int(rows.min()), int(rows.max()) + 1),
        slice(int(columns.min()), int(columns.max()) + 1),
    )

    def cut(image: Tensor) -> NDArray[np.float64]:
        return image[window].numpy()

    source, reach = _source(analysis)
    grid = analysis.map
    shape = (grid.side, grid.side)
    snr = grid.snr.masked_fill(~grid.visible, math.nan).reshape(shape).numpy()
    radius = grid.sensitivity().sqrt().reshape(shape).numpy()
    sensitivity, label = radius, "Einstein radius at 5 sigma of the given noise, arcsec"
    if redshifts is not None:
        sensitivity = redshifts.mass(1.0) * radius**2
        label = "mass at 5 sigma of the given noise, solar masses"
    perturber, sky = analysis.best_perturber, analysis.cutout.sky
    remarks = f" ({words(notes)})" if notes else ""
    return LensPictures(
        title=f"{analysis.cutout.id}: Einstein radius "
        f"{math.exp(lens['log_einstein_radius']):.3f} arcsec, perturber log evidence "
        f"{perturber.log_evidence:.0f}, signal-to-noise ratio {analysis.snr:.1f}{remarks}",
        data=cut(torch.where(used, observation.pixels, math.nan)),
        model=cut(observation.picture(model / observation.weights)),
        residual=cut(observation.picture(lens.linear.residual)),
        extent=_extent(observation.x[window] - centre[0], observation.y[window] - centre[1]),
        source=source,
        source_extent=(-reach, reach, -reach, reach),
        snr=snr,
        sensitivity=np.where(np.isfinite(sensitivity), sensitivity, np.nan),
        map_extent=_extent(
            (grid.x - centre[0]).reshape(shape), (grid.y - centre[1]).reshape(shape), MAP_SPACING
        ),
        sensitivity_label=label,
        perturber=(perturber.x, perturber.y),
        note=_about_circle(analysis),
        north=None if sky is None else sky.north,
        east=None if sky is None else sky.east,
    )


def _about_circle(analysis: LensAnalysis) -> str:
    """Say what the circle of the figure is, and why it may lie outside the maps."""
    perturber, grid, lens = analysis.best_perturber, analysis.map, analysis.reported.lens
    words = (
        f"Circle: best position of a perturber, x = {perturber.x:+.2f}, y = {perturber.y:+.2f} "
        f"arcsec from the lens, Einstein radius {perturber.einstein_radius:.2f} arcsec."
    )
    reach = math.hypot(perturber.x, perturber.y)
    if reach > grid.radius:
        words += (
            f" It lies {reach:.1f} arcsec from the lens, outside the maps, which end at "
            f"{grid.radius:.1f}: the search starts inside the maps, but the fit may leave them."
        )
        if max(abs(perturber.x), abs(perturber.y)) > analysis.observation.radius:
            words += " An arrow at the edge points to it."
    else:
        x, y = perturber.x + lens["light_x"], perturber.y + lens["light_y"]
        near = torch.hypot(grid.x - x, grid.y - y).argmin()
        if not grid.visible[near]:
            words += " The maps are empty there: a mass would look like another smooth lens."
    return words


def _extent(x: Tensor, y: Tensor, step: float | None = None) -> tuple[float, float, float, float]:
    """Outer edges of pixels whose centres are given."""
    half = (float(x[0, 1] - x[0, 0]) if step is None else step) / 2
    return (
        float(x.min()) - half,
        float(x.max()) + half,
        float(y.min()) - half,
        float(y.max()) + half,
    )


def _source(analysis: LensAnalysis) -> tuple[NDArray[np.float64], float]:
    """Surface brightness of the source around its centre, and half the image's side, arcsec."""
    lens, model = analysis.reported.lens, analysis.reported.model
    scale = math.exp(lens["log_source_scale"])
    reach = 1.2 * scale * math.sqrt(model.largest_order + 1)
    line = torch.linspace(-reach, reach, SOURCE_PIXELS, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    source = Shapelets.at(x, y, scale, model.largest_order).sum(lens.linear.free[:-1])
    return source.numpy(), reach
