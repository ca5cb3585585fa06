"""One run of the benchmark, in a process of its own so that its memory can be measured.

``python -m lumpylens.verbs.benchmark.run`` reads a `Job` as JSON from standard input.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, LumpylensError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from lumpylens.data.splits import Split
    from lumpylens.detectors import Detector
    from lumpylens.results.evaluation import EvaluationData

__all__ = ["REFERENCE", "Job", "by_class", "run"]

REFERENCE = "supervised reference"
"""In place of a detector's name: the classifier that is trained on labels."""

TIMED = 512
"""Images scored to measure the speed: enough for a second or so."""

LEARNING_CURVE = (0.25, 0.5, 1.0)
"""Shares of the labelled images that the supervised classifier learns from; all of them last."""


@dataclass(frozen=True)
class Job:
    """What one run does, and where its result goes.

    Attributes
    ----------
    data : str
        Images of both classes.
    detector : str
        Name of a detector, ``module:Class``, or `REFERENCE`.
    seed : int
    device : str
    progress : bool
    result : str
        JSON file to write.
    also : str or None
        Further anomalous images, to be told from the same normal ones by the same model.
    band : str or None
        Which of the bands to take, where the files of `data` hold several.
    path : tuple of str
        Where Python looks for modules, so that a detector of the user's is found here, too.
    """

    data: str
    detector: str
    seed: int
    device: str
    progress: bool
    result: str
    also: str | None = None
    band: str | None = None
    path: tuple[str, ...] = ()


def by_class(data: str | Path, band: str | None = None) -> tuple[LensImages, LensImages]:
    """Normal and anomalous images of a labelled collection.

    Raises
    ------
    DataError
        If a class is missing.
    """
    images = LensImages.open(data, band=band).warned()
    labels = images.labels
    normal, anomalous = images[labels == 0], images[labels == 1]
    if not len(normal) or not len(anomalous):
        raise DataError(
            f"{images.location} holds {len(normal)} normal and {len(anomalous)} anomalous images; "
            "a benchmark needs both, in sub-folders no_sub and sub or with labels"
        )
    return normal, anomalous


def run(job: Job) -> dict[str, Any]:
    """Train, store, load, evaluate, and measure what each costs.

    Returns
    -------
    dict
        ``metrics`` as `evaluate` gives them, ``training_core_seconds``,
        ``images_per_core_second``, ``peak_memory_mb``, ``model_mb``, ``n_train``, ``device``;
        ``roc``: true-positive rates at `CURVE_FPRS`;
        ``also``, ``also_roc``: metrics and rates of the further anomalous images.
        Times are those of the processor, over all cores: what else the machine does is not in
        them.
    """
    from lumpylens.store.folder import load_model
    from lumpylens.verbs.evaluate import evaluate
    from lumpylens.verbs.train import train

    if job.detector == REFERENCE:
        return run_reference(job)
    normal, anomalous = by_class(job.data, job.band)
    options: dict[str, Any] = {"device": job.device, "progress": job.progress}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        start = time.process_time()
        train(normal, job.detector, out=folder, seed=job.seed, **options)
        core_seconds = time.process_time() - start
        size = sum(file.stat().st_size for file in folder.iterdir())
        model = load_model(folder)
    evaluation = evaluate(model, normal=normal, anomalous=anomalous, **options)
    compensated_part: dict[str, Any] = {}
    if job.also is not None:
        second = evaluate(model, normal=normal, anomalous=LensImages.open(job.also), **options)
        compensated_part = {"also": dict(second.metrics), "also_roc": evaluated_curve(second)}
    return compensated_part | {
        "detector": job.detector,
        "seed": job.seed,
        "metrics": dict(evaluation.metrics),
        "roc": evaluated_curve(evaluation),
        "n_train": len(model.seen["train"]),
        "training_core_seconds": core_seconds,
        "images_per_core_second": speed(model.detector, anomalous[:TIMED]),
        "peak_memory_mb": peak_memory_mb(),
        "model_mb": size / 1e6,
        "device": machine(job.device),
    }


def run_reference(job: Job) -> dict[str, Any]:
    """Train the classifier on the labelled training parts, and measure it on the test parts."""
    from lumpylens.data.splits import split

    start = time.process_time()
    normal, anomalous = (split(images) for images in by_class(job.data, job.band))
    metrics, roc = learn_from_labels(job, normal, anomalous)
    seconds = time.process_time() - start
    compensated_part: dict[str, Any] = {}
    if job.also is not None:
        # Trained on images of its own kind: the best that labels can do there.
        second, second_roc = learn_from_labels(job, normal, split(LensImages.open(job.also)))
        compensated_part = {"also": second, "also_roc": second_roc}
    return compensated_part | {
        "detector": REFERENCE,
        "seed": job.seed,
        "metrics": metrics,
        "roc": roc,
        "n_train": metrics["learning_curve"][-1][0],
        "training_core_seconds": seconds,
        "peak_memory_mb": peak_memory_mb(),
        "device": machine(job.device),
    }


def learn_from_labels(job: Job, *parts: Split) -> tuple[dict[str, Any], list[float]]:
    """Metrics of the classifier, with its AUC by the number of images, and its ROC curve.

    Parameters
    ----------
    job : Job
    *parts : Split
        Of the normal, then of the anomalous images.
    """
    from lumpylens.detectors import Run
    from lumpylens.results.metrics import separation
    from lumpylens.verbs.benchmark.supervised import supervised_reference

    training = [part.train + part.validation for part in parts]
    curve: list[tuple[int, float]] = []
    for share in LEARNING_CURVE:
        reference = supervised_reference(
            *(images[: round(len(images) * share)] for images in training),
            *(part.test for part in parts),
            seed=job.seed,
            run=Run(device=job.device, progress=job.progress),
        )
        metrics = separation(reference.normal, reference.anomalous)
        curve.append((reference.training_normal + reference.training_anomalous, metrics["auc"]))
    return {**metrics, "learning_curve": curve}, curve_of(reference.normal, reference.anomalous)


def evaluated_curve(evaluation: EvaluationData) -> list[float]:
    """`curve_of` the images of the headline."""
    rows = evaluation.rows()
    return curve_of(rows["normal"].anomaly_score, rows["anomalous"].anomaly_score)


def curve_of(normal: ArrayLike, anomalous: ArrayLike) -> list[float]:
    """True-positive rates of scores at `CURVE_FPRS`."""
    from lumpylens.results.metrics import CURVE_FPRS, roc_curve

    return [round(rate, 5) for rate in roc_curve(normal, anomalous).tpr_on(CURVE_FPRS).tolist()]


def speed(detector: Detector, images: LensImages) -> float:
    """Images scored per second of one core, reading included, once the detector is warm."""
    detector.score(images[:8])
    start = time.process_time()
    detector.score(images)
    return len(images) / (time.process_time() - start)


def peak_memory_mb() -> float:
    """Largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def machine(device: str) -> str:
    """Description of the machine that the numbers were measured on."""
    torch = sys.modules.get("torch")
    if torch is not None and device != "cpu" and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()}, {os.cpu_count()} cores"


def main() -> None:
    """Do the job that standard input describes."""
    job = Job(**json.load(sys.stdin))
    sys.path[:] = job.path or sys.path
    try:
        result = run(job)
    except LumpylensError as problem:
        result = {"detector": job.detector, "seed": job.seed, "failed": str(problem)}
    Path(job.result).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
