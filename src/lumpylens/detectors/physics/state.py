"""What the `physics` detector learned, as named arrays, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.detectors.physics.examination import (
    BLUR,
    Examination,
    Examiner,
    Unit,
    prior_of_fits,
)
from lumpylens.errors import ModelError
from lumpylens.physics.encoder import Encoder
from lumpylens.physics.fit_data import Prior
from lumpylens.physics.learning import without_detail
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import Measurement
from lumpylens.physics.parameters import GEOMETRY, INDEX, NAMES
from lumpylens.physics.population import GaussianPopulation
from lumpylens.physics.region import scene_of
from lumpylens.physics.scores import (
    ResidualLaw,
    Tail,
    log_mean,
    parameter_distance,
    parameter_surprise,
)
from lumpylens.physics.source_detail import SourceDetail
from lumpylens.physics.spectrum import SEEN_FRACTIONS, Spectrum, learn_error
from lumpylens.results.calibration import LEAST_TOGETHER

__all__ = ["FLUCTUATIONS", "Learned"]

FLUCTUATIONS = ("power", "seen", "squared")
"""Names of what `Spectrum.fluctuations` returns."""

NOISE = ("floor", "gain", "offset", "roughness")
RESIDUAL = ("offset", "slope", "scatter")
NORMAL_MISFIT = 5.0
"""Standard deviations above those of normal images at which a misfit begins to count as displaced
light. Not tuned."""

OTHER_BLUR = 0.05
"""Change of the logarithm of the blur that is told, beyond what chance makes. 240 smooth images of
the challenge and of the simulator have a median within 0.006, where the blur is 10 % wider it is
0.14."""

OTHER_RADII, BELOW = 0.03, 0.16
"""Change of the logarithm of the Einstein radius below which the given share of images lies that is
told, beyond what chance makes. Not tuned."""

CHANCE = 5.0
"""Standard errors of such numbers that chance makes. Not tuned."""


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
    usual_blur, usual_low : float
        Median of the estimated change of the blur, and logarithm of the Einstein radius below which
        a share `BELOW` lies, of the normal images.
    """

    unit: Unit
    model: SmoothModel
    population: GaussianPopulation
    residual_law: ResidualLaw
    error: float
    tails: Mapping[str, Tail]
    normals: int
    usual_blur: float
    usual_low: float

    @classmethod
    def of(cls, examiner: Examiner, exam: Examination) -> Learned:
        """Learn laws and tails from the examination of normal images."""
        population = examiner.population
        assert population is not None
        law = ResidualLaw.learn(exam.observed.numpy(), exam.expected.numpy())
        error = learn_error(exam.free_spectrum)
        without_tails = cls(
            unit=examiner.unit,
            model=examiner.model,
            population=population,
            residual_law=law,
            error=error,
            tails={},
            normals=len(exam.observed),
            usual_blur=0.0,
            usual_low=0.0,
        )
        tails = {
            name: Tail.learn(score)
            for name, score in without_tails.scores(exam).items()
            if name != "anomaly_score"
        }
        details = without_tails.details(exam)
        return replace(
            without_tails,
            tails=tails,
            usual_blur=float(np.median(details[BLUR])),
            usual_low=float(np.quantile(details[GEOMETRY[0]], BELOW)),
        )

    def examiner(self, encoder: Encoder, shape: tuple[int, int]) -> Examiner:
        """Examiner of images, with all that was learned."""
        return Examiner(shape, self.unit, encoder, self.model, self.population)

    def scores(self, exam: Examination) -> dict[str, NDArray[np.float64]]:
        """The anomaly score and its components, shape (n,) each."""
        observed, expected = exam.observed.numpy(), exam.expected.numpy()

        def with_residual(spectrum: Spectrum) -> NDArray[np.float64]:
            rise = spectrum.unseen_rise().numpy()
            return spectrum.log_ratio(self.error).numpy() + self.residual_law.log_ratio(
                observed, expected, rise
            )

        return {
            "anomaly_score": log_mean(with_residual(exam.spectrum)),
            "parameters": parameter_distance(*self._estimates(exam)),
            "residual": self.residual_law(observed, expected),
            "perturbation": log_mean(exam.free_spectrum.log_ratio(self.error).numpy()),
            "free_mass": log_mean(with_residual(exam.free_spectrum)),
        }

    def _estimates(self, exam: Examination) -> tuple[GaussianPopulation, Tensor, Tensor, Prior]:
        # The detail of a source is marginalised: it says nothing about the lens.
        free, prior = len(self.model.free), prior_of_fits(self.model, self.population)
        information = without_detail(self.model, exam.information)
        values = exam.fitted.values[:, :free]
        return self.population.first(free), values, information, prior.first(free)

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

    def details(self, exam: Examination) -> dict[str, NDArray[np.float64]]:
        """Further numbers of each image, shape (n,) each.

        Blur and Einstein radius, which `strangeness` looks at, and the power of fields of
        substructure, whatever the mass of the smooth lens: `Spectrum.fluctuations`.
        """
        radius = exam.fitted.values[:, self.model.free.index(GEOMETRY[0])]
        sums = zip(FLUCTUATIONS, exam.free_spectrum.fluctuations(self.error), strict=True)
        return {
            BLUR: exam.blur.numpy(),
            GEOMETRY[0]: radius.double().numpy(),
            **{
                f"{name}_{fraction:g}": column
                for name, table in sums
                for fraction, column in zip(SEEN_FRACTIONS, table.numpy().T, strict=True)
            },
        }

    def strangeness(self, details: Mapping[str, NDArray[np.float64]]) -> str:
        """Say if blur or Einstein radii of many images are not those of the training images.

        Substructure in some images does not move the median blur, and it adds mass, but takes none
        away.
        """
        blur, radius = details[BLUR], details[GEOMETRY[0]]
        if len(radius) < LEAST_TOGETHER:
            return ""
        # Of a median or a sixth of a normal sample, in units of its scatter.
        error = 1.5 * math.sqrt(1 / len(radius) + 1 / self.normals)
        sentences, usual = [], math.exp(float(self.model.shared[INDEX[BLUR]]))
        change = float(np.median(blur)) - self.usual_blur
        scatter = 1.4826 * float(np.median(np.abs(blur - np.median(blur))))
        if abs(change) > OTHER_BLUR + CHANCE * error * scatter:
            blurred = usual * math.exp(change)
            sentences.append(f"the blur is about {blurred:.2f} px instead of {usual:.2f}")
        mass = self.model.free.index(GEOMETRY[0])
        scatter = float(self.population.covariance[mass, mass].sqrt())
        low = float(np.quantile(radius, BELOW))
        if self.usual_low - low > OTHER_RADII + CHANCE * error * scatter:
            sentences.append(
                f"a sixth of the Einstein radii is below {math.exp(low):.1f} px instead of "
                f"{math.exp(self.usual_low):.1f}"
            )
        if not sentences:
            return ""
        return (
            "these images, taken together, are not like the training images: "
            f"{', and '.join(sentences)}; `lumpylens adapt` brings the model to such images"
        )

    def surprises(self, exam: Examination) -> dict[str, NDArray[np.float64]]:
        """Departure of each free parameter from the population, standard deviations, (n,) each."""
        table = parameter_surprise(*self._estimates(exam))
        return dict(zip(self.model.free, table.T, strict=True))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Named arrays of all that was learned."""
        model, population = self.model, self.population
        measurement = model.measurement
        stored: dict[str, NDArray[Any]] = {
            "region": np.array([measurement.row, measurement.column, measurement.size]),
            "cusp": np.array([model.scene.cusp_samples, model.scene.pitch]),
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
            "usual": np.array([self.usual_blur, self.usual_low]),
        }
        if model.detail is not None:
            stored["source_detail"] = np.array(model.detail.spread)
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
        if "cusp" not in arrays:
            raise ModelError(
                "an earlier version trained this model, whose scores mean something else: train it "
                "again with the command in its card.md"
            )
        row, column, size = (int(v) for v in arrays["region"])
        samples, pitch = arrays["cusp"].tolist()
        measurement = Measurement(
            row,
            column,
            size,
            steps=torch.tensor(arrays["steps"]) if "steps" in arrays else None,
            active=torch.tensor(arrays["active"]) if "active" in arrays else None,
        )
        model = SmoothModel(
            scene_of(measurement, shape, cusp_samples=int(samples), cusp_pitch=pitch),
            measurement,
            torch.tensor(arrays["shared"]),
            tuple(name for name, free in zip(NAMES, arrays["free"], strict=True) if free),
            NoiseLevel(**dict(zip(NOISE, map(float, arrays["noise"]), strict=True))),
            int(arrays["psf_radius"]),
            SourceDetail(tuple(arrays["source_detail"].tolist()))
            if "source_detail" in arrays
            else None,
        )
        population = GaussianPopulation(
            torch.tensor(arrays["population.mean"]), torch.tensor(arrays["population.covariance"])
        )
        usual_blur, usual_low = arrays["usual"].tolist()
        return cls(
            unit=Unit(
                float(arrays["brightness"]),
                measurement.steps is not None,
                *(bool(flag) for flag in arrays["given"]),
            ),
            model=model,
            population=population,
            residual_law=ResidualLaw(*(float(v) for v in arrays["residual"])),
            error=float(arrays["error"]),
            tails={
                name.removeprefix("tail."): Tail.from_arrays(stored)
                for name, stored in arrays.items()
                if name.startswith("tail.")
            },
            normals=int(arrays["normals"]),
            usual_blur=usual_blur,
            usual_low=usual_low,
        )
