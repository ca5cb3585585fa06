"""`LensImage`: one cutout, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumpylens.data.checks import (
    as_float32,
    flat_remark,
    image_defect,
    noise_defect,
    psf_defect,
)
from lumpylens.data.psf import narrow_remark, wide_remark
from lumpylens.data.sky import SkyCoordinates

__all__ = ["ANOMALOUS", "LABEL_WORDS", "NORMAL", "UNKNOWN", "LensImage"]

NORMAL, ANOMALOUS, UNKNOWN = 0, 1, -1
LABEL_WORDS = {NORMAL: "normal", ANOMALOUS: "anomalous", UNKNOWN: "unlabelled"}


@dataclass(frozen=True, eq=False)
class LensImage:
    """One cutout and what is known about it.

    Attributes
    ----------
    id : str
        Stable name, independent of machine and order.
    image : ndarray of float32, shape (H, W), or None
        Pixel values as stored in the file. With an `error`: the pixels at fault, if there are
        any, else None.
    noise : ndarray of float32, shape (H, W), or None
        1-sigma noise map in the unit of `image`.
    psf : ndarray of float32, shape (h, w), or None
        Point-spread function on the pixel grid of `image`, odd-sized, sum 1.
    pixel_scale_arcsec : float or None
        Side of one pixel.
    sky : SkyCoordinates or None
        Where it lies on the sky, if its FITS header says so.
    full_shape : (int, int) or None
        Of the cutout that it was made from, if `framed` made it.
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
    remarks : tuple of str
        What its file holds that is not used, and why; what was assumed.
    origins : mapping of str to str
        What in the files became the image, the noise map and so on, for people: the names of
        arrays, extensions or files, alike for all images of one layout. Empty where the format
        leaves no choice.
    """

    id: str
    image: NDArray[np.float32] | None
    noise: NDArray[np.float32] | None = None
    psf: NDArray[np.float32] | None = None
    pixel_scale_arcsec: float | None = None
    sky: SkyCoordinates | None = None
    full_shape: tuple[int, int] | None = None
    label: int = UNKNOWN
    stretched: bool = False
    jpeg_table: NDArray[np.int_] | None = None
    file_bytes: int | None = None
    error: str = ""
    remarks: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def checked(
        cls,
        id: str,
        pixels: ArrayLike,
        *,
        noise: ArrayLike | None = None,
        psf: ArrayLike | None = None,
        remarks: tuple[str, ...] = (),
        **known: Any,
    ) -> LensImage:
        """Build one from numbers of any type, with `error` set if they cannot be used.

        Parameters
        ----------
        id : str
        pixels : array_like, shape (H, W)
        noise : array_like, shape (H, W), optional
        psf : array_like, shape (h, w), optional
            Scaled to sum 1.
        remarks : tuple of str
            What the file tells; what the pixels tell is added.
        **known
            The other attributes.
        """
        image, error = as_float32(pixels)
        error = error or image_defect(image)
        noise_map = psf_image = None
        if noise is not None:
            noise_map, reason = as_float32(noise)
            error = error or reason or noise_defect(noise_map, image.shape)
        if psf is not None:
            psf_image, reason = as_float32(psf)
            reason = reason or psf_defect(psf_image)
            error = error or reason
            psf_image = None if reason else psf_image / psf_image.sum(dtype=np.float64)
        if not error:
            # Numbers of 8 bits have too few values for this remark, which is slow to find there.
            of_bytes = noise_map is None and np.asanyarray(pixels).dtype.itemsize == 1
            of_pixels = [] if of_bytes else [flat_remark(image, noise_map)]
            if psf_image is not None:
                of_pixels += [narrow_remark(psf_image), wide_remark(image, noise_map, psf_image)]
            remarks = (*remarks, *filter(None, of_pixels))
        return cls(
            id=id,
            image=image if image.size else None,
            noise=noise_map,
            psf=None if psf_image is None else psf_image.astype(np.float32),
            error=error,
            remarks=remarks,
            **known,
        )

    def framed(self, shape: tuple[int, int]) -> LensImage:
        """The same lens on (H, W) pixels: the middle of the cutout, or a border of sky around it.

        Where the difference is odd, the middle moves by half a pixel. The border has the median of
        the outermost pixels, and their median noise.
        """
        assert self.image is not None
        height, width = self.image.shape
        if (height, width) == shape:
            return self
        return replace(
            self,
            image=_framed(self.image, shape),
            noise=None if self.noise is None else _framed(self.noise, shape),
            jpeg_table=None,
            sky=None,
            full_shape=(height, width),
        )

    def __repr__(self) -> str:
        if self.error or self.image is None:
            return f"<LensImage {self.id}: {self.error or 'no pixels'}>"
        size = "x".join(str(n) for n in self.image.shape)
        extras = [name for name in ("noise", "psf") if getattr(self, name) is not None]
        with_extras = f" with {' and '.join(extras)}" if extras else ""
        return f"<LensImage {self.id}: {size}, {LABEL_WORDS[self.label]}{with_extras}>"

    def _repr_html_(self) -> str:
        from lumpylens.data.gallery import gallery_html

        return gallery_html([self], repr(self))


def _framed(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    edge = np.concatenate([image[[0, -1]].ravel(), image[:, [0, -1]].ravel()])
    framed = np.full(shape, np.median(edge), dtype=np.float32)
    here, there = [], []
    for side, wanted in zip(image.shape, shape, strict=True):
        first, common = (side - wanted) // 2, min(side, wanted)
        here.append(slice(max(-first, 0), max(-first, 0) + common))
        there.append(slice(max(first, 0), max(first, 0) + common))
    framed[tuple(here)] = image[tuple(there)]
    return framed
