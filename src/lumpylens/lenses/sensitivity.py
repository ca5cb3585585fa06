"""Smallest mass of a subhalo that would be seen in the image of a fitted smooth lens, by position.

To first order a subhalo at x changes the image by D = -PSF * (grad S at the ray . alpha_x). What
source, lens light and smooth mass can imitate is projected out of D by P, and sqrt(D' P D) is the
signal-to-noise ratio that the subhalo is expected to have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.lenses.analysis import SmoothLens
from lumpylens.lenses.perturber import MAP_SPACING, positions_about
from lumpylens.lenses.projection import Projection
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.physics.batches import unsplit
from lumpylens.physics.compiled.perturbers import light_moved_by_haloes, radii
from lumpylens.physics.subhaloes import Profile, bending

__all__ = [
 "MASSES", "SensitivityMap", "Subhaloes", "expected_detections", "map_sensitivity", "signals",
]  # fmt: skip

MASSES: NDArray[np.float64] = np.logspace(7, 11, 9)
"""Masses whose response is computed, solar masses. Between them the signal-to-noise ratio is
interpolated in the logarithms of both, of which it is almost a straight line."""

REACH = 2.0
"""Radius of the disc of positions in Einstein radii, as in O'Riordan et al. 2023
(arXiv:2211.15679). Subhaloes further out hardly move an arc."""

ON_ARC = 1.0
"""Source light over the noise of a pixel from which a position is near the arcs. Not tuned."""

POSITIONS_PER_CHUNK = 32
"""Positions computed at once, each with all masses; more need more memory."""

SLOPE = -1.9
"""Power of the mass in the number of subhaloes per mass (Springel et al. 2008,
arXiv:0809.0898)."""

LIGHTEST, HEAVIEST = 1e6, 1e11
"""Range of subhalo masses, solar masses, that makes up the fraction of mass in substructure."""


@dataclass(frozen=True)
class SensitivityMap:
    """Expected signal-to-noise ratio of a subhalo, by its mass and position.

    Attributes
    ----------
    x, y : Tensor, shape (m,)
        Positions inside the disc, arcsec from the lens galaxy's centre.
    snr : Tensor, shape (masses, m)
        For `MASSES`, and the given noise; it does not fall with mass.
    near_arcs : Tensor of bool, shape (m,)
    scatter : float
        Scatter over the positions of the signal-to-noise ratio that the residuals really have, for
        a subhalo of median mass; 1 if they are noise as stated.
    on_grid : Tensor of int, shape (m,)
        Flat positions in the square grid of `side` positions per side, `MAP_SPACING` apart.
    side : int
    """

    x: Tensor
    y: Tensor
    snr: Tensor
    near_arcs: Tensor
    scatter: float
    on_grid: Tensor
    side: int

    def log_least_mass(self, significance: float) -> Tensor:
        """Logarithm (base 10) of the smallest mass, solar masses, that reaches a significance.

        Parameters
        ----------
        significance : float
            Signal-to-noise ratio, for the given noise.

        Returns
        -------
        Tensor, shape (m,)
            Infinite where no mass of `MASSES` is seen; the smallest of `MASSES` where that one is
            seen already.
        """
        log_mass = torch.from_numpy(np.log10(MASSES))
        log_snr, wanted = self.snr.clamp_min(1e-30).log10(), math.log10(significance)
        below = (log_snr < wanted).sum(dim=0)
        low = (below - 1).clamp(0, len(MASSES) - 2)
        at_low, at_high = (log_snr.gather(0, node[None])[0] for node in (low, low + 1))
        part = ((wanted - at_low) / (at_high - at_low).clamp_min(1e-12)).clamp(0, 1)
        least = log_mass[low] + part * (log_mass[low + 1] - log_mass[low])
        return least.masked_fill(below == len(MASSES), math.inf)

    def snr_of(self, mass: float) -> Tensor:
        """Expected signal-to-noise ratio (m,) of one of `MASSES`."""
        return self.snr[int(np.abs(np.log(MASSES / mass)).argmin())]

    def picture(self, values: Tensor) -> NDArray[np.float64]:
        """Lay out numbers (m,) of the positions as an image (side, side), NaN outside."""
        image = torch.full((self.side**2,), math.nan, dtype=torch.float64)
        image[self.on_grid] = values
        return image.reshape(self.side, self.side).numpy()


@dataclass(frozen=True)
class Subhaloes:
    """Kind of the subhaloes that are looked for.

    Attributes
    ----------
    profile : {"nfw", "pseudo-jaffe"}
        See `lumpylens.physics.subhaloes.bending`.
    concentration : float
        Of an NFW subhalo, times that of the relation of masses and concentrations.
    """

    profile: Profile = "nfw"
    concentration: float = 1.0

    def bending(
        self, fitted: SmoothLens, redshifts: Redshifts, masses: NDArray[np.float64] = MASSES
    ) -> NDArray[np.float64]:
        """Deflection over distance, shape (masses, nodes), in the plane of a lens."""
        return bending(
            self.profile,
            masses,
            radii(),
            lens_redshift=redshifts.lens,
            source_redshift=redshifts.source,
            einstein_radius_arcsec=fitted.einstein_radius,
            concentration=self.concentration,
        )


def map_sensitivity(
    fitted: SmoothLens, redshifts: Redshifts, subhaloes: Subhaloes
) -> SensitivityMap:
    """Compute the response of the image to subhaloes within `REACH` Einstein radii.

    Parameters
    ----------
    fitted : SmoothLens
    redshifts : Redshifts
    subhaloes : Subhaloes
    """
    lens = fitted.smooth.best.lens
    grid_x, grid_y, inside = positions_about(lens, REACH * fitted.einstein_radius, MAP_SPACING)
    on_grid = torch.nonzero(inside)[:, 0]
    x, y = grid_x[on_grid], grid_y[on_grid]
    expected, measured = signals(fitted, x, y, subhaloes.bending(fitted, redshifts))
    return SensitivityMap(
        x - lens["light_x"],
        y - lens["light_y"],
        # A heavier halo is also more extended; rounding must not let its signal fall.
        expected.cummax(dim=0).values,
        _near_arcs(fitted, x, y),
        float(measured[len(MASSES) // 2].square().mean().sqrt()),
        on_grid,
        math.isqrt(len(inside)),
    )


def signals(
    fitted: SmoothLens, x: Tensor, y: Tensor, table: NDArray[np.float64]
) -> tuple[Tensor, Tensor]:
    """Signal-to-noise ratios of subhaloes that a fitted lens does not have in its model.

    Parameters
    ----------
    fitted : SmoothLens
    x, y : Tensor, shape (m,)
        Positions, arcsec from the centre of the image.
    table : ndarray, shape (masses, nodes)
        Of `Subhaloes.bending`.

    Returns
    -------
    expected, measured : Tensor, shape (masses, m)
        What each subhalo would have for the given noise, and what the residuals have.
    """
    smooth, observation = fitted.smooth, fitted.observation
    expected = torch.zeros(len(table), len(x), dtype=torch.float64)
    measured = torch.zeros_like(expected)
    with unsplit(), torch.no_grad():
        projection = Projection.of(smooth.best, smooth.belief)
        slope_x, slope_y = smooth.best.lens.source_gradient
        for part in torch.arange(len(x)).split(POSITIONS_PER_CHUNK):
            moved = light_moved_by_haloes(
                (observation.x.numpy(), observation.y.numpy()),
                (x[part].numpy(), y[part].numpy()),
                (slope_x.numpy(), slope_y.numpy()),
                table,
            )
            response = observation.see(torch.from_numpy(moved).flatten(0, 1)).float()
            parts = projection.split(response)
            size = parts.remaining.clamp_min(1e-30).sqrt()
            along = projection.along_residual(response, parts)
            expected[:, part] = size.reshape(len(part), -1).mT
            measured[:, part] = (along / size).reshape(len(part), -1).mT
    return expected, measured


def _near_arcs(fitted: SmoothLens, x: Tensor, y: Tensor) -> Tensor:
    """Tell at which positions the arcs are brighter than the noise."""
    observation = fitted.observation
    light = observation.blur(fitted.smooth.best.lens.source_light[None])[0] * observation.weight
    first_x, first_y = observation.x[0, 0], observation.y[0, 0]
    rows = ((y - first_y) / observation.pixel_scale).round().long()
    columns = ((x - first_x) / observation.pixel_scale).round().long()
    height, width = light.shape
    within = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    near: Tensor = within & (light[rows.clamp(0, height - 1), columns.clamp(0, width - 1)] > ON_ARC)
    return near


def expected_detections(
    fitted: SmoothLens,
    sensitivity: SensitivityMap,
    log_least_mass: Tensor,
    redshifts: Redshifts,
    fraction: float,
) -> float:
    """Compute the expected number of subhaloes heavy enough to be seen where they are.

    A fraction of the projected mass of the lens consists of subhaloes of `LIGHTEST` to `HEAVIEST`
    solar masses, everywhere alike, with numbers per mass that go as the power `SLOPE` of the mass.

    Parameters
    ----------
    fitted : SmoothLens
        Its convergence is that of a round lens of the same Einstein radius and slope.
    sensitivity : SensitivityMap
    log_least_mass : Tensor, shape (m,)
    redshifts : Redshifts
    fraction : float
    """
    slope = fitted.smooth.best.lens["slope"]
    radius = torch.hypot(sensitivity.x, sensitivity.y).clamp_min(MAP_SPACING / 2)
    convergence = (3 - slope) / 2 * (fitted.einstein_radius / radius) ** (slope - 1)
    # Critical surface density times the area of a position.
    critical = redshifts.mass(1.0) / math.pi * MAP_SPACING**2
    least = (10.0**log_least_mass).clamp(LIGHTEST, HEAVIEST)
    heavier = (least ** (SLOPE + 1) - HEAVIEST ** (SLOPE + 1)) / -(SLOPE + 1)
    mass = (HEAVIEST ** (SLOPE + 2) - LIGHTEST ** (SLOPE + 2)) / (SLOPE + 2)
    return float((fraction * convergence * critical * heavier / mass).sum())
