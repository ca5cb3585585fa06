"""Detectors of substructure, and the one list of them."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from lumpylens.detectors.base import Detector
from lumpylens.detectors.outcome import Scores
from lumpylens.detectors.settings import DetectorConfig
from lumpylens.errors import ModelError
from lumpylens.training.run import Run

__all__ = ["DETECTORS", "Detector", "DetectorConfig", "Run", "Scores", "create", "detector_class"]

DETECTORS = {
    "physics": ("lumpylens.detectors.physics.detector", "PhysicsDetector"),
    "encoder": ("lumpylens.detectors.encoder.detector", "EncoderDetector"),
    "pixel": ("lumpylens.detectors.pixel.detector", "PixelDetector"),
    "pca": ("lumpylens.detectors.pca", "PCADetector"),
    "dcae": ("lumpylens.detectors.paper.dcae", "DCAEDetector"),
    "vae": ("lumpylens.detectors.paper.vae", "VAEDetector"),
    "aae": ("lumpylens.detectors.paper.aae", "AAEDetector"),
    "rbm": ("lumpylens.detectors.paper.rbm", "RBMDetector"),
    "ocsvm": ("lumpylens.detectors.ocsvm", "OCSVMDetector"),
}
"""Name -> (module, class). Imported when asked for, since torch takes seconds to load."""


def detector_class(name: str) -> type[Detector]:
    """Class of the detector called `name`.

    Raises
    ------
    ModelError
        If there is none, with the nearest name.
    """
    if name not in DETECTORS:
        near = difflib.get_close_matches(name, DETECTORS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ModelError(f"no detector called {name!r}{hint} (known: {', '.join(DETECTORS)})")
    module, attribute = DETECTORS[name]
    found: type[Detector] = getattr(importlib.import_module(module), attribute)
    return found


def create(name: str, **settings: Any) -> Detector:
    """Make an untrained detector.

    Examples
    --------
    >>> create("pca", max_components=20).config.max_components
    20
    """
    return detector_class(name)(**settings)
