"""What the `physics` detector learned, as named arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lumpylens.detectors.physics.examination import Examination, Examiner, Unit
from lumpylens.physics.encoder import Encoder
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import Measurement
from lumpylens.physics.parameters import NAMES
from lumpylens.physics.perturbation import learn_error
from lumpylens.physics.population import GaussianPopulation
from lumpylens.physics.region import scene_of
from lumpylens.physics.scores import ResidualLaw, Tail, parameter_distance, parameter_surprise

__all__ = ["Learned"]

NOISE = ("floor", "gain", "offset", "roughness")
RESIDUAL = ("offset", "slope", "scatter")
WIDENED = 4.0
"""Factor on the population's covariance within which a poor fit is tried again: twice its standard
deviations. Not tuned."""
NORMAL_MISFIT = 5.0
"""Standard deviations above those of normal images at which a misfit begins to count as displaced
light. Not tuned."""


@dataclass(frozen=True)
class Learned:
    """What normal images taught.

    Attributes
    ----------
    unit : Unit
    model : SmoothModel
    population : Population
    residual_law : ResidualLaw
    error : float
        Deflections that model errors mimic in normal images, px^2.
    tails : dict of str to Tail
        Of the raw scores.
    normals : int
        How many images the tails were learned from.
    """

    unit: Unit
    model: SmoothModel
    population: GaussianPopulation
    residual_law: ResidualLaw
    error: float
    tails: Mapping[str, Tail]
    normals: int

    @classmethod
    def of(cls, examiner: Examiner, exam: Examination, population: GaussianPopulation) -> Learned:
        """Learn laws and tails from the examination of normal images."""
        law = ResidualLaw.learn(exam.observed.numpy(), exam.expected.numpy())
        error = learn_error([exam.spectrum])
        count = len(exam.observed)
        without_tails = cls(examiner.unit, examiner.model, population, law, error, {}, count)
        tails = {name: Tail.learn(score) for name, score in without_tails.raw_scores(exam).items()}
        return cls(examiner.unit, examiner.model, population, law, error, tails, count)

    def examiner(self, encoder: Encoder, shape: tuple[int, int]) -> Examiner:
        """Examiner of images, with all that was learned."""
        return Examiner(shape, self.unit, encoder, self.model, self.population.prior(WIDENED))

    def raw_scores(self, exam: Examination) -> dict[str, NDArray[np.float64]]:
        """Scores before they are combined, shape (n,) each."""
        values, information = exam.fitted.values, exam.information
        mass = self.model.free.index("log_einstein_radius_px")
        return {
            "parameters": parameter_distance(self.population, values, information),
            "other_parameters": parameter_distance(self.population, values, information, mass),
            "residual": self.residual_law(exam.observed.numpy(), exam.expected.numpy()),
            "perturbation": exam.spectrum.score(self.error).numpy(),
        }

    def displacement(self, exam: Examination) -> NDArray[np.float64]:
        """Deflections that would explain each misfit, Einstein radii, shape (n,).

        What exceeds the deviance of normal images, over the information on a shift of all arcs.
        """
        allowed = self.residual_law.deviance(exam.expected.numpy(), NORMAL_MISFIT)
        excess = np.maximum(exam.observed.numpy() - allowed, 0)
        source = [self.model.free.index(name) for name in ("source_x", "source_y")]
        per_axis = exam.information[:, source, source].double().mean(dim=1).numpy()
        displacement: NDArray[np.float64] = np.sqrt(excess / per_axis)
        return displacement

    def surprises(self, exam: Examination) -> dict[str, NDArray[np.float64]]:
        """Departure of each free parameter from the population, standard deviations, (n,) each."""
        table = parameter_surprise(self.population, exam.fitted.values, exam.information)
        return dict(zip(self.model.free, table.T, strict=True))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Named arrays of all that was learned."""
        model, population = self.model, self.population
        measurement = model.measurement
        stored: dict[str, NDArray[Any]] = {
            "region": np.array([measurement.row, measurement.column, measurement.size]),
            "cusp_samples": np.array(model.scene.cusp_samples),
            "psf_radius": np.array(model.psf_radius),
            "shared": model.shared.numpy(),
            "free": np.array([name in model.free for name in NAMES], dtype=np.uint8),
            "noise": np.array([getattr(model.noise, name) for name in NOISE]),
            "brightness": np.array(self.unit.brightness),
            "given": np.array([self.unit.noise_given, self.unit.psf_given], dtype=np.uint8),
            "error": np.array(self.error),
            "population.mean": population.mean.numpy(),
            "population.covariance": population.covariance.numpy(),
            "residual": np.array([getattr(self.residual_law, name) for name in RESIDUAL]),
            "normals": np.array(self.normals),
        }
        if measurement.steps is not None:
            stored["steps"] = measurement.steps.numpy()
        if measurement.active is not None:
            stored["active"] = measurement.active.numpy()
        for name, tail in self.tails.items():
            stored[f"tail.{name}"] = tail.arrays()
        return stored

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Learned:
        """Take back what `arrays` gave, for images of a shape."""
        row, column, size = (int(v) for v in arrays["region"])
        measurement = Measurement(
            row,
            column,
            size,
            steps=torch.tensor(arrays["steps"]) if "steps" in arrays else None,
            active=torch.tensor(arrays["active"]) if "active" in arrays else None,
        )
        model = SmoothModel(
            scene_of(measurement, shape, cusp_samples=int(arrays["cusp_samples"])),
            measurement,
            torch.tensor(arrays["shared"]),
            tuple(name for name, free in zip(NAMES, arrays["free"], strict=True) if free),
            NoiseLevel(**dict(zip(NOISE, map(float, arrays["noise"]), strict=True))),
            int(arrays["psf_radius"]),
        )
        return cls(
            unit=Unit(
                float(arrays["brightness"]),
                measurement.steps is not None,
                *(bool(flag) for flag in arrays["given"]),
            ),
            model=model,
            population=GaussianPopulation(
                torch.tensor(arrays["population.mean"]),
                torch.tensor(arrays["population.covariance"]),
            ),
            residual_law=ResidualLaw(*(float(v) for v in arrays["residual"])),
            error=float(arrays["error"]),
            tails={
                name.removeprefix("tail."): Tail.from_arrays(stored)
                for name, stored in arrays.items()
                if name.startswith("tail.")
            },
            normals=int(arrays["normals"]),
        )
