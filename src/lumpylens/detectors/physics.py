"""The detector whose decoder is the lens equation.

An encoder reads the numbers of a lens off its image, least squares refine them, and what is left
is judged: are the numbers those of the population, is the residual that of noise, do small
deflections hide in it? All of it is learned from normal images; `lumpylens.physics` does the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors.base import BatchScores, Detector, DetectorConfig, Run
from lumpylens.detectors.encoder import EncoderConfig, EncoderDetector, obtain_encoder
from lumpylens.detectors.physics_explain import explain_one
from lumpylens.detectors.physics_state import from_arrays, to_arrays
from lumpylens.explanation import Explanation
from lumpylens.physics.batches import map_chunks, unsplit
from lumpylens.physics.encoder import ESTIMATED, Eyepiece, NearPrior
from lumpylens.physics.inference import Data, Fit, observe, staged_fit
from lumpylens.physics.learning import (
    GREY,
    broad_prior,
    learn_instrument,
    learn_spread,
    stages_of,
    start_model,
)
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.parameters import GEOMETRY, INDEX, NAMES, pack
from lumpylens.physics.perturbation import (
    Perturbers,
    Spectrum,
    filter_perturbers,
    learn_error,
)
from lumpylens.physics.population import Population, central
from lumpylens.physics.region import choose_region, scene_of
from lumpylens.physics.render import Scene
from lumpylens.physics.scores import (
    ResidualLaw,
    Tail,
    lit_deviance,
    parameter_distance,
    parameter_surprise,
)

__all__ = ["Examination", "PhysicsConfig", "PhysicsDetector"]

MASS = INDEX["log_einstein_radius_px"]
REACH, SPACING = 1.5, 0.25
"""Radius of the disc of perturber positions and their distance, in Einstein radii."""

OFF_LATTICE = 0.8
"""Grey levels by which, on average, the coefficients of an image may miss the rounding steps of
the training images. Decoding leaves 0.05 to 0.1; an image with other steps misses by 1.5."""

OTHER_UNIT = 100.0
"""Factor between the brightest pixel of an image and that of the training images, five magnitudes,
beyond which it is in another unit, and the noise that was learned is not its noise."""


class PhysicsConfig(EncoderConfig):
    """Settings of the `physics` detector."""

    near_epochs: int = Field(
        6, ge=0, description="Further passes of the encoder, through lenses like the normal ones"
    )
    sample: int = Field(
        300, ge=20, description="Normal images from which instrument and noise are learned"
    )


@dataclass(frozen=True)
class Examination:
    """All that is known of some images, in their order.

    Attributes
    ----------
    fitted : Fit
    spectrum : Spectrum
        Of the perturbation filter.
    information : Tensor, shape (n, k, k)
        Of the free parameters.
    observed, expected : Tensor, shape (n,)
        Deviance of the lit part, and what noise would give.
    picture : Tensor, shape (n, H, W)
        The smooth model, in grey levels.
    """

    fitted: Fit
    spectrum: Spectrum
    information: Tensor
    observed: Tensor
    expected: Tensor
    picture: Tensor


class PhysicsDetector(Detector):
    """An autoencoder whose decoder is the lens equation."""

    name = "physics"
    Config: ClassVar[type[DetectorConfig]] = PhysicsConfig
    components = ("parameters", "residual", "perturbation", "free_mass")
    batch_size = 256
    config: PhysicsConfig

    quick: EncoderDetector
    """The encoder, and what it reads off normal images."""
    model: SmoothModel
    population: Population
    residual_law: ResidualLaw
    tails: dict[str, Tail]
    error: float
    """Deflections that model errors mimic in normal images, px^2."""
    brightness: float = 1.0
    """Grey levels of the fits per unit of the images' pixels."""

    # -- learning ---------------------------------------------------------------------------

    def _fit(self, images: LensImages, validation: LensImages, run: Run) -> None:
        assert self.image_shape is not None
        everything = (images + validation).stack(shape=self.image_shape)
        table = common_jpeg_table(images)
        peak = float(np.median(everything.pixels.max(axis=(1, 2))))
        self.brightness = 1.0 if table is not None else GREY / peak
        self.quick = EncoderDetector.beside(self)
        self.quick.encoder, rounds = obtain_encoder(self.config, self.image_shape, run)
        self.history = of_encoder(rounds)
        with unsplit():
            self._learn_model(everything, table)
        if self.config.near_epochs:
            self._specialise(everything, run)
        self.quick.learn(everything.pixels)
        with unsplit():
            self._learn_normals(everything)

    def _learn_model(self, everything: ImageBatch, table: Tensor | None) -> None:
        """Learn what all images share, and their noise, from some of them."""
        chosen = np.linspace(0, len(everything) - 1, min(self.config.sample, len(everything)))
        sample = take(everything, np.unique(chosen.round().astype(int)))
        pixels = self._grey(sample.pixels)
        estimates = self._read(pixels)
        first = self._first_model(pixels, table, sample)
        first = start_model(first, estimates)
        assert self.image_shape is not None
        self.model, rounds = learn_instrument(
            first,
            self.image_shape,
            lambda m: self._observe(m, sample),
            estimates,
            lambda text: None,
        )
        self.history = [*self.history, *rounds]

    def _specialise(self, everything: ImageBatch, run: Run) -> None:
        """Train the encoder further, on lenses like these and on these."""
        from lumpylens.detectors.reading import specialise_encoder

        assert self.image_shape is not None
        with unsplit():
            exams = self._examine(everything)
        fitted = torch.cat([exam.fitted.values for exam in exams])
        near = learn_spread(self.model, fitted, torch.cat([exam.information for exam in exams]))
        eyepiece = Eyepiece.for_shape(self.image_shape)
        normals = (
            torch.cat([eyepiece(part) for part in self._grey(everything.pixels).split(256)]),
            self.model.expand(fitted)[:, [INDEX[name] for name in ESTIMATED]],
        )
        good = central(fitted)
        self.quick.encoder, rounds = specialise_encoder(
            self.quick.encoder, self.image_shape,
            NearPrior(near.mean, near.covariance, self.model.free_index, self.model.shared),
            (normals[0][good], normals[1][good]),
            renders=self.config.renders // 2, epochs=self.config.near_epochs,
            seed=self.config.seed, run=run,
        )  # fmt: skip
        self.history = [*self.history, *of_encoder(rounds)]

    def _first_model(self, pixels: Tensor, table: Tensor | None, batch: ImageBatch) -> SmoothModel:
        assert self.image_shape is not None
        measurement = choose_region(pixels, table)
        noise = NoiseLevel(floor=1.0, gain=0.02, offset=0.3 if table is not None else 1e-6,
                           roughness=1e-3)  # fmt: skip
        if batch.noise is not None:
            noise = NoiseLevel(floor=1e-6, gain=1e-7, offset=1e-9, roughness=1e-3)
        shared = pack(log_psf_sigma_px=0.3)[0]
        scene = scene_of(measurement, self.image_shape)
        return SmoothModel(scene, measurement, shared, GEOMETRY, noise)

    def _learn_normals(self, batch: ImageBatch) -> None:
        exams = self._examine(batch)
        values = torch.cat([e.fitted.values for e in exams])
        information = torch.cat([e.information for e in exams])
        self.population = learn_spread(self.model, values, information)
        observed, expected = (
            torch.cat([getattr(e, part) for e in exams]).double().numpy()
            for part in ("observed", "expected")
        )
        self.residual_law = ResidualLaw.learn(observed, expected)
        self.error = learn_error([e.spectrum for e in exams])
        self.tails = {}
        raw = [self._raw(exam) for exam in exams]
        for part in raw[0]:
            self.tails[part] = Tail.learn(np.concatenate([one[part] for one in raw]))

    # -- scoring ----------------------------------------------------------------------------

    def _grey(self, pixels: NDArray[np.float32]) -> Tensor:
        """Images in the unit of the fits; compressed images may come on a [0, 1] scale."""
        grey = torch.from_numpy(np.ascontiguousarray(pixels)) * self.brightness
        if hasattr(self, "model") and self.model.measurement.steps is None:
            return grey
        unit = (grey.amax(dim=(1, 2), keepdim=True) <= 1.0 + 1e-6) & (self.brightness == 1.0)
        return torch.where(unit, grey * GREY, grey)

    def _observe(self, model: SmoothModel, batch: ImageBatch) -> Data:
        noise = None if batch.noise is None else torch.from_numpy(batch.noise) * self.brightness
        psf = None if batch.psf is None else torch.from_numpy(batch.psf)
        return observe(model, self._grey(batch.pixels), noise, psf)

    @torch.no_grad()
    def _read(self, grey: Tensor) -> Tensor:
        """Parameter vectors that the encoder reads off images, shape (n, COUNT)."""
        assert self.image_shape is not None
        means, _ = self.quick.encoder(Eyepiece.for_shape(self.image_shape)(grey))
        full = pack().repeat(len(grey), 1)
        if hasattr(self, "model"):
            full = self.model.shared.repeat(len(grey), 1)
        else:
            full[:, INDEX["log_psf_sigma_px"]] = 0.3
        full[:, [INDEX[name] for name in ESTIMATED]] = means
        return full

    @torch.no_grad()
    def _examine(
        self, batch: ImageBatch, perturbers: Perturbers | None = None
    ) -> list[Examination]:
        """Fit and filter every image, in chunks."""
        assert self.image_shape is not None
        shape, model = self.image_shape, self.model
        stages, prior = stages_of(model, shape), broad_prior(model)
        retry = self.population.prior(4.0) if hasattr(self, "population") else None
        radius = float(torch.exp(model.shared[MASS]))
        perturbers = Perturbers.disc(REACH * radius, SPACING * radius)

        def one(part: Tensor) -> Examination:
            piece = take(batch, part.numpy())
            data = self._observe(model, piece)
            start = model.reduce(self._read(self._grey(piece.pixels)))
            fitted = staged_fit(stages, data, start, prior, retry)
            line = model.linearise(fitted.values, fitted.amplitudes, data.psf, data.noise)
            field = filter_perturbers(model, data, fitted, line, perturbers)
            observed, expected = lit_deviance(model, data, line)
            picture = model.picture(Scene(*shape), fitted, data.psf)
            return Examination(
                fitted, field.spectrum(), field.information, observed, expected, picture
            )

        return map_chunks(one, len(batch))

    def _raw(self, exam: Examination) -> dict[str, NDArray[np.float64]]:
        """Scores before they are combined."""
        values, information = exam.fitted.values, exam.information
        mass = self.model.free.index("log_einstein_radius_px")
        return {
            "parameters": parameter_distance(self.population, values, information),
            "other_parameters": parameter_distance(self.population, values, information, mass),
            "residual": self.residual_law(
                exam.observed.double().numpy(), exam.expected.double().numpy()
            ),
            "perturbation": exam.spectrum.score(self.error).numpy(),
        }

    def _score_batch(self, batch: ImageBatch) -> BatchScores:
        exams = self._examine(batch)
        parts = [self._raw(exam) for exam in exams]
        raw = {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}
        tail = {name: self.tails[name](score) for name, score in raw.items()}
        local = tail["residual"] + tail["perturbation"]
        return BatchScores(
            anomaly_score=tail["parameters"] + local,
            components={
                "parameters": raw["parameters"],
                "residual": raw["residual"],
                "perturbation": raw["perturbation"],
                "free_mass": tail["other_parameters"] + local,
            },
            reconstruction=self._restore_scale(batch, torch.cat([e.picture for e in exams])),
            warning=self._foreign(batch),
        )

    def _restore_scale(self, batch: ImageBatch, picture: Tensor) -> NDArray[np.float32]:
        grey = self._grey(batch.pixels)
        scale = grey.amax(dim=(1, 2)) / torch.from_numpy(batch.pixels).amax(dim=(1, 2))
        restored: NDArray[np.float32] = (picture / scale[:, None, None]).numpy()
        return restored

    def _foreign(self, batch: ImageBatch) -> list[str]:
        """Per image: why the noise model does not hold for it."""
        grey = self._grey(batch.pixels)
        unit = (
            "not in the unit of the training images: its brightest pixel is {:.2g} times as bright"
        )
        steps = (
            "not compressed like the training images: its coefficients miss their steps by {:.1f}"
        )
        found = []
        for ratio, missed in zip(
            (grey.amax(dim=(1, 2)) / GREY).tolist(),
            self.model.measurement.off_lattice(grey).tolist(),
            strict=True,
        ):
            if not 1 / OTHER_UNIT < ratio < OTHER_UNIT:
                found.append(unit.format(ratio))
            else:
                found.append(steps.format(missed) if missed > OFF_LATTICE else "")
        return found

    def surprise(self, exam: Examination) -> dict[str, NDArray[np.float64]]:
        """Departure of each parameter from the population in standard deviations."""
        table = parameter_surprise(self.population, exam.fitted.values, exam.information)
        return dict(zip(self.model.free, table.T, strict=True))

    def _explain_one(self, alone: ImageBatch) -> Explanation:
        return explain_one(self, alone)

    def fast(self) -> Detector:
        """The encoder alone."""
        return self.quick

    # -- storing ----------------------------------------------------------------------------

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return to_arrays(self)

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        from_arrays(self, arrays)

    def card_notes(self) -> list[str]:
        """What it is and what it learned."""
        model, law = self.model, self.population
        radius = np.exp(float(law.mean[model.free.index("log_einstein_radius_px")]))
        learned = ", ".join(
            f"{name} {float(model.shared[INDEX[name]]):.3f}"
            for name in NAMES if name not in model.free and not name.startswith("mass")
        )  # fmt: skip
        return [
            "An encoder reads the numbers of a smooth lens off the image, Levenberg-Marquardt "
            "refines them, and parameters, residual and small deflections are scored against "
            "what normal images do.",
            f"Mean Einstein radius {radius:.2f} px. Numbers common to all images: {learned}.",
            f"Varying from image to image: {', '.join(model.free)}.",
            "The design knew that substructure adds mass in the challenge's images, and that a "
            "filter for deflections separates its classes; every fitted number comes from normal "
            "images alone.",
        ]


def of_encoder(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Epochs of the encoder among the rounds of the whole: their losses are other quantities."""
    return [{f"encoder_{name}": value for name, value in row.items()} for row in history]


def take(batch: ImageBatch, index: NDArray[np.int_]) -> ImageBatch:
    """Some images of a batch."""
    return replace(
        batch,
        positions=batch.positions[index],
        pixels=batch.pixels[index],
        noise=None if batch.noise is None else batch.noise[index],
        psf=None if batch.psf is None else batch.psf[index],
    )


def common_jpeg_table(images: LensImages) -> Tensor | None:
    """The quantisation table that all images share, or None."""
    first = images[0].jpeg_table
    if first is None:
        return None
    step = max(1, len(images) // 50)
    for position in range(0, len(images), step):
        table = images[position].jpeg_table
        if table is None or not np.array_equal(table, first):
            return None
    return torch.from_numpy(np.asarray(first, dtype=np.float32))
