"""Training of the network that reads the numbers of a lens off its image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from lumpylens.detectors.base import Run
from lumpylens.physics.encoder import (
    BroadPrior,
    Encoder,
    Eyepiece,
    render_examples,
    turn_examples,
)
from lumpylens.training import TrainableNetwork, train_network

__all__ = ["train_encoder"]

BATCH = 192
PEAK_RATE = 2e-3
CHUNK = 500
"""Lenses rendered at once."""


class Reading(TrainableNetwork):
    """An encoder and its loss on rendered examples."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def optimisers(self, total_steps: int) -> list[tuple[Optimizer, LRScheduler | None]]:
        """AdamW on one cycle of the learning rate."""
        optimiser = AdamW(self.encoder.parameters(), lr=PEAK_RATE, weight_decay=1e-4)
        return [(optimiser, OneCycleLR(optimiser, PEAK_RATE, total_steps, pct_start=0.1))]

    def losses(self, batch: Any) -> Iterator[Tensor]:
        """Negative log likelihood of the true parameters."""
        yield self.encoder.loss(*batch)

    def validation_loss(self, batch: Any) -> Tensor:
        """The same on examples that were not trained on."""
        return self.encoder.loss(*batch)


def examples(count: int, eyepiece: Eyepiece, prior: BroadPrior, seed: int) -> tuple[Tensor, Tensor]:
    """Rendered images (count, h, w) and the numbers to be read off them."""
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = [], []
    for start in range(0, count, CHUNK):
        drawn = prior.draw(min(CHUNK, count - start), generator)
        seen, true = render_examples(drawn, eyepiece, generator)
        inputs.append(seen)
        targets.append(true)
    return torch.cat(inputs), torch.cat(targets)


def turned(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A batch turned by a random number of quarter turns."""
    if batch[0].shape[-1] != batch[0].shape[-2]:
        return batch
    return turn_examples(*batch, int(torch.randint(4, ())))


def train_encoder(
    image_shape: tuple[int, int],
    *,
    renders: int,
    epochs: int,
    elliptical_mass: bool,
    seed: int,
    run: Run,
) -> tuple[Encoder, list[dict[str, float]]]:
    """Train an encoder on renders of smooth lenses from a broad prior.

    Parameters
    ----------
    image_shape : (int, int)
        Of the images it will see, in pixels.
    renders, epochs : int
        Size of the training set, and passes through it.
    elliptical_mass : bool
        Whether haloes are elliptical in the training set.
    seed : int
    run : Run

    Returns
    -------
    Encoder
        In evaluation mode.
    list of dict
        One per epoch, see `lumpylens.training.train_network`.
    """
    eyepiece = Eyepiece.for_shape(image_shape)
    prior = BroadPrior(min(image_shape) / 2, elliptical_mass)
    train = examples(renders, eyepiece, prior, seed)
    check = examples(max(renders // 20, CHUNK), eyepiece, prior, seed + 1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Encoder((eyepiece.scene.height, eyepiece.scene.width))
    encoder.middle.copy_(train[1].mean(dim=0))
    history = train_network(
        Reading(encoder), train, check, run=run, max_epochs=epochs, batch_size=BATCH,
        patience=epochs, seed=seed, augment=turned,
        settings={"encoder": True, "elliptical_mass": elliptical_mass},
    )  # fmt: skip
    return encoder.eval(), history
