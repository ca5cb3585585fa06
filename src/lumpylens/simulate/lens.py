"""One lens drawn from a population: its true numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from lumpylens.physics.parameters import pack
from lumpylens.simulate.populations import Population, Range
from lumpylens.simulate.substructure import Perturber, Substructure

__all__ = ["Lens", "draw_lens"]


@dataclass(frozen=True)
class Lens:
    """True numbers of one lens; lengths in pixels, angles in degrees from x towards y.

    Attributes
    ----------
    einstein_radius_px : float
        Of the smooth lens that was drawn.
    halo_einstein_radius_px : float
        Of the halo beside its perturbers; smaller where they are compensated.
    shear, shear_angle_deg : float
    mass_axis_ratio, mass_angle_deg : float
    source_x_px, source_y_px : float
    source_axis_ratio, source_angle_deg, source_radius_px, source_index : float
    source_brightness : float
        At the effective radius.
    lens_light_axis_ratio, lens_light_angle_deg, lens_light_radius_px : float
    lens_light_index, lens_light_brightness : float
    psf_sigma_px : float
    noise : float
        Standard deviation of the Gaussian noise, in the unit of the brightnesses.
    perturbers : tuple of Perturber
    """

    einstein_radius_px: float
    halo_einstein_radius_px: float
    shear: float
    shear_angle_deg: float
    mass_axis_ratio: float
    mass_angle_deg: float
    source_x_px: float
    source_y_px: float
    source_axis_ratio: float
    source_angle_deg: float
    source_radius_px: float
    source_index: float
    source_brightness: float
    lens_light_axis_ratio: float
    lens_light_angle_deg: float
    lens_light_radius_px: float
    lens_light_index: float
    lens_light_brightness: float
    psf_sigma_px: float
    noise: float
    perturbers: tuple[Perturber, ...] = ()

    def parameters(self) -> Tensor:
        """As a vector of `lumpylens.physics.parameters`, shape (1, COUNT)."""
        shear_1, shear_2 = _twice(self.shear, self.shear_angle_deg)
        source = _twice(-math.log(self.source_axis_ratio), self.source_angle_deg)
        light = _twice(-math.log(self.lens_light_axis_ratio), self.lens_light_angle_deg)
        mass = _twice(-math.log(self.mass_axis_ratio), self.mass_angle_deg)
        return pack(
            log_einstein_radius_px=math.log(self.halo_einstein_radius_px),
            shear_1=shear_1,
            shear_2=shear_2,
            source_x=self.source_x_px / self.halo_einstein_radius_px,
            source_y=self.source_y_px / self.halo_einstein_radius_px,
            source_eta_1=source[0],
            source_eta_2=source[1],
            lens_light_eta_1=light[0],
            lens_light_eta_2=light[1],
            mass_eta_1=mass[0],
            mass_eta_2=mass[1],
            log_source_radius_px=math.log(self.source_radius_px),
            log_source_index=math.log(self.source_index),
            log_lens_light_radius_px=math.log(self.lens_light_radius_px),
            log_lens_light_index=math.log(self.lens_light_index),
            log_psf_sigma_px=math.log(self.psf_sigma_px),
        )


def _twice(size: float, angle_deg: float) -> tuple[float, float]:
    angle = 2 * math.radians(angle_deg)
    return size * math.cos(angle), size * math.sin(angle)


def draw_lens(population: Population, random: np.random.Generator) -> Lens:
    """Draw a smooth lens."""

    def between(limits: Range) -> float:
        return float(random.uniform(*limits))

    spread = population.einstein_radius_spread
    deviate = random.standard_normal()
    while abs(deviate) > 3:
        deviate = random.standard_normal()
    radius = population.einstein_radius_px * (1 + spread * deviate)
    offset, azimuth = radius * between(population.source_offset), random.uniform(0, 2 * math.pi)
    return Lens(
        einstein_radius_px=radius,
        halo_einstein_radius_px=radius,
        shear=between(population.shear),
        shear_angle_deg=between(population.position_angle_deg),
        mass_axis_ratio=between(population.mass_axis_ratio),
        mass_angle_deg=between(population.position_angle_deg),
        source_x_px=offset * math.cos(azimuth),
        source_y_px=offset * math.sin(azimuth),
        source_axis_ratio=between(population.source_axis_ratio),
        source_angle_deg=between(population.position_angle_deg),
        source_radius_px=between(population.source_radius_px),
        source_index=population.source_index,
        source_brightness=between(population.source_brightness),
        lens_light_axis_ratio=between(population.lens_light_axis_ratio),
        lens_light_angle_deg=between(population.position_angle_deg),
        lens_light_radius_px=between(population.lens_light_radius_px),
        lens_light_index=population.lens_light_index,
        lens_light_brightness=between(population.lens_light_brightness),
        psf_sigma_px=population.psf_sigma_px,
        noise=population.noise * math.exp(population.noise_spread * random.standard_normal()),
    )


def add_substructure(lens: Lens, kind: Substructure, random: np.random.Generator) -> Lens:
    """The same lens with perturbers."""
    halo, perturbers = kind.draw(lens.einstein_radius_px, random)
    return replace(lens, halo_einstein_radius_px=halo, perturbers=perturbers)
