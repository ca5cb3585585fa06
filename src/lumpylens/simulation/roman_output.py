"""Simulated images in the layout of the Roman Data Challenge: see `data.readers.roman`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.image import NORMAL
from lumpylens.simulation.distributions import largest, smallest
from lumpylens.simulation.lens import Lens
from lumpylens.simulation.populations import Population
from lumpylens.simulation.recipe import Recipe

__all__ = ["system_name", "write_challenge"]

DETECTOR = {
    "detector": ("1", "Detector"),
    "detector_position_x": ("2048", "Detector X position"),
    "detector_position_y": ("2048", "Detector Y position"),
}
"""Where all lenses are: in the middle of the first detector."""


def system_name(index: int) -> str:
    """Name of the group of one lens."""
    return f"strong_lens_{index:08d}"


def write_challenge(
    systems: Iterable[tuple[int, NDArray[np.float32], NDArray[np.float32]]],
    recipe: Recipe,
    path: Path,
) -> None:
    """Write a labelled file of the challenge with one band.

    It has no noise maps, and a point-spread function, on the pixels of the images, only if all
    lenses have the same one.

    Parameters
    ----------
    systems : iterable of (int, ndarray of shape (H, W), ndarray of shape (h, w))
        Index, pixels and point-spread function of each lens.
    recipe : Recipe
    path : Path
    """
    import h5py

    population = recipe.population
    band = population.band or population.name
    one_psf = smallest(population.psf_sigma_px) == largest(population.psf_sigma_px)
    with h5py.File(path, "w") as file:
        images = file.create_group("images")
        for index, pixels, psf in systems:
            system = images.create_group(system_name(index))
            lens = recipe.lens(index)
            _describe(system, of_system(recipe, index, lens))
            name = f"exposure_{index:08d}_{band}"
            exposure = system.create_dataset(name, data=pixels)
            _describe(exposure, of_exposure(population, lens, band, len(pixels)))
            if one_psf and "psfs" not in file:
                place = f"psfs/sca01/psf_{band}_1_2048_2048_1_{len(psf)}"
                kernel = file.create_dataset(place, data=psf)
                _describe(kernel, {**DETECTOR, "oversample": ("1", "Pixels per image pixel")})


def of_system(recipe: Recipe, index: int, lens: Lens) -> dict[str, tuple[str, str]]:
    """Attributes of a lens: value and meaning."""
    scale = recipe.population.pixel_scale_arcsec
    values = {"uid": (f"{index:08d}", "Unique identifier"), **DETECTOR}
    for name, redshift in (("z_lens", lens.lens_redshift), ("z_source", lens.source_redshift)):
        if not math.isnan(redshift):
            values[name] = (str(redshift), "Redshift")
    if scale is not None:
        values["theta_e"] = (str(lens.einstein_radius_px * scale), "Einstein radius [arcsec]")
    values["substructure"] = (str(recipe.label != NORMAL), "Is substructure present in this lens?")
    return values


def of_exposure(
    population: Population, lens: Lens, band: str, size: int
) -> dict[str, tuple[str, str]]:
    """Attributes of an exposure: value and meaning."""
    values = {"filter": (band, "Filter")}
    if population.zero_point is not None:
        values["units"] = ("electron/s", "Units of pixel values")
    if not math.isnan(lens.photons):
        values["exposure_time"] = (str(lens.photons), "Exposure time [seconds]")
    if (scale := population.pixel_scale_arcsec) is not None:
        values["pixel_scale"] = (str(scale), "Pixel scale [arcsec/pixel]")
        values["fov"] = (str(round(scale * size, 2)), "Field of view [arcsec]")
    return values


def _describe(holder: Any, values: Mapping[str, tuple[str, str]]) -> None:
    for name, pair in values.items():
        holder.attrs[name] = pair
