"""Starts of a fit: the lens galaxy's light, and a scan of Einstein radii.

A wrong Einstein radius is the most common failure of automated fits. So many are tried, each with
a very flexible source: any sum of small blobs with non-negative brightness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lumpylens.lenses.model import INDEX, LIGHT, WIDTHS, vector
from lumpylens.lenses.observation import Observation
from lumpylens.physics.linear_light import LinearFit, solve
from lumpylens.physics.multi_gaussian import MultiGaussian
from lumpylens.physics.power_law import power_law

__all__ = ["FARTHEST", "LensLight", "Trial", "fit_lens_light", "no_lens_light", "scan"]

TOLERATED = 2.0
"""Whitened residual beyond which a pixel counts less in the fit of the lens galaxy alone, since it
belongs to the source or to a neighbour. A smaller value ignores more of the lens galaxy, too.
Not tuned."""

ROUNDNESS = 25.0
"""Prior precision of the ellipses' numbers: they are round within 0.2. Not tuned."""

FARTHEST = 0.6
"""Distance from the middle of the image within which the lens galaxy is looked for, arcsec.
Not tuned."""

BLOB_WIDTH, BLOB_SPACING, SOURCE_REACH = 0.08, 0.12, 0.9
"""Width and spacing of the blobs that the first source consists of, and half the side of the square
that they fill, arcsec. Smaller blobs are more flexible; a wider square takes longer. Not
tuned."""


@dataclass(frozen=True)
class LensLight:
    """The lens galaxy's light, fitted without a source.

    Attributes
    ----------
    values : Tensor, shape (len(NAMES),)
        Parameter vector; only the parameters of `LIGHT` are set.
    columns : Tensor, shape (p, h, w)
        Blurred Gaussians, not whitened.
    residual : Tensor, shape (n,)
        Whitened.
    eta : (float, float)
        Ellipticity of the light inside its half-light radius.
    """

    values: Tensor
    columns: Tensor
    residual: Tensor
    eta: tuple[float, float]


def fit_lens_light(observation: Observation, steps: int = 20) -> LensLight:
    """Fit the lens galaxy's ellipses, robust against pixels of the source and of neighbours.

    Every step is judged by one misfit: squares of whitened residuals that grow only
    logarithmically beyond `TOLERATED`. Least squares with the weights of the best fit lower it
    (Holland & Welsch 1977, Commun. Stat. A6, 813: iteratively reweighted least squares).
    """
    values = vector()
    index = [INDEX[name] for name in LIGHT]
    values[index[:2]] = torch.tensor(_brightest(observation), dtype=torch.float64)
    # With two equal sets of Gaussians, rounding would decide how they share the light.
    values[index[2:]] = torch.tensor([0.1, 0.1, 0.0, 0.0], dtype=torch.float64)
    best = _Ellipses.solved(observation, values, torch.ones(len(observation), dtype=torch.float64))
    damping = 1e-2
    for _ in range(steps):
        values = best.values.clone()
        values[index] += best.step(observation, damping)
        trial = _Ellipses.solved(observation, values, _tolerance(best.residual))
        if trial.misfit < best.misfit:
            best, damping = trial, max(damping * 0.3, 1e-5)
        else:
            damping *= 10
    eta = _mean_eta(best.values, best.linear)
    columns = observation.blur(best.gaussians.columns())
    return LensLight(best.values, columns, best.residual, eta)


def no_lens_light(observation: Observation) -> LensLight:
    """The starting point of a lens that does not shine: round Gaussians in the middle.

    Their amplitudes are free, so that they can describe an image of the source in the middle.
    """
    values = vector(light_eta_1=0.1, light_eta_2=0.1)
    even = torch.ones(len(observation), dtype=torch.float64)
    ellipses = _Ellipses.solved(observation, values, even)
    columns = observation.blur(ellipses.gaussians.columns())
    return LensLight(values, columns, ellipses.residual, (0.0, 0.0))


