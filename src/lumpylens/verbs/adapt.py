"""A model brought to other images than those that it learned from."""

from __future__ import annotations

import copy
import shlex
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from lumpylens.data.classes import refuse_anomalies
from lumpylens.data.images import LensImages
from lumpylens.detectors import Run
from lumpylens.files.paths import short_path
from lumpylens.store.folder import load_model, save_model
from lumpylens.store.layout import check_place
from lumpylens.store.trained import TrainedModel
from lumpylens.training.device import check_device, torch_device
from lumpylens.verbs.train import described, divided, taught

__all__ = ["adapt"]


def adapt(
    model: TrainedModel | str | Path,
    data: str | Path | ArrayLike | LensImages,
    *,
    band: str | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
) -> TrainedModel:
    """Bring a model to other images of the same size, with another blur, noise or population.

    Trained networks stay as they are. `physics` learns instrument, population and scores of smooth
    lenses anew, and every detector the scores and the look of normal images. Some of the images may
    have substructure: those whose scores stand apart are left out. The images are split as in
    `train`.

    Parameters
    ----------
    model : TrainedModel, str or Path
        A model, its folder, or the name of one that comes with the package. It is not changed.
    data : str, Path, array_like or LensImages
        Images without labels. One labelled anomalous is refused.
    band : str, optional
        Which of the bands to take, where the files hold several.
    out : str or Path, optional
        Folder for the new model.
    device : {"auto", "cpu", "cuda"}
    progress : bool
        Show progress on standard error.

    Returns
    -------
    TrainedModel

    Raises
    ------
    DataError
        If an image is labelled anomalous or has another size than those of the model, there are too
        few, or `out` cannot be written.
    ModelError
        If the model cannot be loaded, or the device does not exist.
    """
    started = time.perf_counter()
    if out is not None:
        check_place(out)
    check_device(device)
    if device == "cuda":
        torch_device(device)  # says so now if there is none
    before = load_model(model)
    learner = copy.deepcopy(before.detector)
    learner.device = device
    images = refuse_anomalies(LensImages.open(data, band=band))
    run = Run(progress=progress, device=device)
    with images.decoded_once() as decoded:
        parts = divided(decoded, run)
        adapted = taught(learner, learner.adapt, parts, run, contaminated=True)
    source = short_path(model) if isinstance(model, (str, Path)) else learner.name
    adapted = replace(
        adapted,
        seen={
            part: np.concatenate([before.seen[part], digests]) if part in before.seen else digests
            for part, digests in adapted.seen.items()
        },
        info={**adapted.info, "adapted_from": {"model": source, **_origin(before)}},
    )
    adapted = described(adapted, images, parts, _command(source, images, band, out), started)
    if out is not None:
        save_model(adapted, out)
    return adapted


def _origin(model: TrainedModel) -> dict[str, str]:
    """What a model was made from, as far as it says so."""
    return {key: str(model.info[key]) for key in ("data", "command") if key in model.info}


def _command(source: str, images: LensImages, band: str | None, out: str | Path | None) -> str:
    """Command line that does the same."""
    words = ["lumpylens", "adapt", source, short_path(images.location)]
    if band is not None:
        words += ["--band", band]
    if out is not None:
        words += ["--out", Path(out).name]
    return shlex.join(words)
