"""Training of the network that reads the numbers of a lens off its image."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from lumpylens.files.progress import counted
from lumpylens.physics.encoder import (
    BroadPrior,
    Encoder,
    Eyepiece,
    NearPrior,
    render_examples,
    turn_examples,
)
from lumpylens.training.loop import train_network
from lumpylens.training.network import TrainableNetwork
from lumpylens.training.run import Run

__all__ = ["specialise_encoder", "train_encoder"]

BATCH = 192
PEAK_RATE, NEAR_RATE = 2e-3, 1e-3
"""Lenses per step, and peaks of the learning rate's schedule in the two stages. Not tuned: the
second is smaller so that the network keeps what the first stage taught."""

REPEATED = 2
"""Times that each normal image stands among the renders of the second stage. Not tuned."""

CHUNK = 500
"""Lenses rendered at once; it decides the memory and, through the random numbers, the lenses."""


class Reading(TrainableNetwork):
    """An encoder and its loss on rendered examples."""

    def __init__(self, encoder: Encoder, peak_rate: float) -> None:
        super().__init__()
        self.encoder, self.peak_rate = encoder, peak_rate

    def optimisers(self, total_steps: int) -> list[tuple[Optimizer, LRScheduler | None]]:
        """AdamW on one cycle of the learning rate."""
        optimiser = AdamW(self.encoder.parameters(), lr=self.peak_rate, weight_decay=1e-4)
        return [(optimiser, OneCycleLR(optimiser, self.peak_rate, total_steps, pct_start=0.1))]

    def losses(self, batch: Any) -> Iterator[Tensor]:
        """Negative log likelihood of the true parameters."""
        yield self.encoder.loss(*batch)

    def validation_loss(self, batch: Any) -> Tensor:
        """Loss on examples that were not trained on."""
        return self.encoder.loss(*batch)


def examples(
    count: int, eyepiece: Eyepiece, prior: BroadPrior | NearPrior, seed: int, *, show: bool = False
) -> tuple[Tensor, Tensor]:
    """Rendered images (count, h, w) and the numbers to be read off them."""
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = [], []
    with counted("simulating lenses for training", count, show=show) as step:
        for start in range(0, count, CHUNK):
            parameters = prior.draw(min(CHUNK, count - start), generator)
            images, true = render_examples(parameters, eyepiece, generator)
            inputs.append(images)
            targets.append(true)
            for _ in parameters:
                step()
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
        One per epoch, see `lumpylens.training.loop.train_network`.
    """
    eyepiece = Eyepiece.for_shape(image_shape)
    prior = BroadPrior(min(image_shape) / 2, elliptical_mass)
    train = examples(renders, eyepiece, prior, seed, show=run.progress)
    check = examples(max(renders // 20, CHUNK), eyepiece, prior, seed + 1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Encoder(eyepiece.samples)
    encoder.middle.copy_(train[1].mean(dim=0))
    history = train_network(
        Reading(encoder, PEAK_RATE),
        train,
        check,
        run=run,
        max_epochs=epochs,
        batch_size=BATCH,
        patience=epochs,
        seed=seed,
        augment=turned,
        settings={"encoder": True, "elliptical_mass": elliptical_mass},
    )
    return encoder.eval(), history


def specialise_encoder(
    encoder: Encoder,
    image_shape: tuple[int, int],
    prior: NearPrior,
    normals: tuple[Tensor, Tensor],
    *,
    renders: int,
    epochs: int,
    seed: int,
    run: Run,
) -> tuple[Encoder, list[dict[str, float]]]:
    """Train a copy of an encoder further, on lenses like those of a population.

    On renders and, through the decoder, on the normal images themselves: their targets are the
    numbers for which the decoder gives the image back. Half turns, which turn any lens into
    another of the same population, double both.

    Parameters
    ----------
    encoder : Encoder
    image_shape : (int, int)
    prior : NearPrior
    normals : tuple of Tensor, shapes (n, h, w) and (n, len(ESTIMATED))
        Normal images through the eyepiece, and their fitted numbers.
    renders, epochs : int
        Renders, and passes through all of it.
    seed : int
    run : Run

    Returns
    -------
    Encoder
        In evaluation mode.
    list of dict
        One per epoch, see `lumpylens.training.loop.train_network`.
    """
    eyepiece = Eyepiece.for_samples(image_shape, encoder.input_shape)
    rendered = examples(renders, eyepiece, prior, seed + 2, show=run.progress)
    check = examples(max(renders // 20, CHUNK), eyepiece, prior, seed + 3)
    train = (torch.cat([rendered[k], *[normals[k]] * REPEATED]) for k in range(2))
    near = copy.deepcopy(encoder).requires_grad_(True)
    # A folder of its own: checkpoints of the two stages must not be taken for each other.
    own_run = run if run.folder is None else replace(run, folder=run.folder / "near")
    history = train_network(
        Reading(near, NEAR_RATE),
        tuple(train),
        check,
        run=own_run,
        max_epochs=epochs,
        batch_size=BATCH,
        patience=epochs,
        seed=seed,
        augment=half_turned,
        settings={"encoder": "near"},
    )
    return near.eval().requires_grad_(False), history


def half_turned(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A batch turned by half a turn, or not."""
    return turn_examples(*batch, 2) if int(torch.randint(2, ())) else batch
