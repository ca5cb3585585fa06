"""Score a collection with a trained model: raw scores, p-values, a selection."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from lumpylens.data.image import ANOMALOUS
from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, DataWarning, ModelError
from lumpylens.files.progress import counted, note
from lumpylens.files.tables import check_table_place
from lumpylens.report.ranking import check_ranking_place, write_ranking
from lumpylens.results.ranking import Ranking, about
from lumpylens.results.score_table import ScoreTable
from lumpylens.results.submission import check_submission
from lumpylens.store.folder import load_model
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.explain import check_explain, explain_highest

__all__ = ["score"]


def score(
    model: TrainedModel | str | Path,
    data: Any,
    *,
    band: str | None = None,
    out: str | Path | None = None,
    report: str | Path | None = None,
    explain: int = 50,
    fdr: float = 0.05,
    submission: str | Path | None = None,
    lumpy_fraction: float | None = None,
    fpr: float | None = None,
    fast: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> ScoreTable:
    """Rank images by how far they depart from the normal ones.

    Parameters
    ----------
    model : TrainedModel, str or Path
        A model, its folder, or the name of one that comes with the package.
    data : str, Path, array_like of shape (..., H, W), or LensImages
        Whatever `LensImages.open` understands.
    band : str, optional
        Which of the bands to take, where the files hold several.
    out : str or Path, optional
        Table to write: CSV, ECSV or Parquet by suffix.
    report : str or Path, optional
        Folder for a page that shows the list: ``report.html``, its pictures, ``scores.csv``.
    explain : int
        How many of the highest ranks the report explains.
    fdr : float
        False-discovery rate at which images are flagged.
    submission : str or Path, optional
        CSV file to write, with the columns ``ID`` and ``has_substructure``, a row for each image:
        see `ScoreTable.submission`.
    lumpy_fraction : float, optional
        Of the submission: fraction of lumpy lenses, for which the expected accuracy is the best
        one. Default: an estimate from the p-values.
    fpr : float, optional
        Of the submission: false-positive rate, in place of the best accuracy.
    fast : bool
        Use the quicker, coarser score that some detectors have (`physics`: its encoder alone).
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    ScoreTable
        One row per image in the order of `data`. An image that cannot be scored has an
        `error` and no score; one unlike the training images has a `warning` and no p-value.

    Raises
    ------
    DataError
        If there are no images, or `out`, `report` or `submission` cannot be written.
    ModelError
        If the model cannot be loaded or has no fast score, or `fdr`, `lumpy_fraction`, `fpr` or
        `device` makes no sense.
    """
    if not 0 < fdr < 1:
        raise ModelError(f"fdr is a false-discovery rate between 0 and 1, got {fdr:g}")
    if out is not None:
        check_table_place(Path(out))
    if report is not None:
        check_ranking_place(Path(report))
        check_explain(explain)
    check_submission(submission, lumpy_fraction, fpr)
    if out is not None and submission is not None and Path(out) == Path(submission):
        raise DataError(f"the table and the submission are two files, and both are {out}")
    trained = load_model(model)
    if fast:
        trained = trained.fast()
    if fpr is not None:
        trained.calibration.threshold(fpr)  # refused where it is finer than the calibration
    images = LensImages.open(data, band=band).warned()
    note(trained.calibration.selection_limit(fdr, len(images)), show=progress)
    with counted("scoring", len(images), show=progress) as step:
        table = trained.score(images, fdr=fdr, device=device, on_image=step)
    # Of those that are known to be lumpy nothing else is expected.
    unknown = table.p_value[images.labels != ANOMALOUS]
    if remark := trained.calibration.strangers(trained.calibration.counts(unknown)):
        warnings.warn(remark, DataWarning, stacklevel=2)
    if out is not None:
        table.write(out)
    if submission is not None:
        table.submission(lumpy_fraction=lumpy_fraction, fpr=fpr).write(submission)
    if report is not None:
        ranking = Ranking(
            table,
            images,
            trained.calibration,
            explain_highest(trained, images, table, explain, device=device, progress=progress),
            fdr,
            about(model, trained.detector.name, images.location),
        )
        write_ranking(ranking, report)
    return table
