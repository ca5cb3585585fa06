"""Search for a compact perturber: a filter over many positions, and an explicit fit.

To first order a perturber at x with squared Einstein radius m changes the image by m D_x with
D_x = -PSF * (grad S at the ray . alpha_x) (Koopmans 2005, astro-ph/0501324, equation 9). Everything
that source, lens light and smooth mass could absorb is projected out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lumpylens.lenses.model import ALL, INDEX, LIGHT, MULTIPOLES, PERTURBER, RealLens, SolvedLens
from lumpylens.lenses.projection import Projection
from lumpylens.lenses.refine import Belief, Refined, refine
from lumpylens.physics.compiled.perturbers import bent_rays, light_moved
from lumpylens.physics.rays import SOFTENING_ARCSEC

__all__ = ["FittedPerturber", "PerturbationMap", "filter_lens", "fit_perturber", "positions_about"]

MAP_SPACING = 0.1
"""Distance between positions of the map, arcsec: two pixels of the Hubble camera, the width of its
PSF."""

LEAST_VISIBLE = 0.05
"""A position is masked where less than this fraction of a perturber's signal is left when the
smooth model is projected out: near the centre a perturber looks like a change of the halo.
Not tuned."""

UNDERESTIMATED = 1.3
"""Ratio of an explicitly fitted strength to its linear estimate, in simulations."""

FINITE, COARSE = (0.2, 0.3), 0.2
"""Einstein radii, and spacing of positions, of the search for heavy perturbers, arcsec. A mass
outside the arcs that is heavy enough to be detected moves them by more than their width, which a
derivative does not describe."""

PLAIN_ORDER = 8
"""Highest total order of the shapelets in the search: a source with more detail can imitate a
perturber, and each step with it takes ten times as long."""

LINEAR_STARTS, FINITE_STARTS = 4, 3
"""Peaks of the map, and of each map of a heavy perturber, that short fits start from. More find a
perturber more surely and take longer. Not tuned."""

FIRST_STEPS, FOLLOWED, MORE_STEPS = 3, 4, 5
"""Steps from every start, number of starts that are continued, and their further steps. Not
tuned."""

TABLE = 384
"""Pixels per side of the image of the source from which its deflected light is interpolated.
Not tuned: a finer one needs more memory."""

ROUNDING = 1e-6
"""Error of distances between positions, arcsec, that must not decide which are peaks."""

RESPONSES_PER_CHUNK = 128
"""Positions, or draws of noise, computed at once; more need more memory."""


@dataclass(frozen=True)
class PerturbationMap:
    """Signal-to-noise ratio and sensitivity for a small mass at each of many positions.

    Attributes
    ----------
    x, y : Tensor, shape (m,)
        Arcsec from the centre of the image.
    snr : Tensor, shape (m,)
        Positive for a mass; 0 where a perturber could not be detected.
    information : Tensor, shape (m,)
        D' P D: inverse variance of the strength, arcsec^-4.
    visible : Tensor of bool, shape (m,)
    responses : Tensor of float32, shape (v, n)
        Whitened and projected D / |D| of the visible positions.
    side : int
        Positions per side of the square grid that x, y and all maps are raveled from.
    radius : float
        Radius of the disc of positions, arcsec.
    """

    x: Tensor
    y: Tensor
    snr: Tensor
    information: Tensor
    visible: Tensor
    responses: Tensor
    side: int
    radius: float

    def strength(self) -> Tensor:
        """Linear estimate of the squared Einstein radius at each position, arcsec^2."""
        return self.snr * self.information.clamp_min(1e-30).rsqrt()

    def sensitivity(self, significance: float = 5.0) -> Tensor:
        """Smallest detectable squared Einstein radius, arcsec^2; infinite where masked."""
        least = significance * self.information.clamp_min(1e-30).rsqrt()
        return least.masked_fill(~self.visible, math.inf)

    def typical_error(self) -> float:
        """Standard deviation of the squared Einstein radius, arcsec^2, at the median position.

        Half of all visible positions, those near the arcs, are better. NaN if none is visible.
        """
        information = self.information[self.visible]
        return float(information.median()) ** -0.5 if len(information) else math.nan

    def scatter(self) -> float:
        """Standard deviation about 0 of the visible positions: 1 under noise; NaN if none is."""
        visible = self.snr[self.visible]
        return float(visible.square().mean().sqrt()) if len(visible) else math.nan

    def peaks(self, count: int, apart: float = 0.3) -> list[int]:
        """Positions of the highest signal-to-noise ratios, further than `apart` from each other.

        Positions of the grid that are `apart` within rounding are not further.
        """
        positions: list[int] = []
        for at in self.snr.argsort(descending=True).tolist():
            if len(positions) == count or self.snr[at] <= 0:
                break
            away = all(
                math.hypot(self.x[at] - self.x[k], self.y[at] - self.y[k]) > apart + ROUNDING
                for k in positions
            )
            if away:
                positions.append(at)
        return positions

    def noise_maxima(self, draws: int, generator: torch.Generator) -> Tensor:
        """Largest signal-to-noise ratio of each of many draws of noise, shape (draws,).

        Noise is drawn in the whitened pixels and passes through the same projection.
        """
        if not len(self.responses):
            return torch.zeros(draws)
        maxima = []
        for first in range(0, draws, RESPONSES_PER_CHUNK):
            count = min(RESPONSES_PER_CHUNK, draws - first)
            noise = torch.randn(self.responses.shape[1], count, generator=generator)
            maxima.append((self.responses @ noise).amax(dim=0))
        return torch.cat(maxima).clamp_min(0)


def filter_lens(
    fitted: Refined,
    belief: Belief,
    radius: float,
    *,
    spacing: float = MAP_SPACING,
    strength: float = 0.0,
) -> PerturbationMap:
    """Run the filter on a fitted smooth lens.

    Parameters
    ----------
    fitted : Refined
        Its free parameters are projected out.
    belief : Belief
        Priors of these parameters.
    radius : float
        Of the disc of positions about the lens, arcsec.
    spacing : float
        Arcsec.
    strength : float
        Squared Einstein radius, arcsec^2, of the perturber that is searched for. 0 is the limit
        of small masses.
    """
    lens = fitted.lens
    x, y, inside = positions_about(lens, radius, spacing)
    projection = Projection.of(fitted, belief)
    change = _change(fitted, strength)

    snr, information = torch.zeros_like(x), torch.zeros_like(x)
    visible = torch.zeros_like(inside)
    normalised = []
    for part in torch.nonzero(inside)[:, 0].split(RESPONSES_PER_CHUNK):
        response = fitted.model.observation.see(change(x[part], y[part])).float()
        parts = projection.split(response)
        remaining = parts.remaining
        along = projection.along_residual(response, parts)
        information[part] = remaining
        visible[part] = remaining > LEAST_VISIBLE * parts.total
        snr[part] = torch.where(visible[part], along * remaining.clamp_min(1e-30).rsqrt(), 0.0)
        in_part = visible[part]
        projected = projection.left_over(response, parts)
        normalised.append(projected[in_part] * remaining[in_part, None].rsqrt().float())
    side = math.isqrt(len(x))
    return PerturbationMap(x, y, snr, information, visible, torch.cat(normalised), side, radius)


def positions_about(lens: SolvedLens, radius: float, spacing: float) -> tuple[Tensor, ...]:
    """Positions of a square grid about the lens galaxy, raveled, for a map.

    Returns
    -------
    x, y : Tensor, shape (m,)
        Arcsec from the centre of the image.
    inside : Tensor of bool, shape (m,)
        Whether a position is within `radius` of the lens galaxy's centre.
    """
    half = math.ceil(radius / spacing)
    line = torch.arange(-half, half + 1, dtype=torch.float64) * spacing
    y, x = torch.meshgrid(line + lens["light_y"], line + lens["light_x"], indexing="ij")
    x, y = x.flatten(), y.flatten()
    inside = (x - lens["light_x"]).square() + (y - lens["light_y"]).square() <= radius**2
    return x, y, inside


def _change(fitted: Refined, strength: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Function from places of a perturber to the image's change per unit strength, float32."""
    model, lens, grid = fitted.model, fitted.lens, fitted.model.observation
    light, *gradient = lens.source_seen_by(lens.rays)
    pixels = grid.x.numpy(), grid.y.numpy()
    if not strength:
        slopes = gradient[0].numpy(), gradient[1].numpy()

        def linear_change(x: Tensor, y: Tensor) -> Tensor:
            places = x.numpy(), y.numpy()
            return torch.from_numpy(light_moved(pixels, places, slopes, SOFTENING_ARCSEC))

        return linear_change
    reach = math.exp(lens["log_source_scale"]) * (math.sqrt(2 * model.largest_order + 2) + 2)
    line = torch.linspace(-reach, reach, TABLE, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    table = lens.source_seen_by((x, y))[0].float()[None, None]
    rays = (lens.rays[0] / reach).numpy(), (lens.rays[1] / reach).numpy()
    unperturbed = light.float()

    def change(x: Tensor, y: Tensor) -> Tensor:
        places = x.numpy(), y.numpy()
        ends = torch.from_numpy(bent_rays(pixels, places, rays, strength / reach, SOFTENING_ARCSEC))
        # All images are stacked into one tall image, so that the table is not copied for each.
        tall = ends.reshape(1, -1, *ends.shape[2:])
        perturbed = torch.nn.functional.grid_sample(table, tall, align_corners=True)
        return (perturbed.reshape(ends.shape[:-1]) - unperturbed) / strength

    return change


@dataclass(frozen=True)
class FittedPerturber:
    """An explicitly fitted perturber.

    Attributes
    ----------
    fitted : Refined
        The lens with the perturber.
    smooth : Refined
        The best lens without a perturber.
    log_evidence : float
        Gain over the smooth lens, not negative.
    """

    fitted: Refined
    smooth: Refined
    log_evidence: float

    @property
    def x(self) -> float:
        """Arcsec from the lens galaxy's centre along columns."""
        return self.fitted.lens["perturber_x"] - self.fitted.lens["light_x"]

    @property
    def y(self) -> float:
        """Arcsec from the lens galaxy's centre along rows."""
        return self.fitted.lens["perturber_y"] - self.fitted.lens["light_y"]

    @property
    def einstein_radius(self) -> float:
        """Arcsec."""
        return math.sqrt(max(self.fitted.lens["perturber_strength"], 0.0))


def fit_perturber(
    smooth: Refined,
    belief: Belief,
    perturbation_map: PerturbationMap,
    *,
    steps: int = 8,
    multipoles: bool = False,
    near: FittedPerturber | None = None,
) -> FittedPerturber:
    """Fit a lens with a perturber of non-negative mass, from several starts, and without one.

    Parameters
    ----------
    smooth : Refined
    belief : Belief
    perturbation_map : PerturbationMap
        Its peaks are starts, besides those of heavier perturbers.
    steps : int
        Most steps of the last fit, from the best start.
    multipoles : bool
        Whether the multipoles of the halo are free.
    near : FittedPerturber, optional
        Start from it instead.
    """
    names = (*ALL, *(MULTIPOLES if multipoles else ()))
    # The lens galaxy's ellipses hardly change; they are free only in the last fit.
    quick = tuple(name for name in names if name not in LIGHT)
    model = smooth.model
    if near is not None:
        begin = [near.fitted.lens.values]
    else:
        begin = _best_starts(smooth, belief, perturbation_map, (*quick, *PERTURBER))
    tried = [refine(model, values, (*names, *PERTURBER), belief, steps=steps) for values in begin]
    # Without multipoles the smooth lens has been fitted already.
    without = [refine(model, smooth.lens, names, belief, steps=steps) if multipoles else smooth]
    if not tried:
        return FittedPerturber(smooth, smooth, 0.0)
    best = min(tried, key=lambda fit: fit.energy)
    bare = best.lens.values.clone()
    bare[INDEX["perturber_strength"]] = 0
    without.append(refine(model, bare, names, belief, steps=steps))
    plain = min(without, key=lambda fit: fit.energy)
    # The fit may end at mass 0, so the gain is never negative.
    return FittedPerturber(best, plain, max(plain.energy - best.energy, 0.0) / 2)


def _best_starts(
    smooth: Refined, belief: Belief, perturbation_map: PerturbationMap, names: Sequence[str]
) -> list[Tensor]:
    """Parameters at the end of the best of many short fits; none if the maps have no peak."""
    plain, linear = smooth, perturbation_map
    if smooth.model.largest_order > PLAIN_ORDER:
        model = smooth.model.with_source(PLAIN_ORDER)
        plain = refine(model, smooth.lens.values, smooth.names, belief)
        linear = filter_lens(plain, belief, perturbation_map.radius)
    starts = _peaks(plain, linear, LINEAR_STARTS)
    for size in FINITE:
        grid = filter_lens(plain, belief, perturbation_map.radius, spacing=COARSE, strength=size**2)
        starts += _peaks(plain, grid, FINITE_STARTS, size)
    best = _best_of(plain.model, starts, names, belief, FIRST_STEPS, FOLLOWED)
    if plain is not smooth:
        best = _best_of(plain.model, best, names, belief, MORE_STEPS, FOLLOWED - 1)
        best += _peaks(smooth, perturbation_map, LINEAR_STARTS - 1)
    return _best_of(smooth.model, best, names, belief, MORE_STEPS, 1)


def _peaks(
    fitted: Refined, grid: PerturbationMap, count: int, einstein_radius: float | None = None
) -> list[Tensor]:
    """Parameters with a perturber at each of the highest peaks.

    Its strength is the linear estimate of the map, corrected by `UNDERESTIMATED`, unless an
    Einstein radius is given.
    """
    linear, starts = grid.strength() * UNDERESTIMATED, []
    for at in grid.peaks(count):
        values = fitted.lens.values.clone()
        values[INDEX["perturber_x"]], values[INDEX["perturber_y"]] = grid.x[at], grid.y[at]
        strength = float(linear[at]) if einstein_radius is None else einstein_radius**2
        values[INDEX["perturber_strength"]] = strength
        starts.append(values)
    return starts


def _best_of(
    model: RealLens,
    starts: Sequence[Tensor],
    names: Sequence[str],
    belief: Belief,
    steps: int,
    count: int,
) -> list[Tensor]:
    fits = [refine(model, values, names, belief, steps=steps) for values in starts]
    return [fit.lens.values for fit in sorted(fits, key=lambda fit: fit.energy)[:count]]
