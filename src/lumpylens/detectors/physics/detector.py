"""The detector whose decoder is the lens equation.

An encoder estimates the parameters of a lens from its image, and least squares refine them. The
score tests three things: are the parameters typical of the population, is the residual that of
noise, does it contain small deflections? All of it is learned from normal images.
`lumpylens.physics` does the work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors.base import Detector
from lumpylens.detectors.encoder.detector import EncoderConfig, EncoderDetector, obtain_encoder
from lumpylens.detectors.outcome import BatchScores
from lumpylens.detectors.physics.examination import (
    Examination,
    Examiner,
    Unit,
    read,
    take,
)
from lumpylens.detectors.physics.explain import explain_one
from lumpylens.detectors.physics.state import Learned
from lumpylens.detectors.settings import DetectorConfig
from lumpylens.errors import DataError
from lumpylens.files.progress import Stages, counted
from lumpylens.physics.batches import unsplit
from lumpylens.physics.encoder import ESTIMATED, Encoder, Eyepiece, NearPrior
from lumpylens.physics.fit_data import Fit
from lumpylens.physics.inference import MOST_STEPS
from lumpylens.physics.learning import GREY, learn_instrument, learn_spread, start_model
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.parameters import GEOMETRY, INDEX, NAMES, pack
from lumpylens.physics.population import central
from lumpylens.physics.region import choose_region, scene_of
from lumpylens.physics.source_detail import LOWEST, SourceDetail
from lumpylens.results.explanation import Explanation
from lumpylens.training.device import torch_device
from lumpylens.training.run import Run

__all__ = ["PhysicsConfig", "PhysicsDetector"]

UNFINISHED = f"the fit has not converged in {MOST_STEPS} steps"

FIRST_BLUR = 0.3
"""Logarithm of the blur's width, px, before any is learned: the encoder does not read it."""

FIRST_DETAIL = 0.3
"""Spread of the source's shapelets before any is learned."""

OFF_LATTICE = 0.8
"""Grey levels by which, on average, the coefficients of an image may miss the rounding steps of
the training images. Decoding leaves 0.05 to 0.1; an image with other steps misses by 1.5."""

LEAST_SINGLE = 0.2
"""Share of waves whose coefficient is one step. Of normal images of the challenge and of simulated
lumpy ones at least 0.41 are; of images compressed once more, with steps twice as large, 0.03."""

OTHER_UNIT = 100.0
"""Factor between the brightest pixel of an image and that of the training images, five magnitudes,
beyond which it is in another unit, and the noise that was learned is not its noise."""

MOST_DISPLACED = 0.1
"""Einstein radii by which light may be displaced, in the mean, before something else than
substructure is at work. A fifth of the lens's mass, all on one side of the arcs, displaces them by
as much; of 4,500 normal images of the challenge none reaches half of it."""


class PhysicsConfig(EncoderConfig):
    """Settings of the `physics` detector."""

    near_epochs: int = Field(
        6, ge=0, description="Further epochs of the encoder, on lenses like the normal ones"
    )
    source: Literal["sersic", "shapelets"] = Field(
        "sersic", description="Light of the source: a Sersic profile, or shapelets on one"
    )
    order: int = Field(8, ge=LOWEST, le=12, description="Highest order of the source's shapelets")
    sample: int = Field(
        300, ge=20, description="Normal images from which instrument and noise are learned"
    )


