"""The encoder alone: what it reads off an image, compared with what it reads off normal ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors.base import Detector
from lumpylens.detectors.lens_words import departure, departures, surprises_of
from lumpylens.detectors.outcome import BatchScores, score_parts
from lumpylens.detectors.settings import DetectorConfig
from lumpylens.physics.encoder import ESTIMATED, Encoder, Eyepiece
from lumpylens.physics.population import robust_gaussian
from lumpylens.physics.scores import squared_distance
from lumpylens.results.explanation import Explanation
from lumpylens.training.device import torch_device
from lumpylens.training.run import Run

if TYPE_CHECKING:
    from torch import nn

__all__ = ["EncoderConfig", "EncoderDetector", "obtain_encoder"]

ENCODERS = Path(__file__).parents[2] / "models" / "encoders"
MASS = ESTIMATED.index("log_einstein_radius_px")


class EncoderConfig(DetectorConfig):
    """Where the encoder comes from."""

    encoder: Literal["auto", "shipped", "train"] = Field(
        "auto",
        description="auto: the encoder that ships for this image size, or one trained here; "
        "shipped: the one that ships, for images of any size",
    )
    renders: int = Field(40_000, ge=100, description="Simulated lenses to train an encoder on")
    epochs: int = Field(14, ge=1, description="Passes through them")
    elliptical_mass: bool = Field(False, description="Elliptical haloes among those lenses")


class EncoderDetector(Detector):
    """Squared Mahalanobis distance of an encoder's estimates from those of normal images.

    A thousand images a second on a laptop, and coarse: it sees what moves the numbers of the
    smooth lens, such as added mass, and nothing that is smaller than the encoder's errors.
    """

    name = "encoder"
    Config: ClassVar[type[DetectorConfig]] = EncoderConfig
    components = ("parameters", "free_mass")
    batch_size = 256
    config: EncoderConfig

    encoder: Encoder
    mean: Tensor
    covariance: Tensor

    def _fit(self, images: LensImages, validation: LensImages, run: Run) -> None:
        assert self.image_shape is not None
        self.encoder, self.history = obtain_encoder(self.config, self.image_shape, run)
        # Not from the validation images, which set the threshold of `predict`.
        self.learn(images.stack(shape=self.image_shape).pixels)

    @classmethod
    def for_images_of(cls, detector: Detector) -> Self:
        """Detector for the images that another detector is for."""
        encoder = cls()
        encoder.image_shape, encoder.domain = detector.image_shape, detector.domain
        return encoder

    def learn(self, pixels: NDArray[np.float32]) -> None:
        """Learn what the encoder reads off normal images, shape (n, H, W)."""
        parts = [self.read(part) for part in np.array_split(pixels, -(-len(pixels) // 256))]
        self.mean, self.covariance = robust_gaussian(torch.cat(parts))

    @torch.no_grad()
    def read(self, pixels: NDArray[np.float32]) -> Tensor:
        """Estimated parameters, float64, shape (n, len(ESTIMATED))."""
        assert self.image_shape is not None
        device = torch_device(self.device)
        images = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
        encoder = self.encoder.to(device)
        eyepiece = Eyepiece.for_samples(self.image_shape, encoder.input_shape)
        estimated: Tensor = encoder(eyepiece(images))[0]
        return estimated.cpu().double()

    def _score_batch(self, batch: ImageBatch) -> BatchScores:
        departure = self.read(batch.pixels) - self.mean
        distance = squared_distance(departure, self.covariance).numpy()
        without_mass = squared_distance(departure, self.covariance, without=MASS).numpy()
        return BatchScores(distance, {"parameters": distance, "free_mass": without_mass})

    def _explain_one(self, alone: ImageBatch) -> Explanation:
        estimates = self.read(alone.pixels)[0]
        sigma = (estimates - self.mean) / self.covariance.diagonal().sqrt()
        surprises = surprises_of(
            zip(ESTIMATED, estimates.tolist(), self.mean.tolist(), sigma.tolist(), strict=True)
        )
        sentence = "; ".join(departures(surprises)) or (
            "no parameter of the lens is unusual; the farthest from normal values: "
            f"{departure(surprises[0])}"
        )
        return Explanation(
            image=alone.pixels[0],
            scores=score_parts(self._score_batch(alone)),
            sentence=sentence[0].upper() + sentence[1:],
            surprises=surprises,
            no_map="the encoder estimates the lens parameters from the whole image",
        )

    def _arrays(self) -> dict[str, NDArray[Any]]:
        weights = {f"encoder.{k}": v.cpu().numpy() for k, v in self.encoder.state_dict().items()}
        return {
            "estimates.mean": self.mean.numpy(),
            "estimates.covariance": self.covariance.numpy(),
            "estimates.samples": np.array(self.encoder.input_shape),
            **weights,
        }

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        assert self.image_shape is not None
        self.mean = torch.tensor(arrays["estimates.mean"])
        self.covariance = torch.tensor(arrays["estimates.covariance"])
        weights = {
            name.removeprefix("encoder."): torch.tensor(stored)
            for name, stored in arrays.items()
            if name.startswith("encoder.")
        }
        # Models of earlier versions have as many samples as an encoder trained for their size.
        samples = arrays.get("estimates.samples", Eyepiece.for_shape(self.image_shape).samples)
        self.encoder = Encoder.with_weights((int(samples[0]), int(samples[1])), weights)

    def scorer(self) -> nn.Module:
        """See `Detector.scorer`."""
        from lumpylens.detectors.scorers import EncoderDistance

        assert self.image_shape is not None
        eyepiece = Eyepiece.for_samples(self.image_shape, self.encoder.input_shape)
        return EncoderDistance(self.encoder, eyepiece, self.mean, self.covariance)

    def card_notes(self) -> list[str]:
        """Describe the detector."""
        return [
            f"An encoder, trained on simulated smooth lenses alone, estimates {len(ESTIMATED)} "
            "parameters from the image; the score is their squared Mahalanobis distance from those "
            "of normal images. No model is fitted and no residual is used."
        ]


def obtain_encoder(
    config: EncoderConfig, image_shape: tuple[int, int], run: Run
) -> tuple[Encoder, list[dict[str, float]]]:
    """The encoder that the settings ask for, with its training history if it is trained here."""
    ships = shipped_for(image_shape)
    if config.encoder == "shipped" or (config.encoder == "auto" and ships == image_shape):
        return read_shipped(ships, image_shape), []
    from lumpylens.detectors.encoder.training import train_encoder

    return train_encoder(
        image_shape,
        renders=config.renders,
        epochs=config.epochs,
        elliptical_mass=config.elliptical_mass,
        seed=config.seed,
        run=run,
    )


def shipped_for(image_shape: tuple[int, int]) -> tuple[int, int]:
    """Image size whose encoder ships and that is nearest to another size."""
    sizes = [path.stem.split("x") for path in ENCODERS.glob("*.safetensors")]
    return min(
        ((int(height), int(width)) for height, width in sizes),
        key=lambda size: abs(math.log(min(size) / min(image_shape))),
    )


def read_shipped(ships: tuple[int, int], image_shape: tuple[int, int]) -> Encoder:
    """Encoder that ships for images of one size, for images of another."""
    from safetensors.torch import load_file

    samples = Eyepiece.for_shape(ships).samples
    weights = load_file(ENCODERS / "{}x{}.safetensors".format(*ships))
    encoder = Encoder.with_weights(samples, weights)
    if image_shape == ships:
        return encoder
    here = Eyepiece.for_samples(image_shape, samples).binning
    return encoder.for_pixels(here / Eyepiece.for_shape(ships).binning)
