"""`LensImages`: an indexable, lazy collection of lens cutouts."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumpylens.data.batch import ImageBatch, joined_batches
from lumpylens.data.checks import as_float32, memory_bytes, memory_defect, stack_defect
from lumpylens.data.image import ANOMALOUS, LABEL_WORDS, NORMAL, UNKNOWN, LensImage
from lumpylens.data.reading import Reading
from lumpylens.data.source import (
    ArraySource,
    CutoutSource,
    DecodedSource,
    ImageSource,
    MemoryBudget,
    paths_of,
)
from lumpylens.errors import DataError, DataWarning

__all__ = [
    "ANOMALOUS",
    "NORMAL",
    "UNKNOWN",
    "ImageBatch",
    "ImageSource",
    "LensImage",
    "LensImages",
]

DECODED_SHARE = 0.125
"""Share of the memory for images that are kept decoded: half of what one stack may take."""


@dataclass(frozen=True, eq=False, repr=False)
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
    positions: NDArray[np.int_]

    @classmethod
    def open(
        cls, data: Any, *, pixel_scale_arcsec: float | None = None, band: str | None = None
    ) -> LensImages:
        """Open anything a reader understands.

        Parameters
        ----------
        data : str, Path, sequence of these, ndarray, LensImage or LensImages
            A file or folder (see `lumpylens.data.readers`), several of them, a pattern such as
            ``lenses/*.fits``, an array of shape (..., H, W), one cutout, or a collection, which
            is returned as it is.
        pixel_scale_arcsec : float, optional
            Used where the data do not say.
        band : str, optional
            Which of the bands to take, such as ``VIS``, where files hold several.

        Raises
        ------
        DataError
            If nothing there is an image, in one line with what was looked for, if the pixel
            scale is not a positive number, or if `band` is given for data without bands.
        """
        if pixel_scale_arcsec is not None and not 0 < pixel_scale_arcsec < math.inf:
            raise DataError(f"a pixel scale is a positive number, got {pixel_scale_arcsec:g}")
        if (paths := paths_of(data)) is not None:
            from lumpylens.data.readers import open_path, open_paths

            known: dict[str, Any] = {"pixel_scale_arcsec": pixel_scale_arcsec, "band": band}
            if isinstance(data, (str, Path)) and paths == [Path(data)]:
                return cls.from_source(open_path(paths[0], **known))
            return cls.from_source(open_paths(paths, **known))
        if band is not None:
            raise DataError(f"a band is chosen of files; band={band!r} was given for images "
                            "that are read already")  # fmt: skip
        if isinstance(data, LensImages):
            return data
        if isinstance(data, LensImage):
            return cls.from_source(CutoutSource([data]))
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
            0 normal, 1 anomalous, -1 unknown (the default).
        noise : array_like, shape of `pixels` or (H, W), optional
        psf : array_like, shape (h, w) or (..., h, w), optional
            One for all images or one for each.
        pixel_scale_arcsec : float, optional
        stretched : bool
            True if the values are not linear in flux.
        jpeg_table : ndarray, shape (8, 8), optional

        Raises
        ------
        DataError
            If the arrays are not numbers, or do not belong together.
        """
        stack = _flat_stack(pixels, "images")
        count = len(stack)
        names = [str(i) for i in range(count)] if ids is None else [str(i) for i in ids]
        marks = np.full(count, UNKNOWN) if labels is None else np.asarray(labels, int).ravel()
        if len(names) != count or len(marks) != count:
            raise DataError(f"{count} images but {len(names)} ids and {len(marks)} labels")
        if not np.isin(marks, list(LABEL_WORDS)).all():
            raise DataError("labels must be 0 (normal), 1 (anomalous) or -1 (unknown)")
        noise_stack = psf_stack = None
        if noise is not None:
            noise_stack = _flat_stack(noise, "noise maps")
            if noise_stack.shape[1:] != stack.shape[1:] or len(noise_stack) not in (1, count):
                raise DataError(f"noise maps {noise_stack.shape} but images {stack.shape}")
            noise_stack = np.broadcast_to(noise_stack, stack.shape)
        if psf is not None:
            psf_stack = _flat_stack(psf, "PSFs")
            if len(psf_stack) not in (1, count):
                raise DataError(f"{len(psf_stack)} PSFs but {count} images: give one or as many")
        return cls.from_source(
            ArraySource(
                stack, names, [int(m) for m in marks], noise_stack, psf_stack,
                pixel_scale_arcsec, stretched, jpeg_table,
            )
        )  # fmt: skip

    def __repr__(self) -> str:
        labels = self.labels
        parts = [
            f"{np.count_nonzero(labels == label)} {word}"
            for label, word in LABEL_WORDS.items()
            if (labels == label).any()
        ]
        return f"<LensImages: {len(self)} from {self.location or 'nowhere'}: {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        from lumpylens.data.gallery import SHOWN, gallery_html

        return gallery_html(list(self[:SHOWN]), repr(self))

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
            source, position = (int(n) for n in self.positions[operator.index(index)])
            return self.sources[source].load(position)
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

    def notes(self) -> list[str]:
        """Sentences about the images that a user should know; reads at most 8 of them."""
        stretched = any(item.stretched for item in self._sample())
        return (
            self.remarks()
            + [
                f"{self.location} holds 8-bit pictures: their values are stretched, not linear "
                "flux, and have no unit"
            ]
            * stretched
        )

    def remarks(self) -> list[str]:
        """What files hold that is not used, and what was assumed; reads at most 8 images."""
        used = dict.fromkeys(source for source, _ in self.positions.tolist())
        of_sources = [text for source in used for text in self.sources[source].remarks]
        of_images = [text for item in self._sample() for text in item.remarks]
        return list(dict.fromkeys(of_sources + of_images))

    def warned(self) -> LensImages:
        """The same collection, after a `DataWarning` of its `remarks`, if there are any."""
        if remarks := self.remarks():
            warnings.warn(f"{self.location}: {'; '.join(remarks)}", DataWarning, stacklevel=3)
        return self

    def _sample(self) -> Iterator[LensImage]:
        """At most 8 images, evenly spread."""
        if len(self):
            yield from self[np.unique(np.linspace(0, len(self) - 1, 8).astype(int))]

    @contextmanager
    def decoded_once(self) -> Iterator[LensImages]:
        """Give the same collection, which keeps what it decodes until the block ends.

        For work that needs the pixels several times. An eighth of the memory is used at most;
        images that do not fit are decoded each time, as without this. Arrays in memory are not
        kept twice. After the block the collection is as lazy as this one.

        Examples
        --------
        >>> import numpy as np
        >>> images = LensImages.from_arrays(np.random.default_rng(0).random((5, 8, 8)))
        >>> with images.decoded_once() as kept:
        ...     brightest = [item.image.max() for item in kept]
        ...     stack = kept.stack()
        """
        budget = MemoryBudget(DECODED_SHARE * memory_bytes())
        decoded = {
            number: DecodedSource(source, budget)
            for number, source in enumerate(self.sources)
            if not isinstance(source, ArraySource)
        }
        sources = tuple(decoded.get(number, source) for number, source in enumerate(self.sources))
        try:
            yield replace(self, sources=sources)
        finally:
            for source in decoded.values():
                source.forget()

    def batches(
        self,
        size: int,
        *,
        shape: tuple[int, int] | None = None,
        least: tuple[int, int] | None = None,
        failed: dict[int, str] | None = None,
        on_image: Callable[[], None] | None = None,
    ) -> Iterator[ImageBatch]:
        """Read the images in order, in stacks of at most `size`.

        Images with and without a noise map or PSF, with PSFs of other shapes, and with other pixel
        scales come in different stacks, so that none loses them because of its neighbours.

        Parameters
        ----------
        size : int
            Largest number of images held at once.
        shape : (int, int), optional
            The (H, W) wanted. Default: that of the first readable image.
        least : (int, int), optional
            Images of at least so many pixels are brought to `shape`, see `LensImage.framed`.
            Default: those of another shape are left out.
        failed : dict, optional
            Filled with position -> reason for each image that is left out: unreadable, or of
            another shape.
        on_image : callable, optional
            Called once for each image, for progress bars.
        """
        failed = {} if failed is None else failed
        reading = Reading(self.sources, self.positions, shape, least, failed, on_image)
        yield from reading.batches(size)

    def stack(self, *, shape: tuple[int, int] | None = None) -> ImageBatch:
        """Read all images at once.

        Raises
        ------
        DataError
            If one cannot be read or has another shape, or they need too much memory.
        """
        failed: dict[int, str] = {}
        parts: list[ImageBatch] = []
        for part in Reading(self.sources, self.positions, shape, failed=failed).parts():
            if not parts and (reason := memory_defect(len(self), *part.pixels.shape[1:])):
                raise DataError(f"{self.location}: {reason}")
            parts.append(part)
        if failed:
            first = min(failed)
            raise DataError(
                f"{len(failed)} of {len(self)} images of {self.location} cannot be used; "
                f"the first is {self.ids[first]}: {failed[first]}"
            )
        if not parts:
            raise DataError(f"no images in {self.location}")
        return joined_batches(parts)


def _flat_stack(values: ArrayLike, contents: str) -> NDArray[np.float32]:
    """Flatten (..., H, W) to float32 (n, H, W), or say why these are no `what`."""
    try:
        array, reason = as_float32(values)
    except (TypeError, ValueError) as problem:
        raise DataError(f"{contents} must be an array of numbers: {problem}") from None
    reason = reason or stack_defect(array.shape)
    if reason:
        raise DataError(f"{contents} must have shape (..., height, width): {reason}")
    return array.reshape(-1, *array.shape[-2:])
