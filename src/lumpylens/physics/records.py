"""Dataclasses of tensors whose first axis counts images: some of the images, joined, replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["join", "keep", "moved", "put", "select"]

Part = TypeVar("Part", bound=Any)


def select(part: Part, index: Tensor) -> Part:
    """Select some images of a dataclass of tensors, which may hold others of its kind."""
    return _map_tensors(lambda a: a[index], part)


def put(target: Part, index: Tensor, part: Part) -> Part:
    """Put the images of `part` into their places in `target`."""
    return _map_tensors(lambda a, b: a.index_copy(0, index, b), target, part)


def keep(won: Tensor, new: Part, old: Part) -> Part:
    """Take each image from `new` where it won, and from `old` where it did not."""
    if won.all():
        return new
    return _map_tensors(
        lambda a, b: torch.where(won.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old
    )


def _map_tensors(change: Callable[..., Tensor], first: Part, *others: Part) -> Part:
    changed = {}
    for item in fields(first):
        parts = [getattr(record, item.name) for record in (first, *others)]
        if isinstance(parts[0], Tensor):
            changed[item.name] = change(*parts)
        elif is_dataclass(parts[0]):
            changed[item.name] = _map_tensors(change, *parts)
    return replace(first, **changed)


def join(parts: Sequence[Part]) -> Part:
    """Join dataclasses of tensors of some images each into one of all images."""
    return _map_tensors(lambda *pieces: torch.cat(pieces), *parts)


def moved(part: Part, device: torch.device) -> Part:
    """Move a dataclass of tensors to another device."""
    return _map_tensors(lambda a: a.to(device), part)
