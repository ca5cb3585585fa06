"""Convolutional variational autoencoder of arXiv 2008.12731."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from lumpylens.detectors.paper.autoencoder import (
    AutoencoderConfig,
    AutoencoderDetector,
    Decoder,
    Encoder,
)
from lumpylens.detectors.paper.reconstruction import ReconstructionNetwork

__all__ = ["VAEConfig", "VAEDetector"]


class VAEConfig(AutoencoderConfig):
    """Settings of `vae`."""

    beta: float = Field(
        1.0, ge=0, description="Weight of the Kullback-Leibler term; 1 is the evidence bound"
    )


class VAENetwork(ReconstructionNetwork):
    """Encoder to mean and log-variance of each latent, decoder from a draw."""

    config: VAEConfig

    def __init__(self, config: VAEConfig, image_shape: tuple[int, int]) -> None:
        super().__init__(config)
        self.encoder = Encoder(image_shape, last_relu=True)
        self.mean = nn.Linear(self.encoder.features, config.latents)
        self.log_variance = nn.Linear(self.encoder.features, config.latents)
        self.decoder = Decoder(image_shape, config.latents)

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct from the mean of the latents: no draw, so that scores are deterministic."""
        reconstruction: Tensor = self.decoder(self.mean(self.encoder(images)))
        return reconstruction

    def losses(self, batch: Tensor) -> Iterator[Tensor]:
        """Negative evidence bound per pixel (Kingma & Welling 2014, eq. 3 and appendix B).

        The noise level of the Gaussian likelihood is the one that maximises it, the root mean
        square error of the batch (Rybkin et al. 2021, arXiv 2006.13202), so that
        no weight between the two terms has to be tuned.
        """
        features = self.encoder(batch)
        mean, log_variance = self.mean(features), self.log_variance(features)
        draw = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        error = nn.functional.mse_loss(self.decoder(draw), batch)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
        yield 0.5 * torch.log(error) + self.config.beta * divergence / batch[0].numel()


class VAEDetector(AutoencoderDetector):
    """Convolutional variational autoencoder (arXiv 2008.12731, section on VAE).

    The higher the mean squared error of the reconstruction from the latents' mean, the more
    anomalous the image.
    """

    name: ClassVar[str] = "vae"
    Config = VAEConfig
    config: VAEConfig

    def _network(self, image_shape: tuple[int, int]) -> VAENetwork:
        return VAENetwork(self.config, image_shape)

    def card_notes(self) -> list[str]:
        """Say where the network comes from, and what this file alone does otherwise."""
        return [
            *super().card_notes(),
            "Departures of the VAE: the Kullback-Leibler term is used (the authors' code "
            "multiplies it by 0 by default); the likelihood gives its weight, with the root mean "
            "square error of the batch as noise level; scores use the mean of the latents (a "
            "random draw in the authors' code); early stopping uses the error of the score.",
        ]
