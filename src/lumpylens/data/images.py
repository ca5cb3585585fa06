"""`LensImages`: an indexable, lazy collection of lens cutouts."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumpylens.errors import DataError

__all__ = ["ImageBatch", "ImageSource", "LensImage", "LensImages"]

NORMAL, ANOMALOUS, UNKNOWN = 0, 1, -1


@dataclass(frozen=True)
class LensImage:
    """One cutout and what is known about it.

    Attributes
    ----------
    id : str
        Stable name, independent of machine and order.
    image : ndarray of float32, shape (H, W), or None
        Pixel values as stored in the file; None where `error` says why there is none.
    noise : ndarray of float32, shape (H, W), or None
        1-sigma noise map in the unit of `image`.
    psf : ndarray of float32, shape (h, w), or None
        Point-spread function on the pixel grid of `image`, odd-sized, sum 1.
    pixel_scale_arcsec : float or None
        Side of one pixel.
    label : int
        0 normal, 1 anomalous, -1 unknown. Read by `evaluate` alone.
    stretched : bool
        True for 8-bit pictures, whose values are not linear in flux.
    jpeg_table : ndarray of int, shape (8, 8), or None
        Luminance quantisation table of a JPEG file, row = vertical frequency.
    file_bytes : int or None
        Size of the file, for the audit of trivial statistics.
    error : str
        Why the image cannot be used; empty if it can.
    """

    id: str
    image: NDArray[np.float32] | None
    noise: NDArray[np.float32] | None = None
    psf: NDArray[np.float32] | None = None
    pixel_scale_arcsec: float | None = None
    label: int = UNKNOWN
    stretched: bool = False
    jpeg_table: NDArray[np.int_] | None = None
    file_bytes: int | None = None
    error: str = ""


@dataclass(frozen=True)
class ImageBatch:
    """Readable cutouts of one shape, stacked.

    Attributes
    ----------
    positions : ndarray of int, shape (n,)
        Where each image stands in the collection it came from.
    pixels : ndarray of float32, shape (n, H, W)
    noise, psf : ndarray of float32 or None
        Stacked like `pixels`; None unless every image of the batch has one.
    pixel_scale_arcsec : float or None
        Common to the batch; None where unknown or mixed.
    """

    positions: NDArray[np.int_]
    pixels: NDArray[np.float32]
    noise: NDArray[np.float32] | None = None
    psf: NDArray[np.float32] | None = None
    pixel_scale_arcsec: float | None = None

    def __len__(self) -> int:
        return len(self.positions)


class ImageSource(Protocol):
    """What a reader provides: names and labels at once, pixels when asked for."""

    ids: Sequence[str]
    labels: Sequence[int]
    location: str

    def load(self, position: int) -> LensImage:
        """Read one image; a defect is returned as its `error`, never raised."""
        ...


def image_defect(image: NDArray[np.float32]) -> str:
    """Say why `image` cannot be scored, or return an empty string."""
    if image.ndim != 2 or 0 in image.shape:
        return f"not a single two-dimensional image: shape {image.shape}"
    finite = np.isfinite(image)
    if not finite.all():
        return f"{np.count_nonzero(~finite)} of {image.size} pixels are NaN or infinite"
    if image.min() == image.max():
        return f"constant image: every pixel is {image.flat[0]:g}"
    return ""


@dataclass(frozen=True)
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

    def load(self, position: int) -> LensImage:
        image = self.pixels[position]
        return LensImage(
            id=self.ids[position],
            image=image,
            noise=None if self.noise is None else self.noise[position],
            psf=None if self.psf is None else self.psf[position % len(self.psf)],
            pixel_scale_arcsec=self.pixel_scale_arcsec,
            label=int(self.labels[position]),
            stretched=self.stretched,
            jpeg_table=self.jpeg_table,
            error=image_defect(image),
        )


@dataclass(frozen=True)
class LensImages(Sequence[LensImage]):
    """A collection of cutouts, read when they are needed.

    Indexing with an integer reads one image; a slice, a list of positions or a boolean mask
    gives another `LensImages` and reads nothing. `LensImages.open` reads files and
    `LensImages.from_arrays` wraps arrays.

    Attributes
    ----------
    sources : tuple of ImageSource
    positions : ndarray of int, shape (n, 2)
        Source number and position in that source of each image.

    Examples
    --------
    >>> import numpy as np
    >>> images = LensImages.from_arrays(np.random.default_rng(0).random((5, 8, 8)))
    >>> len(images), images[0].image.shape, images[1:3].ids
    (5, (8, 8), ['1', '2'])
    """

    sources: tuple[ImageSource, ...]
    positions: NDArray[np.int_] = field(repr=False)

    @classmethod
    def open(cls, data: Any, *, pixel_scale_arcsec: float | None = None) -> LensImages:
        """Open anything a reader understands.

        Parameters
        ----------
        data : str, Path, ndarray or LensImages
            A file or folder (see `lumpylens.data.readers`), an array of shape
            (..., H, W), or a collection, which is returned as it is.
        pixel_scale_arcsec : float, optional
            Used where the data do not say.

        Raises
        ------
        DataError
            If nothing there is an image, in one line with what was looked for.
        """
        if isinstance(data, LensImages):
            return data
        if isinstance(data, (str, Path)):
            from lumpylens.data.readers import open_path

            return cls.from_source(open_path(Path(data), pixel_scale_arcsec=pixel_scale_arcsec))
        return cls.from_arrays(data, pixel_scale_arcsec=pixel_scale_arcsec)

    @classmethod
    def from_source(cls, source: ImageSource) -> LensImages:
        """Wrap one reader's source."""
        count = len(source.ids)
        return cls((source,), np.stack([np.zeros(count, int), np.arange(count)], axis=1))

    @classmethod
    def from_arrays(
        cls,
        pixels: ArrayLike,
        *,
        ids: Sequence[str] | None = None,
        labels: Sequence[int] | NDArray[np.int_] | None = None,
        noise: ArrayLike | None = None,
        psf: ArrayLike | None = None,
        pixel_scale_arcsec: float | None = None,
        stretched: bool = False,
        jpeg_table: NDArray[np.int_] | None = None,
    ) -> LensImages:
        """Wrap arrays.

        Parameters
        ----------
        pixels : array_like, shape (..., H, W)
            Leading axes are flattened.
        ids : sequence of str, optional
            Default: the position, counted from 0.
        labels : sequence of int, optional
        noise : array_like, same shape as `pixels`, optional
        psf : array_like, shape (h, w) or (..., h, w), optional
        pixel_scale_arcsec : float, optional
        stretched : bool
            True if the values are not linear in flux.
        jpeg_table : ndarray, shape (8, 8), optional
        """
        array = np.asarray(pixels, dtype=np.float32)
        if array.ndim < 2:
            raise DataError(f"images need at least two axes (height, width), got shape {array.shape}")
        stack = array.reshape(-1, *array.shape[-2:])
        count = len(stack)
        names = [str(i) for i in range(count)] if ids is None else [str(i) for i in ids]
        marks = np.full(count, UNKNOWN) if labels is None else np.asarray(labels, int)
        if len(names) != count or len(marks) != count:
            raise DataError(f"{count} images but {len(names)} ids and {len(marks)} labels")
        noise_stack = None if noise is None else np.asarray(noise, np.float32).reshape(stack.shape)
        psf_stack = None
        if psf is not None:
            psf_array = np.asarray(psf, np.float32)
            psf_stack = psf_array.reshape(-1, *psf_array.shape[-2:])
        return cls.from_source(
            ArraySource(
                stack, names, [int(m) for m in marks], noise_stack, psf_stack,
                pixel_scale_arcsec, stretched, jpeg_table,
            )
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, index: int) -> LensImage: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any]) -> LensImages: ...
    def __getitem__(self, index: Any) -> LensImage | LensImages:
        if isinstance(index, slice):
            return replace(self, positions=self.positions[index])
        if np.ndim(index) == 0:
            source, position = self.positions[operator.index(index)]
            return self.sources[source].load(int(position))
        chosen = np.asarray(index)
        if chosen.size == 0:
            chosen = chosen.astype(int)
        return replace(self, positions=self.positions[chosen])

    def __add__(self, other: LensImages) -> LensImages:
        """Join two collections; nothing is read."""
        shifted = other.positions + np.array([len(self.sources), 0])
        return LensImages(self.sources + other.sources, np.concatenate([self.positions, shifted]))

    @property
    def ids(self) -> list[str]:
        """Name of each image."""
        return [self.sources[s].ids[i] for s, i in self.positions]

    @property
    def labels(self) -> NDArray[np.int_]:
        """0 normal, 1 anomalous, -1 unknown; shape (n,)."""
        return np.array([self.sources[s].labels[i] for s, i in self.positions], dtype=int)

    @property
    def location(self) -> str:
        """Where the images come from, for messages."""
        return ", ".join(dict.fromkeys(source.location for source in self.sources))

    def batches(
        self,
        size: int,
        *,
        shape: tuple[int, int] | None = None,
        failed: dict[int, str] | None = None,
        on_image: Callable[[], None] | None = None,
    ) -> Iterator[ImageBatch]:
        """Read the images in order, in stacks of at most `size`.

        Parameters
        ----------
        size : int
            Largest number of images held at once.
        shape : (int, int), optional
            The (H, W) wanted. Default: that of the first readable image.
        failed : dict, optional
            Filled with position -> reason for each image that is left out: unreadable, or of
            another shape.
        on_image : callable, optional
            Called once for each image, for progress bars.
        """
        held: list[tuple[int, LensImage]] = []
        for position in range(len(self)):
            item = self[position]
            if on_image is not None:
                on_image()
            reason = item.error
            if not reason and item.image is not None:
                shape = shape or (item.image.shape[0], item.image.shape[1])
                if item.image.shape != shape:
                    reason = "image is {}x{} pixels, expected {}x{}".format(
                        *item.image.shape, *shape
                    )
            if reason or item.image is None:
                if failed is not None:
                    failed[position] = reason or "no pixels"
                continue
            held.append((position, item))
            if len(held) == size:
                yield _stack(held)
                held = []
        if held:
            yield _stack(held)

    def stack(self, *, shape: tuple[int, int] | None = None) -> ImageBatch:
        """Read all images at once.

        Raises
        ------
        DataError
            If one cannot be read or has another shape.
        """
        failed: dict[int, str] = {}
        batches = list(self.batches(max(len(self), 1), shape=shape, failed=failed))
        if failed:
            first = min(failed)
            raise DataError(
                f"{len(failed)} of {len(self)} images of {self.location} cannot be used; "
                f"the first is {self.ids[first]}: {failed[first]}"
            )
        if not batches:
            raise DataError(f"no images in {self.location}")
        return batches[0]


def _stack(held: list[tuple[int, LensImage]]) -> ImageBatch:
    items = [item for _, item in held]
    pixels = np.stack([item.image for item in items if item.image is not None])
    noise = [item.noise for item in items if item.noise is not None]
    psf = [item.psf for item in items if item.psf is not None]
    scales = {item.pixel_scale_arcsec for item in items}
    same_psf = len(psf) == len(items) and len({p.shape for p in psf}) == 1
    return ImageBatch(
        positions=np.array([position for position, _ in held]),
        pixels=pixels,
        noise=np.stack(noise) if len(noise) == len(items) else None,
        psf=np.stack(psf) if same_psf else None,
        pixel_scale_arcsec=scales.pop() if len(scales) == 1 else None,
    )
