"""Model of one real lens: its parameters, its columns of light, and the derivatives of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumpylens.lenses.observation import Observation
from lumpylens.physics.compiled.rays import ray_tangents, trace
from lumpylens.physics.compiled.shapelets import shapelet_columns, shapelet_light
from lumpylens.physics.linear_light import LinearFit, solve
from lumpylens.physics.multi_gaussian import MultiGaussian
from lumpylens.physics.rays import RAYS
from lumpylens.physics.shapelets import orders

__all__ = [
    "ALL",
    "INDEX",
    "LIGHT",
    "MASS",
    "MULTIPOLES",
    "NAMES",
    "PERTURBER",
    "SHEAR",
    "SOURCE",
    "RealLens",
    "SolvedLens",
    "vector",
]

HALO = ("log_einstein_radius", "eta_1", "eta_2", "slope", "centre_x", "centre_y")
SHEAR = ("shear_1", "shear_2")
MASS = HALO + SHEAR
MULTIPOLES = ("m3_cosine", "m3_sine", "m4_cosine", "m4_sine")
SOURCE = ("source_x", "source_y", "log_source_scale")
LIGHT = ("light_x", "light_y", "light_eta_1", "light_eta_2", "light_eta_3", "light_eta_4")
PERTURBER = ("perturber_x", "perturber_y", "perturber_strength")
ALL = MASS + SOURCE + LIGHT
"""Parameters that are free in a smooth lens without multipoles."""

NAMES = MASS + MULTIPOLES + SOURCE + LIGHT + PERTURBER
INDEX = {name: position for position, name in enumerate(NAMES)}
MOVING = [INDEX[name] for name in RAYS]

STEEPNESS = 2.0
"""Power of the order with which the prior variance of a shapelet falls: a larger one makes sources
smoother, a smaller one lets them fit noise, and perturbers. Not tuned."""

WIDTHS = torch.logspace(math.log10(0.04), math.log10(3.2), 14, dtype=torch.float64)
"""Widths of the lens galaxy's Gaussians, arcsec, from below the pixel of the Hubble camera to
beyond the arcs, in steps of 40 %."""


def vector(**values: float) -> Tensor:
    """Make the parameter vector of a lens, shape (len(NAMES),).

    Parameters that are not given are 0, but the slope is 2 and the source's scale 0.15 arcsec.
    """
    numbers = torch.zeros(len(NAMES), dtype=torch.float64)
    numbers[INDEX["slope"]] = 2.0
    numbers[INDEX["log_source_scale"]] = math.log(0.15)
    for name, value in values.items():
        numbers[INDEX[name]] = value
    return numbers


def roughness(largest_order: int) -> Tensor:
    """Prior precision of each shapelet's coefficient, in units of the first's.

    It rises with the order, since galaxies are concentrated: their power falls with the order.
    """
    total = torch.tensor([sum(pair) for pair in orders(largest_order)], dtype=torch.float64)
    return (1 + total) ** STEEPNESS


@dataclass(frozen=True)
class SolvedLens:
    """A lens with given parameters, whose light was solved for on its image.

    Attributes
    ----------
    values : Tensor, shape (len(NAMES),)
    linear : LinearFit
        Free columns are the source and the sky; the others are the lens galaxy.
    gaussians : MultiGaussian
    rays : (Tensor, Tensor)
        Positions relative to the source at which the rays end, shape (h, w).
    largest_order : int
        Of the source's shapelets.
    """

    values: Tensor
    linear: LinearFit
    gaussians: MultiGaussian
    rays: tuple[Tensor, Tensor]
    largest_order: int

    def __getitem__(self, name: str) -> float:
        return float(self.values[INDEX[name]])

    @property
    def source_light(self) -> Tensor:
        """Unblurred source light (h, w)."""
        return self.source_seen_by(self.rays)[0]

    @property
    def source_gradient(self) -> tuple[Tensor, Tensor]:
        """Gradient (h, w) of the unblurred source where each ray ends."""
        return self.source_seen_by(self.rays)[1:]

    def source_seen_by(self, rays: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Unblurred light (h, w) of the source where rays end, and its gradient along x and y."""
        x, y = rays
        scale = math.exp(self["log_source_scale"])
        amplitudes = self.linear.free[:-1].numpy()
        images = shapelet_light(x.numpy(), y.numpy(), scale, amplitudes, self.largest_order)
        light, gx, gy = (torch.from_numpy(image) for image in images)
        return light, gx, gy


