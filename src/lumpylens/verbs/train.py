"""From a folder of normal images to a calibrated model folder."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lumpylens.data.classes import labelled_normal, refuse_anomalies
from lumpylens.data.images import LensImages
from lumpylens.data.splits import Split, check_disjoint, split
from lumpylens.detectors import Detector, Run, Scores, create, name_for_file
from lumpylens.detectors.scikit import nominal_rate
from lumpylens.detectors.settings import read_settings
from lumpylens.errors import DataError, ModelError
from lumpylens.files.paths import short_path
from lumpylens.files.progress import counted, note
from lumpylens.files.versions import installed_versions
from lumpylens.files.writing import check_replaceable
from lumpylens.results.calibration import Calibration, calibration_images_for
from lumpylens.store.folder import save_model
from lumpylens.store.layout import check_place
from lumpylens.store.trained import TrainedModel
from lumpylens.training.device import check_device, torch_device

__all__ = ["train"]

LEAST_IMAGES = 100
"""Fewer leave about ten or less for each of validation, calibration and test."""
WANTED = {"a false-discovery rate": 0.05, "a false-positive rate": 0.01}
"""What most users ask of a calibration: the default of `score`, the strictest of `evaluate`."""
RUN_NOTE = "command.txt"


def train(
    data: str | Path | ArrayLike | LensImages,
    detector: str = "physics",
    *,
    band: str | None = None,
    normal_only: bool = False,
    out: str | Path | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    precision: str = "32-true",
    progress: bool = True,
) -> TrainedModel:
    """Train a detector on normal images and calibrate it.

    The images are split by their content: the detector learns from ``train``, chooses from
    ``validation``, p-values come from ``calibration``, and ``test`` is left for `evaluate`.

    Parameters
    ----------
    data : str, Path, array_like or LensImages
        Images without substructure. One labelled anomalous is refused, and so are several class
        folders, unless `normal_only` leaves them out.
    detector : str
        Name of a detector, see `list_detectors`, or ``module:Class`` for one of your own.
    band : str, optional
        Which of the bands to take, where the files hold several.
    normal_only : bool
        Leave out all images but those that are labelled normal.
    out : str or Path, optional
        Folder for the model. While it is trained, checkpoints lie beside it in ``OUT.run``.
    seed : int
    settings : mapping, optional
        Settings of the detector, instead of its defaults.
    config : str or Path, optional
        TOML file of settings, or a model's ``config.toml``; `settings` come before it, and it
        before `seed`.
    resume : bool
        Go on from the last finished epoch in ``OUT.run``, if there is one.
    device : {"auto", "cpu", "cuda"}
    devices, nodes : int
        Processes per machine, and machines.
    precision : str
        Lightning's name for the number format.
    progress : bool
        Show progress on standard error.

    Returns
    -------
    TrainedModel

    Raises
    ------
    DataError
        If an image is labelled anomalous, there are too few, or `out` cannot be written.
    ModelError
        If the detector, a setting or the device does not exist, or `out` is another folder.
    """
    started = time.perf_counter()
    of_file = {} if config is None else read_settings(config)
    learner = create(detector, **{"seed": seed, **of_file, **(settings or {})})
    check_device(device)
    if device == "cuda":
        torch_device(device)  # says so now if there is none, and loads torch
    learner.device = device
    opened = LensImages.open(data, band=band)
    images = refuse_anomalies(labelled_normal(opened) if normal_only else opened)
    command = _command(images, band, normal_only, learner, out)
    first = is_first_process(devices * nodes)
    progress = progress and first
    run = Run(
        folder=None if out is None else _run_folder(Path(out)),
        resume=resume,
        progress=progress,
        device=device,
        devices=devices,
        nodes=nodes,
        precision=precision,
    )
    with images.decoded_once() as decoded:
        decoded.warned()
        with counted("reading", len(decoded), show=progress) as step:
            parts = split(decoded, progress=step)
        _check_enough(decoded, parts)
        note(_prospect(len(parts.calibration)), show=progress)

        if run.folder is not None:
            _open_run(run.folder, command)
        learner.fit(parts.train, validation=parts.validation, run=run)
        with counted(
            "calibrating", len(parts.calibration) + len(parts.test), show=progress
        ) as step:
            held_out = learner.score(parts.calibration, on_image=step)
            fresh = learner.score(parts.test, on_image=step)
        calibration = _calibration(held_out)
        learner.calibrate(calibration)
        quick = learner.fast()
        fast_calibration = None
        if quick is not None:
            fast_calibration = _calibration(quick.score(parts.calibration))
            quick.calibrate(fast_calibration)

    info = {
        "data": short_path(images.location),
        "command": command,
        "images": {
            "found": len(images),
            "unreadable": len(parts.failed),
            **{part: len(getattr(parts, part)) for part in parts.digests},
        },
        "normal": _on_normals(fresh, calibration),
        "seconds": round(time.perf_counter() - started, 3),
        "versions": installed_versions(),
    }
    model = TrainedModel(
        detector=learner,
        calibration=calibration,
        seen={part: digests for part, digests in parts.digests.items() if part != "test"},
        info=info,
        fast_calibration=fast_calibration,
    )
    model = replace(model, card=_card(model))
    if out is not None and first:
        save_model(model, out)
        if run.folder is not None:
            shutil.rmtree(run.folder)
    return model


def _run_folder(out: Path) -> Path:
    """Private folder of a run; a place that cannot be written shows here."""
    check_place(out)
    place = out.resolve()
    folder = place.with_name(f"{place.name}.run")
    check_replaceable(folder, made_by_us=RUN_NOTE)
    return folder


def _open_run(folder: Path, command: str) -> None:
    """Make the private folder of a run, with a note of what it is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RUN_NOTE).write_text(f"{command}\n", encoding="utf-8")
    except OSError as problem:
        raise DataError(f"cannot write {folder}: {problem.strerror or problem}") from problem


