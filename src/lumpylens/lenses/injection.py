"""Perturbers put into real images, to see which would have been found."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from lumpylens.lenses.analysis import LensAnalysis
from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.model import INDEX
from lumpylens.lenses.observation import overlap
from lumpylens.lenses.perturber import Perturber, filter_lens, fit_perturber
from lumpylens.lenses.smooth import polish_from
from lumpylens.physics.batches import unsplit

__all__ = ["Injected", "inject", "radius_of_snr", "recover", "well_seen_positions"]


@dataclass(frozen=True)
class Injected:
    """A perturber that was put in, and what was found.

    Attributes
    ----------
    x, y, einstein_radius : float
        Of the planted perturber, arcsec from the lens galaxy's centre.
    predicted_snr : float
        By the sensitivity map, without inflation.
    snr : float
        Largest signal-to-noise ratio of the new map.
    found : Perturber
    """

    x: float
    y: float
    einstein_radius: float
    predicted_snr: float
    snr: float
    found: Perturber

    @property
    def distance(self) -> float:
        """From the planted perturber to the one that was found, arcsec."""
        return math.hypot(self.found.x - self.x, self.found.y - self.y)


def inject(found: LensAnalysis, x: float, y: float, einstein_radius: float) -> Cutout:
    """The image as it would be with a perturber more.

    The fitted source is deflected by it, blurred, and takes the place of the source as fitted;
    all else stays what the telescope saw, noise and what no model explains included.

    Parameters
    ----------
    found : LensAnalysis
    x, y : float
        Arcsec from the lens galaxy's centre.
    einstein_radius : float
        Arcsec.
    """
    change, observation = _change(found, x, y, einstein_radius), found.observation
    image = found.cutout.image.astype(np.float64)
    row, column = observation.first_row, observation.first_column
    (to_rows, rows), (to_columns, columns) = (
        overlap(first, length, whole)
        for first, length, whole in zip((row, column), change.shape, image.shape, strict=True)
    )
    image[to_rows, to_columns] += change[rows, columns].numpy() * found.cutout.unit
    return replace(found.cutout, image=image.astype(np.float32))


def _change(found: LensAnalysis, x: float, y: float, einstein_radius: float) -> torch.Tensor:
    """What a perturber adds to the observation's pixels (h, w)."""
    model, lens = found.smooth.best.model, found.smooth.best.lens
    values = lens.values.clone()
    values[INDEX["perturber_x"]] = x + lens["light_x"]
    values[INDEX["perturber_y"]] = y + lens["light_y"]
    values[INDEX["perturber_strength"]] = einstein_radius**2
    with torch.no_grad():
        before, after = (model.source_seen_by(numbers, lens) for numbers in (lens.values, values))
        return found.observation.blur((after - before)[None])[0]


def recover(found: LensAnalysis, x: float, y: float, einstein_radius: float) -> Injected:
    """Plant a perturber and look for it: smooth fit, filter and explicit fit again.

    The smooth fit begins at that of the lens as it is, whose source keeps its detail.
    """
    pixels = found.observation.pixels + _change(found, x, y, einstein_radius)
    predicted = einstein_radius**2 * math.sqrt(max(_information(found, x, y), 0.0))
    with unsplit(), torch.no_grad():
        observation = replace(found.observation, pixels=pixels)
        smooth = polish_from(observation, found.smooth.best, found.smooth.belief)
        again = filter_lens(smooth, found.smooth.belief, found.map.radius)
        perturber = fit_perturber(smooth, found.smooth.belief, again)
    return Injected(x, y, einstein_radius, predicted, max(float(again.snr.max()), 0.0), perturber)


def radius_of_snr(found: LensAnalysis, x: float, y: float, snr: float) -> float:
    """Einstein radius, arcsec, that a perturber needs to be seen with this signal-to-noise ratio.

    Parameters
    ----------
    found : LensAnalysis
    x, y : float
        A visible place, arcsec from the lens galaxy's centre.
    snr : float
        By the sensitivity map, without inflation.
    """
    return math.sqrt(snr / math.sqrt(_information(found, x, y)))


def _information(found: LensAnalysis, x: float, y: float) -> float:
    """Of the map's position that is nearest."""
    grid, lens = found.map, found.smooth.best.lens
    near = torch.hypot(grid.x - lens["light_x"] - x, grid.y - lens["light_y"] - y).argmin()
    return float(grid.information[near])


def well_seen_positions(
    found: LensAnalysis, count: int, generator: torch.Generator
) -> list[tuple[float, float]]:
    """Random positions at which perturbers are seen well, arcsec from the lens galaxy's centre.

    Drawn from the half of all visible positions where the sensitivity is highest.
    """
    grid, lens = found.map, found.smooth.best.lens
    information = torch.where(grid.visible, grid.information, 0.0)
    known = information[information > 0]
    if not len(known):
        return []
    good = torch.nonzero(information >= known.median())[:, 0]
    chosen = good[torch.randperm(len(good), generator=generator)[:count]]
    return [
        (float(grid.x[k]) - lens["light_x"], float(grid.y[k]) - lens["light_y"]) for k in chosen
    ]
