"""Deep convolutional autoencoder of arXiv 2008.12731."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn

from lumpylens.detectors.paper.autoencoder import (
    AutoencoderConfig,
    AutoencoderDetector,
    Decoder,
    Encoder,
)
from lumpylens.detectors.paper.reconstruction import ReconstructionNetwork

__all__ = ["DCAEConfig", "DCAEDetector"]


class DCAEConfig(AutoencoderConfig):
    """Settings of `dcae`."""


class DCAENetwork(ReconstructionNetwork):
    """Encoder, a batch-normalised linear bottleneck, decoder."""

    def __init__(self, config: DCAEConfig, image_shape: tuple[int, int]) -> None:
        super().__init__(config)
        encoder = Encoder(image_shape, last_relu=False)
        self.layers = nn.Sequential(
            encoder,
            nn.Linear(encoder.features, config.latents),
            nn.BatchNorm1d(config.latents),
            Decoder(image_shape, config.latents),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images on the [0, 1] scale, shape (n, H, W)."""
        reconstruction: Tensor = self.layers(images)
        return reconstruction

    def losses(self, batch: Tensor) -> Iterator[Tensor]:
        """Mean squared error per pixel."""
        yield nn.functional.mse_loss(self(batch), batch)


class DCAEDetector(AutoencoderDetector):
    """Deep convolutional autoencoder (arXiv 2008.12731, section on DCAE).

    The higher the mean squared reconstruction error, the more anomalous the image.
    """

    name: ClassVar[str] = "dcae"
    Config = DCAEConfig
    config: DCAEConfig

    def _network(self, image_shape: tuple[int, int]) -> DCAENetwork:
        return DCAENetwork(self.config, image_shape)