def _tolerance(residual: Tensor) -> Tensor:
    """Factor of each whitened pixel in least squares: large residuals count less."""
    return TOLERATED / residual.clamp_min(TOLERATED)


@dataclass(frozen=True)
class _Ellipses:
    """The lens galaxy with given ellipses, and its Gaussians, solved for with given weights."""

    values: Tensor
    tolerance: Tensor
    gaussians: MultiGaussian
    linear: LinearFit
    residual: Tensor

    @classmethod
    def solved(cls, observation: Observation, values: Tensor, tolerance: Tensor) -> _Ellipses:
        at_x, at_y, *eta = values[[INDEX[name] for name in LIGHT]]
        gaussians = MultiGaussian.at(
            observation.x - at_x, observation.y - at_y, torch.stack(eta).reshape(-1, 2), WIDTHS,
            torch.float32,
        )  # fmt: skip
        columns = observation.see(gaussians.columns())
        sky, data = observation.weights[None], observation.data
        no_prior = torch.zeros(1, dtype=torch.float64)
        linear = solve(torch.cat([sky, columns]) * tolerance, no_prior, data * tolerance)
        residual = data - linear.positive @ columns - linear.free @ sky
        return cls(values, tolerance, gaussians, linear, residual)

    @property
    def misfit(self) -> float:
        """Misfit of the residual, plus the prior of round ellipses."""
        beyond = self.residual.clamp_min(TOLERATED) / TOLERATED
        squares = self.residual.clamp_max(TOLERATED).square() * (1 + 2 * beyond.log())
        eta = self.values[[INDEX[name] for name in LIGHT[2:]]]
        return float(squares.sum() + ROUNDNESS * eta.square().sum())

    def step(self, observation: Observation, damping: float) -> Tensor:
        """Change of the parameters of `LIGHT` by a step of damped least squares."""
        tangents = observation.see(self.gaussians.tangents(self.linear.positive)) * self.tolerance
        gradient = tangents @ self.linear.residual
        information = self.linear.information(tangents)
        # Two sets of ellipses with the same shape have no separate derivatives.
        information += torch.diag(information.diagonal() * damping + ROUNDNESS)
        gradient[2:] -= ROUNDNESS * self.values[[INDEX[name] for name in LIGHT[2:]]]
        move: Tensor = torch.linalg.solve(information, gradient)
        return move.clamp(-0.15, 0.15)


def _brightest(observation: Observation) -> tuple[float, float]:
    """Centroid of the light within 0.3 arcsec of the brightest smoothed pixel near the middle."""
    x, y = observation.x, observation.y
    near = (x.square() + y.square() < FARTHEST**2) & observation.usable
    smooth = torch.nn.functional.avg_pool2d(observation.pixels[None, None], 3, 1, 1)[0, 0]
    peak = int(torch.where(near, smooth, smooth.min() - 1).argmax())
    at_x, at_y = float(x.flatten()[peak]), float(y.flatten()[peak])
    close = ((x - at_x).square() + (y - at_y).square() < 0.3**2) & observation.usable
    light = torch.where(close, observation.pixels.clamp_min(0), 0.0)
    total = light.sum().clamp_min(1e-30)
    return float((light * x).sum() / total), float((light * y).sum() / total)


def _mean_eta(values: Tensor, linear: LinearFit) -> tuple[float, float]:
    flux = linear.positive.reshape(2, -1).clone()
    flux[:, WIDTHS > 1.5] = 0
    share = flux.sum(dim=1) / flux.sum().clamp_min(1e-30)
    eta = values[[INDEX[name] for name in LIGHT[2:]]].reshape(2, 2)
    mean = (share[:, None] * eta).sum(dim=0)
    return float(mean[0]), float(mean[1])


