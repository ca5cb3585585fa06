"""Fit lenses in shards: the rows of a shard are written whole and with a receipt, or not at all."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, overload

from lumpylens.data.images import LensImages
from lumpylens.data.source import CutoutSource, paths_of
from lumpylens.errors import DataError
from lumpylens.files.digests import digest_of, digest_of_file, digest_of_settings
from lumpylens.files.writing import whole_file
from lumpylens.lenses.catalogue import LensCatalogue, LensRow, row_of
from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.growing import BREAKDOWNS, breakdown
from lumpylens.lenses.outputs import FigureTitle, Outputs
from lumpylens.lenses.priors import DEFAULT, Priors
from lumpylens.lenses.recipe import digest_of_lens
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.scale.receipts import Receipt, RecordedTask

__all__ = [
    "FitTask", "FitTasks", "LensPaths", "LensToFit", "TitleTask", "finished_rows",
    "remove_shards", "shard_folder",
]  # fmt: skip

PREFIX = "lenses-"
"""Begins the names of all files of shards, so that no other file is ever removed."""


@dataclass(frozen=True)
class LensPaths:
    """Files that any process can open as one and the same collection.

    Attributes
    ----------
    paths : tuple of str
        Absolute.
    joined : bool
        Whether they were given as several; one folder alone is read as it lies.
    pixel_scale_arcsec : float or None
    band : str or None
        See `lumpylens.LensImages.open`.
    """

    paths: tuple[str, ...]
    joined: bool
    pixel_scale_arcsec: float | None
    band: str | None

    @classmethod
    def of(cls, data: Any, pixel_scale_arcsec: float | None, band: str | None) -> LensPaths | None:
        """Paths that `data` names; None if it holds images that are read already."""
        paths = paths_of(data)
        if paths is None:
            return None
        absolute = tuple(str(path.expanduser().absolute()) for path in paths)
        single = isinstance(data, (str, Path)) and paths == [Path(data)]
        return cls(absolute, not single, pixel_scale_arcsec, band)


@functools.lru_cache(maxsize=1)
def _opened(place: LensPaths) -> LensImages:
    """Open the files, once per process: to list thousands takes seconds."""
    paths = list(place.paths) if place.joined else Path(place.paths[0])
    return LensImages.open(paths, pixel_scale_arcsec=place.pixel_scale_arcsec, band=place.band)


@dataclass(frozen=True)
class LensToFit:
    """A lens of a shard.

    Attributes
    ----------
    position : int
        In the collection.
    id : str
    digest : str
        Of its pixels and settings when the work was given out.
    redshifts : Redshifts or None
    priors : Priors
    """

    position: int
    id: str
    digest: str
    redshifts: Redshifts | None = None
    priors: Priors = DEFAULT


@dataclass(frozen=True)
class FitTask(RecordedTask[Receipt]):
    """A shard of lenses to fit, described by values that can be sent to any machine.

    Attributes
    ----------
    images : LensPaths or LensImages
        The whole collection as paths, or these lenses alone as images.
    lenses : tuple of LensToFit
    seed : int
        Of the draws of noise.
    outputs : Outputs
        Absolute folders for figures and products, which the worker writes.
    folder : str
        Where the rows and the receipt are written.
    lumpylens : str
        Version that the worker must have.
    """

    images: LensPaths | LensImages
    lenses: tuple[LensToFit, ...]
    seed: int
    outputs: Outputs
    folder: str
    lumpylens: str = version("lumpylens")
    kind = Receipt

    @property
    def name(self) -> str:
        """Stem of the file names: another one for other lenses, pixels or settings."""
        return shard_name(self.lenses)

    def required(self) -> dict[str, str]:
        """Values that a receipt of this task must have."""
        settings = {
            "lenses": [[lens.id, lens.digest, repr(lens.redshifts)] for lens in self.lenses],
            "outputs": repr(self.outputs),
        }
        return {"config": digest_of_settings(settings)}

    def perform(self) -> None:
        """Fit the lenses, and write their rows and the receipt.

        Raises
        ------
        DataError
            If the collection cannot be opened, or the rows not written.
        """
        started = time.perf_counter()
        if isinstance(self.images, LensPaths):
            images, positions = _opened(self.images), [lens.position for lens in self.lenses]
        else:
            images, positions = self.images, list(range(len(self.lenses)))
        rows = [
            self._row(images, position, lens)
            for position, lens in zip(positions, self.lenses, strict=True)
        ]
        place = Path(self.folder) / f"{self.name}.csv"
        with whole_file(place) as part_file:
            LensCatalogue(tuple(rows)).write(part_file)
            digest = digest_of_file(part_file)
        Receipt(
            shard=self.name,
            config=self.required()["config"],
            result=place.name,
            result_sha256=digest,
            images=len(rows),
            seconds=round(time.perf_counter() - started, 3),
        ).write(self.receipt_path)

    def _row(self, images: LensImages, position: int, lens: LensToFit) -> LensRow:
        """Fit one lens; what goes wrong with it becomes its `error`."""
        try:
            # The same file can have another id where it is opened by another path.
            cutout = cutout_of(replace(images[position], id=lens.id))
            if digest_of_lens(cutout, self.seed, lens.priors) != lens.digest:
                raise DataError("its files were changed while lenses were fitted; fit it again")
            return fit_lens(cutout, lens, self.seed, self.outputs)
        except DataError as problem:
            return LensRow(id=lens.id, error=str(problem))
        except BREAKDOWNS as problem:
            return LensRow(id=lens.id, error=breakdown(problem))


def fit_lens(cutout: Cutout, lens: LensToFit, seed: int, outputs: Outputs) -> LensRow:
    """Fit one lens and write what is wanted of it; its row lacks what depends on other lenses."""
    from lumpylens.lenses.analysis import analyse
    from lumpylens.lenses.quality import remarks

    analysis = analyse(cutout, seed=seed, priors=lens.priors, redshifts=lens.redshifts)
    row = row_of(analysis, remarks(analysis), lens.digest, lens.priors, lens.redshifts)
    outputs.write_lens(analysis, row, lens.redshifts)
    return row


@dataclass(frozen=True)
class FitTasks(Sequence[FitTask]):
    """The tasks of a run, each made when it is given out.

    Images in memory travel to another process lens by lens, never the whole collection.

    Attributes
    ----------
    images : LensImages
    place : LensPaths or None
        Where the images are, if they are files.
    shards : sequence of tuple of LensToFit
    seed : int
    outputs : Outputs
    folder : Path
        Of the shards.
    """

    images: LensImages
    place: LensPaths | None
    shards: Sequence[tuple[LensToFit, ...]]
    seed: int
    outputs: Outputs
    folder: Path

    def __len__(self) -> int:
        return len(self.shards)

    @overload
    def __getitem__(self, index: int) -> FitTask: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FitTask]: ...
    def __getitem__(self, index: int | slice) -> FitTask | Sequence[FitTask]:
        if isinstance(index, slice):
            return replace(self, shards=self.shards[index])
        lenses = self.shards[index]
        images: LensPaths | LensImages | None = self.place
        if images is None:
            cutouts = [self.images[lens.position] for lens in lenses]
            images = LensImages.from_source(CutoutSource(cutouts))
        folder = str(self.folder.absolute())
        return FitTask(images, lenses, self.seed, self.outputs.absolute(), folder)

    def rows(self, index: int) -> list[LensRow]:
        """Rows of a shard that a worker has finished.

        Raises
        ------
        DataError
            If they are not there.
        """
        path = self.folder / f"{shard_name(self.shards[index])}.json"
        rows = _rows_behind(path)
        if rows is None:
            raise DataError(
                f"the receipt {path} is not there, although a worker wrote it: the folder of the "
                "table must be one that all machines share"
            )
        return rows


@dataclass(frozen=True)
class TitleTask:
    """Titles of figures to write once all lenses are fitted; written again, they are the same."""

    titles: tuple[FigureTitle, ...]

    def run(self) -> bool:
        """Write them."""
        for title in self.titles:
            title.write()
        return True


def shard_name(lenses: Sequence[LensToFit]) -> str:
    """Stem of the file names of a shard: another one for other lenses, pixels or settings."""
    return PREFIX + digest_of(*(f"{lens.id}\0{lens.digest}\n" for lens in lenses))[:16]


def shard_folder(table: Path) -> Path:
    """Folder beside a table for the shards of a run, which is gone when the run has ended."""
    return table.with_name(f"{table.name}.shards")


def finished_rows(folder: Path) -> list[LensRow]:
    """Rows of all lenses that a run fitted before it was stopped."""
    shards = (_rows_behind(path) for path in sorted(folder.glob(f"{PREFIX}*.json")))
    return [row for rows in shards for row in rows or () if not row.error]


def _rows_behind(receipt_path: Path) -> list[LensRow] | None:
    receipt = Receipt.read(receipt_path)
    if receipt is None or not receipt.has_result(receipt_path.parent):
        return None
    return list(LensCatalogue.read(receipt_path.parent / receipt.result))


def remove_shards(folder: Path) -> None:
    """Remove shards whose rows are in the table, and what killed writers left."""
    for pattern in (f"{PREFIX}*", f".{PREFIX}*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    # Files of somebody else stay where they are, and so does their folder.
    with suppress(OSError):
        folder.rmdir()
