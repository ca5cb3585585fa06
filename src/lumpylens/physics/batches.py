"""Running a function over many images: in chunks that fit the cache, one thread each."""

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

__all__ = ["CHUNK", "derivative_along", "map_chunks", "per_lens", "unsplit"]

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
        Chunks in flight. Default: torch's number of threads, see `unsplit`.
    """
    parts = list(torch.arange(count).split(CHUNK))
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
    """A function of one number per lens, the same for a lens alone as for one among others.

    It is taken in double precision and rounded: processors compute exponentials of eight numbers
    at a time by other steps than those of a single one, and the last digit differs.
    """
    return function(numbers.double()).to(numbers)


_forward_mode = Lock()


def derivative_along(
    function: Callable[[Tensor], Any], point: Tensor, direction: Tensor
) -> tuple[Any, Any]:
    """Value and directional derivative, by forward-mode differentiation.

    One thread at a time: torch counts the levels of dual numbers for the whole process, and a
    thread that ends its level takes that of the others away.
    """
    with _forward_mode:
        made = torch.func.jvp(function, (point,), (direction,))
    return made[0], made[1]


_available: ContextVar[int] = ContextVar("threads that map_chunks may use")


@contextmanager
def unsplit() -> Iterator[None]:
    """Keep torch from splitting operations among threads; all go to `map_chunks` within.

    Arrays this small gain little from being split, and on a busy machine each operation waits
    for the slowest thread: two threads beside two other programs took seven times as long as one.
    """
    before = torch.get_num_threads()
    token = _available.set(_threads())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _available.reset(token)
