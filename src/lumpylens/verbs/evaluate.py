"""How well a trained model tells anomalous from normal images: the one place that reads labels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.images import ANOMALOUS, NORMAL, LensImages
from lumpylens.data.shortcuts import TRIVIAL_STATISTICS, trivial_statistics
from lumpylens.data.splits import PARTS, part_of, pixel_digest
from lumpylens.errors import DataError, ModelError
from lumpylens.files.progress import counted, note
from lumpylens.files.writing import check_writable, whole_folder
from lumpylens.results.evaluation_numbers import (
    BOTH,
    DUPLICATE,
    FAILED,
    HEADLINE,
    SEEN,
    audit,
    counted_rows,
    measure,
    without_nan,
)
from lumpylens.results.metrics import FPRS
from lumpylens.results.ranking import Ranking, about, joined, short
from lumpylens.results.score_table import ScoreTable

if TYPE_CHECKING:
    from lumpylens.results.calibration import Calibration
    from lumpylens.results.examples import Example
    from lumpylens.store.folder import TrainedModel

__all__ = ["Evaluation", "evaluate"]

METRICS, REPORT, IMAGES = "metrics.json", "report.html", "images"
EXPLAINED, FDR = 50, 0.05
"""Ranks that a report explains, and the false-discovery rate of its flags, unless told."""
SCORES = {"normal": "scores_normal.csv", "anomalous": "scores_anomalous.csv"}


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What `evaluate` found.

    Attributes
    ----------
    metrics : dict
        What ``metrics.json`` holds; None stands for a number that does not exist.
    tables : dict of str to ScoreTable
        ``normal`` and ``anomalous``: all given images. The column ``use`` says what each counts
        for (``headline``, ``seen``, ``duplicate``, ``both classes``, ``failed``), ``part``
        where its content belongs.
    calibration : Calibration
    history : list of dict
        The detector's training curve, empty where it has none.
    examples : dict of str to tuple of Example
        See `lumpylens.results.examples.choose_examples`.
    ranking : Ranking
        Both classes as one list: what counts for the headline, and what failed.
    """

    metrics: Mapping[str, Any]
    tables: Mapping[str, ScoreTable]
    calibration: Calibration
    history: list[dict[str, float]]
    examples: Mapping[str, tuple[Example, ...]]
    ranking: Ranking

    @property
    def auc(self) -> float:
        """Area under the ROC curve of the images that the model never saw."""
        return float(self.metrics["auc"])

    def rows(self, part: str | None = None) -> dict[str, ScoreTable]:
        """Rows of the headline by class, or those of one part of the split."""
        return counted_rows(self.tables, part)

    def write(self, folder: str | Path) -> Path:
        """Write ``metrics.json``, both score tables and the report.

        Raises
        ------
        DataError
            If `folder` holds other files than those of an evaluation, or cannot be written.
        """
        from lumpylens.report import write_report

        place = Path(folder)
        check_place(place)
        with whole_folder(place, made_by_us=METRICS) as beside:
            text = json.dumps(self.metrics, indent=2, allow_nan=False)
            (beside / METRICS).write_text(text + "\n", encoding="utf-8")
            for name, file in SCORES.items():
                self.tables[name].write(beside / file)
            write_report(self, beside)
        return place

    def __repr__(self) -> str:
        m = self.metrics
        rates = ", ".join(f"{value:.3f} at FPR {fpr}" for fpr, value in m["tpr_at_fpr"].items())
        return (
            f"Evaluation of {m['model']['detector']} on {m['n_normal']} normal and "
            f"{m['n_anomalous']} anomalous images that it never saw\n"
            f"  AUC {m['auc']:.4f} (95 % interval {m['auc_low']:.4f} to {m['auc_high']:.4f})\n"
            f"  TPR {rates}\n"
            f"  failed: {m['n_failed_normal']} normal, {m['n_failed_anomalous']} anomalous"
        )


