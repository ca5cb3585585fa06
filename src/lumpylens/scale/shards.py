"""Score one shard, completely or not at all, and only once; no engine is needed."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lumpylens.data.images import LensImages
from lumpylens.detectors import detector_class
from lumpylens.errors import DataError, ModelError
from lumpylens.files.digests import digest_of, digest_of_file, digest_of_settings, stamp
from lumpylens.files.processes import one_thread
from lumpylens.files.tables import write_columns
from lumpylens.files.writing import whole_file
from lumpylens.scale.receipts import Receipt, RecordedTask

if TYPE_CHECKING:
    from lumpylens.results.score_table import ScoreTable
    from lumpylens.store.trained import TrainedModel

__all__ = ["ScoreReceipt", "ScoreTask", "model_here", "score_shard"]

MOST_IMAGES_PER_SHARD = 2**20
"""Most images in one shard: it limits the memory of a worker to about 0.5 GB, besides its model and
one batch."""

REASONS = 20
"""Reasons for failure that a receipt counts separately; the others are counted together, so that a
receipt stays small when every file fails with its own message."""

OTHER_REASONS = "other reasons"
COLUMNS_OVER_ALL_SHARDS = ("q_value", "flag")
"""Columns that depend on all shards; the table of one shard does not have them."""


class ScoreReceipt(Receipt):
    """Receipt of scores.

    Attributes
    ----------
    model : str
        Digest of the model.
    failed, warned : int
        Images without a score, and images outside what the model knows.
    reasons : dict of str to int
        Number of failed images by reason.
    p_values : list of (int, int)
        Pairs of j and the number of images with p-value j / (n + 1), n calibration images.
    top : list of (int, float, bool)
        Row, score and whether there is a warning, of the most anomalous images.
    """

    model: str
    failed: int
    warned: int
    reasons: dict[str, int]
    p_values: list[tuple[int, int]]
    top: list[tuple[int, float, bool]]


@dataclass(frozen=True)
class ScoreTask(RecordedTask[ScoreReceipt]):
    """A shard to score, described by text and numbers that can be sent to any machine.

    All machines need the same file system.

    Attributes
    ----------
    shard : str
        Path of images.
    model : str
        Model folder or the name of a shipped model.
    model_digest : str
        Digest that the model must have.
    folder : str
        Where table and receipt are written.
    lumpylens : str
        Version that the worker must have.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    top : int
        How many of the most anomalous images the receipt names.
    fast : bool
        Whether to use the model's quicker score.
    band : str or None
        Which of the bands to take, where the files hold several.
    detector : str
        Name or ``module:Class`` of the model's detector, as the user's own process knows it. A
        worker may import this class, but never a class because a model file names it.
    """

    shard: str
    model: str
    model_digest: str
    folder: str
    lumpylens: str = version("lumpylens")
    device: str = "auto"
    top: int = 100
    fast: bool = False
    band: str | None = None
    detector: str = ""
    kind = ScoreReceipt

    @property
    def name(self) -> str:
        """Stem of the file names of table and receipt; differs for shards of the same name."""
        place = Path(self.shard).expanduser().resolve()
        mark = digest_of(str(place))[:10]
        plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in place.name)[:80]
        return f"{plain.lstrip('.') or 'shard'}-{mark}"

    def required(self) -> dict[str, str]:
        """Values that a receipt of this task must have.

        Raises
        ------
        DataError
            If the shard does not exist.
        """
        settings = {
            "lumpylens": self.lumpylens,
            "device": self.device,
            "top": self.top,
            "fast": self.fast,
            "band": self.band,
        }
        return {
            "model": self.model_digest,
            "config": digest_of_settings(settings),
            "stamp": stamp(Path(self.shard).expanduser()),
        }

    def perform(self) -> None:
        """Score the shard, and write its table and the receipt.

        Raises
        ------
        DataError
            If the shard cannot be opened, or the result not written.
        ModelError
            If the model cannot be loaded, or has another digest.
        """
        started = time.perf_counter()
        required = self.required()
        if self.detector:
            detector_class(self.detector)
        model = model_here(self.model, self.model_digest, self.fast)
        images = LensImages.open(Path(self.shard), band=self.band)
        if len(images) > MOST_IMAGES_PER_SHARD:
            raise DataError(
                f"{self.shard} holds {len(images)} images, and a shard at most "
                f"{MOST_IMAGES_PER_SHARD}; split it"
            )
        with one_thread():
            table = model.score(images, device=self.device)
        place = Path(self.folder) / f"{self.name}.parquet"
        with whole_file(place) as part_file:
            columns = table.columns()
            write_columns(
                {k: columns[k] for k in columns if k not in COLUMNS_OVER_ALL_SHARDS}, part_file
            )
            digest = digest_of_file(part_file)
        receipt = ScoreReceipt(
            shard=self.shard,
            model=required["model"],
            config=required["config"],
            stamp=required["stamp"],
            result=place.name,
            result_sha256=digest,
            images=len(table),
            seconds=round(time.perf_counter() - started, 3),
            failed=table.n_failed,
            warned=table.n_warned,
            reasons=_counted(table.error),
            p_values=model.calibration.counts(table.p_value),
            top=_top(table, self.top),
        )
        receipt.write(self.receipt_path)


def score_shard(
    shard: str | Path,
    model: str | Path,
    folder: str | Path,
    *,
    band: str | None = None,
    device: str = "auto",
    top: int = 100,
    fast: bool = False,
) -> ScoreReceipt:
    """Score the images of one shard into a table and a receipt, unless these exist.

    Any engine may call it, on any machine, more than once: the result is the same, and is either
    complete or absent.

    Parameters
    ----------
    shard : str or Path
        Path that `LensImages.open` reads; at most 1,048,576 images.
    model : str or Path
        Model folder, or the name of a shipped model.
    folder : str or Path
        For ``NAME.parquet``, the table without q-values and flags (they depend on all shards),
        and ``NAME.json``, the receipt.
    band : str, optional
        Which of the bands to take, where the files hold several.
    device : {"cpu", "auto", "cuda"}
    top : int
        How many of the most anomalous images the receipt names.
    fast : bool
        Use the model's quicker, coarser score.

    Returns
    -------
    ScoreReceipt

    Raises
    ------
    DataError
        If the shard cannot be opened, or the result not written.
    ModelError
        If the model cannot be loaded.
    """
    from lumpylens.store.folder import model_digest

    task = ScoreTask(
        str(shard),
        str(model),
        model_digest(model),
        str(folder),
        device=device,
        top=top,
        fast=fast,
        band=band,
    )
    task.run()
    receipt = task.receipt()
    if receipt is None:
        raise DataError(f"{shard} or its scores in {folder} were changed while it was scored")
    return receipt


@functools.lru_cache(maxsize=1)
def model_here(location: str, digest: str, fast: bool) -> TrainedModel:
    """Load the model, once per process.

    Raises
    ------
    ModelError
        If there is none, or its digest is another one.
    """
    from lumpylens.store.folder import load_model, model_digest

    digest_here = model_digest(location)
    if digest_here != digest:
        raise ModelError(
            f"the model {location} is not the same here as where the work was given out; "
            "all machines need the same folder and the same lumpylens"
        )
    model = load_model(location)
    return model.fast() if fast else model


def _counted(errors: Sequence[str]) -> dict[str, int]:
    """Count the failures by reason, the most frequent first."""
    counts = Counter(text for text in errors if text)
    listed = dict(counts.most_common(REASONS))
    if uncounted := counts.total() - sum(listed.values()):
        listed[OTHER_REASONS] = uncounted
    return listed


def _top(table: ScoreTable, count: int) -> list[tuple[int, float, bool]]:
    rows = [int(row) for row in table.order()[:count] if np.isfinite(table.anomaly_score[row])]
    return [(row, float(table.anomaly_score[row]), bool(table.warning[row])) for row in rows]