@dataclass(frozen=True)
class Trial:
    """One tried halo, and how well blobs behind it describe the image.

    Attributes
    ----------
    einstein_radius : float
        Arcsec.
    eta : (float, float)
    misfit : float
        chi2 with the best blobs.
    source_x, source_y, source_scale : float
        Of the blobs' light, arcsec from the lens's centre.
    """

    einstein_radius: float
    eta: tuple[float, float]
    misfit: float
    source_x: float
    source_y: float
    source_scale: float


def scan(
    observation: Observation, light: LensLight, radii: Tensor, eta: tuple[float, float]
) -> list[Trial]:
    """Try halos of many Einstein radii, in the order of `radii`.

    Parameters
    ----------
    observation : Observation
    light : LensLight
        Of the same observation.
    radii : Tensor
        Arcsec.
    eta : (float, float)
        Ellipticity of the halos.
    """
    coarse = _Coarse(observation, light)
    return [coarse.trial(radius, eta) for radius in radii.tolist()]


class _Coarse:
    """Pixels binned two by two, and the columns of the lens galaxy on them."""

    def __init__(self, observation: Observation, light: LensLight) -> None:
        rows, columns = (length // 2 * 2 for length in observation.pixels.shape)

        def binned(image: Tensor) -> Tensor:
            cut = image[..., :rows, :columns]
            summed: Tensor = cut.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).sum(dim=(-1, -3))
            return summed

        information = observation.weight.square()
        total = binned(information)
        usable = torch.nonzero(total.flatten() > 0)[:, 0]
        norm = total.flatten()[usable].rsqrt()

        def whitened(image: Tensor) -> Tensor:
            return binned(image * information).flatten(-2)[..., usable] * norm

        x0, y0 = (float(light.values[INDEX[name]]) for name in LIGHT[:2])
        self.x = (binned(observation.x) / 4).flatten()[usable] - x0
        self.y = (binned(observation.y) / 4).flatten()[usable] - y0
        self.weight = total.flatten()[usable].sqrt()
        self.data = whitened(observation.pixels)
        used = light.columns
        self.light = whitened(used)
        self.sky = whitened(torch.ones_like(observation.pixels))[None]

    def trial(self, radius: float, eta: tuple[float, float]) -> Trial:
        """Solve for the best blobs behind one halo."""
        eta_1, eta_2, slope = (torch.tensor([[v]], dtype=torch.float64) for v in (*eta, 2.0))
        x, y = self.x[None] / radius, self.y[None] / radius
        ax, ay = power_law(x, y, eta_1, eta_2, slope)
        bx, by = (radius * (x - ax))[0], (radius * (y - ay))[0]
        half = math.ceil(SOURCE_REACH / BLOB_SPACING)
        line = torch.arange(-half, half + 1, dtype=torch.float64) * BLOB_SPACING
        near_x, near_y = (
            # Processors are slow with numbers below 1e-308, which products would be.
            torch.exp(((b - line[:, None]) / BLOB_WIDTH).square().clamp_max(300) / -2)
            for b in (bx, by)
        )
        blobs = (near_x[:, None] * near_y[None]).flatten(0, 1) * self.weight
        visible = blobs.square().sum(dim=1) > 1e-3 * self.weight.square().mean()
        lit = torch.nonzero(visible)[:, 0]
        blobs = blobs[lit]
        no_prior = torch.zeros(1, dtype=torch.float64)
        linear = solve(torch.cat([self.sky, self.light, blobs]), no_prior, self.data)
        amplitudes = linear.positive[len(self.light) :]
        grid_x = line[:, None].expand(-1, len(line)).flatten()[lit]
        grid_y = line[None].expand(len(line), -1).flatten()[lit]
        total = amplitudes.sum().clamp_min(1e-30)
        mean_x, mean_y = (amplitudes * grid_x).sum() / total, (amplitudes * grid_y).sum() / total
        spread = (amplitudes * ((grid_x - mean_x) ** 2 + (grid_y - mean_y) ** 2)).sum() / total
        scale = math.sqrt(float(spread) / 2 + BLOB_WIDTH**2)
        return Trial(radius, eta, linear.chi2, float(mean_x), float(mean_y), scale)