def evaluate(
    model: TrainedModel | str | Path,
    *,
    normal: Any,
    anomalous: Any,
    band: str | None = None,
    out: str | Path | None = None,
    explain: int | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> Evaluation:
    """Measure how well a model separates two classes of images.

    The headline counts every given image whose content the model never saw, once. Images that
    the model was made with are reported apart, by part of the split: its training images
    against the anomalous images that fall into the same part, and so on. Content that is
    given in both classes counts in neither; of images with one content, the first counts.

    Parameters
    ----------
    model : TrainedModel, str or Path
        A model, its folder, or the name of one that comes with the package.
    normal, anomalous : str, Path, array_like of shape (..., H, W), or LensImages
        Whatever `LensImages.open` understands.
    band : str, optional
        Which of the bands to take, where the files hold several.
    out : str or Path, optional
        Folder to write: ``metrics.json``, score tables, ``report.html``.
    explain : int, optional
        How many of the highest ranks the report explains. Default: 50 if there is a report.
    seed : int
        For the images that the report draws at random; no number depends on it.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    progress : bool
        Show bars on standard error.

    Raises
    ------
    DataError
        If a class is labelled as the other, or has no image that the model never saw and can
        score, or `out` cannot be written.
    ModelError
        If the model cannot be loaded.
    """
    from lumpylens.results.examples import choose_examples
    from lumpylens.store.folder import load_model
    from lumpylens.verbs.explain import check_explain, explain_highest
    from lumpylens.verbs.score import calibrated, raw_scores

    if out is not None:
        check_place(Path(out))
    wanted = explain if explain is not None else EXPLAINED if out is not None else 0
    check_explain(wanted)
    trained = load_model(model)
    images = {
        name: LensImages.open(data, band=band).warned()
        for name, data in (("normal", normal), ("anomalous", anomalous))
    }
    refuse_label(images["normal"], ANOMALOUS, "normal")
    refuse_label(images["anomalous"], NORMAL, "anomalous")

    say_limits(trained.calibration, progress)
    tables, digests, trivial = {}, {}, {}
    for name, collection in images.items():
        with counted(f"reading {name}", len(collection), show=progress) as step:
            digests[name], trivial[name] = survey(collection, step)
        raw = raw_scores(trained, collection, device, progress, what=f"scoring {name}")
        tables[name] = calibrated(collection.ids, raw, trained.calibration)
    for name, other in (("normal", "anomalous"), ("anomalous", "normal")):
        tables[name] = sort_out(tables[name], digests[name], set(digests[other]), trained.seen)
    refuse_nothing_unseen(tables)

    metrics = measure(tables, trained.calibration) | {
        "audit": audit(tables, trivial),
        "seed": seed,
        "data": {name: short(collection.location) for name, collection in images.items()},
        **describe_model(trained, model),
    }
    positions = {
        name: np.flatnonzero(table.components["use"] == HEADLINE) for name, table in tables.items()
    }
    listed = {
        name: np.flatnonzero(np.isin(table.components["use"], (HEADLINE, FAILED)))
        for name, table in tables.items()
    }
    one_list = joined({name: tables[name][rows] for name, rows in listed.items()}, FDR)
    both = images["normal"][listed["normal"]] + images["anomalous"][listed["anomalous"]]
    ranking = Ranking(
        one_list,
        both,
        trained.calibration,
        explain_highest(trained, both, one_list, wanted, device=device, progress=progress),
        FDR,
        about(model, trained.detector.name, both.location),
    )
    result = Evaluation(
        metrics=without_nan(metrics),
        tables=tables,
        calibration=trained.calibration,
        history=list(trained.detector.history),
        examples=choose_examples(images, tables, positions, trained.detector, seed),
        ranking=ranking,
    )
    if out is not None:
        result.write(out)
    return result


def say_limits(calibration: Calibration, progress: bool) -> None:
    """Say before the work for which rates so few calibration images give no threshold."""
    for fpr in FPRS:
        try:
            calibration.threshold(fpr)
        except ModelError as refusal:
            note(str(refusal), show=progress)


def check_place(folder: Path) -> None:
    """Refuse a folder that holds anything but an older evaluation, or cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; give a folder to write to")
    ours = {METRICS, REPORT, IMAGES, *SCORES.values()}
    others = [p.name for p in folder.iterdir() if p.name not in ours] if folder.exists() else []
    if others:
        raise DataError(
            f"{folder} holds {min(others)}, which is not part of an evaluation, and is left as it "
            "is; give a new or an empty folder"
        )
    check_writable(folder)


def refuse_label(images: LensImages, label: int, given_as: str) -> None:
    """Refuse images whose folder says that they are of the other class."""
    wrong = np.flatnonzero(images.labels == label)
    if len(wrong):
        other = "anomalous" if label == ANOMALOUS else "normal"
        raise DataError(
            f"{len(wrong)} of {len(images)} images of {images.location} were given as {given_as} "
            f"but are labelled {other} (the first is {images.ids[wrong[0]]}); give the folder of "
            "one class"
        )


def survey(
    images: LensImages, step: Callable[[], None]
) -> tuple[list[bytes], dict[str, NDArray[np.float64]]]:
    """Read each image once.

    Returns
    -------
    digests : list of bytes, length n
        Of the pixels; empty where the image cannot be read.
    trivial : dict of str to ndarray, shape (n,)
        What `trivial_statistics` gives.
    """
    digests: list[bytes] = []
    trivial = {name: np.full(len(images), np.nan) for name in TRIVIAL_STATISTICS}
    for position, item in enumerate(images):
        step()
        digests.append(b"" if item.error or item.image is None else pixel_digest(item.image))
        for name, value in trivial_statistics(item).items():
            trivial[name][position] = value
    return digests, trivial


def sort_out(
    table: ScoreTable,
    digests: list[bytes],
    others: set[bytes],
    seen: Mapping[str, NDArray[np.uint8]],
) -> ScoreTable:
    """Add the columns ``use`` and ``part``.

    Parameters
    ----------
    digests : list of bytes, length n
    others : set of bytes
        Digests of the other class.
    seen : dict of str to ndarray of uint8, shape (k, 16)
        What the model was made with, by part.
    """
    # an image kept for tests is one that the model never saw, even where it is listed
    known = {row.tobytes(): part for part in PARTS if part != "test" for row in seen.get(part, ())}
    met: set[bytes] = set()
    use, parts = [], []
    for digest, scored in zip(digests, table.scored, strict=True):
        parts.append(known.get(digest) or (part_of(digest) if digest else ""))
        if not scored:
            use.append(FAILED)
        elif digest in others:
            use.append(BOTH)
        elif digest in met:
            use.append(DUPLICATE)
        else:
            use.append(SEEN if digest in known else HEADLINE)
            met.add(digest)
    columns = {"part": np.array(parts, dtype=str), "use": np.array(use, dtype=str)}
    return replace(table, components={**table.components, **columns})


def refuse_nothing_unseen(tables: Mapping[str, ScoreTable]) -> None:
    """Raise `DataError` if a class has no image for the headline, and say why."""
    for name, table in tables.items():
        uses = Counter(table.components["use"].tolist())
        if uses[HEADLINE]:
            continue
        counts = ", ".join(f"{count} {use}" for use, count in uses.items()) or "none given"
        reason = next((f"; the first failed with: {text}" for text in table.error if text), "")
        raise DataError(
            f"no {name} image is left that the model never saw and could score "
            f"({counts}{reason}); give images that it was not made with"
        )


def describe_model(trained: TrainedModel, given: Any) -> dict[str, Any]:
    """What was evaluated, with settings and versions."""
    from lumpylens.verbs.train import installed_versions

    detector = trained.detector
    return {
        "model": {
            "name": short(str(given)) if isinstance(given, (str, Path)) else "in memory",
            "detector": detector.name,
            "image_shape": list(detector.image_shape or ()),
            "n_calibration": len(trained.calibration),
            "n_seen": {part: len(digests) for part, digests in trained.seen.items()},
            "training": dict(trained.info),
        },
        "settings": detector.config.model_dump(mode="json"),
        "versions": installed_versions(),
    }
