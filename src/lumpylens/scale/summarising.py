"""Simulate lenses of known fractions and keep what a model sees in them, in shards."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.images import LensImages
from lumpylens.data.source import CutoutSource
from lumpylens.errors import DataError
from lumpylens.files.digests import digest_of_file, digest_of_settings, stamp
from lumpylens.files.processes import one_thread
from lumpylens.files.progress import counted
from lumpylens.files.writing import whole_file
from lumpylens.fraction.summaries import numbers_of
from lumpylens.scale.campaign import finish_folder, open_folder
from lumpylens.scale.engine import perform
from lumpylens.scale.receipts import Receipt, RecordedTask
from lumpylens.scale.shards import model_here
from lumpylens.simulation.populations import Population
from lumpylens.simulation.recipe import Recipe
from lumpylens.simulation.substructure import Substructure

if TYPE_CHECKING:
    from lumpylens.detectors.base import Detector

__all__ = [
    "LENSES_PER_SHARD",
    "SeenLenses",
    "SummariseTask",
    "drawn_fractions",
    "simulate_and_look",
]

LENSES_PER_SHARD = 250
"""Some ten seconds of work, which is lost when a run is stopped."""

FRACTION_STREAM = 77
"""Of the random numbers of an image: apart from those of `lumpylens.simulation.recipe`."""

SMOOTH_SHARE = 0.25
"""Of simulated lenses without substructure. A set without any has just this fraction, and what
these lenses say of it on average is known only as well as they are many."""


@dataclass(frozen=True)
class SeenLenses:
    """Simulated lenses and what a model sees in them.

    Attributes
    ----------
    fraction : ndarray of float64, shape (n,)
        True mass in substructure.
    trusted : ndarray of bool, shape (n,)
        False where there is an error or a warning, as a lens of a user would have.
    numbers : dict of str to ndarray, shape (n,) each
        See `lumpylens.fraction.summaries`.
    """

    fraction: NDArray[np.float64]
    trusted: NDArray[np.bool_]
    numbers: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class SummariseTask(RecordedTask[Receipt]):
    """Lenses to simulate and to look at, described by values that can be sent to any machine.

    Attributes
    ----------
    population : Population
    substructure : Substructure
        Its fraction is replaced by that of each lens; none for a fraction of 0.
    seed, first : int
    fractions : tuple of float
        Of the lenses with the indices from `first`.
    model : str
        Model folder or the name of a shipped model, with the same path on all machines.
    model_digest : str
    folder : str
        Where result and receipt are written.
    sources : str or None
        Images of galaxies to put behind the lenses.
    lumpylens : str
        Version that the worker must have.
    """

    population: Population
    substructure: Substructure
    seed: int
    first: int
    fractions: tuple[float, ...]
    model: str
    model_digest: str
    folder: str
    sources: str | None = None
    lumpylens: str = version("lumpylens")
    kind = Receipt

    @property
    def name(self) -> str:
        """Stem of the file names."""
        return f"seen-{self.first:07d}"

    def required(self) -> dict[str, str]:
        """Values that a receipt of this task must have."""
        settings = {
            "population": repr(self.population),
            "substructure": repr(self.substructure),
            "images": [self.seed, self.first, *self.fractions],
            "model": self.model_digest,
            "lumpylens": self.lumpylens,
        }
        sources = "" if self.sources is None else stamp(Path(self.sources))
        return {"config": digest_of_settings(settings), "stamp": sources}

    def perform(self) -> None:
        """Simulate and look, and write what was seen and the receipt.

        Raises
        ------
        DataError
            If a lens cannot be simulated, or the result not be written.
        ModelError
            If this machine has another model.
        """
        started, required = time.perf_counter(), self.required()
        model = model_here(self.model, self.model_digest, False)
        with one_thread():
            seen = self.look(model.detector)
        arrays: dict[str, Any] = {
            "fraction": seen.fraction,
            "trusted": seen.trusted,
            **seen.numbers,
        }
        result = Path(self.folder) / f"{self.name}.npz"
        with whole_file(result) as part_file, part_file.open("wb") as stream:
            np.savez(stream, **arrays)
        Receipt(
            shard=self.name,
            config=required["config"],
            stamp=required["stamp"],
            result=result.name,
            result_sha256=digest_of_file(result),
            images=len(self.fractions),
            seconds=round(time.perf_counter() - started, 3),
        ).write(self.receipt_path)

    def look(self, detector: Detector) -> SeenLenses:
        """Simulate the lenses, and let the detector look at them.

        Raises
        ------
        DataError
            If none of them can be simulated, or looked at without a warning.
        """
        images = []
        for index, fraction in enumerate(self.fractions, start=self.first):
            lumps = replace(self.substructure, mass_fraction=fraction) if fraction else None
            recipe = Recipe(self.population, lumps, self.seed, self.sources)
            images += [image for image, _ in recipe.images([index])]
        source = CutoutSource(images, f"simulated {self.population.name}")
        scores = detector.score(LensImages.from_source(source))
        if not scores.trusted.any():
            why = next(filter(None, (*scores.error, *scores.warning)))
            raise DataError(f"the model cannot use lenses of {self.population.name}: {why}")
        return SeenLenses(np.array(self.fractions), scores.trusted, numbers_of(scores))

    def result(self) -> SeenLenses:
        """Read what `run` wrote.

        Raises
        ------
        DataError
            If it cannot be read.
        """
        path = Path(self.folder) / f"{self.name}.npz"
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            return SeenLenses(arrays.pop("fraction"), arrays.pop("trusted"), arrays)
        except (OSError, ValueError, KeyError) as problem:
            raise DataError(f"{path} cannot be read: {problem}") from None


def drawn_fractions(count: int, largest: float, seed: int) -> NDArray[np.float64]:
    """Fractions of simulated lenses, shape (count,): a quarter are 0, others are largest u^2.

    Small fractions are more frequent, since they are told apart by less. The density of the
    summaries is learned at given fractions, so this is no prior.
    """
    fractions = np.zeros(count)
    for index in range(count):
        random = np.random.default_rng((seed, index, FRACTION_STREAM))
        if random.random() >= SMOOTH_SHARE:
            fractions[index] = largest * random.random() ** 2
    return fractions


def simulate_and_look(
    population: Population,
    substructure: Substructure,
    fractions: Sequence[float] | NDArray[np.float64],
    *,
    model: str,
    model_digest: str,
    folder: Path,
    seed: int,
    sources: str | None = None,
    cluster: str | None = None,
    workers: int = 1,
    progress: bool = True,
) -> SeenLenses:
    """Simulate lenses of given fractions, and look at them with a model, in shards.

    A call that was stopped is continued by calling it again: finished shards are kept.

    Parameters
    ----------
    population, substructure, model, model_digest, seed, sources
        See `SummariseTask`.
    fractions : sequence of float
        One for each lens.
    folder : Path
        That of an earlier call with the same settings is continued.
    cluster, workers
        See `lumpylens.scale.engine.perform`.
    progress : bool

    Raises
    ------
    DataError
        If lenses cannot be simulated, `folder` holds something else, or the cluster cannot be
        reached.
    ModelError
        If `folder` holds lenses of other settings.
    """
    settings: dict[str, Any] = {
        "population": repr(population),
        "substructure": repr(substructure),
        "seed": seed,
        "sources": sources or "",
        "model": model_digest,
    }
    open_folder(folder, digest_of_settings(settings), holds="simulated lenses of other settings")
    tasks = [
        SummariseTask(
            population=population,
            substructure=substructure,
            seed=seed,
            first=first,
            fractions=tuple(map(float, fractions[first : first + LENSES_PER_SHARD])),
            model=model,
            model_digest=model_digest,
            folder=str(folder.resolve() / "shards"),
            sources=sources,
        )
        for first in range(0, len(fractions), LENSES_PER_SHARD)
    ]
    left = [task for task in tasks if task.receipt() is None]
    with counted("simulating lenses", len(fractions), show=progress) as step:
        for _ in range(len(fractions) - sum(len(task.fractions) for task in left)):
            step()
        with perform(left, cluster, workers) as outcomes:
            for position, outcome in outcomes:
                if isinstance(outcome, str):
                    raise DataError(f"lenses cannot be simulated: {outcome}")
                for _ in left[position].fractions:
                    step()
    finish_folder(folder, {**settings, "lenses": len(fractions)}, complete=True)
    parts = [task.result() for task in tasks]
    return SeenLenses(
        np.concatenate([part.fraction for part in parts]),
        np.concatenate([part.trusted for part in parts]),
        {name: np.concatenate([part.numbers[name] for part in parts]) for name in parts[0].numbers},
    )
