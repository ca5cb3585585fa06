"""The images of a benchmark: given, or simulated with substructure as it is and compensated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lumpylens.errors import DataError
from lumpylens.files.digests import digest_of

__all__ = ["SimulatedSet", "simulated_set"]

SEED_NORMAL, SEED_ANOMALOUS = 101, 102
"""The lenses of the classes are others, as those of real images are."""


@dataclass(frozen=True)
class SimulatedSet:
    """Where the images lie.

    Attributes
    ----------
    data : Path
        Folder with both classes.
    compensated : Path
        Anomalous images of the same lenses; the halo loses as much mass as the lumps add.
    command : str
        The arguments of ``lumpylens benchmark`` that make them.
    """

    data: Path
    compensated: Path
    command: str


def simulated_set(
    preset: str,
    *,
    n: int,
    n_anomalous: int,
    substructure: str | None,
    folder: Path,
    progress: bool = False,
) -> SimulatedSet | None:
    """Simulate the images of a population, or find those of an earlier call.

    Parameters
    ----------
    preset : str
        Name of a population; anything else gives None.
    n, n_anomalous : int
        Images without substructure, and images with it.
    substructure : str or None
        Default: the population's first, else ``points``.
    folder : Path
        For the images.
    progress : bool
    """
    from lumpylens.simulation import POPULATIONS, simulate
    from lumpylens.simulation.substructure import substructure as substructure_of

    if preset not in POPULATIONS or Path(preset).exists():
        return None
    if n < 1 or n_anomalous < 1:
        raise DataError("a benchmark needs images of both classes")
    population = POPULATIONS[preset]
    name = substructure or next(iter(population.substructures), "points")
    lumps = replace(substructure_of(name, population.substructures), compensated=False)
    made_of = digest_of(repr((population, lumps)))[:8]
    place = folder / f"{preset}-{name}-{n}-{n_anomalous}-{made_of}"
    compensated = place / "compensated" / "sub.h5"
    for out, count, seed, kind in (
        (place / "as-is" / "no_sub.h5", n, SEED_NORMAL, None),
        (place / "as-is" / "sub.h5", n_anomalous, SEED_ANOMALOUS, lumps),
        (compensated, n_anomalous, SEED_ANOMALOUS, replace(lumps, compensated=True)),
    ):
        if not out.exists():
            simulate(population, count, seed=seed, substructure=kind, out=out, progress=progress)
    return SimulatedSet(
        place / "as-is",
        compensated,
        f"{preset} --n {n} --n-anomalous {n_anomalous} --substructure {name}",
    )
