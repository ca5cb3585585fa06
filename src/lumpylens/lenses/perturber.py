"""A compact mass that no smooth lens has: the filter that looks for it, and its explicit fit.

To first order a perturber at x with squared Einstein radius m changes the image by m D_x with
D_x = -PSF * (grad S at the ray . alpha_x) (Koopmans 2005, astro-ph/0501324, equation 9). All that
source, lens light and smooth mass could absorb is projected out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lumpylens.lenses.model import ALL, INDEX, LIGHT, MULTIPOLES, PERTURBER, RealLens
from lumpylens.lenses.refine import Belief, Refined, refine
from lumpylens.physics.shapelets import Shapelets

__all__ = ["PerturbationMap", "Perturber", "filter_lens", "fit_perturber"]

SPACING = 0.1
"""Distance of tried positions, arcsec: two pixels of the Hubble camera, the width of its PSF."""

SEEN = 0.05
"""A position is masked where less than this part of a perturber's signal is left after the
smooth model has taken its share: near the centre it is as good as a change of the halo."""

UNDERESTIMATED = 1.3
"""Ratio of an explicitly fitted strength to its linear estimate, in simulations."""

FINITE, COARSE = (0.2, 0.3), 0.2
"""Einstein radii, and spacing of positions, with which heavy perturbers are looked for, arcsec. A
mass outside the arcs moves them by more than their width before it is seen, which no derivative
describes."""

PLAIN_ORDER = 8
"""Highest total order of the shapelets in the search: a source of more detail has learned to look
like a perturber, and each step with it takes ten times as long."""

LINEAR_STARTS, FINITE_STARTS = 4, 3
FIRST_STEPS, FOLLOWED, MORE_STEPS = 3, 4, 5
"""Steps from every start, how many are followed, and for how many steps more."""

TABLE = 384
"""Side of the table that a moved source is read from."""

CHUNK = 128


@dataclass(frozen=True)
class PerturbationMap:
    """What the residual says of a small mass at each of many positions.

    Attributes
    ----------
    x, y : Tensor, shape (m,)
        Arcsec from the centre of the image.
    snr : Tensor, shape (m,)
        Positive for mass; 0 where a perturber would not be seen.
    information : Tensor, shape (m,)
        D' P D: inverse variance of the strength, arcsec^-4.
    visible : Tensor of bool, shape (m,)
    responses : Tensor of float32, shape (v, n)
        Whitened and projected D / |D| of the visible positions.
    side : int
        Positions per side of the square grid that x, y and all maps are raveled from.
    radius : float
        Of the disc of positions that were tried, arcsec.
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
        """Squared Einstein radius that would be seen, arcsec^2; infinite where masked."""
        least = significance * self.information.clamp_min(1e-30).rsqrt()
        return least.masked_fill(~self.visible, math.inf)

    def peaks(self, count: int, apart: float = 0.3) -> list[int]:
        """Positions of the highest signal-to-noise ratios at some distance from each other."""
        found: list[int] = []
        for at in self.snr.argsort(descending=True).tolist():
            if len(found) == count or self.snr[at] <= 0:
                break
            away = all(
                math.hypot(self.x[at] - self.x[k], self.y[at] - self.y[k]) > apart for k in found
            )
            if away:
                found.append(at)
        return found

    def noise_maxima(self, draws: int, generator: torch.Generator) -> Tensor:
        """Largest signal-to-noise ratio of each of many draws of noise, shape (draws,).

        Noise is drawn in the whitened pixels and goes through the very same projector.
        """
        if not len(self.responses):
            return torch.zeros(draws)
        made = []
        for first in range(0, draws, CHUNK):
            count = min(CHUNK, draws - first)
            noise = torch.randn(self.responses.shape[1], count, generator=generator)
            made.append((self.responses @ noise).amax(dim=0))
        return torch.cat(made).clamp_min(0)


