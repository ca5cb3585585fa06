"""Apply a function to many images: in chunks that fit the cache, each on one thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = [
    "IMAGES_PER_CHUNK", "derivative_along", "is_compiled", "map_chunks", "per_lens", "unsplit",
]  # fmt: skip

IMAGES_PER_CHUNK = 32
"""Images per chunk. Their tangents are about 10 MB; larger chunks are slower, not faster."""

Result = TypeVar("Result")


def map_chunks(
    function: Callable[[Tensor], Result], count: int, *, threads: int | None = None
) -> list[Result]:
    """Apply `function` to the positions of each chunk of `count` images, in order.

    Parameters
    ----------
    function : callable
        Takes positions, shape (at most IMAGES_PER_CHUNK,).
    count : int
    threads : int, optional
        Number of chunks computed at once. Default: torch's number of threads, see `unsplit`.
    """
    parts = list(torch.arange(count, device="cpu").split(IMAGES_PER_CHUNK))
    workers = min(threads or _threads(), len(parts))
    with unsplit():
        if workers <= 1:
            return [function(part) for part in parts]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(_without_gradient(function), parts))


def _threads() -> int:
    return min(_available.get(torch.get_num_threads()), os.cpu_count() or 1)


def _without_gradient(function: Callable[[Tensor], Result]) -> Callable[[Tensor], Result]:
    enabled = torch.is_grad_enabled()

    def run(part: Tensor) -> Result:
        # Whether gradients are recorded is a property of each thread.
        with torch.set_grad_enabled(enabled):
            return function(part)

    return run


def per_lens(function: Callable[[Tensor], Tensor], numbers: Tensor) -> Tensor:
    """Apply a function to one number per lens, independently of the other lenses of the batch.

    It is computed in double precision and rounded: processors compute exponentials of eight
    numbers at a time with other steps than of a single one, and the last digit differs.
    """
    return function(numbers.double()).to(numbers)


_forward_mode = Lock()


def derivative_along(
    function: Callable[[Tensor], Any], point: Tensor, direction: Tensor
) -> tuple[Any, Any]:
    """Compute value and directional derivative, by forward-mode differentiation.

    Only one thread at a time does so: torch counts the levels of dual numbers for the whole
    process, and a thread that ends its level also ends those of the others.
    """
    with _forward_mode:
        pair = torch.func.jvp(function, (point,), (direction,))
    return pair[0], pair[1]


_available: ContextVar[int] = ContextVar("threads that map_chunks may use")


@contextmanager
def unsplit() -> Iterator[None]:
    """Let torch compute each operation on one thread, and leave all threads to `map_chunks`.

    Arrays this small gain little from being split, and on a busy machine each operation waits for
    the slowest thread: beside two other programs, two threads took seven times as long as one.
    """
    threads_before = torch.get_num_threads()
    token = _available.set(_threads())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        _available.reset(token)


def is_compiled(*numbers: Tensor) -> bool:
    """Whether `lumpylens.physics.compiled` serves: not for gradients, cards or double precision."""
    return all(
        part.device.type == "cpu" and part.dtype == torch.float32 and not part.requires_grad
        for part in numbers
    )
