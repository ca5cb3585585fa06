"""Read images in a thread while those before them are worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from lumpylens.data.image import LensImage

__all__ = ["ReadAhead"]

MOST_BYTES = 2**26
"""Memory for images that are read and not wanted yet: some hundred cutouts, and no more of those
that are too large to be of any use."""

AT_ONCE = 16
"""Images that are handed over together: one by one it takes as long as half of reading a JPEG."""


class ReadAhead:
    """Images in order, read by one thread; leaving its block ends the thread.

    Parameters
    ----------
    load : callable
        Reads the image at a position.
    count : int
        Number of positions.
    most : int
        How many images to read before they are wanted, if the memory allows.
    """

    def __init__(self, load: Callable[[int], LensImage], count: int, most: int) -> None:
        self._load, self._count, self._most = load, count, most
        # More threads would hardly be faster: much of reading a picture is Python.
        self._pool = ThreadPoolExecutor(1, "lumpylens reads ahead")
        self._begun: deque[tuple[range, Future[list[LensImage]]]] = deque()
        self._next, self._ahead = 0, 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __call__(self, position: int) -> LensImage:
        """The image at a position, which lies behind all that were asked for before."""
        while self._begun and self._begun[0][0].stop <= position:
            self._begun.popleft()[1].cancel()
        self._next = max(self._next, position)
        together = max(1, min(AT_ONCE, self._ahead // 4))
        while self._next < self._count:
            stop = min(self._next + together, self._count)
            if self._next > position and stop > position + 1 + self._ahead:
                break
            places = range(self._next, stop)
            self._begun.append((places, self._pool.submit(self._loaded, places)))
            self._next = stop
        places, images = self._begun[0]
        image = images.result()[position - places.start]
        arrays = (image.image, image.noise, image.psf)
        size = sum(array.nbytes for array in arrays if array is not None)
        self._ahead = max(1, min(self._most, MOST_BYTES // max(size, 1)))
        return image

    def _loaded(self, places: range) -> list[LensImage]:
        return [self._load(place) for place in places]