@dataclass(frozen=True)
class RealLens:
    """The observation of a real lens, and the resolution and prior of its source.

    Attributes
    ----------
    observation : Observation
    largest_order : int
        Of the source's shapelets.
    source_precision : float
        Prior precision of the first one's coefficient.
    """

    observation: Observation
    largest_order: int = 4
    source_precision: float = 1e-6

    def with_source(self, largest_order: int) -> RealLens:
        """Change the largest order of the source's shapelets."""
        return replace(self, largest_order=largest_order)

    def rays(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Positions relative to the source at which the rays end, shape (h, w).

        Parameters
        ----------
        values : Tensor, shape (len(NAMES),)
        """
        grid = self.observation
        x, y = trace(grid.x.numpy(), grid.y.numpy(), values[MOVING].numpy())
        at_x, at_y = (float(values[INDEX[name]]) for name in ("source_x", "source_y"))
        return torch.from_numpy(x).sub_(at_x), torch.from_numpy(y).sub_(at_y)

    def lens(self, values: Tensor, earlier: SolvedLens | None = None) -> SolvedLens:
        """Solve for the light of a lens with the given parameters.

        Parameters
        ----------
        values : Tensor, shape (len(NAMES),)
        earlier : SolvedLens, optional
            Of the same observation. Its columns of lens light are used again if that light has
            the same shape.
        """
        observation = self.observation
        x, y = self.rays(values)
        scale = math.exp(float(values[INDEX["log_source_scale"]]))
        shapelets = shapelet_columns(x.numpy(), y.numpy(), scale, self.largest_order)
        light = [INDEX[name] for name in LIGHT]
        if earlier is not None and torch.equal(earlier.values[light], values[light]):
            gaussians = earlier.gaussians
            light_columns = earlier.linear.columns[len(earlier.linear.free) :]
        else:
            at_x, at_y, *eta = values[light]
            ellipses = torch.stack(eta).reshape(-1, 2)
            gaussians = MultiGaussian.at(
                observation.x - at_x, observation.y - at_y, ellipses, WIDTHS, torch.float32
            )
            light_columns = observation.see(gaussians.columns())
        count = len(shapelets)
        columns = torch.empty(count + 1 + len(light_columns), len(observation), dtype=torch.float64)
        observation.see_into(columns[:count], torch.from_numpy(shapelets))
        columns[count] = observation.weights
        columns[count + 1 :] = light_columns
        precision = torch.zeros(count + 1, dtype=torch.float64)
        precision[:count] = self.source_precision * roughness(self.largest_order)
        linear = solve(columns, precision, observation.data)
        return SolvedLens(values, linear, gaussians, (x, y), self.largest_order)

    def tangents(self, lens: SolvedLens, names: Sequence[str]) -> Tensor:
        """Whitened derivatives (k, n) of the model with respect to the named parameters."""
        light, gx, gy = lens.source_seen_by(lens.rays)
        grid, values = self.observation, lens.values[MOVING].numpy()
        moved = ray_tangents(grid.x.numpy(), grid.y.numpy(), values, (gx.numpy(), gy.numpy()))
        tangents = dict(zip(RAYS, torch.from_numpy(moved), strict=True))
        tangents["source_x"], tangents["source_y"] = -gx, -gy
        x, y = lens.rays
        tangents["log_source_scale"] = -(gx * x + gy * y) - light
        if any(name in LIGHT for name in names):
            rows = lens.gaussians.tangents(lens.linear.positive)
            tangents |= zip(LIGHT, rows, strict=True)
        return grid.see(torch.stack([tangents[name].float() for name in names]))
