"""Model of one real lens: its parameters, its columns of light, and the derivatives of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.lenses.central_mass import CentralMass
from lumpylens.lenses.compact_mass import (
    CompactMass,
    Place,
    PointMass,
    deflection,
    light_changes,
)
from lumpylens.lenses.luminous_companion import LuminousCompanion
from lumpylens.lenses.observation import Observation
from lumpylens.physics.compiled.rays import ray_tangents, trace
from lumpylens.physics.compiled.shapelets import shapelet_columns, shapelet_light
from lumpylens.physics.linear_light import LinearFit, solve
from lumpylens.physics.multi_gaussian import MultiGaussian
from lumpylens.physics.rays import RAYS
from lumpylens.physics.shapelets import orders

__all__ = [
    "ALL",
    "COMPANION",
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

CENTRE = ("centre_x", "centre_y")
HALO = ("log_einstein_radius", "eta_1", "eta_2", "slope", *CENTRE)
SHEAR = ("shear_1", "shear_2")
MASS = HALO + SHEAR
MULTIPOLES = ("m3_cosine", "m3_sine", "m4_cosine", "m4_sine")
SOURCE = ("source_x", "source_y", "log_source_scale")
LIGHT = ("light_x", "light_y", "light_eta_1", "light_eta_2", "light_eta_3", "light_eta_4")
PERTURBER = ("perturber_x", "perturber_y", "perturber_strength")
COMPANION = ("companion_x", "companion_y", "companion_strength")
"""Place of the light and mass of a galaxy beside the lens, and its squared Einstein radius."""

ALL = MASS + SOURCE + LIGHT
"""Parameters that are free in a smooth lens without multipoles."""

STARS = ("stellar_fraction", "log_scale_radius", "mass_to_light_slope")
BREAK = ("inner_slope", "log_break_radius")
"""Parameters that only masses that compete with the power law have."""

NAMES = MASS + MULTIPOLES + SOURCE + LIGHT + PERTURBER + COMPANION + STARS + BREAK
INDEX = {name: position for position, name in enumerate(NAMES)}
MOVING = [INDEX[name] for name in RAYS]

POINT = PointMass()

NO_POWER_LAW = -300.0
"""Logarithm of an Einstein radius that deflects nothing."""

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
        Free columns are the source and the sky; the others are the lens galaxy, and a companion.
    gaussians : MultiGaussian
    rays : (Tensor, Tensor)
        Positions relative to the source at which the rays end, shape (h, w).
    largest_order : int
        Of the source's shapelets.
    companion_gaussians : MultiGaussian or None
        Light of a companion; its amplitudes come after those of the lens galaxy.
    """

    values: Tensor
    linear: LinearFit
    gaussians: MultiGaussian
    rays: tuple[Tensor, Tensor]
    largest_order: int
    companion_gaussians: MultiGaussian | None = None

    def __getitem__(self, name: str) -> float:
        return float(self.values[INDEX[name]])

    @property
    def galaxy_amplitudes(self) -> Tensor:
        """Amplitudes of the lens galaxy's Gaussians, shape (sets * widths,)."""
        return self.linear.positive[: self.gaussians.values[:, :, 0, 0].numel()]

    @property
    def residual_scatter(self) -> float:
        """Robust standard deviation of the whitened residual."""
        return 1.4826 * float(self.linear.residual.abs().median())

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
    companion : LuminousCompanion or None
        Galaxy beside the lens, whose light is part of the image.
    always_free : tuple of str
        Parameters that every fit of this model varies besides its own: those of the companion.
    perturber : CompactMass
        Profile of the perturber; a companion is a point mass.
    mass : CentralMass or None
        Mass of the lens galaxy instead of a power law. It has no multipoles.
    """

    observation: Observation
    largest_order: int = 4
    source_precision: float = 1e-6
    companion: LuminousCompanion | None = None
    always_free: tuple[str, ...] = ()
    perturber: CompactMass = POINT
    mass: CentralMass | None = None

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
        pixels = grid.x.numpy(), grid.y.numpy()
        x, y = trace(*pixels, self._traced(values))
        if self.mass is not None:
            bent_x, bent_y = self.mass.deflection(_numbers(values, self.mass.names))
            x -= bent_x
            y -= bent_y
        for mass, names in self._own_masses():
            place = _place(values, names)
            if place.strength > 0:
                bent_x, bent_y = deflection(mass, pixels, place)
                x -= bent_x
                y -= bent_y
        at_x, at_y = (float(values[INDEX[name]]) for name in ("source_x", "source_y"))
        return torch.from_numpy(x).sub_(at_x), torch.from_numpy(y).sub_(at_y)

    def lens(self, values: Tensor, earlier: SolvedLens | None = None) -> SolvedLens:
        """Solve for the light of a lens with the given parameters.

        Parameters
        ----------
        values : Tensor, shape (len(NAMES),)
        earlier : SolvedLens, optional
            Of the same observation and companion. Its columns of light are used again if that
            light has the same shape.
        """
        observation = self.observation
        x, y = self.rays(values)
        scale = math.exp(float(values[INDEX["log_source_scale"]]))
        shapelets = shapelet_columns(x.numpy(), y.numpy(), scale, self.largest_order)
        light = [INDEX[name] for name in (*LIGHT, *COMPANION[:2])]
        if earlier is not None and torch.equal(earlier.values[light], values[light]):
            gaussians, beside = earlier.gaussians, earlier.companion_gaussians
            light_columns = earlier.linear.columns[len(earlier.linear.free) :]
        else:
            at_x, at_y, *eta, beside_x, beside_y = values[light]
            ellipses = torch.stack(eta).reshape(-1, 2)
            gaussians = MultiGaussian.at(
                observation.x - at_x, observation.y - at_y, ellipses, WIDTHS, torch.float32
            )
            seen, beside = gaussians.columns(), None
            if self.companion is not None:
                away = observation.x - beside_x, observation.y - beside_y
                beside = self.companion.gaussians(*away)
                seen = torch.cat([seen, beside.columns()])
            light_columns = observation.see(seen)
        count = len(shapelets)
        columns = torch.empty(count + 1 + len(light_columns), len(observation), dtype=torch.float64)
        observation.see_into(columns[:count], torch.from_numpy(shapelets))
        columns[count] = observation.weights
        columns[count + 1 :] = light_columns
        precision = torch.zeros(count + 1, dtype=torch.float64)
        precision[:count] = self.source_precision * roughness(self.largest_order)
        linear = solve(columns, precision, observation.data)
        return SolvedLens(values, linear, gaussians, (x, y), self.largest_order, beside)

    def tangents(self, lens: SolvedLens, names: Sequence[str]) -> Tensor:
        """Whitened derivatives (k, n) of the model with respect to the named parameters."""
        light, gx, gy = lens.source_seen_by(lens.rays)
        tangents = self.moved(lens.values, (gx.numpy(), gy.numpy()), names)
        tangents["source_x"], tangents["source_y"] = -gx, -gy
        x, y = lens.rays
        tangents["log_source_scale"] = -(gx * x + gy * y) - light
        if any(name in LIGHT for name in names):
            rows = lens.gaussians.tangents(lens.galaxy_amplitudes)
            tangents |= zip(LIGHT, rows, strict=True)
        if lens.companion_gaussians is not None:
            amplitudes = lens.linear.positive[len(lens.galaxy_amplitudes) :]
            shifts = lens.companion_gaussians.tangents(amplitudes)
            for name, shift in zip(COMPANION, shifts[:2], strict=False):
                tangents[name] = tangents.get(name, 0.0) + shift
        return self.observation.see(torch.stack([tangents[name].float() for name in names]))

    def moved(
        self,
        values: Tensor,
        gradient: tuple[NDArray[np.float64], NDArray[np.float64]],
        names: Sequence[str],
    ) -> dict[str, Tensor]:
        """Change of the brightness where each ray ends, by every parameter that moves rays.

        Parameters
        ----------
        values : Tensor, shape (len(NAMES),)
        gradient : pair of ndarray, shape (h, w)
            Of the source's brightness where each ray ends, along x and y.
        names : sequence of str
            Parameters that are wanted; those of a companion are missing if none is.

        Returns
        -------
        dict of str to Tensor of shape (h, w)
        """
        grid = self.observation.x.numpy(), self.observation.y.numpy()
        changes = torch.from_numpy(ray_tangents(*grid, self._traced(values), gradient))
        moved = dict(zip(RAYS, changes, strict=True))
        if self.mass is not None:
            of_mass = self.mass.light_changes(_numbers(values, self.mass.names), gradient)
            for name, change in of_mass.items():
                # The shear has the centre of the mass.
                of_shear = moved[name] if name in CENTRE else 0.0
                moved[name] = of_shear + torch.from_numpy(change)
        for mass, parameters in self._own_masses():
            if any(name in parameters for name in names):
                rows = light_changes(mass, grid, gradient, _place(values, parameters))
                moved |= zip(parameters, map(torch.from_numpy, rows), strict=True)
        return moved

    def _own_masses(self) -> list[tuple[CompactMass, tuple[str, ...]]]:
        """Masses that `trace` does not know, and the names of their parameters."""
        masses: list[tuple[CompactMass, tuple[str, ...]]] = [(PointMass(), COMPANION)]
        if not isinstance(self.perturber, PointMass):
            masses.append((self.perturber, PERTURBER))
        return masses

    def _traced(self, values: Tensor) -> NDArray[np.float64]:
        """Parameters for `trace`, whose perturber is a point, and whose mass is a power law."""
        numbers: NDArray[np.float64] = values[MOVING].numpy()
        if self.mass is not None:
            numbers[RAYS.index("log_einstein_radius")] = NO_POWER_LAW
        if not isinstance(self.perturber, PointMass):
            numbers[RAYS.index("perturber_strength")] = 0.0
        return numbers


def _place(values: Tensor, names: Sequence[str]) -> Place:
    return Place(*_numbers(values, names))


def _numbers(values: Tensor, names: Sequence[str]) -> tuple[float, ...]:
    return tuple(values[[INDEX[name] for name in names]].tolist())
