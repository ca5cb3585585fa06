"""Read the images of a collection into batches, many at once where their source can."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.ahead import ReadAhead
from lumpylens.data.batch import ImageBatch, batch_of_one, joined_batches
from lumpylens.data.image import LensImage
from lumpylens.data.source import ImageSource, ReadsBlocks

__all__ = ["Reading"]

BLOCK_IMAGES = 128
"""Images of one block: with 64 and more the cost of a call no longer shows, and 1,000 would not fit
in a processor's cache."""


@dataclass
class Reading:
    """One pass over a collection; for the parameters see `LensImages.batches`.

    Attributes
    ----------
    sources : sequence of ImageSource
    positions : ndarray of int, shape (n, 2)
        Source number and position in that source of each image.
    shape : (int, int) or None
        The (H, W) wanted; None until the first readable image sets it.
    least : (int, int) or None
    failed : dict of int to str
    on_image : callable or None
    """

    sources: Sequence[ImageSource]
    positions: NDArray[np.int_]
    shape: tuple[int, int] | None = None
    least: tuple[int, int] | None = None
    failed: dict[int, str] = field(default_factory=dict)
    on_image: Callable[[], None] | None = None
    _one_by_one: set[int] = field(default_factory=set)

    def batches(self, size: int) -> Iterator[ImageBatch]:
        """All images, in batches of at most `size`, each of one kind.

        Images that are read one by one are read in a thread, at most `size` of them before they
        are wanted.
        """
        with ReadAhead(self._load, len(self.positions), size) as ahead:
            yield from self._batches(size, ahead)

    def _batches(self, size: int, load: Callable[[int], LensImage]) -> Iterator[ImageBatch]:
        waiting: dict[Hashable, list[ImageBatch]] = {}
        start, room = 0, size
        while start < len(self.positions):
            stop = min(start + min(room, BLOCK_IMAGES), len(self.positions))
            for part in self._part(start, stop, load):
                waiting.setdefault(part.kind, []).append(part)
                room -= len(part)
            if room == 0:
                largest = joined_batches(
                    waiting.pop(max(waiting, key=lambda kind: sum(map(len, waiting[kind]))))
                )
                yield largest
                room = len(largest)
            start = stop
        yield from map(joined_batches, waiting.values())

    def parts(self) -> Iterator[ImageBatch]:
        """All images, as they are read: a block or a single one at a time."""
        for start in range(0, len(self.positions), BLOCK_IMAGES):
            stop = min(start + BLOCK_IMAGES, len(self.positions))
            yield from self._part(start, stop, self._load)

    def _part(
        self, start: int, stop: int, load: Callable[[int], LensImage]
    ) -> Iterator[ImageBatch]:
        """Images of some positions of the collection: first a block, then the rest one by one."""
        left: Sequence[int] = range(start, stop)
        block = self._block(start, stop)
        if block is not None:
            block = replace(block, positions=block.positions + start)
            left = sorted(set(left) - set(block.positions.tolist()))
            load = self._load  # to read ahead would read one by one what the next block has
            self._count(len(block))
            yield block
        for position in left:
            image = self._usable(position, load(position))
            self._count(1)
            if image is not None:
                yield image

    def _block(self, start: int, stop: int) -> ImageBatch | None:
        """What a source gives at once of these images, if it can, and in the shape wanted."""
        numbers, positions = self.positions[start:stop].T
        number = int(numbers[0])
        source = self.sources[number]
        if (
            number in self._one_by_one
            or not isinstance(source, ReadsBlocks)
            or (numbers != number).any()
        ):
            return None
        block = source.load_block(positions)
        if block is None:
            return None
        height, width = block.pixels.shape[1:]
        if self.shape not in (None, (height, width)):
            # Its other images will hardly have another shape: they are not read twice.
            self._one_by_one.add(number)
            return None
        self.shape = (height, width)
        return block

    def _load(self, position: int) -> LensImage:
        number, at = (int(place) for place in self.positions[position])
        return self.sources[number].load(at)

    def _usable(self, position: int, item: LensImage) -> ImageBatch | None:
        """One image, brought to the shape wanted; None, with a reason, if it cannot be used."""
        image, reason = item.image, item.error
        if not reason and image is not None:
            self.shape = self.shape or (image.shape[0], image.shape[1])
            if self.least is not None and min(np.subtract(image.shape, self.least)) >= 0:
                item = item.framed(self.shape)
            elif image.shape != self.shape:
                wanted = "expected {}x{}".format(*self.shape)
                if self.least is not None:
                    wanted = "at least {}x{} are needed".format(*self.least)
                reason = "image is {}x{} pixels, ".format(*image.shape) + wanted
        if reason or image is None:
            self.failed[position] = reason or "no pixels"
            return None
        return batch_of_one(position, item)

    def _count(self, images: int) -> None:
        if self.on_image is not None:
            for _ in range(images):
                self.on_image()
