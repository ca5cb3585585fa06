"""A supervised classifier, for the line below the benchmark's table.

It is trained on labels, so it is no detector: it is not registered, not saved and not shipped. It
says how much of the difference between two classes is there to be found by someone who has seen
both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from lumpylens.data.images import LensImages
from lumpylens.detectors.base import to_unit_range
from lumpylens.training.device import torch_device
from lumpylens.training.loop import seeded, train_network
from lumpylens.training.network import TrainableNetwork
from lumpylens.training.run import Run

__all__ = ["SupervisedReference", "supervised_reference"]

BATCH = 64
"""Images per step. Not tuned: the reference shows what labels are worth, and takes no part."""


@dataclass(frozen=True)
class SupervisedReference:
    """What a supervised classifier says of images that it has not seen.

    Attributes
    ----------
    normal, anomalous : ndarray of float64, shape (n,)
        Log-odds of being anomalous, of the test images of each class.
    training_normal, training_anomalous : int
        Labelled images used in training and to choose the epoch.
    epoch : int
        The one with the lowest loss on held-out training images.
    """

    normal: NDArray[np.float64]
    anomalous: NDArray[np.float64]
    training_normal: int
    training_anomalous: int
    epoch: int


class Classifier(TrainableNetwork):
    """Three convolutional stages of 16, 32 and 64 channels on 2x2-binned pixels."""

    def __init__(self, image_shape: tuple[int, int]) -> None:
        super().__init__()
        stages: list[nn.Module] = [nn.AvgPool2d(2, ceil_mode=True)]
        for channels_before, channels in ((1, 16), (16, 32), (32, 64)):
            stages += [
                nn.Conv2d(channels_before, channels, 3, padding=1),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
        # Not averaged over the image: a difference of a pixel in radius must survive.
        cells = -(-image_shape[0] // 16) * -(-image_shape[1] // 16)
        self.layers = nn.Sequential(
            *stages,
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(64 * cells, 64),
            nn.ReLU(),
            nn.Linear(64, 1),
            nn.Flatten(0),
        )
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Log-odds, shape (n,), of images on the [0, 1] scale, shape (n, H, W)."""
        log_odds: Tensor = self.layers(images.unsqueeze(1))
        return log_odds

    def optimisers(self, total_steps: int) -> list[tuple[Optimizer, LRScheduler | None]]:
        """Adam with a one-cycle schedule."""
        adam = Adam(self.parameters(), lr=3e-3, weight_decay=1e-4)
        return [(adam, OneCycleLR(adam, max_lr=3e-3, total_steps=total_steps))]

    def losses(self, batch: tuple[Tensor, Tensor]) -> Iterator[Tensor]:
        """Cross-entropy."""
        yield self.validation_loss(batch)

    def validation_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy."""
        images, labels = batch
        return binary_cross_entropy_with_logits(self(images), labels)


def supervised_reference(
    train_normal: LensImages,
    train_anomalous: LensImages,
    test_normal: LensImages,
    test_anomalous: LensImages,
    *,
    seed: int = 0,
    epochs: int = 30,
    run: Run | None = None,
) -> SupervisedReference:
    """Train a small classifier on labelled images and score others with it.

    Every tenth training image of each class is held out and chooses the epoch.

    Parameters
    ----------
    train_normal, train_anomalous : LensImages
        Readable images of one shape.
    test_normal, test_anomalous : LensImages
        Others of the same shape; the caller sees to it that none is among those above.
    seed : int
    epochs : int
    run : Run, optional
        Device and progress.

    Returns
    -------
    SupervisedReference

    Raises
    ------
    DataError
        If an image cannot be read or has another shape.
    """
    run = run or Run()
    normal, anomalous = _unit(train_normal), _unit(train_anomalous)
    shape = (normal.shape[1], normal.shape[2])
    images = torch.cat([normal, anomalous])
    labels = torch.cat([torch.zeros(len(normal)), torch.ones(len(anomalous))])
    held_out = torch.cat([torch.arange(len(part)) % 10 == 9 for part in (normal, anomalous)])
    with seeded(seed):
        network = Classifier(shape)
    history = train_network(
        network,
        (images[~held_out], labels[~held_out]),
        (images[held_out], labels[held_out]),
        run=run,
        max_epochs=epochs,
        batch_size=BATCH,
        patience=epochs,
        seed=seed,
        settings={"detector": "supervised reference"},
        augment=_flipped,
    )
    network.to(torch_device(run.device))
    return SupervisedReference(
        normal=_log_odds(network, _unit(test_normal, shape)),
        anomalous=_log_odds(network, _unit(test_anomalous, shape)),
        training_normal=len(normal),
        training_anomalous=len(anomalous),
        epoch=1 + int(np.argmin([row["val_loss"] for row in history])),
    )


def _flipped(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Turn the batch over along either axis at random: a mirror image keeps its class."""
    images, labels = batch
    axes = [axis for axis in (1, 2) if torch.rand(()) < 0.5]
    return images.flip(axes), labels


def _unit(images: LensImages, shape: tuple[int, int] | None = None) -> Tensor:
    return torch.from_numpy(to_unit_range(images.stack(shape=shape).pixels))


def _log_odds(network: Classifier, images: Tensor) -> NDArray[np.float64]:
    device = next(network.parameters()).device
    with torch.no_grad():
        parts = [network(batch.to(device)).double().cpu() for batch in images.split(BATCH)]
    return np.asarray(torch.cat(parts))
