"""Batches of data in memory, in an order that is a function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class InMemory(Dataset[Any]):
    """Tensors indexed by whole batches of positions."""

    def __init__(self, tensors: tuple[Tensor, ...]) -> None:
        self.tensors = tensors

    def __getitem__(self, positions: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor[positions] for tensor in self.tensors)


class Batches(Sampler[Tensor]):
    """Positions of each batch: a function of seed and epoch, shared out among processes."""

    def __init__(self, count: int, size: int, seed: int | None) -> None:
        self.count, self.size, self.seed = count, size, seed
        self.epoch = 0

    def __len__(self) -> int:
        count = -(-self.count // self.size)
        # Batch normalisation cannot learn from a batch of one image, so none has fewer than two.
        return count if self.seed is None else max(1, min(count, self.count // 2))

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        if self.seed is None:
            yield from torch.arange(self.count).split(self.size)
            return
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        rank, world = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        # Equal sizes, within one: a last batch of what is left over would weigh as much as a whole.
        for batch in np.array_split(order, len(self)):
            yield torch.from_numpy(batch[rank::world])


def loader(tensors: tuple[Tensor, ...], batches: Batches) -> DataLoader[Any]:
    """Batches of tensors that lie in memory."""
    # Its own generator: a loader draws a number when it starts, and not equally often in a
    # resumed run.
    return DataLoader(
        InMemory(tensors), sampler=batches, batch_size=None, generator=torch.Generator()
    )
