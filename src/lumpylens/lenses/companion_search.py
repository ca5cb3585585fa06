"""Galaxies that shine beside the arcs: their light and their mass become part of the smooth lens.

A satellite of the lens galaxy, or another galaxy near the line of sight, has mass. If this is left
out, a search finds it as a perturber, and it is not dark. If its light is left out, the source must
explain it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.luminous_companion import LuminousCompanion
from lumpylens.lenses.measured import radius_error
from lumpylens.lenses.model import ALL, COMPANION, INDEX, PERTURBER
from lumpylens.lenses.observation import Observation, overlap
from lumpylens.lenses.perturber import filter_lens, fit_perturber
from lumpylens.lenses.posterior import Posterior
from lumpylens.lenses.refine import Belief, Refined, refine
from lumpylens.lenses.smooth import SmoothFit, polish_from

__all__ = ["measured_companion", "reach_of", "with_companion"]

SUSPECT, SUSPECT_CONTRAST = 10.0, 0.1
"""Least signal-to-noise ratio of light over the smooth lens, in units of the residual's robust
scatter, and its least brightness as a part of the lens's there, from which it is looked at again in
a fit without its pixels. The source explains a part of any light that is compared. Not tuned."""

SHINES, CONTRAST = 15.0, 0.25
"""The same for a companion, in that fit. Below these, light can be what the model of the arcs or of
the lens galaxy misses. Not tuned."""

POINT = 0.06
"""Width of the light that is looked for, arcsec, before the PSF: that of small galaxies."""

NEAREST = 0.35
"""Einstein radii from the lens galaxy, within which its own light is not known well enough."""

SIZE = 0.4
"""Radius of the disc around a companion from which its light is measured, arcsec."""

EXPLAINED = 0.6
"""Part of the light of masked pixels that Gaussians at one place must explain: a defect is no
galaxy. A bright pixel beside a PSF as narrow as that of the Hubble camera is explained to less than
a half. Where pixels are compared, the evidence decides."""

COMPARED_SPREAD, MASKED_SPREAD = 0.15, 0.05
"""Standard deviation of the place of a companion around where its light was first seen, arcsec: of
one whose pixels say where it is, and of one whose pixels are masked. Searches narrow them by two,
as all priors. Not tuned."""

WORTH = 50.0
"""Gain in -2 ln evidence of light and mass over the best dark mass, which alone can make arcs
bright somewhere beside it. Not tuned."""

STEPS = 20
"""Most steps of the fits that are compared: a gain must not come from a fit that has not ended."""

LEAST_GAIN = 1.0
"""Gain in log evidence below which a companion has no mass in the model. Not tuned."""

FIRST_STRENGTH = 0.1**2
"""Squared Einstein radius from which fits of a mass start, arcsec^2."""


def with_companion(cutout: Cutout, observation: Observation, smooth: SmoothFit) -> SmoothFit:
    """Add the brightest companion to a smooth lens, with light and mass.

    Parameters
    ----------
    cutout : Cutout
        Its image is looked at even in masked pixels, since the light of companions is often
        masked. These pixels are never compared.
    observation : Observation
    smooth : SmoothFit

    Returns
    -------
    SmoothFit
        Its model has the companion; the same as before if there is none.
    """
    image = _Image.of(cutout, observation)
    suspect = image.peak(smooth.best, least=SUSPECT, contrast=SUSPECT_CONTRAST)
    if suspect is None:
        return smooth
    near = _disc(observation, suspect)
    compared = bool(observation.usable[near].double().mean() > 0.5)
    best = smooth.best
    if compared:
        # Without its pixels, the source does not bend to explain them.
        best = polish_from(observation.masked(~near), best, smooth.belief)
    peak = image.peak(best, least=SHINES, contrast=CONTRAST, within=near)
    if peak is None:
        return smooth
    near = _disc(observation, peak)
    companion = image.measured(best, near, peak, compared=compared)
    if companion is None:
        return smooth
    smooth_before, smooth = smooth, _with_place(smooth, companion)
    model = replace(best.model, observation=observation, companion=companion)
    place_free = replace(model, always_free=COMPANION[:2])
    start = _with(best.lens.values, COMPANION, companion, 0.0)
    lit = refine(place_free, start, ALL, smooth.belief, steps=STEPS)
    start = lit.lens.values.clone()
    start[INDEX["companion_strength"]] = FIRST_STRENGTH
    model = replace(lit.model, always_free=COMPANION)
    massive = refine(model, start, ALL, smooth.belief, steps=STEPS)
    gain = (lit.energy - massive.energy) / 2
    if gain < LEAST_GAIN:
        # At the limit of no mass a fit has no end; the light stays.
        gain, massive = 0.0, lit
    if compared and _energy_of_a_dark_mass(smooth_before, companion) < massive.energy + WORTH:
        return smooth_before
    companion = replace(companion, log_evidence=gain)
    model = replace(massive.model, companion=companion)
    return replace(smooth, best=replace(massive, model=model))


def _disc(observation: Observation, centre: tuple[float, float]) -> Tensor:
    """Pixels (h, w) near a place."""
    return torch.hypot(observation.x - centre[0], observation.y - centre[1]) < SIZE


def _with_place(smooth: SmoothFit, companion: LuminousCompanion) -> SmoothFit:
    """Expect the companion where its light was seen."""
    spread = COMPARED_SPREAD if companion.compared else MASKED_SPREAD
    place = {"companion_x": (companion.x, spread), "companion_y": (companion.y, spread)}
    return replace(smooth, stated=Belief({**smooth.stated.of, **place}))


def _energy_of_a_dark_mass(smooth: SmoothFit, companion: LuminousCompanion) -> float:
    """Energy of the best lens with a mass without light: at the place of the light, or anywhere.

    A dark mass on the arcs moves their light, which is brighter somewhere beside the mass.
    """
    of = smooth.belief.of
    place = {
        "perturber_x": (companion.x, COMPARED_SPREAD), "perturber_y": (companion.y, COMPARED_SPREAD)
    }  # fmt: skip
    start = _with(smooth.best.lens.values, PERTURBER, companion, FIRST_STRENGTH)
    names = (*ALL, *PERTURBER)
    there = refine(smooth.best.model, start, names, Belief({**of, **place})).energy
    radius = math.exp(smooth.best.lens["log_einstein_radius"])
    reach = min(reach_of(radius), smooth.best.model.observation.radius)
    seen = filter_lens(smooth.best, smooth.belief, reach)
    return min(there, fit_perturber(smooth.best, smooth.belief, seen).fitted.energy)


def _with(
    values: Tensor, names: Sequence[str], companion: LuminousCompanion, strength: float
) -> Tensor:
    """Parameters of a lens with a mass at the place of a companion."""
    values = values.clone()
    values[[INDEX[name] for name in names]] = torch.tensor(
        [companion.x, companion.y, strength], dtype=torch.float64
    )
    return values


@dataclass(frozen=True)
class _Image:
    """The image in the window of an observation, masked or not, and the noise of every pixel.

    Attributes
    ----------
    observation : Observation
    image, weight : Tensor, shape (h, w)
        In its unit; the weight is 1 / sigma, 0 where the image has no value.
    """

    observation: Observation
    image: Tensor
    weight: Tensor

    @classmethod
    def of(cls, cutout: Cutout, observation: Observation) -> _Image:
        """Look at an image, with the noise of masked pixels guessed from that of the others."""
        rows, columns = observation.pixels.shape
        height, width = observation.shape
        in_rows, to_rows = overlap(observation.first_row, rows, height)
        in_columns, to_columns = overlap(observation.first_column, columns, width)
        image = np.full((rows, columns), np.nan)
        image[to_rows, to_columns] = cutout.image[in_rows, in_columns] / cutout.unit
        known = np.isfinite(image)
        usable, sigma = observation.usable.numpy(), observation.sigma.numpy()
        guessed = np.sqrt(_variance(image, usable, sigma))
        weight = known / np.where(usable, sigma, guessed)
        return cls(
            observation, torch.from_numpy(np.where(known, image, 0)), torch.from_numpy(weight)
        )

    def residual(self, fitted: Refined) -> tuple[Tensor, Tensor]:
        """Image minus a smooth lens, and that lens, shape (h, w); also where it is not compared."""
        lens = fitted.lens
        amplitudes = lens.galaxy_amplitudes.float()
        galaxy = torch.einsum("k,khw->hw", amplitudes, lens.gaussians.columns())
        model = self.observation.blur((lens.source_light + galaxy)[None])[0] + lens.linear.free[-1]
        return self.image - model, model

    def peak(
        self, fitted: Refined, *, least: float, contrast: float, within: Tensor | None = None
    ) -> tuple[float, float] | None:
        """Place of the most significant light, arcsec from the middle of the image.

        Parameters
        ----------
        fitted : Refined
        least : float
            Signal-to-noise ratio that it must have.
        contrast : float
            Least brightness as a part of the lens's there.
        within : Tensor of bool, optional, shape (h, w)
            Where it is looked for besides the usual limits.
        """
        lens, grid = fitted.lens, self.observation
        radius = math.exp(lens["log_einstein_radius"])
        away = torch.hypot(grid.x - lens["light_x"], grid.y - lens["light_y"])
        residual, model = self.residual(fitted)
        template = self._template()
        power = torch.fft.rfft2(self.weight.square())
        along = torch.fft.rfft2(residual * self.weight.square())
        signal = torch.fft.irfft2(along * torch.fft.rfft2(template).conj(), s=away.shape)
        norm = torch.fft.irfft2(power * torch.fft.rfft2(template.square()).conj(), s=away.shape)
        snr = signal / norm.clamp_min(1e-30).sqrt() / max(fitted.lens.residual_scatter, 1e-30)
        inside = (away > NEAREST * radius) & (away < min(reach_of(radius), grid.radius))
        inside &= (self.weight > 0) & (residual > contrast * model)
        if within is not None:
            inside &= within
        snr = torch.where(inside, snr, 0.0)
        at = int(snr.argmax())
        if not float(snr.flatten()[at]) > least:
            return None
        return float(grid.x.flatten()[at]), float(grid.y.flatten()[at])

    def _template(self) -> Tensor:
        """The PSF times a small galaxy, centred on pixel (0, 0), shape (h, w)."""
        grid = self.observation
        rows, columns = (
            torch.minimum(k := torch.arange(length), length - k).double() * grid.pixel_scale
            for length in grid.pixels.shape
        )
        square = rows[:, None].square() + columns.square()
        return grid.blur(torch.exp(square / (-2 * POINT**2))[None])[0]

    def measured(
        self, fitted: Refined, near: Tensor, peak: tuple[float, float], *, compared: bool
    ) -> LuminousCompanion | None:
        """Place and shape of the light around a peak; None if no galaxy is like it."""
        from scipy.optimize import least_squares, nnls

        grid = self.observation
        residual = self.residual(fitted)[0]
        weight, data = self.weight[near], (residual * self.weight)[near].numpy()
        sky = weight[None]

        def columns(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
            x, y, eta_1, eta_2 = map(float, numbers)
            gaussians = LuminousCompanion(x, y, (eta_1, eta_2)).gaussians(grid.x - x, grid.y - y)
            seen = grid.blur(gaussians.columns())[:, near] * weight
            design: NDArray[np.float64] = torch.cat([seen, sky, -sky]).numpy()
            return design

        def left(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
            design = columns(numbers)
            remainder: NDArray[np.float64] = data - nnls(design.T, data)[0] @ design
            return remainder

        start, reach = np.array([*peak, 0.0, 0.0]), [SIZE / 2, SIZE / 2, 1.0, 1.0]
        found = least_squares(left, start, bounds=(start - reach, start + reach), diff_step=1e-3)
        design = columns(found.x)
        amplitudes, without = nnls(design.T, data)[0], nnls(design[-2:].T, data)[1] ** 2
        gain = without - 2 * found.cost
        if not amplitudes[:-2].any() or (not compared and gain < EXPLAINED * without):
            return None
        x, y, *eta = map(float, found.x)
        return LuminousCompanion(
            x, y, (eta[0], eta[1]), math.sqrt(gain) / fitted.lens.residual_scatter, compared
        )


def measured_companion(fit: Posterior) -> dict[str, float]:
    """Columns of the companion of a lens; none if it has none."""
    lens, companion = fit.fitted.lens, fit.fitted.model.companion
    if companion is None:
        return {}
    strength = lens["companion_strength"]
    return {
        "companion_x_arcsec": lens["companion_x"] - lens["light_x"],
        "companion_y_arcsec": lens["companion_y"] - lens["light_y"],
        "companion_snr": companion.snr,
        "companion_masked": float(not companion.compared),
        "companion_einstein_radius_arcsec": math.sqrt(max(strength, 0.0)),
        "companion_einstein_radius_error_arcsec": radius_error(
            strength, fit.error("companion_strength")
        ),
        "companion_log_evidence": companion.log_evidence,
    }


def reach_of(einstein_radius: float) -> float:
    """Distance from the lens, arcsec, up to which a mass is looked for."""
    return 1.7 * einstein_radius + 0.2


def _variance(
    image: NDArray[np.float64], usable: NDArray[np.bool_], sigma: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Variance of every pixel, from that of the usable ones: of the sky, and of photons."""
    from scipy.optimize import nnls

    bright = np.nan_to_num(image).clip(min=0)
    design = np.stack([np.ones(usable.sum()), bright[usable]], axis=1) / sigma[usable, None] ** 2
    (sky, photons), _ = nnls(design, np.ones(len(design)))
    variance: NDArray[np.float64] = np.maximum(sky + photons * bright, sigma[usable].min() ** 2)
    return variance
