"""The model folder: weights and arrays, settings, and a card for people to read.

``model.safetensors``
    Everything learned: the detector's arrays, the calibration scores, and the digests of the
    images that the model has seen.
``config.toml``
    What kind of model it is, its settings, how it was trained, and the names, shapes and
    digest of the arrays.
``card.md``
    The same in sentences.

Nothing is pickled, so a folder from a stranger can be loaded: it holds numbers and text. The text
names a detector, and nothing is imported for that but what ships, what an installed package
offers, and what the user has imported already: see `lumpylens.detectors.class_in_file`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from lumpylens.data.checks import size_defect
from lumpylens.detectors import Detector, class_in_file, name_for_file
from lumpylens.detectors.domain import Domain
from lumpylens.detectors.settings import validated
from lumpylens.errors import ModelError
from lumpylens.files.digests import SHORT_BYTES, digest_of
from lumpylens.files.writing import whole_folder
from lumpylens.results.calibration import Calibration
from lumpylens.store.layout import (
    CARD,
    CONFIG,
    FORMAT,
    MAX_TEXT_BYTES,
    MAX_WEIGHTS_BYTES,
    WEIGHTS,
    check_place,
    find_model,
)
from lumpylens.store.packed import unpacked
from lumpylens.store.trained import TrainedModel

__all__ = [
    "load_model",
    "model_digest",
    "save_model",
]

DTYPES = ("uint8", "int64", "float32", "float64")


SPACES = ("detector", "domain", "usual", "calibration", "fast_calibration", "seen")
"""First parts of the names of arrays."""


class _Brightness(BaseModel):
    model_config = ConfigDict(extra="forbid")

    low: tuple[float, float, float, float]
    high: tuple[float, float, float, float]
    one_value: float = Field(default=1.0, ge=0, le=1)
    flat_lines: float = Field(default=1.0, ge=0, le=1)


class _Config(BaseModel):
    """What ``config.toml`` holds."""

    model_config = ConfigDict(extra="forbid")

    format: int
    lumpylens: str
    detector: str
    image_shape: tuple[PositiveInt, PositiveInt]
    offset: float | None = None
    weights_sha256: str
    settings: dict[str, Any]
    brightness: _Brightness
    arrays: dict[str, str]
    info: dict[str, Any] = {}
    history: list[dict[str, float]] = []


def save_model(model: TrainedModel, folder: str | Path) -> Path:
    """Write a model folder, in place of an older one if there is one.

    The folder is written beside its place and renamed, so that it is whole or not there.

    Parameters
    ----------
    model : TrainedModel
    folder : str or Path

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    DataError
        If it cannot be written, or `folder` holds other files.
    ModelError
        If the detector is not trained.
    """
    import tomli_w
    from safetensors.numpy import save

    place = Path(folder)
    check_place(place)
    detector = model.detector
    if detector.image_shape is None or detector.domain is None:
        raise ModelError(f"{detector.name} has not been trained, so there is nothing to save")
    arrays = {
        name: _plain(name, array)
        for space, group in (
            ("detector", detector._arrays()),
            ("domain", detector.domain.arrays()),
            ("usual", {} if detector.usual_loss is None else {"loss": detector.usual_loss}),
            ("calibration", model.calibration.arrays()),
            ("fast_calibration", model.fast_calibration.arrays() if model.fast_calibration else {}),
            ("seen", model.seen),
        )
        for name, array in ((f"{space}/{key}", value) for key, value in group.items())
    }
    weights = save(arrays)
    offset = {} if detector.offset_ is None else {"offset": detector.offset_}
    config = {
        "format": FORMAT,
        "lumpylens": version("lumpylens"),
        "detector": name_for_file(type(detector)),
        "image_shape": list(detector.image_shape),
        **offset,
        "weights_sha256": digest_of(weights),
        "settings": _settings(detector),
        "brightness": {
            "low": detector.domain.low.tolist(),
            "high": detector.domain.high.tolist(),
            "one_value": detector.domain.one_value,
            "flat_lines": detector.domain.flat_lines,
        },
        "arrays": {name: _kind(arrays[name]) for name in sorted(arrays)},
        "info": _without_none(model.info),
        "history": [{key: float(value) for key, value in row.items()} for row in detector.history],
    }
    with whole_folder(place, made_by_us=CONFIG) as part_folder:
        (part_folder / WEIGHTS).write_bytes(weights)
        (part_folder / CONFIG).write_text(tomli_w.dumps(config), encoding="utf-8")
        (part_folder / CARD).write_text(model.card, encoding="utf-8")
    return place


def load_model(model: str | Path | TrainedModel) -> TrainedModel:
    """Load a model folder, or one of the models that come with the package.

    Parameters
    ----------
    model : str, Path or TrainedModel
        A folder, a safetensors file that `lumpylens.export` wrote, or a name as listed by
        ``lumpylens info``. A loaded model is returned as it is.

    Raises
    ------
    ModelError
        If there is none, or it is damaged or was made by an incompatible version; in one
        line that says what differs.
    """
    if isinstance(model, TrainedModel):
        return model
    folder = find_model(model)
    if folder.is_file():
        with unpacked(folder) as folder:
            return load_model(folder)
    config = _read_config(folder)
    kind = _class_named_in(folder, config)
    try:
        detector = kind(**config.settings)
    except (ModelError, TypeError, AttributeError) as problem:
        raise ModelError(f"{folder / CONFIG}: {problem}") from None
    arrays = _read_arrays(folder, config)
    spaces: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in SPACES}
    for name, array in arrays.items():
        space, _, key = name.partition("/")
        if space not in spaces or not key:
            raise ModelError(f"{folder / WEIGHTS} holds an unknown array {name!r}")
        spaces[space][key] = array
    for part, digests in spaces["seen"].items():
        if digests.dtype != np.uint8 or digests.shape[1:] != (SHORT_BYTES,):
            raise ModelError(f"{folder / WEIGHTS}: seen/{part} is {_kind(digests)}, no digests")
    detector.image_shape = config.image_shape
    detector.history = config.history
    detector.offset_ = config.offset
    bounds = config.brightness
    try:
        detector.domain = Domain(
            np.array(bounds.low), np.array(bounds.high), bounds.one_value, bounds.flat_lines
        ).with_arrays(spaces["domain"])
        detector._restore(spaces["detector"])
        detector.usual_loss = _usual_loss(spaces["usual"], config.image_shape)
        calibration = Calibration.from_arrays(spaces["calibration"])
        fast = spaces["fast_calibration"]
        fast_calibration = Calibration.from_arrays(fast) if fast else None
        quick = detector.fast()
        if quick is not None and fast_calibration is not None:
            quick.calibrate(fast_calibration)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as problem:
        reason = " ".join(str(problem).split())[:300]
        raise ModelError(
            f"the arrays of {folder} do not fit a {config.detector} detector with its settings: "
            f"{type(problem).__name__} {reason}"
        ) from problem
    card = _read_text(folder / CARD) if (folder / CARD).is_file() else ""
    return TrainedModel(detector, calibration, spaces["seen"], card, config.info, fast_calibration)


def _usual_loss(
    arrays: Mapping[str, NDArray[Any]], image_shape: tuple[int, int]
) -> NDArray[np.float32] | None:
    """Loss of normal images; None in older models and for detectors without a reconstruction."""
    loss = arrays.get("loss")
    if loss is not None and (loss.shape != image_shape or not (loss >= 0).all()):
        raise ValueError(f"usual/loss is no squared error of {image_shape[0]}x{image_shape[1]}")
    return loss


def model_digest(model: str | Path) -> str:
    """Digest that tells models apart.

    Of the settings, which hold the digest of the weights; `load_model` compares that one.

    Parameters
    ----------
    model : str or Path
        A model folder or the name of a shipped model.

    Raises
    ------
    ModelError
        If there is none.
    """
    folder = find_model(model)
    _read_config(folder)
    return digest_of(_read_text(folder / CONFIG))


def _within(path: Path) -> Path:
    """Return the path, if it is no link that leads out of its folder.

    Who gives a folder away does not decide which other files of its user are read or shown.
    """
    if path.resolve().parent != path.parent.resolve():
        raise ModelError(f"{path} is a link that leads out of its folder; put the file there")
    return path


def _read_text(path: Path) -> str:
    try:
        _within(path)
        size = path.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise ModelError(f"{path} has {size} bytes, more than any model's ({MAX_TEXT_BYTES})")
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        raise ModelError(f"cannot read {path}: {problem.strerror or problem}") from None
    except UnicodeDecodeError:
        raise ModelError(f"{path} is not text") from None


def _read_config(folder: Path) -> _Config:
    path = folder / CONFIG
    if not path.is_file():
        raise ModelError(f"{folder} is not a model folder: it has no {CONFIG}")
    try:
        values = tomllib.loads(_read_text(path))
    except tomllib.TOMLDecodeError as problem:
        raise ModelError(f"{path} is not valid TOML: {problem}") from None
    except RecursionError:
        raise ModelError(f"{path} is nested more deeply than any settings") from None
    written = values.get("format")
    if written != FORMAT:
        raise ModelError(
            f"{folder} was written by lumpylens {values.get('lumpylens', '(unknown)')} in format "
            f"{written}, and lumpylens {version('lumpylens')} reads format {FORMAT}"
        )
    try:
        config: _Config = validated(_Config, values)
    except ModelError as problem:
        raise ModelError(f"{path}: {problem}") from None
    if reason := size_defect(*config.image_shape):
        raise ModelError(f"{path}: image_shape: {reason}")
    return config


def _class_named_in(folder: Path, config: _Config) -> type[Detector]:
    try:
        return class_in_file(config.detector)
    except ModelError as problem:
        raise ModelError(
            f"{folder / CONFIG} names the detector {config.detector!r}: {problem}"
        ) from None


def _read_arrays(folder: Path, config: _Config) -> dict[str, NDArray[Any]]:
    """Read the arrays after checking that they are the ones that `config` lists."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{folder} is not a whole model folder: it has no {WEIGHTS}")
    try:
        size = _within(path).stat().st_size
        if size > MAX_WEIGHTS_BYTES:
            raise ModelError(f"{path} has {size} bytes, more than any model's")
        content = path.read_bytes()
        # Read-only views of the file's bytes would make torch warn, so each is copied.
        arrays = {name: np.array(array) for name, array in load(content).items()}
    except OSError as problem:
        raise ModelError(f"cannot read {path}: {problem.strerror or problem}") from None
    except (SafetensorError, KeyError, ValueError, TypeError) as problem:
        raise ModelError(f"{path} is damaged: {' '.join(str(problem).split())[:200]}") from None
    for name in {**config.arrays, **arrays}:
        listed = config.arrays.get(name, "nothing")
        kind = _kind(arrays[name]) if name in arrays else "nothing"
        if listed != kind:
            raise ModelError(f"{folder}: array {name} is {kind}, but {CONFIG} lists {listed}")
    if digest_of(content) != config.weights_sha256:
        raise ModelError(f"{path} is not the file that {CONFIG} was written with: digests differ")
    return arrays


def _plain(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Contiguous copy in native byte order, since the file stores raw bytes."""
    values = np.asarray(array)
    if values.dtype.name not in DTYPES or not re.fullmatch(r"[\w./-]+", name):
        raise TypeError(f"array {name!r} has dtype {values.dtype}; store one of {DTYPES}")
    return np.array(values, dtype=values.dtype.newbyteorder("="), order="C", copy=True)


def _kind(array: NDArray[Any]) -> str:
    """Dtype and shape in one word, such as ``float32[150,150]``."""
    return f"{array.dtype.name}[{','.join(map(str, array.shape))}]"


def _settings(detector: Detector) -> dict[str, Any]:
    """Settings as TOML can hold them: None, which it cannot, must be the default."""
    settings = _without_none(detector.config.model_dump(mode="json"))
    restored = type(detector.config)(**settings).model_dump()
    for key, value in detector.config.model_dump().items():
        if restored[key] != value:
            raise ModelError(f"setting {key}={value!r} of {detector.name} cannot be stored")
    return settings


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }
