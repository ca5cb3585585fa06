"""Restricted Boltzmann machine, the example of the challenge's notebook and of arXiv 2008.12731."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss, softplus

from lumpylens.detectors.paper.reconstruction import (
    ReconstructionConfig,
    ReconstructionDetector,
    ReconstructionNetwork,
)

__all__ = ["RBMConfig", "RBMDetector"]


class RBMConfig(ReconstructionConfig):
    """Settings of `rbm`."""

    hidden: int = Field(1000, ge=1, description="Hidden units")


class RBMNetwork(ReconstructionNetwork):
    """One visible unit per pixel, whose grey level is its probability of being on."""

    config: RBMConfig

    def __init__(self, config: RBMConfig, image_shape: tuple[int, int]) -> None:
        super().__init__(config)
        visible = image_shape[0] * image_shape[1]
        # Hinton 2012, "A practical guide to training restricted Boltzmann machines", section 8.
        self.weight = nn.Parameter(0.01 * torch.randn(config.hidden, visible))
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(config.hidden))

    def start_from(self, images: Tensor) -> None:
        """Let the visible biases alone give the mean image (Hinton 2012, section 8.1)."""
        with torch.no_grad():
            self.visible_bias.copy_(torch.logit(images.mean(0).flatten(), eps=1e-3))

    def hidden_input(self, visible: Tensor) -> Tensor:
        """Log-odds of each hidden unit to be on, given pixels of shape (n, visible)."""
        return linear(visible, self.weight, self.hidden_bias)

    def visible_chance(self, hidden: Tensor) -> Tensor:
        """Probability of each pixel to be on, given hidden units of shape (n, hidden)."""
        return torch.sigmoid(linear(hidden, self.weight.T, self.visible_bias))

    def free_energy(self, visible: Tensor, hidden_input: Tensor) -> Tensor:
        """Mean free energy of pixels of shape (n, visible) (Hinton 2012, eq. 25)."""
        return -(visible @ self.visible_bias + softplus(hidden_input).sum(1)).mean()

    def forward(self, images: Tensor) -> Tensor:
        """Mean-field reconstruction: probabilities up and down, no draw; shape (n, H, W)."""
        hidden = torch.sigmoid(self.hidden_input(images.flatten(1)))
        return self.visible_chance(hidden).view_as(images)

    def losses(self, batch: Tensor) -> Iterator[Tensor]:
        """One step of contrastive divergence (Hinton 2002), shown as a reconstruction error."""
        visible = batch.flatten(1)
        data_input = self.hidden_input(visible)
        with torch.no_grad():
            hidden = torch.bernoulli(torch.sigmoid(data_input))
            rebuilt = self.visible_chance(hidden)
        free_energy = self.free_energy(visible, data_input)
        divergence = free_energy - self.free_energy(rebuilt, self.hidden_input(rebuilt))
        # The gradient is that of the divergence, whose own value says nothing of progress.
        yield divergence + (mse_loss(rebuilt, visible) - divergence).detach()


class RBMDetector(ReconstructionDetector):
    """Restricted Boltzmann machine with one hidden layer, trained by CD-1.

    The higher the mean squared error of the mean-field reconstruction, the more anomalous the
    image.
    """

    name: ClassVar[str] = "rbm"
    Config = RBMConfig
    config: RBMConfig

    def _network(self, image_shape: tuple[int, int]) -> RBMNetwork:
        return RBMNetwork(self.config, image_shape)

    def card_notes(self) -> list[str]:
        """Say where the network comes from, and what departs from there."""
        return [
            "The restricted Boltzmann machine of the challenge's example notebook and of Alexander "
            "et al. 2021 (arXiv 2008.12731): one visible unit per pixel, 1,000 hidden units, one "
            "step of contrastive divergence, Adam with a one-cycle schedule.",
            "Departures: small initial weights and biases from the mean image after Hinton 2012 "
            "(in the authors' code all are standard normal); visible units give their probability, "
            "only hidden ones are drawn; scores are mean-field and deterministic (there a random "
            "draw of black and white pixels); training stops early on held-out normal images and "
            "keeps the best weights.",
            *super().card_notes(),
        ]
