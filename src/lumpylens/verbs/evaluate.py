"""How well a trained model tells anomalous from normal images: the one place that reads labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.images import ANOMALOUS, NORMAL, LensImages
from lumpylens.data.shortcuts import TRIVIAL_STATISTICS, trivial_statistics
from lumpylens.data.splits import PARTS, part_of, pixel_digest
from lumpylens.errors import DataError, ModelError
from lumpylens.files.json_files import plain
from lumpylens.files.paths import short_path
from lumpylens.files.progress import counted, note
from lumpylens.files.versions import installed_versions
from lumpylens.report.evaluation import Evaluation, check_evaluation_place
from lumpylens.results.calibration import Calibration
from lumpylens.results.evaluation_numbers import (
    BOTH,
    DUPLICATE,
    FAILED,
    HEADLINE,
    SEEN,
    audit,
    measure,
)
from lumpylens.results.examples import choose_examples
from lumpylens.results.metrics import FPRS
from lumpylens.results.ranking import Ranking, about, joined_tables
from lumpylens.results.reasons import why_none
from lumpylens.results.score_table import ScoreTable
from lumpylens.store.folder import load_model
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.explain import check_explain, explain_highest

__all__ = ["evaluate"]

FDR = 0.05
"""False-discovery rate of the flags."""


def evaluate(
    model: TrainedModel | str | Path,
    *,
    normal: Any,
    anomalous: Any,
    band: str | None = None,
    out: str | Path | None = None,
    explain: int = 50,
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
    explain : int
        How many of the highest ranks the report explains; without `out` none is.
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
    if out is not None:
        check_evaluation_place(Path(out))
    check_explain(explain)
    n_explained = 0 if out is None else explain
    trained = load_model(model)
    opened = {
        name: LensImages.open(data, band=band)
        for name, data in (("normal", normal), ("anomalous", anomalous))
    }
    refuse_label(opened["normal"], ANOMALOUS, "normal")
    refuse_label(opened["anomalous"], NORMAL, "anomalous")
    say_limits(trained.calibration, progress)
    with ExitStack() as stack:
        images = {
            name: stack.enter_context(collection.decoded_once()).warned()
            for name, collection in opened.items()
        }
        tables, trivial = score_classes(trained, images, device, progress)
        metrics = measure(tables, trained.calibration) | {
            "audit": audit(tables, trivial),
            "seed": seed,
            "data": {name: short_path(collection.location) for name, collection in images.items()},
            **describe_model(trained, model),
        }
        use = {name: table.components["use"] for name, table in tables.items()}
        headline = {name: np.flatnonzero(use[name] == HEADLINE) for name in tables}
        listed = {name: np.flatnonzero(np.isin(use[name], (HEADLINE, FAILED))) for name in tables}
        ranks = joined_tables({name: tables[name][rows] for name, rows in listed.items()}, FDR)
        ranked = images["normal"][listed["normal"]] + images["anomalous"][listed["anomalous"]]
        explanations = explain_highest(
            trained, ranked, ranks, n_explained, device=device, progress=progress
        )
        source = about(model, trained.detector.name, ranked.location)
        result = Evaluation(
            metrics=plain(metrics),
            tables=tables,
            calibration=trained.calibration,
            history=list(trained.detector.history),
            examples=choose_examples(images, tables, headline, trained.detector.reconstruct, seed),
            ranking=Ranking(ranks, ranked, trained.calibration, explanations, FDR, source),
        )
        if out is not None:
            result.write(out)
    return result


def score_classes(
    trained: TrainedModel, images: Mapping[str, LensImages], device: str, progress: bool
) -> tuple[dict[str, ScoreTable], dict[str, dict[str, NDArray[np.float64]]]]:
    """Tables of both classes with the columns ``use`` and ``part``, and the trivial statistics."""
    tables, digests, trivial = {}, {}, {}
    for name, collection in images.items():
        with counted(f"reading {name}", len(collection), show=progress) as step:
            digests[name], trivial[name] = survey(collection, step)
        with counted(f"scoring {name}", len(collection), show=progress) as step:
            tables[name] = trained.score(collection, device=device, on_image=step)
    for name, other_class in (("normal", "anomalous"), ("anomalous", "normal")):
        tables[name] = sort_out(
            tables[name], digests[name], set(digests[other_class]), trained.seen
        )
    refuse_nothing_unseen(tables)
    return tables, trivial


def say_limits(calibration: Calibration, progress: bool) -> None:
    """Say before the work for which rates so few calibration images give no threshold."""
    for fpr in FPRS:
        try:
            calibration.threshold(fpr)
        except ModelError as refusal:
            note(str(refusal), show=progress)


def refuse_label(images: LensImages, label: int, given_as: str) -> None:
    """Refuse images whose folder says that they are of the other class."""
    mislabelled = np.flatnonzero(images.labels == label)
    if len(mislabelled):
        other_class = "anomalous" if label == ANOMALOUS else "normal"
        raise DataError(
            f"{len(mislabelled)} of {len(images)} images of {images.location} were given as "
            f"{given_as} but are labelled {other_class} (the first is "
            f"{images.ids[mislabelled[0]]}); give the folder of one class"
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
    other_digests: set[bytes],
    seen: Mapping[str, NDArray[np.uint8]],
) -> ScoreTable:
    """Add the columns ``use`` and ``part``.

    Parameters
    ----------
    digests : list of bytes, length n
    other_digests : set of bytes
        Digests of the other class.
    seen : dict of str to ndarray of uint8, shape (k, 16)
        What the model was made with, by part.
    """
    # an image kept for tests is one that the model never saw, even where it is listed
    used_for = {
        row.tobytes(): part for part in PARTS if part != "test" for row in seen.get(part, ())
    }
    counted: set[bytes] = set()
    use, parts = [], []
    for digest, scored in zip(digests, table.scored, strict=True):
        parts.append(used_for.get(digest) or (part_of(digest) if digest else ""))
        if not scored:
            use.append(FAILED)
        elif digest in other_digests:
            use.append(BOTH)
        elif digest in counted:
            use.append(DUPLICATE)
        else:
            use.append(SEEN if digest in used_for else HEADLINE)
            counted.add(digest)
    columns = {"part": np.array(parts, dtype=str), "use": np.array(use, dtype=str)}
    return replace(table, components={**table.components, **columns})


def refuse_nothing_unseen(tables: Mapping[str, ScoreTable]) -> None:
    """Raise `DataError` if a class has no image for the headline, and say why."""
    for name, table in tables.items():
        uses = Counter(table.components["use"].tolist())
        if uses[HEADLINE]:
            continue
        if uses[FAILED] == len(table) and (why_failed := why_none(table.error, table.warning)):
            raise DataError(f"{name}: {why_failed}")
        counts = ", ".join(f"{count} {use}" for use, count in uses.items()) or "none given"
        reason = next((f"; the first failed with: {text}" for text in table.error if text), "")
        raise DataError(
            f"no {name} image is left that the model never saw and could score "
            f"({counts}{reason}); give images that were not used in its training"
        )


def describe_model(trained: TrainedModel, model: Any) -> dict[str, Any]:
    """Description of the model that was evaluated, with settings and versions."""
    detector = trained.detector
    return {
        "model": {
            "name": short_path(str(model)) if isinstance(model, (str, Path)) else "in memory",
            "detector": detector.name,
            "image_shape": list(detector.image_shape or ()),
            "n_calibration": len(trained.calibration),
            "n_seen": {part: len(digests) for part, digests in trained.seen.items()},
            "training": dict(trained.info),
        },
        "settings": detector.config.model_dump(mode="json"),
        "versions": installed_versions(),
    }