def _check_enough(images: LensImages, parts: Split) -> None:
    """Refuse what leaves a part empty, and say why so few are left."""
    readable = sum(len(getattr(parts, part)) for part in parts.digests)
    if parts.failed and 2 * len(parts.failed) > len(images):
        first = min(parts.failed)
        raise DataError(
            f"{len(parts.failed)} of {len(images)} images of {images.location} cannot be used; "
            f"the first is {images.ids[first]}: {parts.failed[first]}"
        )
    if readable < LEAST_IMAGES:
        raise DataError(
            f"{readable} different images in {images.location} are too few to learn from, to "
            f"calibrate and to test; give at least {LEAST_IMAGES}"
        )
    empty = [part for part in parts.digests if not len(getattr(parts, part))]
    if empty:
        raise DataError(
            f"none of {readable} different images in {images.location} falls into the "
            f"{' and the '.join(empty)} part; give more"
        )
    # The content decides the part, so this holds unless an image fell into two of them.
    check_disjoint(*parts.digests.values())


def _prospect(n_calibration: int) -> str:
    """Say what p-values so many calibration images will give, and what they will not."""
    sentences = [
        f"{n_calibration} images are kept for calibration: no p-value will be below "
        f"1/{n_calibration + 1} = {1 / (n_calibration + 1):.2g}"
    ]
    for purpose, rate in WANTED.items():
        needed = calibration_images_for(rate)
        if n_calibration < needed:
            sentences.append(
                f"{purpose} of {rate:g} needs {needed} of them, about {10 * needed} images in total"
            )
    return "; ".join(sentences)


def _calibration(scores: Scores) -> Calibration:
    """Calibration by the images that get p-values."""
    if not scores.trusted.any():
        reason = next((text for text in scores.error + scores.warning if text), "")
        raise ModelError(f"no calibration image could be scored: {reason}")
    return Calibration(scores.anomaly_score[scores.trusted])


def _on_normals(fresh: Scores, calibration: Calibration) -> dict[str, Any]:
    """Say how the model judges normal images that it has never seen."""
    scores = fresh.anomaly_score[np.isfinite(fresh.anomaly_score)]
    losses = fresh.reconstruction_mse[np.isfinite(fresh.reconstruction_mse)]
    rate = nominal_rate(calibration)
    alarms = scores > calibration.threshold(rate)
    return {
        "test_images": len(scores),
        "nominal_false_alarm_rate": rate,
        "false_alarm_rate": float(alarms.mean()) if len(scores) else None,
        "median_score": float(np.median(scores)) if len(scores) else None,
        "median_reconstruction_mse": float(np.median(losses)) if len(losses) else None,
    }


def _command(
    images: LensImages,
    band: str | None,
    normal_only: bool,
    detector: Detector,
    out: str | Path | None,
) -> str:
    """Command line that does the same."""
    name = name_for_file(type(detector))
    words = ["lumpylens", "train", short_path(images.location), "--detector", name]
    if band is not None:
        words += ["--band", band]
    if normal_only:
        words.append("--normal-only")
    for key, value in detector.config.model_dump(mode="json", exclude_defaults=True).items():
        if key != "seed":
            words += ["--set", f"{key}={value}"]
    words += ["--seed", str(detector.config.seed)]
    if out is not None:
        words += ["--out", Path(out).name]
    return shlex.join(words)


def is_first_process(processes: int) -> bool:
    """Tell whether this process writes the model and speaks: of several, the first one does."""
    if processes == 1:
        return True
    ranks = (os.environ.get(name) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    return int(next((rank for rank in ranks if rank), "0")) == 0


def _card(model: TrainedModel) -> str:
    """Model card in Markdown."""
    detector, info = model.detector, model.info
    images, normal = info["images"], info["normal"]
    notes = "\n".join(f"* {note}" for note in detector.card_notes())
    settings = "\n".join(f"| `{key}` | {value} |" for key, value in detector.config)
    versions = ", ".join(f"{name} {number}" for name, number in info["versions"].items())
    height, width = detector.image_shape or (0, 0)
    lines = [
        f"# {detector.name}: a detector of substructure in strong lenses",
        f"Learned from images without substructure of {height}x{width} pixels "
        f"({info['data']}), without labels. Higher scores are more anomalous.",
        notes,
        "## Images",
        f"{images['found']} found, {images['unreadable']} unreadable. By content, "
        f"{images['train']} were for training, {images['validation']} for validation, "
        f"{images['calibration']} for calibration, and {images['test']} for tests.",
        "## On normal images",
        f"{len(model.calibration)} calibration images: no p-value is below "
        f"{model.calibration.smallest_p_value:.2g}.",
    ]
    if normal["false_alarm_rate"] is not None:
        lines.append(
            f"Of {normal['test_images']} normal test images {normal['false_alarm_rate']:.1%} lie "
            f"above the threshold for {normal['nominal_false_alarm_rate']:.1%}."
        )
    if normal["median_reconstruction_mse"] is not None:
        lines.append(
            "Their median reconstruction loss, the mean squared error per pixel on [0, 1] "
            f"images, is {normal['median_reconstruction_mse']:.3g}."
        )
    lines += [
        "An image of another size, stretch or pixel scale gets an error or a warning and no "
        "p-value.",
        "## How it was made",
        f"```\n{info['command']}\n```",
        f"{info['seconds']:.1f} s; {versions}.",
        "| setting | value |\n|---|---|\n" + settings,
    ]
    return "\n\n".join(line for line in lines if line) + "\n"