def filter_lens(
    fitted: Refined,
    belief: Belief,
    radius: float,
    *,
    spacing: float = SPACING,
    strength: float = 0.0,
) -> PerturbationMap:
    """Run the filter on a fitted smooth lens.

    Parameters
    ----------
    fitted : Refined
        Its free numbers are projected out.
    belief : Belief
        The priors they had.
    radius : float
        Of the disc of positions about the lens, arcsec.
    spacing : float
        Arcsec.
    strength : float
        Squared Einstein radius of the perturber, arcsec^2, whose change of the image is looked
        for. 0 is the limit of small ones.
    """
    model, lens, linear = fitted.model, fitted.lens, fitted.lens.linear
    half = math.ceil(radius / spacing)
    line = torch.arange(-half, half + 1, dtype=torch.float64) * spacing
    y, x = torch.meshgrid(line + lens["light_y"], line + lens["light_x"], indexing="ij")
    x, y = x.flatten(), y.flatten()
    inside = (x - lens["light_x"]).square() + (y - lens["light_y"]).square() <= radius**2

    tangents = model.tangents(lens, fitted.names)
    precision, pull = belief.precision_and_pull(lens.values, fitted.names)
    left = linear.without(tangents)
    own = left @ tangents.mT + torch.diag(precision)
    scale = own.diagonal().clamp_min(1e-20).rsqrt()
    unit = own * scale * scale[:, None]
    unit.diagonal().add_(1e-9)
    factor = torch.linalg.cholesky(unit)
    # Rows that are orthonormal under P: projecting them out is one product with each response.
    rows = torch.linalg.solve_triangular(factor, left * scale[:, None], upper=False).float()
    taken = torch.linalg.solve_triangular(
        factor, ((tangents @ linear.residual + pull) * scale)[:, None], upper=False
    )[:, 0]
    basis = torch.linalg.solve_triangular(linear.factor, linear.basis, upper=False).float()
    change = _change(fitted, strength)

    snr, information = torch.zeros_like(x), torch.zeros_like(x)
    visible = torch.zeros_like(inside)
    kept = []
    for part in torch.nonzero(inside)[:, 0].split(CHUNK):
        deflection = model.perturber(x[part, None, None], y[part, None, None])
        response = model.observation.see(change(*deflection)).float()
        by_basis, by_rows = response @ basis.mT, response @ rows.mT
        before = response.square().sum(dim=1).double()
        absorbed = by_basis.double().square().sum(dim=1) + by_rows.double().square().sum(dim=1)
        after = before - absorbed
        along = response.double() @ linear.residual - by_rows.double() @ taken
        information[part] = after
        visible[part] = after > SEEN * before
        snr[part] = torch.where(visible[part], along * after.clamp_min(1e-30).rsqrt(), 0.0)
        here = visible[part]
        projected = response - by_basis @ basis - by_rows @ rows
        kept.append(projected[here] * after[here, None].rsqrt().float())
    return PerturbationMap(x, y, snr, information, visible, torch.cat(kept), 2 * half + 1, radius)


