"""Score a collection with a trained model: raw scores, p-values, a selection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lumpylens.data.images import LensImages
from lumpylens.errors import ModelError
from lumpylens.files.progress import counted, note
from lumpylens.files.tables import check_table_place
from lumpylens.results.calibration import Calibration, benjamini_hochberg
from lumpylens.results.score_table import ScoreTable

if TYPE_CHECKING:
    from lumpylens.detectors.outcome import Scores
    from lumpylens.store.folder import TrainedModel

__all__ = ["calibrated", "check_device", "score"]


def score(
    model: TrainedModel | str | Path,
    data: Any,
    *,
    band: str | None = None,
    out: str | Path | None = None,
    report: str | Path | None = None,
    explain: int = 50,
    fdr: float = 0.05,
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
        If there are no images, or `out` or `report` cannot be written.
    ModelError
        If the model cannot be loaded or has no fast score, or `fdr` or `device` makes no sense.
    """
    from lumpylens.results.ranking import Ranking, about, check_report_place
    from lumpylens.store.folder import load_model
    from lumpylens.verbs.explain import check_explain, explain_highest

    if not 0 < fdr < 1:
        raise ModelError(f"fdr is a false-discovery rate between 0 and 1, got {fdr:g}")
    if out is not None:
        check_table_place(Path(out))
    if report is not None:
        check_report_place(Path(report))
        check_explain(explain)
    trained = load_model(model)
    if fast:
        trained = trained.fast()
    images = LensImages.open(data, band=band).warned()
    note(trained.calibration.selection_limit(fdr, len(images)), show=progress)
    table = calibrated(
        images.ids, raw_scores(trained, images, device, progress), trained.calibration, fdr=fdr
    )
    if out is not None:
        table.write(out)
    if report is not None:
        Ranking(
            table,
            images,
            trained.calibration,
            explain_highest(trained, images, table, explain, device=device, progress=progress),
            fdr,
            about(model, trained.detector.name, images.location),
        ).write(report)
    return table


def raw_scores(
    model: TrainedModel, images: LensImages, device: str, progress: bool, what: str = "scoring"
) -> Scores:
    """What the detector says of `images`, with a bar."""
    check_device(device)
    with model.detector.on(device), counted(what, len(images), show=progress) as on_image:
        return model.detector.score(images, on_image=on_image)


def check_device(device: str) -> None:
    """Refuse a device of another name."""
    if device not in ("auto", "cpu", "cuda"):
        raise ModelError(f"no device called {device!r} (known: auto, cpu, cuda)")


def calibrated(
    ids: Sequence[str], scores: Scores, calibration: Calibration, *, fdr: float = 0.05
) -> ScoreTable:
    """Join raw scores with p-values, q-values and flags.

    Failed images and images with a warning get no p-value and are not among the tests.
    """
    p_value = calibration.p_values(np.where(scores.trusted, scores.anomaly_score, np.nan))
    q_value = benjamini_hochberg(p_value)
    return ScoreTable(
        id=list(ids),
        anomaly_score=scores.anomaly_score,
        error=scores.error,
        warning=scores.warning,
        p_value=p_value,
        q_value=q_value,
        flag=q_value <= fdr,
        components={"reconstruction_mse": scores.reconstruction_mse, **scores.components},
    )