class PhysicsDetector(Detector):
    """An autoencoder whose decoder is the lens equation."""

    name = "physics"
    Config: ClassVar[type[DetectorConfig]] = PhysicsConfig
    components = ("parameters", "residual", "perturbation", "free_mass")
    batch_size = 256
    config: PhysicsConfig

    quick: EncoderDetector | None = None
    """The encoder, and what it reads off normal images."""
    learned: Learned | None = None

    # -- learning ---------------------------------------------------------------------------

    def _fit(self, images: LensImages, validation: LensImages, run: Run) -> None:
        # Not from the validation images, which set the threshold of `predict`.
        assert self.image_shape is not None
        stages = Stages(show=run.progress)
        quick = EncoderDetector.for_images_of(self)
        quick.encoder, rounds = obtain_encoder(self.config, self.image_shape, run)
        self.history = of_encoder(rounds)
        stages.done("encoder: " + ("trained on renders" if rounds else "the one that ships"))
        self._learn_lenses(images, quick, run, stages, specialise=self.config.near_epochs > 0)

    def _adapt(self, images: LensImages, validation: LensImages, run: Run) -> None:
        assert self.quick is not None
        quick = EncoderDetector.for_images_of(self)
        quick.encoder = self.quick.encoder
        self.history = []
        self._learn_lenses(images, quick, run, Stages(show=run.progress), specialise=False)

    def _learn_lenses(
        self,
        images: LensImages,
        quick: EncoderDetector,
        run: Run,
        stages: Stages,
        *,
        specialise: bool,
    ) -> None:
        """Learn instrument, population and usual scores, with an encoder that reads lenses."""
        assert self.image_shape is not None
        assert quick.encoder is not None
        normal = images.stack(shape=self.image_shape)
        table = common_jpeg_table(images)
        if table is not None and self.config.source == "shapelets":
            raise DataError(
                f"{images.location}: compressed pictures say too little of a source's detail: "
                "give linear images (FITS, HDF5 or npy), or leave out source=shapelets"
            )
        peak = float(np.median(normal.pixels.max(axis=(1, 2))))
        unit = Unit(
            brightness=1.0 if table is not None else GREY / peak,
            compressed=table is not None,
            noise_given=normal.noise is not None,
            psf_given=normal.psf is not None,
        )
        with unsplit():
            model = self._learn_model(normal, unit, table, quick.encoder, stages)
        examiner = Examiner(self.image_shape, unit, quick.encoder, model)
        examiner, fitted = self._learn_population(examiner, normal, stages)
        # Once more, under what was learned: far more faint lenses converge.
        examiner, fitted = self._learn_population(examiner, normal, stages)
        if specialise:
            examiner = self._specialise(examiner, normal, fitted, run)
            quick.encoder = examiner.encoder
            stages.done("encoder: trained further on lenses like these")
        quick.learn(normal.pixels)
        with unsplit(), counted("filtering normal lenses", len(normal), show=run.progress) as step:
            exam = examiner.examine(normal, on_image=step)
        stages.done("scores of normal lenses")
        self.learned, self.quick = Learned.of(examiner, exam), quick

    def _learn_population(
        self, examiner: Examiner, normal: ImageBatch, stages: Stages
    ) -> tuple[Examiner, Fit]:
        """Fit all normal images, and learn their population."""
        with unsplit(), counted("fitting normal lenses", len(normal), show=stages.show) as step:
            fitted, information = examiner.fit(normal, on_image=step)
        population = learn_spread(examiner.model, fitted.values, information, examiner.prior)
        radius = math.exp(float(population.mean[examiner.model.free.index(GEOMETRY[0])]))
        stages.done(f"population of {len(normal)} lenses: mean Einstein radius {radius:.2f} px")
        return replace(examiner, population=population), fitted

    def _learn_model(
        self,
        normal: ImageBatch,
        unit: Unit,
        table: Tensor | None,
        encoder: Encoder,
        stages: Stages,
    ) -> SmoothModel:
        """Learn what all images share, and their noise, from some of them."""
        assert self.image_shape is not None
        positions = np.linspace(0, len(normal) - 1, min(self.config.sample, len(normal)))
        sample = take(normal, np.unique(positions.round().astype(int)))
        pixels = unit.grey(sample.pixels)
        first = self._first_model(pixels, table, unit.noise(sample))
        estimates = read(encoder, self.image_shape, pixels, first.shared)
        model, rounds = learn_instrument(
            start_model(first, estimates),
            self.image_shape,
            lambda tried: unit.observe(tried, sample),
            estimates,
            lambda text: stages.done(f"instrument and noise from {len(sample)} lenses, {text}"),
        )
        self.history = [*self.history, *rounds]
        return model

    def _specialise(
        self, examiner: Examiner, normal: ImageBatch, fitted: Fit, run: Run
    ) -> Examiner:
        """Train the encoder further, on lenses like these and on these."""
        from lumpylens.detectors.encoder.training import specialise_encoder

        model, shape = examiner.model, examiner.shape
        assert examiner.population is not None
        # Renders have Sersic sources: detail of the source does not change where a lens is.
        free = len(model.free)
        near = examiner.population.first(free)
        eyepiece = Eyepiece.for_samples(shape, examiner.encoder.input_shape)
        grey = examiner.unit.grey(normal.pixels)
        normals = (
            torch.cat([eyepiece(part) for part in grey.split(256)]),
            model.expand(fitted.values)[:, [INDEX[name] for name in ESTIMATED]],
        )
        inliers = central(fitted.values[:, :free])
        encoder, rounds = specialise_encoder(
            examiner.encoder,
            shape,
            NearPrior(near.mean, near.covariance, model.free_index, model.shared),
            (normals[0][inliers], normals[1][inliers]),
            renders=self.config.renders // 2,
            epochs=self.config.near_epochs,
            seed=self.config.seed,
            run=run,
        )
        self.history = [*self.history, *of_encoder(rounds)]
        return replace(examiner, encoder=encoder)

    def _first_model(
        self, pixels: Tensor, table: Tensor | None, noise: Tensor | None
    ) -> SmoothModel:
        assert self.image_shape is not None
        measurement = choose_region(pixels, table, noise)
        level = NoiseLevel(
            floor=1.0, gain=0.02, offset=0.3 if table is not None else 1e-6, roughness=1e-3
        )
        if noise is not None:
            level = NoiseLevel(floor=1e-6, gain=1e-7, offset=1e-9, roughness=1e-3)
        shared = pack(log_psf_sigma_px=FIRST_BLUR)[0]
        scene = scene_of(measurement, self.image_shape)
        return SmoothModel(scene, measurement, shared, GEOMETRY, level, detail=self._detail())

    def _detail(self) -> SourceDetail | None:
        """Detail of sources before any is learned."""
        if self.config.source == "sersic":
            return None
        return SourceDetail((FIRST_DETAIL,) * (self.config.order - LOWEST + 1))

    # -- scoring ----------------------------------------------------------------------------

    @property
    def examiner(self) -> Examiner:
        """Examiner that fits and filters images, on the processor."""
        assert self.learned is not None
        assert self.quick is not None
        assert self.image_shape is not None
        return self.learned.examiner(self.quick.encoder, self.image_shape)

    def _least_shape(self) -> tuple[int, int] | None:
        """Smallest images in which the compared square lies whole: beyond it nothing counts."""
        if self.learned is None or self.image_shape is None or self.learned.unit.compressed:
            return None
        region = self.learned.model.measurement
        height, width = (
            side - 2 * min(first, side - first - region.size)
            for side, first in zip(self.image_shape, (region.row, region.column), strict=True)
        )
        return height, width

    def _score_batch(self, batch: ImageBatch) -> BatchScores:
        assert self.learned is not None
        if lack := self.learned.unit.missing(batch):
            no_scores = np.full(len(batch), np.nan)
            return BatchScores(
                no_scores, dict.fromkeys(self.components, no_scores), error=[lack] * len(batch)
            )
        # On a graphics card only where that is asked for: its speed there was never measured.
        device = torch_device("cpu" if self.device == "auto" else self.device)
        return self.scores_of(batch, replace(self.examiner, device=device).examine(batch))

    def scores_of(self, batch: ImageBatch, exam: Examination) -> BatchScores:
        """Scores of examined images."""
        assert self.learned is not None
        scores = self.learned.scores(exam)
        return BatchScores(
            anomaly_score=scores["anomaly_score"],
            components={name: scores[name] for name in self.components},
            reconstruction=self._restore_scale(batch, exam.picture),
            warning=self._doubts(batch, exam),
            details=self.learned.details(exam),
        )

    def _strangeness(self, details: Mapping[str, NDArray[np.float64]]) -> str:
        assert self.learned is not None
        return self.learned.strangeness(details) if details else ""

    def _restore_scale(self, batch: ImageBatch, picture: Tensor) -> NDArray[np.float32]:
        assert self.learned is not None
        grey = self.learned.unit.grey(batch.pixels)
        scale = grey.amax(dim=(1, 2)) / torch.from_numpy(batch.pixels).amax(dim=(1, 2))
        return (picture / scale[:, None, None]).numpy()

    def _doubts(self, batch: ImageBatch, exam: Examination) -> list[str]:
        """Reason why the score of each image should not be trusted; empty if it can."""
        assert self.learned is not None
        grey = self.learned.unit.grey(batch.pixels)
        unit = (
            "not in the unit of the training images: its brightest pixel is {:.2g} times as bright"
        )
        steps = (
            "not compressed like the training images: its coefficients miss their steps by {:.1f}"
        )
        coarser = "not compressed like the training images: its coefficients have larger steps"
        misfit = (
            "its fit is worse than substructure can make it: light seems displaced by {:.2g} "
            f"Einstein radii, by lumps at most by {MOST_DISPLACED:g}"
        )
        measurement = self.learned.model.measurement
        doubts = []
        for ratio, off_lattice_by, single, displaced, converged in zip(
            (grey.amax(dim=(1, 2)) / GREY).tolist(),
            measurement.off_lattice(grey).tolist(),
            measurement.single_steps(grey).tolist(),
            self.learned.displacement(exam).tolist(),
            exam.fitted.converged.tolist(),
            strict=True,
        ):
            if not 1 / OTHER_UNIT < ratio < OTHER_UNIT:
                doubts.append(unit.format(ratio))
            elif off_lattice_by > OFF_LATTICE:
                doubts.append(steps.format(off_lattice_by))
            elif single < LEAST_SINGLE:
                doubts.append(coarser)
            elif displaced > MOST_DISPLACED:
                doubts.append(misfit.format(displaced))
            else:
                doubts.append("" if converged else UNFINISHED)
        return doubts

    def _explain_one(self, alone: ImageBatch) -> Explanation:
        assert self.learned is not None
        if lack := self.learned.unit.missing(alone):
            return Explanation(id="", error=lack)
        return explain_one(self.learned, self.examiner, alone, self.scores_of)

    def fast(self) -> Detector | None:
        """The encoder alone."""
        return self.quick

    # -- storing ----------------------------------------------------------------------------

    def _arrays(self) -> dict[str, NDArray[Any]]:
        assert self.learned is not None
        assert self.quick is not None
        return self.learned.arrays() | self.quick._arrays()

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        assert self.image_shape is not None
        self.learned = Learned.from_arrays(arrays, self.image_shape)
        self.quick = EncoderDetector.for_images_of(self)
        self.quick._restore(arrays)

    def _source_note(self) -> list[str]:
        """Describe the detail of sources, where they have any."""
        assert self.learned is not None
        detail = self.learned.model.detail
        if detail is None:
            return []
        spread = ", ".join(f"{number:.2g}" for number in detail.spread)
        return [
            f"A source is a Sersic profile with {detail.count} shapelets of order {LOWEST} to "
            f"{detail.largest} on it. Their coefficients vary from image to image, in units of the "
            f"profile's brightness at its effective radius, by these standard deviations from the "
            f"lowest order on: {spread}."
        ]

    def card_notes(self) -> list[str]:
        """Describe the detector and what it learned."""
        assert self.learned is not None
        model, population = self.learned.model, self.learned.population
        radius = np.exp(float(population.mean[model.free.index("log_einstein_radius_px")]))
        learned = ", ".join(
            f"{name} {float(model.shared[INDEX[name]]):.3f}"
            for name in NAMES
            if name not in model.free and not name.startswith("mass")
        )
        return [
            "An encoder estimates the parameters of a smooth lens from the image, and a "
            "Levenberg-Marquardt fit refines them. The score compares parameters, residual and "
            "small deflections with those of normal images.",
            f"Mean Einstein radius {radius:.2f} px. Numbers common to all images: {learned}.",
            f"Varying from image to image: {', '.join(model.free)}.",
            *self._source_note(),
            "It was known during the design that substructure adds mass in the challenge's images, "
            "and that a filter for deflections separates the classes; every fitted number comes "
            "from normal images alone.",
        ]


def of_encoder(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Epochs of the encoder among the rounds of the whole: their losses are other quantities."""
    return [{f"encoder_{name}": value for name, value in row.items()} for row in history]


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
