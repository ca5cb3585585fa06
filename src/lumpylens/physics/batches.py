"""Running a function over many images: in chunks that fit the cache, one thread each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["CHUNK", "map_chunks"]

CHUNK = 32
"""Images per chunk. Their tangents are about 10 MB; larger chunks are slower, not faster."""

Result = TypeVar("Result")


def map_chunks(
    function: Callable[[Tensor], Result], count: int, *, threads: int | None = None
) -> list[Result]:
    """Apply `function` to the positions of each chunk of `count` images, in order.

    Parameters
    ----------
    function : callable
        Takes positions, shape (at most CHUNK,).
    count : int
    threads : int, optional
        Chunks in flight. Default: torch's number of threads, all of which go to chunks, since
        operations on arrays this small gain nothing from being split.
    """
    parts = list(torch.arange(count).split(CHUNK))
    workers = min(threads or _threads(), len(parts))
    if workers <= 1:
        return [function(part) for part in parts]
    with _single_threaded(), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(_without_gradient(function), parts))


def _threads() -> int:
    return min(torch.get_num_threads(), os.cpu_count() or 1)


def _without_gradient(function: Callable[[Tensor], Result]) -> Callable[[Tensor], Result]:
    enabled = torch.is_grad_enabled()

    def run(part: Tensor) -> Result:
        # Whether gradients are recorded is a property of each thread.
        with torch.set_grad_enabled(enabled):
            return function(part)

    return run


@contextmanager
def _single_threaded() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
