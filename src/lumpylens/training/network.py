"""What a network says of how it learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

__all__ = ["CHECKPOINT", "TrainableNetwork"]

CHECKPOINT = "last.ckpt"
"""Name of the file from which a training is resumed."""


class TrainableNetwork(nn.Module, ABC):
    """A network that says how it learns."""

    @abstractmethod
    def optimisers(self, total_steps: int) -> list[tuple[Optimizer, LRScheduler | None]]:
        """Optimisers in the order of `losses`, each with a schedule stepped once per batch."""

    @abstractmethod
    def losses(self, batch: Any) -> Iterator[Tensor]:
        """Yield one scalar loss per optimiser.

        The weights are updated before the generator goes on, so an adversarial network computes
        its second loss with the outcome of its first step. The first loss is the one reported.
        """

    @abstractmethod
    def validation_loss(self, batch: Any) -> Tensor:
        """Mean loss of a batch of normal images, without randomness; decides when to stop."""
