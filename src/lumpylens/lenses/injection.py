"""Injection of perturbers into real images, to measure which of them are found."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from lumpylens.lenses.analysis import LensAnalysis
from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.model import INDEX
from lumpylens.lenses.observation import overlap
from lumpylens.lenses.perturber import FittedPerturber, filter_lens, fit_perturber
from lumpylens.lenses.smooth import polish_from
from lumpylens.physics.batches import unsplit

__all__ = ["Injected", "inject", "radius_of_snr", "recover", "well_seen_positions"]


@dataclass(frozen=True)
class Injected:
    """An injected perturber, and the perturber that was found.

    Attributes
    ----------
    x, y, einstein_radius : float
        Of the injected perturber, arcsec from the lens galaxy's centre.
    predicted_snr : float
        From the sensitivity map, without inflation.
    snr : float
        Largest signal-to-noise ratio of the new map.
    fitted : FittedPerturber
    """

    x: float
    y: float
    einstein_radius: float
    predicted_snr: float
    snr: float
    fitted: FittedPerturber

    @property
    def distance(self) -> float:
        """Distance between the injected perturber and the one that was found, arcsec."""
        return math.hypot(self.fitted.x - self.x, self.fitted.y - self.y)


def inject(analysis: LensAnalysis, x: float, y: float, einstein_radius: float) -> Cutout:
    """Make the image that the lens would have with an additional perturber.

    The fitted source is deflected by it and blurred, and replaces the source as it was fitted.
    Everything else stays as observed, including noise and what no model explains.

    Parameters
    ----------
    analysis : LensAnalysis
    x, y : float
        Arcsec from the lens galaxy's centre.
    einstein_radius : float
        Arcsec.
    """
    change, observation = _change(analysis, x, y, einstein_radius), analysis.observation
    image = analysis.cutout.image.astype(np.float64)
    row, column = observation.first_row, observation.first_column
    (to_rows, rows), (to_columns, columns) = (
        overlap(first, length, total)
        for first, length, total in zip((row, column), change.shape, image.shape, strict=True)
    )
    image[to_rows, to_columns] += change[rows, columns].numpy() * analysis.cutout.unit
    return replace(analysis.cutout, image=image.astype(np.float32))


def _change(analysis: LensAnalysis, x: float, y: float, einstein_radius: float) -> torch.Tensor:
    """Change of the observation's pixels (h, w) by a perturber."""
    model, lens = analysis.smooth.best.model, analysis.smooth.best.lens
    values = lens.values.clone()
    values[INDEX["perturber_x"]] = x + lens["light_x"]
    values[INDEX["perturber_y"]] = y + lens["light_y"]
    values[INDEX["perturber_strength"]] = einstein_radius**2
    with torch.no_grad():
        unperturbed, perturbed = (
            lens.source_seen_by(model.rays(numbers))[0] for numbers in (lens.values, values)
        )
        return analysis.observation.blur((perturbed - unperturbed)[None])[0]


def recover(analysis: LensAnalysis, x: float, y: float, einstein_radius: float) -> Injected:
    """Inject a perturber and search for it: smooth fit, filter and explicit fit again.

    The smooth fit starts from that of the original image, with a source of the same detail.
    """
    pixels = analysis.observation.pixels + _change(analysis, x, y, einstein_radius)
    predicted = einstein_radius**2 * math.sqrt(max(_information(analysis, x, y), 0.0))
    with unsplit(), torch.no_grad():
        observation = replace(analysis.observation, pixels=pixels)
        smooth = polish_from(observation, analysis.smooth.best, analysis.smooth.belief)
        filtered = filter_lens(smooth, analysis.smooth.belief, analysis.map.radius)
        perturber = fit_perturber(smooth, analysis.smooth.belief, filtered)
    return Injected(
        x, y, einstein_radius, predicted, max(float(filtered.snr.max()), 0.0), perturber
    )


def radius_of_snr(analysis: LensAnalysis, x: float, y: float, snr: float) -> float:
    """Einstein radius, arcsec, that a perturber needs for this signal-to-noise ratio.

    Parameters
    ----------
    analysis : LensAnalysis
    x, y : float
        A position that is visible in the map, arcsec from the lens galaxy's centre.
    snr : float
        From the sensitivity map, without inflation.
    """
    return math.sqrt(snr / math.sqrt(_information(analysis, x, y)))


def _information(analysis: LensAnalysis, x: float, y: float) -> float:
    """Information of the position of the map that is nearest."""
    grid, lens = analysis.map, analysis.smooth.best.lens
    near = torch.hypot(grid.x - lens["light_x"] - x, grid.y - lens["light_y"] - y).argmin()
    return float(grid.information[near])


def well_seen_positions(
    analysis: LensAnalysis, count: int, generator: torch.Generator
) -> list[tuple[float, float]]:
    """Draw positions of high sensitivity, arcsec from the lens galaxy's centre.

    They are drawn from the half of all visible positions where the sensitivity is highest.
    """
    grid, lens = analysis.map, analysis.smooth.best.lens
    information = torch.where(grid.visible, grid.information, 0.0)
    positive = information[information > 0]
    if not len(positive):
        return []
    well_seen = torch.nonzero(information >= positive.median())[:, 0]
    drawn = well_seen[torch.randperm(len(well_seen), generator=generator)[:count]]
    return [(float(grid.x[k]) - lens["light_x"], float(grid.y[k]) - lens["light_y"]) for k in drawn]
