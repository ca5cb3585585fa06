"""Combine the receipts of all shards into one ranking and one selection.

Receipts and tables are read one at a time, so that memory does not grow with the number of
images.
"""

from __future__ import annotations

import heapq
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.errors import DataError, DataWarning
from lumpylens.files.tables import csv_rows, read_columns
from lumpylens.files.writing import whole_file
from lumpylens.results.calibration import Calibration, benjamini_hochberg_of_counts
from lumpylens.results.score_table import TEXT_COLUMNS
from lumpylens.results.submission import (
    OperatingPoint,
    SubmissionCounts,
    operating_point,
    write_submission,
)
from lumpylens.scale.shards import ScoreReceipt, ScoreTask

__all__ = ["Selection", "select_images", "submit_images"]

TOP, SELECTED, Q_VALUES = "top.csv", "selected.csv", "q_values.csv"


@dataclass(frozen=True)
class Selection:
    """Numbers of images over all shards.

    Attributes
    ----------
    images, failed, warned, flagged : int
    p_value_limit : float or None
        Largest p-value that is flagged.
    reasons : Counter
        Number of failed images by reason.
    """

    images: int
    failed: int
    warned: int
    flagged: int
    p_value_limit: float | None
    reasons: Counter[str]


def select_images(
    tasks: Sequence[ScoreTask], calibration: Calibration, *, fdr: float, top: int, out: Path
) -> Selection:
    """Rank and flag the images of all shards.

    Writes ``top.csv``, ``selected.csv`` and ``q_values.csv``.

    Parameters
    ----------
    tasks : sequence of ScoreTask
        All finished.
    calibration : Calibration
    fdr : float
    top : int
    out : Path

    Raises
    ------
    DataError
        If a receipt or table is not there, or the results cannot be written.
    """
    size = len(calibration) + 1
    counts: NDArray[np.int64] = np.zeros(size, dtype=np.int64)
    images = failed = warned = 0
    reasons: Counter[str] = Counter()
    # A heap with the least anomalous first: by warning, score, and order of the images.
    best: list[tuple[bool, float, int, int]] = []
    for number, receipt in enumerate(_receipts(tasks)):
        images, failed = images + receipt.images, failed + receipt.failed
        warned += receipt.warned
        reasons.update(receipt.reasons)
        for rank, times in receipt.p_values:
            counts[rank - 1] += times
        for row, score, strange in receipt.top:
            key = (not strange, score, -number, -row)
            (heapq.heappush if len(best) < top else heapq.heappushpop)(best, key)
    if remark := calibration.strangers(enumerate(counts.tolist(), start=1)):
        warnings.warn(remark, DataWarning, stacklevel=2)
    q_value = benjamini_hochberg_of_counts(counts)
    flagged_ranks = np.flatnonzero((counts > 0) & (q_value <= fdr)) + 1
    limit = int(flagged_ranks[-1]) if len(flagged_ranks) else 0
    with (
        whole_file(out / Q_VALUES) as part_file,
        csv_rows(part_file, ("p_value", "images", "q_value")) as write,
    ):
        for rank in (np.flatnonzero(counts) + 1).tolist():
            write((rank / size, str(counts[rank - 1]), q_value[rank - 1]))
    _write_rows(tasks, size, q_value, limit, best, out)
    return Selection(
        images=images,
        failed=failed,
        warned=warned,
        flagged=int(counts[:limit].sum()),
        p_value_limit=limit / size if limit else None,
        reasons=reasons,
    )


def submit_images(
    tasks: Sequence[ScoreTask],
    calibration: Calibration,
    path: Path,
    *,
    lumpy_fraction: float | None = None,
    fpr: float | None = None,
) -> SubmissionCounts:
    """Write a submission of the images of all shards, in the order of the shards.

    Parameters
    ----------
    tasks : sequence of ScoreTask
        All finished.
    calibration : Calibration
    path : Path
    lumpy_fraction, fpr
        See `operating_point`.

    Raises
    ------
    DataError
        If no image has a p-value, a receipt or table is not there, or `path` cannot be written.
    """
    size = len(calibration) + 1
    counts: NDArray[np.int64] = np.zeros(size, dtype=np.int64)
    images = 0
    for receipt in _receipts(tasks):
        images += receipt.images
        for rank, times in receipt.p_values:
            counts[rank - 1] += times
    p_values = np.arange(1, size + 1) / size
    point = operating_point(p_values, counts, lumpy_fraction=lumpy_fraction, fpr=fpr)
    write_submission(_rows_to_submit(tasks, point), path)
    unknown = images - int(counts.sum())
    lumpy = int(counts[point.is_lumpy(p_values)].sum()) + unknown * point.unknown_is_lumpy
    return SubmissionCounts(point, images, lumpy, unknown)


def _rows_to_submit(
    tasks: Sequence[ScoreTask], point: OperatingPoint
) -> Iterator[tuple[list[str], NDArray[np.bool_]]]:
    """Ids of each shard, and which of them are called lumpy."""
    for task, receipt in zip(tasks, _receipts(tasks), strict=True):
        columns = read_columns(Path(task.folder) / receipt.result, text=TEXT_COLUMNS)
        yield columns["id"], point.is_lumpy(columns["p_value"])


def _receipts(tasks: Iterable[ScoreTask]) -> Iterator[ScoreReceipt]:
    for task in tasks:
        receipt = ScoreReceipt.read(task.receipt_path)
        if receipt is None:
            raise DataError(
                f"the receipt {task.receipt_path} is not there, although a worker wrote it: the "
                "folder of results must be one that all machines share"
            )
        yield receipt


def _write_rows(
    tasks: Sequence[ScoreTask],
    size: int,
    q_value: NDArray[np.float64],
    limit: int,
    best: list[tuple[bool, float, int, int]],
    out: Path,
) -> None:
    """Write the flagged and the most anomalous rows of the shards' tables."""
    rows_by_shard: dict[int, dict[int, int]] = {}
    for place, (_, _, number, row) in enumerate(sorted(best, reverse=True)):
        rows_by_shard.setdefault(-number, {})[-row] = place
    ranked: dict[int, list[Any]] = {}
    header = ["shard", "row", "id", "anomaly_score", "p_value", "q_value", "flag"]
    with whole_file(out / SELECTED) as part_file, csv_rows(part_file, header) as write:
        for number, receipt in enumerate(_receipts(tasks)):
            places = rows_by_shard.get(number, {})
            if not places and (not receipt.p_values or receipt.p_values[0][0] > limit):
                continue
            columns = read_columns(Path(tasks[number].folder) / receipt.result, text=TEXT_COLUMNS)
            ranks = np.rint(np.nan_to_num(np.asarray(columns["p_value"]) * size)).astype(int)
            flagged = (ranks > 0) & (ranks <= limit)
            for row in sorted({*np.flatnonzero(flagged).tolist(), *places}):
                cells = [
                    receipt.shard,
                    str(row),
                    *(columns[name][row] for name in ("id", "anomaly_score", "p_value")),
                    q_value[ranks[row] - 1] if ranks[row] else np.nan,
                    flagged[row],
                ]
                if flagged[row]:
                    write(cells)
                if row in places:
                    ranked[places[row]] = cells
    with whole_file(out / TOP) as part_file, csv_rows(part_file, header) as write:
        for _, cells in sorted(ranked.items()):
            write(cells)
