"""Model of one real lens: its parameters, its columns of light, and the derivatives of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumpylens.lenses.observation import Observation
from lumpylens.physics.deflection import external_shear, softened_point
from lumpylens.physics.linear_light import LinearFit, solve
from lumpylens.physics.multi_gaussian import MultiGaussian
from lumpylens.physics.power_law import multipole, power_law
from lumpylens.physics.shapelets import Shapelets, orders

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

SOFTENING_ARCSEC = 0.05
"""Core of a perturber in arcsec: one pixel of the Hubble camera."""

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
        Free columns are the source and the sky.
    light_columns : Tensor, shape (p, n)
        Whitened columns of the lens galaxy.
    gaussians : MultiGaussian
    source : Shapelets
    """

    values: Tensor
    linear: LinearFit
    light_columns: Tensor
    gaussians: MultiGaussian
    source: Shapelets

    def __getitem__(self, name: str) -> float:
        return float(self.values[INDEX[name]])

    @property
    def source_light(self) -> Tensor:
        """Unblurred source light (h, w)."""
        return self.source.sum(self.linear.free[:-1])

    @property
    def source_gradient(self) -> tuple[Tensor, Tensor]:
        """Gradient (h, w) of the unblurred source where each ray ends."""
        return self.source.gradient(self.linear.free[:-1])


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
        """Positions relative to the source at which the rays end, shape (..., h, w).

        Parameters
        ----------
        values : Tensor, shape (..., len(NAMES))
        """
        p = {name: values[..., i, None, None] for name, i in INDEX.items()}
        x, y = self.observation.x - p["centre_x"], self.observation.y - p["centre_y"]
        radius = torch.exp(p["log_einstein_radius"])
        ax, ay = power_law(x / radius, y / radius, p["eta_1"], p["eta_2"], p["slope"])
        for order in (3, 4):
            cosine, sine = p[f"m{order}_cosine"], p[f"m{order}_sine"]
            if cosine.any() or sine.any():
                mx, my = multipole(x, y, cosine, sine, order)
                ax, ay = ax + mx, ay + my
        gx, gy = external_shear(x, y, p["shear_1"], p["shear_2"])
        bx, by = x - radius * ax - gx, y - radius * ay - gy
        if p["perturber_strength"].any():
            px, py = self.perturber(p["perturber_x"], p["perturber_y"])
            bx = bx - p["perturber_strength"] * px
            by = by - p["perturber_strength"] * py
        return (bx + p["centre_x"] - p["source_x"], by + p["centre_y"] - p["source_y"])

    def perturber(self, at_x: Tensor, at_y: Tensor) -> tuple[Tensor, Tensor]:
        """Deflection of a perturber with an Einstein radius of 1 arcsec."""
        grid = self.observation
        return softened_point(grid.x - at_x, grid.y - at_y, SOFTENING_ARCSEC)

    def lens(self, values: Tensor, earlier: SolvedLens | None = None) -> SolvedLens:
        """Solve for the light of a lens with the given parameters.

        Parameters
        ----------
        values : Tensor, shape (len(NAMES),)
        earlier : SolvedLens, optional
            Its columns of lens light are used again if that light has the same shape.
        """
        observation = self.observation
        light = [INDEX[name] for name in LIGHT]
        if earlier is not None and torch.equal(earlier.values[light], values[light]):
            gaussians, light_columns = earlier.gaussians, earlier.light_columns
        else:
            at_x, at_y, *eta = values[light]
            ellipses = torch.stack(eta).reshape(-1, 2)
            gaussians = MultiGaussian.at(
                observation.x - at_x, observation.y - at_y, ellipses, WIDTHS
            )
            light_columns = observation.see(gaussians.columns())
        x, y = self.rays(values)
        scale = math.exp(float(values[INDEX["log_source_scale"]]))
        source = Shapelets.at(x, y, scale, self.largest_order)
        free = torch.cat([observation.see(source.columns()), observation.weights[None]])
        precision = torch.zeros(len(free), dtype=torch.float64)
        precision[:-1] = self.source_precision * roughness(self.largest_order)
        linear = solve(free, precision, light_columns, observation.data)
        return SolvedLens(values, linear, light_columns, gaussians, source)

    def source_seen_by(self, values: Tensor, lens: SolvedLens) -> Tensor:
        """Unblurred light (h, w) of a lens's source, with rays traced for other parameters."""
        scale = math.exp(lens["log_source_scale"])
        source = Shapelets.at(*self.rays(values), scale, self.largest_order)
        return source.sum(lens.linear.free[:-1])

    def tangents(self, lens: SolvedLens, names: Sequence[str]) -> Tensor:
        """Whitened derivatives (k, n) of the model with respect to the named parameters."""
        tangents = dict.fromkeys(names, torch.empty(0))
        gx, gy = lens.source_gradient
        moved = [name for name in names if name in MASS + PERTURBER[:2]]
        if moved:
            # The deflection alone is differenced, in double precision: exact to 1e-7.
            step = 1e-6
            changed = lens.values.repeat(len(moved) + 1, 1)
            for row, name in enumerate(moved):
                changed[row, INDEX[name]] += step
            x, y = self.rays(changed)
            for row, name in enumerate(moved):
                tangents[name] = (gx * (x[row] - x[-1]) + gy * (y[row] - y[-1])) / step
        self._linear_tangents(lens, tangents, gx, gy)
        if any(name in LIGHT for name in names):
            rows = lens.gaussians.tangents(lens.linear.positive)
            for name, row in zip(LIGHT, rows, strict=True):
                if name in tangents:
                    tangents[name] = row
        return self.observation.see(torch.stack([tangents[name] for name in names]))

    def _linear_tangents(
        self, lens: SolvedLens, tangents: dict[str, Tensor], gx: Tensor, gy: Tensor
    ) -> None:
        """Fill in the derivatives with respect to parameters that the rays depend on linearly."""
        grid = self.observation
        x, y = grid.x - lens["centre_x"], grid.y - lens["centre_y"]
        radius = math.exp(lens["log_einstein_radius"])
        unit, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for name in MULTIPOLES:
            if name in tangents:
                parts = (unit, zero) if name.endswith("cosine") else (zero, unit)
                ax, ay = multipole(x, y, *parts, int(name[1]))
                tangents[name] = -radius * (gx * ax + gy * ay)
        if "source_x" in tangents:
            tangents["source_x"], tangents["source_y"] = -gx, -gy
        if "log_source_scale" in tangents:
            bx, by = self.rays(lens.values)
            tangents["log_source_scale"] = -(gx * bx + gy * by) - lens.source_light
        if "perturber_strength" in tangents:
            values = [torch.tensor(lens[name], dtype=torch.float64) for name in PERTURBER[:2]]
            ax, ay = self.perturber(*values)
            tangents["perturber_strength"] = -(gx * ax + gy * ay)
