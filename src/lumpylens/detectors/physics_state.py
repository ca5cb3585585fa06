"""The `physics` detector as named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from lumpylens.detectors.encoder import EncoderDetector
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import Measurement
from lumpylens.physics.parameters import NAMES
from lumpylens.physics.population import Population
from lumpylens.physics.region import scene_of
from lumpylens.physics.scores import ResidualLaw, Tail

if TYPE_CHECKING:
    from lumpylens.detectors.physics import PhysicsDetector

__all__ = ["from_arrays", "to_arrays"]

NOISE = ("floor", "gain", "offset", "roughness")
RESIDUAL = ("offset", "slope", "scatter")


def to_arrays(detector: PhysicsDetector) -> dict[str, NDArray[Any]]:
    """Everything learned."""
    model, population = detector.model, detector.population
    measurement = model.measurement
    stored: dict[str, NDArray[Any]] = {
        "region": np.array([measurement.row, measurement.column, measurement.size]),
        "cusp_samples": np.array(model.scene.cusp_samples),
        "psf_radius": np.array(model.psf_radius),
        "shared": model.shared.numpy(),
        "free": np.array([name in model.free for name in NAMES], dtype=np.uint8),
        "noise": np.array([getattr(model.noise, name) for name in NOISE]),
        "brightness": np.array(detector.brightness),
        "error": np.array(detector.error),
        "population.mean": population.mean.numpy(),
        "population.covariance": population.covariance.numpy(),
        "residual": np.array([getattr(detector.residual_law, name) for name in RESIDUAL]),
    }
    if measurement.steps is not None:
        stored["steps"] = measurement.steps.numpy()
    if measurement.active is not None:
        stored["active"] = measurement.active.numpy()
    for name, tail in detector.tails.items():
        stored[f"tail.{name}"] = tail.arrays()
    return stored | detector.quick._arrays()


def from_arrays(detector: PhysicsDetector, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Take back what `to_arrays` gave."""
    assert detector.image_shape is not None
    row, column, size = (int(v) for v in arrays["region"])
    measurement = Measurement(
        row, column, size,
        steps=torch.tensor(arrays["steps"]) if "steps" in arrays else None,
        active=torch.tensor(arrays["active"]) if "active" in arrays else None,
    )  # fmt: skip
    scene = scene_of(measurement, detector.image_shape, cusp_samples=int(arrays["cusp_samples"]))
    detector.model = SmoothModel(
        scene,
        measurement,
        torch.tensor(arrays["shared"]),
        tuple(name for name, free in zip(NAMES, arrays["free"], strict=True) if free),
        NoiseLevel(**dict(zip(NOISE, map(float, arrays["noise"]), strict=True))),
        int(arrays["psf_radius"]),
    )
    detector.brightness = float(arrays["brightness"])
    detector.error = float(arrays["error"])
    detector.population = Population(
        torch.tensor(arrays["population.mean"]),
        torch.tensor(arrays["population.covariance"]),
    )
    detector.residual_law = ResidualLaw(*(float(v) for v in arrays["residual"]))
    detector.tails = {
        name.removeprefix("tail."): Tail.from_arrays(stored)
        for name, stored in arrays.items() if name.startswith("tail.")
    }  # fmt: skip
    detector.quick = EncoderDetector.beside(detector)
    detector.quick._restore(arrays)
