"""Simulate any number of images in shards, in this process or on a cluster."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lumpylens.errors import DataError
from lumpylens.files.digests import digest_of_file, digest_of_settings, stamp
from lumpylens.files.progress import counted
from lumpylens.files.tables import pandas_frame
from lumpylens.results.summary import Summary
from lumpylens.scale.campaign import (
    SHARDS,
    finish_folder,
    first_of,
    open_folder,
    perform_unfinished,
)
from lumpylens.scale.engine import check_cluster
from lumpylens.scale.receipts import Receipt, RecordedTask

if TYPE_CHECKING:
    from pandas import DataFrame

    from lumpylens.simulation.populations import Population
    from lumpylens.simulation.substructure import Substructure

__all__ = ["SimulateTask", "SimulationCampaign", "simulate_shards"]


@dataclass(frozen=True)
class SimulateTask(RecordedTask[Receipt]):
    """A range of images to simulate, described by values that can be sent to any machine.

    Attributes
    ----------
    population : Population
    substructure : Substructure or None
    seed : int
    first, count : int
        Indices of the images: `count` of them from `first`.
    folder : str
        Where images, table of true numbers and receipt are written.
    sources : str or None
        Images of galaxies to put behind the lenses.
    device : str
    lumpylens : str
        Version that the worker must have.
    """

    population: Population
    substructure: Substructure | None
    seed: int
    first: int
    count: int
    folder: str
    sources: str | None = None
    device: str = "cpu"
    lumpylens: str = version("lumpylens")
    kind = Receipt
    alone = False

    @property
    def name(self) -> str:
        """Stem of the file names."""
        return f"lenses-{self.first:010d}"

    def required(self) -> dict[str, str]:
        """Values that a receipt of this task must have."""
        settings = {
            "population": repr(self.population),
            "substructure": repr(self.substructure),
            "images": [self.seed, self.first, self.count],
            "device": self.device,
            "lumpylens": self.lumpylens,
        }
        from lumpylens.simulation.sources import SOURCE_KINDS

        of_images = self.sources is not None and self.sources not in SOURCE_KINDS
        sources_stamp = stamp(Path(str(self.sources))) if of_images else ""
        return {"config": digest_of_settings(settings), "stamp": sources_stamp}

    def perform(self) -> None:
        """Simulate the images, and write them, the table of true numbers and the receipt.

        Raises
        ------
        DataError
            If they cannot be made or written.
        """
        from lumpylens.simulation import simulate

        started, folder, required = time.perf_counter(), Path(self.folder), self.required()
        try:
            # Two workers may have the same range, if the scheduler lost contact with the first.
            with tempfile.TemporaryDirectory(prefix=f".{self.name}.", dir=folder) as part_folder:
                images = Path(part_folder) / f"{self.name}.h5"
                simulate(
                    self.population,
                    seed=self.seed,
                    substructure=self.substructure,
                    indices=range(self.first, self.first + self.count),
                    sources=self.sources,
                    out=images,
                    device=self.device,
                    progress=False,
                )
                digest = digest_of_file(images)
                for path in sorted(Path(part_folder).glob(f"{self.name}.*")):
                    path.replace(folder / path.name)
        except OSError as problem:
            raise DataError(f"cannot write {folder}: {problem.strerror or problem}") from problem
        receipt = Receipt(
            shard=self.name,
            config=required["config"],
            stamp=required["stamp"],
            result=f"{self.name}.h5",
            result_sha256=digest,
            images=self.count,
            seconds=round(time.perf_counter() - started, 3),
        )
        receipt.write(self.receipt_path)


@dataclass(frozen=True, repr=False)
class SimulationCampaign(Summary):
    """Numbers of images and of finished and failed shards.

    Attributes
    ----------
    folder : str
        Holds ``summary.json``, and in ``shards`` HDF5 files of images, tables of their true
        numbers, and receipts.
    shards, shards_before : int
        Number of shards, and of those that had been finished before this call.
    images : int
        Number of images in the finished shards.
    failed_shards : dict of str to str
        Shards that could not be made, and why.
    seconds : float
    """

    folder: str
    shards: int
    shards_before: int
    images: int
    failed_shards: Mapping[str, str]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """All numbers."""
        return asdict(self)

    def to_pandas(self) -> DataFrame:
        """`pandas.DataFrame`, one row per finished shard: file, number of images, seconds.

        Raises
        ------
        DataError
            If pandas is not installed.
        """
        places = sorted((Path(self.folder) / SHARDS).glob("*.json"))
        receipts = [receipt for place in places if (receipt := Receipt.read(place)) is not None]
        return pandas_frame(
            {
                "file": [f"{SHARDS}/{receipt.result}" for receipt in receipts],
                "images": [receipt.images for receipt in receipts],
                "seconds": [receipt.seconds for receipt in receipts],
            }
        )

    def __repr__(self) -> str:
        lines = [
            f"{self.images} images in {self.shards - len(self.failed_shards)} shards "
            f"({self.shards_before} found finished, {len(self.failed_shards)} failed) in "
            f"{self.seconds:.1f} s"
        ]
        lines += first_of(
            f"failed shard {name}: {reason}" for name, reason in self.failed_shards.items()
        )
        return "\n".join([*lines, f"results are in {self.folder}"])


def simulate_shards(
    preset: str | Population = "slc",
    n: int = 300,
    *,
    out: str | Path,
    cluster: str | None = None,
    shard: int = 1000,
    seed: int = 0,
    substructure: str | Substructure | None = None,
    settings: Mapping[str, Any] | None = None,
    sources: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
) -> SimulationCampaign:
    """Simulate images in shards; every image is the one that `simulate` makes.

    A call that was stopped is continued by calling it again: finished shards are kept.

    Parameters
    ----------
    preset, n, seed, substructure, settings, sources, device
        See `lumpylens.simulate`.
    out : str or Path
        Folder; that of an earlier call with the same settings is continued.
    cluster : str, optional
        See `lumpylens.scale.score_shards`.
    shard : int
        Number of images in each shard.
    progress : bool
        Show a bar on standard error.

    Raises
    ------
    DataError
        If a setting makes no sense, `out` holds something else, or the cluster cannot be
        reached.
    """
    from lumpylens.simulation.images import lumps_of, simulate
    from lumpylens.simulation.presets import population
    from lumpylens.simulation.sources import located_sources

    started = time.perf_counter()
    if n < 1 or shard < 1 or seed < 0:
        raise DataError(
            f"numbers of images are positive, and a seed is not negative: got {n} images in "
            f"shards of {shard}, seed {seed}"
        )
    check_cluster(cluster)
    recipe = population(preset)
    lumps = lumps_of(recipe, substructure, settings)
    device = "cpu" if device == "auto" else device
    galaxies = located_sources(sources)
    # One image is simulated here, so that wrong settings fail once and not in every shard.
    simulate(
        recipe, 1, seed=seed, substructure=lumps, sources=galaxies, device=device, progress=False
    )
    folder = Path(out)
    identity = {
        "population": repr(recipe),
        "substructure": repr(lumps),
        "seed": seed,
        "shard": shard,
        "sources": galaxies or "",
    }
    open_folder(folder, digest_of_settings(identity), holds="images of other settings")
    tasks = [
        SimulateTask(
            population=recipe,
            substructure=lumps,
            seed=seed,
            first=first,
            count=min(shard, n - first),
            folder=str(folder.resolve() / SHARDS),
            sources=galaxies,
            device=device,
        )
        for first in range(0, n, shard)
    ]
    with counted("simulating shards", len(tasks), show=progress) as on_done:
        n_done, failures = perform_unfinished(tasks, cluster, on_done)
    campaign = SimulationCampaign(
        folder=str(out),
        shards=len(tasks),
        shards_before=len(tasks) - len(failures) - n_done,
        images=sum(task.count for k, task in enumerate(tasks) if k not in failures),
        failed_shards={tasks[k].name: reason for k, reason in sorted(failures.items())},
        seconds=round(time.perf_counter() - started, 3),
    )
    finish_folder(folder, asdict(campaign), complete=not failures)
    return campaign
