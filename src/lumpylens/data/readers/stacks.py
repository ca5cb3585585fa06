"""Many images in the arrays of one file."""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.batch import ImageBatch, checked_batch
from lumpylens.data.checks import stack_defect
from lumpylens.data.image import UNKNOWN, LensImage
from lumpylens.data.readers.bands import Stack, of_band, plane_count
from lumpylens.data.readers.files import (
    CLASS_LABELS,
    DataFiles,
    file_bytes_of,
    label_of,
    one_line,
    system_reason,
)
from lumpylens.data.readers.named_arrays import listed
from lumpylens.data.source import FailedSource, ImageSource, joined
from lumpylens.errors import DataError

__all__ = ["DAMAGE", "StackSource", "checked_table", "open_stacks", "plain"]

MOST_IMAGES = 2**23
"""In one file; a damaged header may claim any number."""

WIDEST, LARGEST_BLOCK = 4, 2**24
"""A block of images is read in one piece that spans at most `WIDEST` times as many images, and so
many pixels: reading more would cost more than reading one by one, or much memory."""

DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,
    EOFError,
    OverflowError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and h5py raise for arrays that cannot be read."""


@dataclass
class LastOpened:
    """Opens stacks, with the band that was asked for, and keeps the last one open.

    A folder may hold thousands, more than a process may have open. What is open belongs to
    one process: it is left behind on the way to another one.
    """

    opener: Callable[[Path, str | None], Stack]
    band: str | None = None
    _last: tuple[int, Path, Stack] | None = field(default=None, repr=False)

    def __call__(self, path: Path) -> Stack:
        """The arrays of a file."""
        # Threads may share this object: what is returned never comes from the attribute.
        last = self._last
        if last is None or last[:2] != (os.getpid(), path):
            stack = self.opener(path, self.band)
            if self.band is not None and not stack.of_band:
                stack = of_band(stack, self.band)
            last = (os.getpid(), path, stack)
            self._last = last
        return last[2]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}


@dataclass(frozen=True)
class StackSource:
    """Images of one file, read when asked for.

    Attributes
    ----------
    planes : int
        Number of images where nothing tells them from the bands of one lens, else 0.
    has_ids : bool
        True if the file has ids of its own, so that they do not say where an image lies in it.
    """

    path: Path
    opened: LastOpened
    ids: Sequence[str]
    labels: Sequence[int]
    location: str
    pixel_scale_arcsec: float | None = None
    planes: int = 0
    has_ids: bool = False

    @property
    def remarks(self) -> Sequence[str]:
        """A sentence on planes that may be bands; none if there are no such planes."""
        if not self.planes:
            return []
        return [
            f"the {self.planes} planes of {self.path.name} are read as images; if they are bands "
            "of one lens, choose one by its number, as in --band 0"
        ]

    def load(self, position: int) -> LensImage:
        """Read one image; the reason why it cannot be used says where it lies in the file."""
        name, label = self.ids[position], self.labels[position]
        try:
            image = LensImage.checked(name, label=label, **self._known(position))
        except DAMAGE as problem:
            reason = f"the file cannot be read: {plain(problem)}"
            image = LensImage(name, None, label=label, error=reason)
        except DataError as problem:
            image = LensImage(name, None, label=label, error=str(problem))
        if image.error and self.has_ids:
            place = f"image {position} of {self.path.name}, counted from 0"
            image = replace(image, error=f"{image.error} ({place})")
        return image

    def load_block(self, positions: NDArray[np.int_]) -> ImageBatch | None:
        """Read many images at once, if they lie close together along one axis."""
        try:
            stack = self.opened(self.path)
            if stack.complete is not None or len(stack.leading) != 1:
                return None
            first, last = int(positions.min()), int(positions.max())
            size = (last - first + 1) * math.prod(stack.images.shape[1:])
            if last - first >= WIDEST * len(positions) or size > LARGEST_BLOCK:
                return None
            stated = stack.pixel_scale_arcsec
            return checked_batch(
                _rows(stack.images, positions),
                noise=_rows_of(stack.noise, positions, stack.count),
                psf=_rows_of(stack.psf, positions, stack.count),
                pixel_scale_arcsec=self.pixel_scale_arcsec if stated is None else stated,
                jpeg_table=stack.jpeg_table,
            )
        except (*DAMAGE, DataError):
            # `load` says what is wrong, and with which image.
            return None

    def _known(self, position: int) -> dict[str, Any]:
        """Arguments of `LensImage.checked` for one image."""
        stack = self.opened(self.path)
        if stack.complete is not None and position >= stack.complete:
            raise DataError("the file is cut off before the end of this image")
        stated = stack.pixel_scale_arcsec
        origins = dict(stack.origins)
        if stated is None and self.pixel_scale_arcsec is not None:
            origins["pixel scale"] = "as given"
        if self.opened.band is not None:
            origins["band"] = self.opened.band
        return {
            "pixels": stack.images[np.unravel_index(position, stack.leading)],
            "noise": _one_of(stack.noise, position, stack.count),
            "psf": _one_of(stack.psf, position, stack.count),
            "stretched": stack.images.dtype.kind in "ui" and stack.images.dtype.itemsize == 1,
            "pixel_scale_arcsec": self.pixel_scale_arcsec if stated is None else stated,
            "jpeg_table": stack.jpeg_table,
            "remarks": stack.remarks,
            "origins": origins,
        }


def _one_of(array: Any, position: int, count: int) -> Any:
    """The entry that belongs to one image, from one for each or one for all."""
    if array is None:
        return None
    leading = tuple(array.shape[:-2])
    entries = math.prod(leading)
    if entries not in (1, count):
        raise DataError(f"an array of shape {tuple(array.shape)} lies beside {count} images")
    return array[np.unravel_index(position if entries > 1 else 0, leading)]


def _rows(array: Any, positions: NDArray[np.int_]) -> NDArray[Any]:
    """The entries at these positions along the first axis, read in one piece."""
    first, last = int(positions.min()), int(positions.max())
    piece: NDArray[Any] = np.asanyarray(array[(slice(first, last + 1),)])
    within = positions - first
    return piece if np.array_equal(within, np.arange(len(piece))) else piece[within]


def _rows_of(array: Any, positions: NDArray[np.int_], count: int) -> Any:
    """The entries that belong to these images, or the one that belongs to all; see `_one_of`."""
    if array is None or math.prod(array.shape[:-2]) == 1:
        return _one_of(array, 0, count)
    if tuple(array.shape[:-2]) != (count,):
        raise DataError(f"an array of shape {tuple(array.shape)} lies beside {count} images")
    return _rows(array, positions)


def open_stacks(files: DataFiles, opener: Callable[[Path, str | None], Stack]) -> ImageSource:
    """Open files of one format; one that cannot be opened becomes a row in a folder.

    Parameters
    ----------
    files : DataFiles
    opener : callable
        From a path and the band that was asked for to a stack.

    Raises
    ------
    DataError
        If the one file the user named cannot be opened, or none that holds the band asked for.
    """
    sources: dict[Path, ImageSource] = {}
    alike: dict[tuple[Path | None, int], list[Path]] = defaultdict(list)
    opened = LastOpened(opener, files.band)

    def fail(path: Path, reason: str) -> None:
        sources[path] = FailedSource(
            [files.name(path)], [_file_label(files, path)], [reason], files.location
        )

    for path in files.paths:
        try:
            sources[path] = source = _open_stack(files, path, opened)
            place = None if _file_label(files, path) == UNKNOWN else path.parent
            alike[place, source.planes].append(path)
        except DataError as problem:
            if files.alone:
                raise DataError(f"{path}: {problem}") from None
            fail(path, str(problem))
    if (
        files.band is not None
        and sources
        and all(isinstance(s, FailedSource) for s in sources.values())
    ):
        raise DataError(f"{files.location}: {sources[files.paths[0]].load(0).error}")
    # One file of three planes may hold three images. Several in one place hardly do.
    for (_, planes), paths in alike.items():
        for path in paths if planes and len(paths) > 1 else ():
            fail(
                path,
                f"{planes} planes, as in {len(paths)} files here, seem to be bands of one lens: "
                "choose one by its number, as in --band 0, or put all images into one array",
            )
    return joined(list(sources.values()), files.location)


def _open_stack(files: DataFiles, path: Path, opened: LastOpened) -> StackSource:
    try:
        if not path.is_dir():
            file_bytes_of(path, limit=None)
        stack = opened(path)
    except DAMAGE as problem:
        raise DataError(f"the file cannot be read: {plain(problem)}") from None
    if reason := stack_defect(stack.images.shape):
        raise DataError(reason)
    if not 1 <= stack.count <= MOST_IMAGES:
        raise DataError(f"holds no image, or absurdly many: shape {tuple(stack.images.shape)}")
    named = stack.ids is not None or stack.labels is not None
    return StackSource(
        path,
        opened,
        _ids(files, path, stack),
        _labels(stack, _file_label(files, path)),
        files.location,
        files.pixel_scale_arcsec,
        0 if named else plane_count(tuple(stack.images.shape)),
        stack.ids is not None,
    )


def _file_label(files: DataFiles, path: Path) -> int:
    """Label of the folder; a stack may itself be called ``no_sub.npy`` or ``sub.npy``."""
    of_name = label_of([path.stem])
    return files.label(path) if of_name == UNKNOWN else of_name


def _ids(files: DataFiles, path: Path, stack: Stack) -> list[str]:
    name = files.name(path)
    if stack.ids is not None:
        stored = [
            item.decode() if isinstance(item, bytes) else str(item) for item in stack.ids.flat
        ]
        if len(stored) != stack.count:
            raise DataError(f"{stack.count} images but {len(stored)} ids")
        repeated = [item for item, times in Counter(stored).items() if times > 1]
        if repeated:
            raise DataError(f"ids are not unique: {listed(repeated)}")
        return stored if files.alone else [f"{name}[{item}]" for item in stored]
    return [name] if not stack.leading else [f"{name}[{i}]" for i in range(stack.count)]


def _labels(stack: Stack, otherwise: int) -> list[int]:
    if stack.labels is None:
        return [otherwise] * stack.count
    stored = stack.labels.ravel()
    if len(stored) != stack.count:
        raise DataError(f"{stack.count} images but {len(stored)} labels")
    return [_label(item) for item in stored.tolist()]


def _label(item: Any) -> int:
    if isinstance(item, (bytes, str)):
        return CLASS_LABELS.get(item.decode() if isinstance(item, bytes) else item, UNKNOWN)
    return int(item) if item in (0, 1) else UNKNOWN


def checked_table(values: NDArray[Any] | None) -> NDArray[np.int_] | None:
    """A quantisation table, or `DataError` if it is none."""
    if values is None:
        return None
    if values.shape != (8, 8) or values.dtype.kind not in "iu" or values.min() < 1:
        raise DataError(
            f"jpeg_table is no 8x8 table of whole numbers from 1: {values.dtype} {values.shape}"
        )
    return values.astype(int)


def plain(problem: BaseException) -> str:
    """Text of an exception, in one line."""
    if isinstance(problem, MemoryError):
        return "not enough memory"
    return system_reason(problem) if isinstance(problem, OSError) else one_line(problem)
