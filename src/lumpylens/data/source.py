"""Where images come from: paths, what a reader gives, arrays in memory, several sources as one."""

from __future__ import annotations

import glob
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.batch import ImageBatch, checked_batch
from lumpylens.data.image import LensImage
from lumpylens.errors import DataError

__all__ = [
    "ArraySource",
    "CutoutSource",
    "DecodedSource",
    "FailedSource",
    "ImageSource",
    "JoinedSource",
    "MemoryBudget",
    "ReadsBlocks",
    "joined",
    "paths_of",
]


class ImageSource(Protocol):
    """Images as a reader provides them: names and labels at once, pixels when asked for."""

    @property
    def ids(self) -> Sequence[str]:
        """Stable name of each image."""
        ...

    @property
    def labels(self) -> Sequence[int]:
        """0 normal, 1 anomalous, -1 unknown."""
        ...

    @property
    def location(self) -> str:
        """Where the images come from, for messages."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What lies there and is not used, and why; what was assumed. One sentence each."""
        ...

    def load(self, position: int) -> LensImage:
        """Read one image; a defect is returned as its `error`, never raised."""
        ...


@runtime_checkable
class ReadsBlocks(Protocol):
    """What a source may offer beside `ImageSource.load`: many images at once."""

    def load_block(self, positions: NDArray[np.int_]) -> ImageBatch | None:
        """Read images of one shape; those with a defect are left out, for `load` to tell it.

        Parameters
        ----------
        positions : ndarray of int, shape (n,)

        Returns
        -------
        ImageBatch or None
            Its positions are places in `positions`. It shares no memory with anything. None if
            these images must be read one by one.
        """
        ...


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Images already in memory, shape (n, H, W)."""

    pixels: NDArray[np.float32]
    ids: Sequence[str]
    labels: Sequence[int]
    noise: NDArray[np.float32] | None = None
    psf: NDArray[np.float32] | None = None
    pixel_scale_arcsec: float | None = None
    stretched: bool = False
    jpeg_table: NDArray[np.int_] | None = None
    location: str = "memory"
    remarks: Sequence[str] = ()

    def load(self, position: int) -> LensImage:
        """Take one image out of the array."""
        return LensImage.checked(
            self.ids[position],
            self.pixels[position],
            noise=None if self.noise is None else self.noise[position],
            psf=None if self.psf is None else self.psf[position % len(self.psf)],
            pixel_scale_arcsec=self.pixel_scale_arcsec,
            label=int(self.labels[position]),
            stretched=self.stretched,
            jpeg_table=self.jpeg_table,
        )

    def load_block(self, positions: NDArray[np.int_]) -> ImageBatch | None:
        """Copy many images out of the array."""
        psf = self.psf
        if psf is not None:
            psf = psf[0] if len(psf) == 1 else psf[positions]
        return checked_batch(
            self.pixels[positions],
            noise=None if self.noise is None else self.noise[positions],
            psf=psf,
            pixel_scale_arcsec=self.pixel_scale_arcsec,
            jpeg_table=self.jpeg_table,
        )


@dataclass
class MemoryBudget:
    """Memory that decoded images may still take, in bytes."""

    left: float

    def spend(self, needed: int) -> bool:
        """Take `needed` bytes, if so many are left; tell whether they were."""
        if needed > self.left:
            return False
        self.left -= needed
        return True


@dataclass(eq=False)
class DecodedSource:
    """Another source, whose images are decoded once each as long as the memory allows.

    Attributes
    ----------
    source : ImageSource
    budget : MemoryBudget
        What is beyond it is decoded again each time.
    """

    source: ImageSource
    budget: MemoryBudget
    _decoded: dict[int, LensImage] = field(default_factory=dict, repr=False)

    @property
    def ids(self) -> Sequence[str]:
        """Ids of the other source."""
        return self.source.ids

    @property
    def labels(self) -> Sequence[int]:
        """Labels of the other source."""
        return self.source.labels

    @property
    def location(self) -> str:
        """Location of the other source."""
        return self.source.location

    @property
    def remarks(self) -> Sequence[str]:
        """Remarks of the other source."""
        return self.source.remarks

    def load(self, position: int) -> LensImage:
        """Return one image, decoded now or before."""
        image = self._decoded.get(position)
        if image is None:
            image = self.source.load(position)
            arrays = {"image": image.image, "noise": image.noise, "psf": image.psf}
            present = {name: array for name, array in arrays.items() if array is not None}
            if self.budget.spend(sum(array.nbytes for array in present.values())):
                # A copy: a reader may give a view, which would hold the array of a whole file.
                copies: dict[str, Any] = {name: array.copy() for name, array in present.items()}
                image = self._decoded[position] = replace(image, **copies)
        return image

    def forget(self) -> None:
        """Drop the decoded images, and keep no more."""
        self._decoded.clear()
        self.budget.left = -1


@dataclass(frozen=True, eq=False)
class CutoutSource:
    """Cutouts already in memory, one by one."""

    images: Sequence[LensImage]
    location: str = "memory"
    remarks: Sequence[str] = ()

    @cached_property
    def ids(self) -> Sequence[str]:
        """Name of each cutout."""
        return [image.id for image in self.images]

    @cached_property
    def labels(self) -> Sequence[int]:
        """Label of each cutout."""
        return [image.label for image in self.images]

    def load(self, position: int) -> LensImage:
        """Return one cutout."""
        return self.images[position]


@dataclass(frozen=True)
class FailedSource:
    """Files that hold no image that can be read: one row each, with the reason."""

    ids: Sequence[str]
    labels: Sequence[int]
    reasons: Sequence[str]
    location: str
    remarks: Sequence[str] = ()

    def load(self, position: int) -> LensImage:
        """Return an image without pixels, with the reason."""
        return LensImage(
            self.ids[position], None, label=self.labels[position], error=self.reasons[position]
        )


@dataclass(frozen=True)
class JoinedSource:
    """Several sources, one after the other, with remarks on the place that they lie in."""

    parts: Sequence[ImageSource]
    location: str
    place_remarks: Sequence[str] = ()

    @cached_property
    def ids(self) -> Sequence[str]:
        """Ids of all parts."""
        return [name for part in self.parts for name in part.ids]

    @cached_property
    def labels(self) -> Sequence[int]:
        """Labels of all parts."""
        return [label for part in self.parts for label in part.labels]

    @property
    def remarks(self) -> Sequence[str]:
        """Remarks of the place and of all parts, each once."""
        of_parts = (remark for part in self.parts for remark in part.remarks)
        return list(dict.fromkeys([*self.place_remarks, *of_parts]))

    @cached_property
    def _starts(self) -> list[int]:
        return list(accumulate((len(part.ids) for part in self.parts), initial=0))

    def load(self, position: int) -> LensImage:
        """Read one image from the part that holds it."""
        part = bisect_right(self._starts, position) - 1
        return self.parts[part].load(position - self._starts[part])

    def load_block(self, positions: NDArray[np.int_]) -> ImageBatch | None:
        """Read many images, if all are in one part, and it can."""
        number = bisect_right(self._starts, positions[0]) - 1
        part, start = self.parts[number], self._starts[number]
        inside = (positions >= start) & (positions < start + len(part.ids))
        if not (inside.all() and isinstance(part, ReadsBlocks)):
            return None
        return part.load_block(positions - start)


def joined(parts: Sequence[ImageSource], location: str, remarks: Sequence[str] = ()) -> ImageSource:
    """Join parts, without those that have neither images nor remarks; a single one stays as it is.

    Parameters
    ----------
    parts : sequence of ImageSource
    location : str
    remarks : sequence of str
        On the place that all of them lie in.
    """
    kept = [part for part in parts if len(part.ids) or part.remarks]
    return kept[0] if len(kept) == 1 and not remarks else JoinedSource(kept, location, remarks)


def paths_of(data: Any) -> list[Path] | None:
    """Files and folders that `data` names, with patterns resolved; None if it is no path.

    Raises
    ------
    DataError
        If a pattern matches nothing.
    """
    if isinstance(data, Path):
        return [data]
    if isinstance(data, str):
        if not glob.has_magic(data) or Path(data).exists():
            return [Path(data)]
        matches = sorted(glob.glob(str(Path(data).expanduser()), recursive=True))
        if not matches:
            raise DataError(f"no file matches {data}")
        return [Path(match) for match in matches]
    if isinstance(data, (list, tuple)) and all(isinstance(part, (str, Path)) for part in data):
        return [path for part in data for path in paths_of(part) or ()]
    return None
