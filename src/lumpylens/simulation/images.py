"""`simulate`: a collection of images of a population, each with a seed of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lumpylens.data.image import LensImage
from lumpylens.data.images import LensImages
from lumpylens.data.source import CutoutSource
from lumpylens.errors import DataError
from lumpylens.files.processes import in_processes
from lumpylens.files.progress import counted
from lumpylens.physics.batches import unsplit
from lumpylens.simulation.lens import Lens
from lumpylens.simulation.output import check_output, write
from lumpylens.simulation.populations import Population
from lumpylens.simulation.presets import population
from lumpylens.simulation.recipe import Recipe
from lumpylens.simulation.sources import SourceGalaxies
from lumpylens.simulation.substructure import Substructure, substructure_from
from lumpylens.simulation.substructure import substructure as substructure_of
from lumpylens.simulation.truth import truth_table

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Simulation", "simulate", "simulate_with_truth"]

IMAGES_PER_TASK = 25
"""Images that a process simulates at a time: enough that sending them to it costs little, and few
enough that the processes finish together."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """Simulated images and the true numbers of their lenses.

    Attributes
    ----------
    images : LensImages
    lenses : tuple of Lens
        True numbers, in the same order.
    galaxies : SourceGalaxies or None
        Those that were used as sources.
    """

    images: LensImages
    lenses: tuple[Lens, ...]
    galaxies: SourceGalaxies | None = None

    def table(self) -> Table:
        """Table of true numbers, one row per image.

        Perturbers are columns of shape (n, k), padded with masses of Einstein radius 0.
        """
        return truth_table(self.images.ids, self.images.labels.tolist(), self.lenses, self.galaxies)


def simulate(
    preset: str | Population = "slc",
    n: int = 300,
    *,
    seed: int = 0,
    substructure: str | Substructure | None = None,
    settings: Mapping[str, Any] | None = None,
    indices: Sequence[int] | None = None,
    sources: str | Path | None = None,
    out: str | Path | None = None,
    format: str | None = None,
    workers: int = 1,
    device: str = "auto",
    progress: bool = True,
) -> LensImages:
    """Simulate images of lenses.

    Every image depends only on population, substructure, `seed` and its index, so any of them
    can be simulated again alone. The smooth part of a lens does not depend on `substructure`:
    two calls that differ in nothing else give the same lenses with and without it.

    Parameters
    ----------
    preset : str or Population
        ``slc`` (the challenge), ``wide`` (linear brightness, any orientation and mass),
        ``model-a``, ``model-b``, ``model-1``, ``model-2``, ``model-3`` and their ``-stated``
        variants (the field's training sets), ``hst``, ``euclid``, ``lsst``, ``roman``, the path of
        a TOML file of your own (see `lumpylens.simulation.presets`), or a `Population`.
    n : int
        Number of images; their indices are 0 to n - 1.
    seed : int
        Not negative.
    substructure : str or Substructure, optional
        ``points`` (25 point masses, as in the challenge), ``spheres`` (isothermal), ``haloes``
        (truncated NFW with a mass function), ``string``, ``one`` (a single point mass), one of
        the population's own, or yours. With ``-compensated`` at the end the halo loses
        their mass. None is a smooth lens.
    settings : mapping, optional
        Numbers of the substructure that replace its defaults, such as ``{"count": 10}``.
    indices : sequence of int, optional
        Simulate these instead of 0 to n - 1.
    sources : str or Path, optional
        What the sources are, with the same sizes and magnitudes: ``galaxies``, real ones that come
        with the package, ``sersic``, or images of galaxies of your own, anything that
        `LensImages.open` reads. Default: the population's.
    out : str or Path, optional
        Write to this file or folder instead of memory, with a table of all true numbers beside
        it. A run that was stopped is continued by the same call.
    format : {"hdf5", "roman", "npz", "npy", "fits", "jpeg", "png"}, optional
        Format of `out`, by default from its ending; the last three are folders. ``roman`` is an
        HDF5 file in the layout of the Roman Data Challenge.
    workers : int
        Number of processes. With more than one, a script needs the guard
        ``if __name__ == "__main__"``.
    device : {"auto", "cpu", "cuda"}
        ``auto`` is the CPU, so that images are the same on all machines; ``cuda`` renders in
        batches, and images agree within rounding.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    LensImages
        Labels are 0 without and 1 with substructure; ids are ``population-seed-index``.

    Raises
    ------
    DataError
        If there is no population or substructure of that name, with the nearest name, if a
        number is out of range, or if `out` cannot be written.

    Examples
    --------
    >>> images = simulate("slc", 2, seed=7, progress=False)
    >>> images.ids, images[0].image.shape, images[0].stretched
    (['slc-7-0', 'slc-7-1'], (150, 150), True)
    >>> again = simulate("slc", seed=7, indices=[1], progress=False)
    >>> bool((again[0].image == images[1].image).all())
    True
    """
    chosen = population(preset)
    lumps = lumps_of(chosen, substructure, settings)
    if out is not None:
        check_output(out, format)
        recipe = _recipe(chosen, seed, lumps, sources, device)
        return write(
            recipe,
            _checked_indices(n, indices),
            out,
            format=format,
            workers=_checked_workers(workers),
            progress=progress,
        )
    if format is not None:
        raise DataError("a format needs a place to write to: out")
    return simulate_with_truth(
        chosen,
        n,
        seed=seed,
        substructure=lumps,
        indices=indices,
        sources=sources,
        workers=workers,
        device=device,
        progress=progress,
    ).images


def simulate_with_truth(
    preset: str | Population = "slc",
    n: int = 300,
    *,
    seed: int = 0,
    substructure: str | Substructure | None = None,
    indices: Sequence[int] | None = None,
    sources: str | Path | None = None,
    workers: int = 1,
    device: str = "cpu",
    progress: bool = False,
) -> Simulation:
    """Simulate in memory, as `simulate` does, and return the true numbers of every lens, too.

    Examples
    --------
    >>> simulation = simulate_with_truth("wide", 3, substructure="one")
    >>> simulation.table()["perturber_einstein_radius_px"].shape
    (3, 1)
    """
    recipe = _recipe(preset, seed, substructure, sources, device)
    wanted = _checked_indices(n, indices)
    size = (
        IMAGES_PER_TASK
        if _checked_workers(workers) > 1
        else 1
        if recipe.device == "cpu"
        else len(wanted)
    )
    tasks = [(recipe, wanted[k : k + size]) for k in range(0, len(wanted), size)]
    parts: dict[int, list[tuple[LensImage, Lens]]] = {}
    with (
        unsplit(),
        counted("simulating", len(wanted), show=progress) as on_image,
        in_processes(_make, tasks, workers) as results,
    ):
        for position, part in results:
            parts[position] = part
            for _ in part:
                on_image()
    images, lenses = zip(*(pair for _, part in sorted(parts.items()) for pair in part), strict=True)
    source = CutoutSource(images, f"simulated {recipe.population.name}")
    return Simulation(LensImages.from_source(source), lenses, recipe.galaxies())


def _make(task: tuple[Recipe, list[int]]) -> list[tuple[LensImage, Lens]]:
    recipe, indices = task
    return list(recipe.images(indices))


def _recipe(
    preset: str | Population,
    seed: int,
    substructure: str | Substructure | None,
    sources: str | Path | None,
    device: str,
) -> Recipe:
    if seed < 0:
        raise DataError(f"a seed is not negative, got {seed}")
    chosen = population(preset)
    place = "cpu" if device == "auto" else device
    lumps = lumps_of(chosen, substructure)
    return Recipe(chosen, lumps, seed, None if sources is None else str(sources), place)


def lumps_of(
    chosen: Population,
    substructure: str | Substructure | None,
    settings: Mapping[str, Any] | None = None,
) -> Substructure | None:
    """Find the substructure that `substructure` names for a population, and change its numbers.

    Raises
    ------
    DataError
        If there is none of that name, or `settings` are given without one or are unknown.
    """
    if substructure is None:
        if settings:
            raise DataError("settings change a substructure: give --substructure too")
        return None
    lumps = substructure_of(substructure, chosen.substructures)
    return substructure_from(settings, chosen.pixel_scale_arcsec, lumps) if settings else lumps


def _checked_workers(workers: int) -> int:
    if workers < 1:
        raise DataError(f"at least one worker is needed: got {workers}")
    return workers


def _checked_indices(n: int, indices: Sequence[int] | None) -> list[int]:
    if indices is None:
        if n < 1:
            raise DataError(f"at least one image, please: n is {n}")
        return list(range(n))
    if not len(indices) or min(indices) < 0:
        raise DataError("indices are a non-empty list of numbers that are not negative")
    return [int(index) for index in indices]
