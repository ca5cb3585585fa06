"""Adversarial autoencoder of arXiv 2008.12731."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lumpylens.detectors.paper.autoencoder import (
    AutoencoderConfig,
    AutoencoderDetector,
    Decoder,
    Encoder,
)
from lumpylens.detectors.paper.reconstruction import ReconstructionNetwork

__all__ = ["AAEConfig", "AAEDetector"]


class AAEConfig(AutoencoderConfig):
    """Settings of `aae`."""

    learning_rate: float = Field(1e-3, gt=0, description="Adam, reconstruction")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty inside Adam, reconstruction")
    discriminator_rate: float = Field(1e-3, gt=0, description="Adam, discriminator")
    generator_rate: float = Field(1e-4, gt=0, description="Adam, encoder against discriminator")
    prior_sigma: float = Field(5.0, gt=0, description="Width of the latents' normal prior")
    discriminator_width: int = Field(256, ge=1)


class AAENetwork(ReconstructionNetwork):
    """Autoencoder whose latents a discriminator compares with draws from the prior."""

    config: AAEConfig

    def __init__(self, config: AAEConfig, image_shape: tuple[int, int]) -> None:
        super().__init__(config)
        features = Encoder(image_shape, last_relu=True)
        self.encoder = nn.Sequential(features, nn.Linear(features.features, config.latents))
        self.decoder = Decoder(image_shape, config.latents)
        width = config.discriminator_width
        self.discriminator = nn.Sequential(
            nn.Linear(config.latents, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images on the [0, 1] scale, shape (n, H, W)."""
        reconstruction: Tensor = self.decoder(self.encoder(images))
        return reconstruction

    def optimisers(self, total_steps: int) -> list[tuple[Optimizer, LRScheduler | None]]:
        """One Adam per loss, at constant rates."""
        config = self.config
        weights = [*self.encoder.parameters(), *self.decoder.parameters()]
        return [
            (_adam(weights, config.learning_rate, config.weight_decay), None),
            (_adam(self.discriminator.parameters(), config.discriminator_rate), None),
            (_adam(self.encoder.parameters(), config.generator_rate), None),
        ]

    def losses(self, batch: Tensor) -> Iterator[Tensor]:
        """Reconstruction, discriminator, encoder as generator (Makhzani et al. 2016, section 2)."""
        yield mse_loss(self(batch), batch)
        codes = self.encoder(batch)
        prior_codes = self.config.prior_sigma * torch.randn_like(codes)
        yield self._verdict(prior_codes, 1.0) + self._verdict(codes.detach(), 0.0)
        yield self._verdict(codes, 1.0)

    def _verdict(self, latents: Tensor, truth: float) -> Tensor:
        """Cross-entropy of the discriminator's verdict, where 1 is drawn from the prior."""
        verdict = self.discriminator(latents)
        return binary_cross_entropy_with_logits(verdict, torch.full_like(verdict, truth))


def _adam(parameters: Iterable[nn.Parameter], rate: float, decay: float = 0.0) -> Adam:
    return Adam(parameters, lr=rate, weight_decay=decay, fused=True)


class AAEDetector(AutoencoderDetector):
    """Adversarial autoencoder (arXiv 2008.12731, section on AAE).

    The higher the mean squared reconstruction error, the more anomalous the image.
    """

    name: ClassVar[str] = "aae"
    Config = AAEConfig
    config: AAEConfig

    def _network(self, image_shape: tuple[int, int]) -> AAENetwork:
        return AAENetwork(self.config, image_shape)
