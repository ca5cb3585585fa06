"""Score any number of shards, and combine their results."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lumpylens.detectors import name_for_file
from lumpylens.errors import DataError, LumpylensError, ModelError
from lumpylens.files.json_files import write_json
from lumpylens.files.progress import counted, note
from lumpylens.files.receipts import read_receipt, write_receipt
from lumpylens.files.tables import check_table_place, pandas_frame, read_columns
from lumpylens.files.writing import check_replaceable, check_writable
from lumpylens.results.submission import SubmissionCounts, check_submission
from lumpylens.results.summary import Summary
from lumpylens.scale.engine import check_cluster, perform_all
from lumpylens.scale.receipts import RecordedTask
from lumpylens.scale.selection import TOP, select_images, submit_images
from lumpylens.scale.shards import ScoreTask
from lumpylens.training.device import check_device

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Campaign", "score_shards"]

NOTE, SUMMARY, SHARDS = "campaign.json", "summary.json", "shards"
MOST_LISTED = 10
"""Failed shards, and reasons of failed images, that a summary lists one by one; more would push the
numbers off the screen."""


@dataclass(frozen=True, repr=False)
class Campaign(Summary):
    """Numbers of scored, failed and flagged images over many shards.

    Attributes
    ----------
    folder : str
        Holds ``top.csv``, ``selected.csv``, ``q_values.csv``, ``summary.json``, and in
        ``shards`` a table and a receipt for each shard.
    shards, shards_before : int
        Number of shards, and of those that had been finished before this call.
    images, scored, failed, warned, flagged : int
    p_value_limit : float or None
        Images with at most this p-value are flagged; None if no image is flagged.
    fdr : float
        False-discovery rate at which images are flagged.
    reasons : dict of str to int
        Number of failed images by reason.
    failed_shards : dict of str to str
        Shards that have no scores, and why.
    seconds : float
    submission : str or None
        CSV file of the submission; None if none was asked for, or shards failed.
    submitted : SubmissionCounts or None
    """

    folder: str
    shards: int
    shards_before: int
    images: int
    scored: int
    failed: int
    warned: int
    flagged: int
    p_value_limit: float | None
    fdr: float
    reasons: Mapping[str, int]
    failed_shards: Mapping[str, str]
    seconds: float
    submission: str | None = None
    submitted: SubmissionCounts | None = None

    def to_dict(self) -> dict[str, Any]:
        """All numbers."""
        return asdict(self)

    def to_pandas(self) -> DataFrame:
        """`pandas.DataFrame` of ``top.csv``: the most anomalous images of all shards.

        Raises
        ------
        DataError
            If pandas is not installed, or the file is gone.
        """
        return pandas_frame(read_columns(Path(self.folder) / TOP, text=("shard", "id")))

    def __repr__(self) -> str:
        newly = self.shards - self.shards_before - len(self.failed_shards)
        lines = [
            f"{self.images} images of {self.shards} shards in {self.seconds:.1f} s ({newly} shards "
            f"scored, {self.shards_before} found finished, {len(self.failed_shards)} failed)",
            f"{self.scored} scored, {self.failed} failed, {self.warned} with a warning, "
            f"{self.flagged} flagged at a false-discovery rate of {self.fdr:g}",
        ]
        lines += first_of(
            f"{times} images failed: {reason}" for reason, times in self.reasons.items()
        )
        lines += first_of(
            f"failed shard {name}: {reason}" for name, reason in self.failed_shards.items()
        )
        if self.submitted is not None:
            lines.append(f"{self.submission}: {self.submitted}")
        return "\n".join([*lines, f"results are in {self.folder}"])


def score_shards(
    model: str | Path,
    shards: Iterable[str | Path],
    *,
    out: str | Path,
    band: str | None = None,
    cluster: str | None = None,
    fdr: float = 0.05,
    submission: str | Path | None = None,
    lumpy_fraction: float | None = None,
    fpr: float | None = None,
    top: int = 100,
    fast: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> Campaign:
    """Score shards of images, each once, in this process or on a cluster.

    Memory of the calling process depends on the number of shards and of calibration images, not
    on the number of images: shards are reduced to counts of p-values and their most anomalous
    rows. Shards with a receipt of this model and these settings are not scored again, so a call
    that was stopped is continued by calling it again.

    Parameters
    ----------
    model : str or Path
        Model folder, or the name of a shipped model.
    shards : iterable of str or Path
        Each is a path that `LensImages.open` reads; ``@FILE`` stands for the paths in a text
        file, one per line.
    out : str or Path
        Folder for results; the folder of an earlier call with the same model is continued.
    band : str, optional
        Which of the bands to take, where the files hold several.
    cluster : str, optional
        ``local:N`` (N processes of this machine), ``local`` (one per core), the address of a
        Dask scheduler or its scheduler file. Default: this process. Model, shards and `out` must
        have the same paths on all machines.
    fdr : float
        False-discovery rate at which images are flagged, over all shards together.
    submission, lumpy_fraction, fpr
        See `score`. The file is written if no shard failed, since a submission has a row for each
        image.
    top : int
        How many of the most anomalous images ``top.csv`` lists.
    fast : bool
        Use the model's quicker, coarser score.
    device : {"cpu", "auto", "cuda"}
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    Campaign

    Raises
    ------
    DataError
        If there are no shards, `out` holds something else, `submission` cannot be written, or the
        cluster cannot be reached.
    ModelError
        If the model cannot be loaded or has no fast score, or a setting makes no sense.
    """
    from lumpylens.store.folder import load_model, model_digest

    started = time.perf_counter()
    if not 0 < fdr < 1:
        raise ModelError(f"fdr is a false-discovery rate between 0 and 1, got {fdr:g}")
    if top < 1:
        raise ModelError(f"top is a number of images, got {top}")
    check_submission(submission, lumpy_fraction, fpr)
    check_device(device)
    check_cluster(cluster)
    digest = model_digest(model)
    trained = load_model(model)
    calibration = (trained.fast() if fast else trained).calibration
    if fpr is not None:
        calibration.threshold(fpr)  # refused where it is finer than the calibration
    folder = Path(out)
    named = list(_listed(shards))
    mark = " ".join([digest, *(["fast"] if fast else []), *([f"band {band}"] if band else [])])
    open_folder(folder, mark, holds="scores of another model, or other scores of this one")
    check_table_place(folder / SHARDS / "any.parquet")
    location = str(model) if not Path(model).is_dir() else str(Path(model).resolve())
    tasks = [
        ScoreTask(
            str(name),
            location,
            digest,
            str(folder.resolve() / SHARDS),
            device=device,
            top=top,
            fast=fast,
            band=band,
            detector=name_for_file(type(trained.detector)),
        )
        for name in named
    ]
    note(calibration.selection_limit(fdr), show=progress)
    with counted("scoring shards", len(tasks), show=progress) as on_done:
        n_done, failures = perform_unfinished(tasks, cluster, on_done)
    finished = [task for position, task in enumerate(tasks) if position not in failures]
    failed = {tasks[position].shard: reason for position, reason in sorted(failures.items())}
    selection = select_images(finished, calibration, fdr=fdr, top=top, out=folder)
    campaign = Campaign(
        folder=str(out),
        shards=len(tasks),
        shards_before=len(finished) - n_done,
        images=selection.images,
        scored=selection.images - selection.failed,
        failed=selection.failed,
        warned=selection.warned,
        flagged=selection.flagged,
        p_value_limit=selection.p_value_limit,
        fdr=fdr,
        reasons=dict(Counter(selection.reasons).most_common()),
        failed_shards=failed,
        seconds=round(time.perf_counter() - started, 3),
    )
    try:
        if submission is not None and failed:
            note(
                f"no submission is written: it has a row for each image, and {len(failed)} shards "
                "failed; the same command tries them again",
                show=progress,
            )
        elif submission is not None:
            submitted = submit_images(
                finished, calibration, Path(submission), lumpy_fraction=lumpy_fraction, fpr=fpr
            )
            campaign = replace(campaign, submission=str(submission), submitted=submitted)
    finally:
        finish_folder(folder, {**asdict(campaign), "model": digest}, complete=not failed)
    return campaign


def _listed(shards: Iterable[str | Path]) -> Iterator[str]:
    """Absolute paths of the shards, with those of lists; an error if one is given twice."""
    listed: set[Path] = set()
    for path in _paths(shards):
        place = path.expanduser().resolve()
        if place in listed:
            raise DataError(f"the shard {path} is given twice")
        listed.add(place)
        yield str(place)
    if not listed:
        raise DataError("there are no shards to score; give files or folders of images")


def _paths(shards: Iterable[str | Path]) -> Iterator[Path]:
    for shard in shards:
        text = str(shard)
        if not text.startswith("@"):
            yield Path(shard)
            continue
        try:
            lines = Path(text[1:]).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as problem:
            raise DataError(f"the list of shards {text[1:]} cannot be read: {problem}") from None
        yield from (Path(line.strip()) for line in lines if line.strip())


def open_folder(folder: Path, mark: str, *, holds: str) -> None:
    """Make the folder of results, or accept one of an earlier call with the same mark.

    Parameters
    ----------
    folder : Path
    mark : str
        Digest of the settings that all its shards share.
    holds : str
        What a folder with another mark holds, for the message.

    Raises
    ------
    DataError
        If it holds anything else, or cannot be written.
    ModelError
        If the folder has another mark.
    """
    check_replaceable(folder, made_by_us=NOTE)
    try:
        (folder / SHARDS).mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise DataError(f"cannot write {folder}: {problem.strerror or problem}") from None
    check_writable(folder / SHARDS / NOTE)
    note = folder / NOTE
    if not note.is_file():
        write_receipt({"mark": mark, "lumpylens": version("lumpylens")}, note)
        return
    content = read_receipt(note, {})
    if content is None:
        raise DataError(f"{note} cannot be read; give another folder")
    if content.get("mark") != mark:
        raise ModelError(f"{folder} holds {holds}; give another folder")


def perform_unfinished(
    tasks: Sequence[RecordedTask[Any]], cluster: str | None, on_done: Callable[[], None]
) -> tuple[int, dict[int, str]]:
    """`perform_all` the tasks that have no receipt; without such a task no cluster is started.

    Parameters, returns and raises are those of `perform_all`.
    """
    left = []
    for position, task in enumerate(tasks):
        if _has_receipt(task):
            on_done()
        else:
            left.append(position)
    done, failures = perform_all([tasks[position] for position in left], cluster, on_done)
    return done, {left[number]: why for number, why in failures.items()}


def _has_receipt(task: RecordedTask[Any]) -> bool:
    try:
        return task.receipt() is not None
    except LumpylensError:
        return False  # the task says why when it is run


def finish_folder(folder: Path, summary: Mapping[str, Any], *, complete: bool) -> None:
    """Write the summary; when all shards are done, clear away what killed writers left."""
    write_json(summary, folder / SUMMARY)
    if not complete:
        return
    for leftover in (folder / SHARDS).glob(".*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def first_of(sentences: Iterable[str]) -> list[str]:
    """Keep the first `MOST_LISTED` sentences, and say how many more there are."""
    every = list(sentences)
    last_line = (
        [f"and {len(every) - MOST_LISTED} more, see {SUMMARY}"] if len(every) > MOST_LISTED else []
    )
    return [*every[:MOST_LISTED], *last_line]
