"""`simulate`: a population to a collection of images, each with a seed of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from astropy import units
from astropy.table import Table

from lumpylens.data.cutout import ANOMALOUS, NORMAL, LensImage
from lumpylens.data.images import LensImages
from lumpylens.errors import DataError
from lumpylens.physics.batches import unsplit
from lumpylens.progress import counted
from lumpylens.simulate.camera import photograph
from lumpylens.simulate.lens import Lens, add_substructure, draw_lens
from lumpylens.simulate.populations import Population, population
from lumpylens.simulate.substructure import Substructure
from lumpylens.simulate.substructure import substructure as substructure_of

__all__ = ["Simulation", "simulate", "simulate_with_truth"]

MACRO, LUMPS, NOISE = range(3)
"""Streams of random numbers of one image: the smooth lens does not depend on the others."""


@dataclass(frozen=True, eq=False)
class SimulatedSource:
    """Simulated images in memory."""

    images: Sequence[LensImage]
    ids: Sequence[str]
    labels: Sequence[int]
    location: str

    def load(self, position: int) -> LensImage:
        """One image."""
        return self.images[position]


@dataclass(frozen=True, eq=False)
class Simulation:
    """Images and what they are images of.

    Attributes
    ----------
    images : LensImages
    lenses : tuple of Lens
        True numbers, in the same order.
    """

    images: LensImages
    lenses: tuple[Lens, ...]

    def table(self) -> Table:
        """One row of true numbers per image.

        Perturbers are columns of shape (n, k), padded with masses of Einstein radius 0.
        """
        names = [field.name for field in fields(Lens) if field.name != "perturbers"]
        rows = Table({name: [getattr(lens, name) for lens in self.lenses] for name in names})
        rows.add_column(self.images.ids, name="id", index=0)
        rows.add_column(self.images.labels, name="label", index=1)
        most = max((len(lens.perturbers) for lens in self.lenses), default=0)
        lumps = np.zeros((len(self.lenses), most, 3))
        for row, lens in zip(lumps, self.lenses, strict=True):
            for k, one in enumerate(lens.perturbers):
                row[k] = one.x_px, one.y_px, one.einstein_radius_px
        for k, name in enumerate(("x_px", "y_px", "einstein_radius_px")):
            rows[f"perturber_{name}"] = lumps[:, :, k]
        for name in rows.colnames:
            if name.endswith("_px"):
                rows[name].unit = units.pix
            elif name.endswith("_deg"):
                rows[name].unit = units.deg
        return rows


def simulate(
    preset: str | Population = "slc",
    n: int = 300,
    *,
    seed: int = 0,
    substructure: str | Substructure | None = None,
    indices: Sequence[int] | None = None,
    progress: bool = False,
) -> LensImages:
    """Simulate images of lenses.

    Every image is a pure function of population, substructure, `seed` and its index, so any of
    them can be made again alone. The smooth part of a lens does not depend on `substructure`:
    two calls that differ in nothing else give the same lenses with and without it.

    Parameters
    ----------
    preset : str or Population
        ``slc`` (the challenge), ``wide`` (linear brightness, any orientation and mass), or
        your own.
    n : int
        Number of images; their indices are 0 to n - 1.
    seed : int
        Not negative.
    substructure : str or Substructure, optional
        ``points`` (25 point masses, as in the challenge), ``points-compensated`` (the halo gives
        up their mass), ``one`` (a single perturber), or your own. None is a smooth lens.
    indices : sequence of int, optional
        Make these instead of 0 to n - 1.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    LensImages
        Labels are 0 without and 1 with substructure; ids are ``population-seed-index``.

    Raises
    ------
    DataError
        If there is no population or substructure of that name, with the nearest name, or if a
        number is out of range.

    Examples
    --------
    >>> images = simulate("slc", 2, seed=7)
    >>> images.ids, images[0].image.shape, images[0].stretched
    (['slc-7-0', 'slc-7-1'], (150, 150), True)
    >>> again = simulate("slc", seed=7, indices=[1])
    >>> bool((again[0].image == images[1].image).all())
    True
    """
    return simulate_with_truth(
        preset, n, seed=seed, substructure=substructure, indices=indices, progress=progress
    ).images


def simulate_with_truth(
    preset: str | Population = "slc",
    n: int = 300,
    *,
    seed: int = 0,
    substructure: str | Substructure | None = None,
    indices: Sequence[int] | None = None,
    progress: bool = False,
) -> Simulation:
    """As `simulate`, with the true numbers of every lens.

    Examples
    --------
    >>> made = simulate_with_truth("wide", 3, substructure="one")
    >>> made.table()["perturber_einstein_radius_px"].shape
    (3, 1)
    """
    chosen = population(preset)
    lumps = None if substructure is None else substructure_of(substructure)
    wanted = _checked_indices(n, indices)
    if seed < 0:
        raise DataError(f"a seed is not negative, got {seed}")
    label = NORMAL if lumps is None else ANOMALOUS
    names = [f"{chosen.name}-{seed}-{index}" for index in wanted]
    lenses, images = [], []
    with unsplit(), counted("simulating", len(wanted), show=progress) as on_image:
        for name, index in zip(names, wanted, strict=True):
            lens = draw_lens(chosen, np.random.default_rng((seed, index, MACRO)))
            if lumps is not None:
                lens = add_substructure(lens, lumps, np.random.default_rng((seed, index, LUMPS)))
            noise = np.random.default_rng((seed, index, NOISE))
            images.append(photograph(lens, chosen, name, label, noise))
            lenses.append(lens)
            on_image()
    source = SimulatedSource(images, names, [label] * len(images), f"simulated {chosen.name}")
    return Simulation(LensImages.from_source(source), tuple(lenses))


def _checked_indices(n: int, indices: Sequence[int] | None) -> list[int]:
    if indices is None:
        if n < 1:
            raise DataError(f"at least one image, please: n is {n}")
        return list(range(n))
    if not len(indices) or min(indices) < 0:
        raise DataError("indices are a non-empty list of numbers that are not negative")
    return [int(index) for index in indices]
