"""`Recipe`: everything that a process needs to simulate any image of a set from its index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.image import ANOMALOUS, NORMAL, LensImage
from lumpylens.simulation.camera import brightness, brightness_of_many, develop, expose
from lumpylens.simulation.galaxies import shipped_galaxies
from lumpylens.simulation.lens import Lens, add_substructure, draw_lens
from lumpylens.simulation.populations import Population
from lumpylens.simulation.sources import Galaxies, SourceGalaxies
from lumpylens.simulation.substructure import Substructure

__all__ = ["Recipe"]

LENS_STREAM, SUBSTRUCTURE_STREAM, NOISE_STREAM = range(3)
"""Streams of random numbers of one image: the smooth lens does not depend on the other two."""

LENSES_PER_BATCH = 64
"""Lenses rendered at once on a graphics card; more would need more of its memory."""


@dataclass(frozen=True)
class Recipe:
    """Population, substructure and seed: they determine an image for every index.

    Attributes
    ----------
    population : Population
    substructure : Substructure or None
    seed : int
    sources : str or None
        ``sersic``, ``galaxies`` for those that come with the package, or a folder of images of
        galaxies. None: as the population has it.
    device : str
        ``cpu`` renders one lens after the other with compiled loops, anything else batches with
        torch.
    """

    population: Population
    substructure: Substructure | None
    seed: int
    sources: str | None = None
    device: str = "cpu"

    @property
    def label(self) -> int:
        """Label of all images."""
        return NORMAL if self.substructure is None else ANOMALOUS

    def name(self, index: int) -> str:
        """Id of an image."""
        return f"{self.population.name}-{self.seed}-{index}"

    def galaxies(self) -> SourceGalaxies | None:
        """Galaxies to use as sources, if any."""
        kind = self.population.sources if self.sources is None else self.sources
        if kind == "sersic":
            return None
        return shipped_galaxies() if kind == "galaxies" else _galaxies(kind)

    def lens(self, index: int) -> Lens:
        """True numbers of one image."""
        random = np.random.default_rng((self.seed, index, LENS_STREAM))
        lens = draw_lens(self.population, random, self.galaxies())
        if self.substructure is not None:
            random = np.random.default_rng((self.seed, index, SUBSTRUCTURE_STREAM))
            lens = add_substructure(lens, self.substructure, random)
        return lens

    def exposures(self, indices: Iterable[int]) -> Iterator[tuple[int, Lens, NDArray[np.float32]]]:
        """Index, lens, and image with noise, as the camera reads it out."""
        camera = self.population
        size, samples, pitch = camera.size_px, camera.samples, camera.cusp_pitch
        wanted = list(indices)
        batch = 1 if self.device == "cpu" else LENSES_PER_BATCH
        for first in range(0, len(wanted), batch):
            part = wanted[first : first + batch]
            lenses = [self.lens(index) for index in part]
            if self.device == "cpu":
                clean = [brightness(lens, size, samples, self.galaxies(), pitch) for lens in lenses]
            else:
                clean = list(brightness_of_many(lenses, size, samples, self.device, pitch))
            for index, lens, light in zip(part, lenses, clean, strict=True):
                random = np.random.default_rng((self.seed, index, NOISE_STREAM))
                yield index, lens, expose(light, lens, camera, random)

    def images(self, indices: Iterable[int]) -> Iterator[tuple[LensImage, Lens]]:
        """Images as a reader would return them, with their lenses."""
        for index, lens, exposure in self.exposures(indices):
            yield develop(exposure, lens, self.population, self.name(index), self.label), lens


@lru_cache(maxsize=2)
def _galaxies(folder: str) -> Galaxies:
    return Galaxies.open(folder)
