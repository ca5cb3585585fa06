"""From a folder of normal images to a calibrated model folder."""

from __future__ import annotations

import os
import shlex
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumpylens.data.classes import labelled_normal, refuse_anomalies
from lumpylens.data.images import LensImages
from lumpylens.data.splits import Split, check_disjoint, split
from lumpylens.detectors import Detector, Run, Scores, create, name_for_file
from lumpylens.detectors.scikit import nominal_rate
from lumpylens.detectors.settings import read_settings
from lumpylens.errors import DataError, DataWarning, ModelError
from lumpylens.files.paths import short_path
from lumpylens.files.progress import counted, note
from lumpylens.files.versions import installed_versions
from lumpylens.files.writing import check_replaceable
from lumpylens.results.apart import start_of_second_group
from lumpylens.results.calibration import Calibration, calibration_images_for
from lumpylens.store.folder import save_model
from lumpylens.store.layout import check_place
from lumpylens.store.trained import TrainedModel
from lumpylens.training.device import check_device, torch_device
from lumpylens.verbs.card import card_of
from lumpylens.verbs.uncleaned import learn_without_anomalies

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
    contaminated: bool = False,
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
    contaminated : bool
        Whether some images, nobody knows which, may have substructure. Those whose scores stand
        apart are left out of learning and of calibration.
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
    command = _command(images, band, normal_only, learner, out, contaminated)
    first = is_first_process(devices * nodes)
    run = Run(
        folder=None if out is None else _run_folder(Path(out)),
        resume=resume,
        progress=progress and first,
        device=device,
        devices=devices,
        nodes=nodes,
        precision=precision,
    )
    with images.decoded_once() as decoded:
        parts = divided(decoded, run)
        if run.folder is not None:
            _open_run(run.folder, command)
        model = taught(learner, learner.fit, parts, run, contaminated=contaminated)
    model = described(model, images, parts, command, started)
    if out is not None and first:
        save_model(model, out)
        if run.folder is not None:
            shutil.rmtree(run.folder)
    return model


def divided(images: LensImages, run: Run) -> Split:
    """Split the images, and say what p-values their number allows."""
    images.warned()
    with counted("reading", len(images), show=run.progress) as step:
        parts = split(images, progress=step)
    _check_enough(images, parts)
    note(_prospect(len(parts.calibration)), show=run.progress)
    return parts


def taught(
    learner: Detector,
    learn: Callable[..., Any],
    parts: Split,
    run: Run,
    *,
    contaminated: bool,
) -> TrainedModel:
    """Let a detector learn, and calibrate it.

    Parameters
    ----------
    learner : Detector
    learn : callable
        Its `fit` or `adapt`.
    parts : Split
    run : Run
    contaminated : bool
        Whether images may have substructure.
    """
    apart = None
    if contaminated:
        apart = learn_without_anomalies(learner, learn, parts, run)
    else:
        learn(parts.train, validation=parts.validation, run=run)
    total = len(parts.calibration) + len(parts.test)
    with counted("calibrating", total, show=run.progress) as step:
        held_out = learner.score(parts.calibration, on_image=step)
        fresh = learner.score(parts.test, on_image=step)
    normal = np.ones(len(parts.calibration), dtype=bool) if apart is None else apart.calibration
    calibration = _calibration(held_out, normal)
    learner.calibrate(calibration)
    quick = learner.fast()
    fast_calibration = None
    if quick is not None:
        fast_calibration = _calibration(quick.score(parts.calibration), normal)
        quick.calibrate(fast_calibration)
    info: dict[str, Any] = {"normal": _on_normals(fresh, calibration)}
    if apart is not None:
        info["contaminated"] = apart.counts()
    else:
        _remark_on_anomalies(held_out, fresh)
    return TrainedModel(
        detector=learner,
        calibration=calibration,
        seen={part: digests for part, digests in parts.digests.items() if part != "test"},
        info=info,
        fast_calibration=fast_calibration,
    )


def described(
    model: TrainedModel, images: LensImages, parts: Split, command: str, started: float
) -> TrainedModel:
    """Add to a model what it was made from, and its card."""
    info = {
        "data": short_path(images.location),
        "command": command,
        "images": {
            "found": len(images),
            "unreadable": len(parts.failed),
            **{part: len(getattr(parts, part)) for part in parts.digests},
        },
        **model.info,
        "seconds": round(time.perf_counter() - started, 3),
        "versions": installed_versions(),
    }
    model = replace(model, info=info)
    return replace(model, card=card_of(model))


def _remark_on_anomalies(*held_out: Scores) -> None:
    """Warn if images that were taken for normal stand apart."""
    scores = np.concatenate([part.anomaly_score for part in held_out])
    begins = start_of_second_group(scores)
    if begins is not None:
        share = np.mean(scores[np.isfinite(scores)] > begins)
        warnings.warn(
            f"the scores of {share:.0%} of the images that were not learned from "
            "stand apart from the others: if they may be lumpy lenses, train with --contaminated",
            DataWarning,
            stacklevel=3,
        )


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


def _calibration(scores: Scores, normal: NDArray[np.bool_]) -> Calibration:
    """Calibration by those of the normal images that get p-values."""
    chosen = scores.trusted & normal
    if not chosen.any():
        reason = next((text for text in scores.error + scores.warning if text), "")
        raise ModelError(f"no calibration image could be scored: {reason}")
    return Calibration(scores.anomaly_score[chosen])


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
    contaminated: bool,
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
    if contaminated:
        words += ["--contaminated"]
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