def _change(fitted: Refined, strength: float) -> Callable[[Tensor, Tensor], Tensor]:
    """How the unblurred image changes per unit of strength, from a unit perturber's deflection."""
    model, lens = fitted.model, fitted.lens
    if not strength:
        gx, gy = lens.source_gradient
        return lambda ax, ay: -(gx * ax + gy * ay)
    scale = math.exp(lens["log_source_scale"])
    reach = scale * (math.sqrt(2 * model.largest_order + 2) + 2)
    line = torch.linspace(-reach, reach, TABLE, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    source = Shapelets.at(x, y, scale, model.largest_order).sum(lens.linear.free[:-1])
    table, (bx, by), before = source[None, None], model.rays(lens.values), lens.source_light

    def change(ax: Tensor, ay: Tensor) -> Tensor:
        ends = torch.stack([bx - strength * ax, by - strength * ay], dim=-1) / reach
        # All images as one tall one, so that the table is not repeated for each.
        tall = ends.reshape(1, -1, *ends.shape[2:])
        after = torch.nn.functional.grid_sample(table, tall, align_corners=True)
        return (after.reshape(ends.shape[:-1]) - before) / strength

    return change


@dataclass(frozen=True)
class Perturber:
    """An explicitly fitted perturber.

    Attributes
    ----------
    fitted : Refined
        The lens with it.
    smooth : Refined
        The best lens without it.
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
    found: PerturbationMap,
    *,
    steps: int = 8,
    multipoles: bool = False,
    near: Perturber | None = None,
) -> Perturber:
    """Fit a lens with a perturber of mass not negative, from several starts, and one without.

    Parameters
    ----------
    smooth : Refined
    belief : Belief
    found : PerturbationMap
        Whose peaks are starts, with those of heavier perturbers.
    steps : int
        Of the last fit, from the best start.
    multipoles : bool
        Free those of the halo.
    near : Perturber, optional
        Begin there instead.
    """
    names = (*ALL, *(MULTIPOLES if multipoles else ()))
    # The lens galaxy's ellipses hardly care; they are freed at the end, for the best start.
    quick = tuple(name for name in names if name not in LIGHT)
    model = smooth.model
    if near is not None:
        begin = [near.fitted.lens.values]
    else:
        begin = _best_starts(smooth, belief, found, (*quick, *PERTURBER))
    tried = [refine(model, values, (*names, *PERTURBER), belief, steps=steps) for values in begin]
    # Without multipoles the smooth lens is at its best already.
    without = [refine(model, smooth.lens, names, belief, steps=steps) if multipoles else smooth]
    if not tried:
        return Perturber(smooth, smooth, 0.0)
    best = min(tried, key=lambda fit: fit.energy)
    bare = best.lens.values.clone()
    bare[INDEX["perturber_strength"]] = 0
    without.append(refine(model, bare, names, belief, steps=steps))
    plain = min(without, key=lambda fit: fit.energy)
    # No mass at all is a perturber too, so that nothing is lost by allowing one.
    return Perturber(best, plain, max(plain.energy - best.energy, 0.0) / 2)


def _best_starts(
    smooth: Refined, belief: Belief, found: PerturbationMap, names: Sequence[str]
) -> list[Tensor]:
    """The numbers that the best of many short fits ends at; none if nothing is to be seen."""
    plain, linear = smooth, found
    if smooth.model.largest_order > PLAIN_ORDER:
        model = smooth.model.with_source(PLAIN_ORDER)
        plain = refine(model, smooth.lens.values, smooth.names, belief)
        linear = filter_lens(plain, belief, found.radius)
    starts = _peaks(plain, linear, LINEAR_STARTS)
    for size in FINITE:
        grid = filter_lens(plain, belief, found.radius, spacing=COARSE, strength=size**2)
        starts += _peaks(plain, grid, FINITE_STARTS, size)
    best = _best_of(plain.model, starts, names, belief, FIRST_STEPS, FOLLOWED)
    if plain is not smooth:
        best = _best_of(plain.model, best, names, belief, MORE_STEPS, FOLLOWED - 1)
        best += _peaks(smooth, found, LINEAR_STARTS - 1)
    return _best_of(smooth.model, best, names, belief, MORE_STEPS, 1)


def _peaks(
    fitted: Refined, grid: PerturbationMap, count: int, einstein_radius: float | None = None
) -> list[Tensor]:
    """Numbers to start from: a perturber at each of the highest peaks, by default as the map says.

    The linear estimate falls short of the strength.
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
    model: RealLens, starts: Sequence[Tensor], names: Sequence[str], belief: Belief, steps: int,
    count: int,
) -> list[Tensor]:  # fmt: skip
    fits = [refine(model, values, names, belief, steps=steps) for values in starts]
    return [one.lens.values for one in sorted(fits, key=lambda one: one.energy)[:count]]
