"""The network of `pixel`: it is shown bent, blotted views and says how far and how bright."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from lumpylens.detectors.pixel.views import Window, blots, spots, stretched
from lumpylens.detectors.settings import DetectorConfig
from lumpylens.training.network import TrainableNetwork

__all__ = ["FEATURES", "PixelConfig", "PixelNetwork"]

CONVOLUTIONS = ((1, 5, 2), (2, 3, 1), (2, 3, 2), (3, 3, 1), (4, 3, 2), (4, 3, 1))
"""Channels in units of the first layer's, side of the kernel, stride."""

FEATURES = 256
"""Numbers that the score compares; their covariance needs several times as many images."""

LOG_VARIANCE = (-8.0, 3.0)
"""Limits of the predicted log-variance: without a lower one, the loss has no minimum where a truth
is hit exactly."""


class PixelConfig(DetectorConfig):
    """Settings of `pixel`; the defaults were chosen as its card tells."""

    learning_rate: float = Field(2e-3, gt=0, description="AdamW; peak of the one-cycle schedule")
    weight_decay: float = Field(0.02, ge=0, description="Of AdamW")
    batch_size: int = Field(32, ge=2, description="Images per step")
    max_epochs: int = Field(30, ge=1, description="Length of the schedule")
    patience: int = Field(20, ge=1, description="Epochs without a better validation loss")
    width: int = Field(16, ge=1, description="Channels of the first convolution")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of features hidden in training")
    bend: float = Field(
        0.008, gt=0, description="Typical displacement, in units of the image's shorter side"
    )
    core: float = Field(
        1 / 15, gt=0, description="Radius that stays in place, in units of the shorter side"
    )
    spot: float = Field(
        0.4, ge=0, description="Brightness of random spots in the middle, in units of the peak"
    )
    blot: float = Field(
        0.05, ge=0, description="Typical brightness of a blot put anywhere, in units of the peak"
    )
    turn_deg: float = Field(
        10.0,
        ge=0,
        le=90,
        description="Largest rotation of a training view, in addition to half turns",
    )
    shrinkage: float = Field(
        0.05, gt=0, description="Fraction of the variance of each feature that is added to it"
    )


class PixelNetwork(TrainableNetwork):
    """Answers two questions: how far is a view bent outward, and how bright is the blot in it.

    Seven convolutions give the features, a linear layer the answers: each a Gaussian's mean and
    log-variance, in units of the typical displacement and brightness.
    """

    def __init__(self, config: PixelConfig, image_shape: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        side = min(image_shape)
        self.window = Window(image_shape, config.core * side)
        self.unit_px = config.bend * side
        layers: list[nn.Module] = []
        channels_before, (height, width) = 1, self.window.seen_shape
        for factor, kernel, stride in CONVOLUTIONS:
            channels = factor * config.width
            layers += convolution(channels_before, channels, kernel, stride)
            channels_before, height, width = channels, -(-height // stride), -(-width // stride)
        layers += convolution(channels_before, 32, 1, 1)
        self.body = nn.Sequential(*layers)
        self.body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.features = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(config.dropout),
            nn.Linear(32 * height * width, FEATURES),
            nn.ReLU(),
        )
        self.answer = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(FEATURES, 4))

    def forward(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (n, FEATURES), means (n, 2) and log-variances (n, 2) of views (n, h, w)."""
        features = self.features(self.body(stretched(views).unsqueeze(1)))
        mean, log_variance = self.answer(features).chunk(2, dim=1)
        return features, mean, log_variance.clamp(*LOG_VARIANCE)

    def optimisers(self, total_steps: int) -> list[tuple[Optimizer, LRScheduler | None]]:
        """AdamW on one cycle of the learning rate."""
        config = self.config
        adam = AdamW(
            self.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        return [(adam, OneCycleLR(adam, config.learning_rate, total_steps, pct_start=0.15))]

    def losses(self, batch: tuple[Tensor, Tensor]) -> Iterator[Tensor]:
        """Negative log-likelihood of the true answers, without its constant."""
        yield self.validation_loss(batch)

    def validation_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Loss of fixed views, which differ from epoch to epoch only by the weights."""
        views, truth = batch
        _, mean, log_variance = self(views)
        squares = (mean - truth).square() * torch.exp(-log_variance)
        loss: Tensor = 0.5 * (squares + log_variance).mean()
        return loss

    def bent(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Random views (n, h, w) of images (n, H, W), and the true answers (n, 2) for them.

        Bends and blots are normal, with a width that is itself uniform from none to twice the
        typical one, so that there are small ones among them.
        """
        count, device = len(images), images.device
        angle = math.radians(self.config.turn_deg) * (2 * torch.rand(count, device=device) - 1)
        angle = angle + math.pi * torch.randint(2, (count,), device=device)
        mirror = 1.0 - 2.0 * torch.randint(2, (count,), device=device)
        truth = torch.randn(count, 2, device=device) * 2 * torch.rand(count, 2, device=device)
        views = self.window.look(images, angle, mirror, truth[:, 0] * self.unit_px)
        for _ in range(2):
            views = views + spots(views, self.config.spot)
        return views + blots(views, truth[:, 1] * self.config.blot), truth

    def look(self, images: Tensor, outward: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Features, mean and log-variance of images (n, H, W), averaged over four fixed views.

        Parameters
        ----------
        images : Tensor, shape (n, H, W)
        outward : float
            Bend of all views, in units of the typical displacement.
        """
        turn, count = math.radians(self.config.turn_deg), images.shape[0]
        looks = []
        # Turned like training views, so that what resampling does to an image is nothing odd.
        for half, share, mirror in ((0, -0.75, 1), (1, -0.25, 1), (0, 0.25, -1), (1, 0.75, -1)):
            view = self.window.look(
                images,
                images.new_full((count,), half * math.pi + share * turn),
                images.new_full((count,), mirror),
                images.new_full((count,), outward * self.unit_px),
            )
            looks.append(self(view))
        features, mean, log_variance = (
            torch.stack(parts).mean(dim=0) for parts in zip(*looks, strict=True)
        )
        return features, mean, log_variance


def convolution(channels_before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    """Convolution, batch normalisation and rectifier."""
    return [
        nn.Conv2d(channels_before, after, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    ]
