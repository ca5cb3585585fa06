"""What the training images looked like, so that foreign images are told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.images import ImageBatch
from lumpylens.detectors.layout import LEAST_IMAGES, Layout
from lumpylens.detectors.shapes import Shapes
from lumpylens.detectors.texture import LEAST_SIDE, Texture

__all__ = ["Domain", "to_unit_range"]

LEVELS = (0.1, 0.5, 0.9, 0.99)
"""Brightness quantiles that are compared: the sky, the wings, the arcs and the peaks of light."""

MARGIN = 1.0
"""How far, in widths of the training images' range, a quantile may lie outside it. Of 1,200 normal
images of the challenge, compared with 1,200 others, none lies outside by more than 0.07; a
square root or a logarithm puts a quantile of each outside by more than 4."""

FLAT_MARGIN = 0.05
"""How many more of the pixels may have one value than in any training image. Between the two halves
of 2,400 normal images of the challenge the largest share differs by 0.004."""

FLAT_LINES_MARGIN = 0.02
"""How many more of the rows and columns: three of 150. Between the two halves of those images
the largest share differs by 0.01."""


SCALE_MARGIN = 0.02
"""How far, as a fraction, a pixel scale may be from that of the training images: releases of one
telescope differ by less, and Einstein radii in pixels vary by far more between lenses."""


@dataclass(frozen=True)
class Domain:
    """What all training images have in common, whatever substructure does.

    A picture with another stretch (square root, logarithm, histogram), of another object or
    with another field of view has other brightness quantiles; substructure moves them by far less
    than the margin.

    Attributes
    ----------
    low, high : ndarray, shape (4,)
        Smallest and largest value, over the training images, of the quantiles 0.1, 0.5, 0.9
        and 0.99 of the pixels on the image's [0, 1] scale.
    one_value : float
        Largest share of the pixels of a training image that have one and the same value. The edge
        of a detector, filled with zeros, raises it.
    flat_lines : float
        Largest share of the rows and columns of a training image in which all pixels are equal.
    jpeg_table : ndarray of int, shape (8, 8), or None
        Quantisation table that all training images share.
    texture : Texture or None
    layout : Layout or None
    pixel_scale_arcsec : float or None
        Side of a pixel of the training images, where all of them say the same.
    shapes : Shapes or None
        Of all training images together.
        None where there were too few images to learn it from, and in models made before these
        were learned: not checked.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    one_value: float = 1.0
    flat_lines: float = 1.0
    jpeg_table: NDArray[np.int_] | None = None
    texture: Texture | None = None
    layout: Layout | None = None
    shapes: Shapes | None = None
    pixel_scale_arcsec: float | None = None

    @classmethod
    def learn(cls, images: ImageBatch) -> Self:
        """Learn from normal images."""
        ascending = sorted_pixels(images.pixels)
        values = brightness_quantiles(ascending)
        unit = to_unit_range(images.pixels)
        large_sample = len(images) >= LEAST_IMAGES
        tables = images.jpeg_tables
        shared = bool(tables) and all(_same_table(table, tables[0]) for table in tables)
        return cls(
            low=values.min(axis=0),
            high=values.max(axis=0),
            one_value=float(one_value_shares(ascending).max()),
            flat_lines=float(flat_line_shares(images.pixels).max()),
            jpeg_table=tables[0] if shared else None,
            texture=Texture.learn(unit)
            if large_sample and min(unit.shape[1:]) >= LEAST_SIDE
            else None,
            layout=Layout.learn(unit) if large_sample else None,
            shapes=Shapes.learn(images.pixels) if large_sample else None,
            pixel_scale_arcsec=images.pixel_scale_arcsec,
        )

    def warnings(self, images: ImageBatch) -> list[str]:
        """Reason why each image is foreign, or an empty string; of several, the plainest."""
        unit, ascending = to_unit_range(images.pixels), sorted_pixels(images.pixels)
        no_reasons = [""] * len(images)
        reasons = [
            self._other_tables(images.jpeg_tables) or no_reasons,
            [self._other_scale(images.pixel_scale_arcsec)] * len(images),
            self._flat(images.pixels, ascending),
            self._brightness(ascending),
            self.texture.oddities(unit) if self.texture else no_reasons,
            self.layout.oddities(unit) if self.layout else no_reasons,
        ]
        first = (next(filter(None, row), "") for row in zip(*reasons, strict=True))
        return [reason and f"not like the training images: {reason}" for reason in first]

    def _other_tables(self, tables: Sequence[NDArray[np.int_] | None]) -> list[str]:
        """Pixels without a table may have been decoded by others."""
        if self.jpeg_table is None:
            return []
        steps = (
            "it is a JPEG file of another quality, with steps of {} grey levels, those of the "
            "training images are {}"
        )
        return [
            ""
            if table is None or _same_table(table, self.jpeg_table)
            else steps.format(_first_steps(table), _first_steps(self.jpeg_table))
            for table in tables
        ]

    def _other_scale(self, scale: float | None) -> str:
        ours = self.pixel_scale_arcsec
        if scale is None or ours is None or abs(scale / ours - 1) <= SCALE_MARGIN:
            return ""
        return f'its pixels are {scale:.3g}" wide, those of the training images {ours:.3g}"'

    def _flat(self, pixels: NDArray[np.float32], ascending: NDArray[np.float32]) -> list[str]:
        shares = one_value_shares(ascending)
        reasons = []
        for share, lines in zip(shares, flat_line_shares(pixels), strict=True):
            if share > self.one_value + FLAT_MARGIN:
                reasons.append(
                    f"{share:.0%} of its pixels have the same value, in training images at most "
                    f"{self.one_value:.0%}"
                )
            elif lines > self.flat_lines + FLAT_LINES_MARGIN:
                reasons.append(
                    f"{lines:.0%} of its rows and columns have one value, as in a filled edge, in "
                    f"training images at most {self.flat_lines:.0%}"
                )
            else:
                reasons.append("")
        return reasons

    def _brightness(self, ascending: NDArray[np.float32]) -> list[str]:
        values = brightness_quantiles(ascending)
        slack = MARGIN * (self.high - self.low) + 0.01
        outside = (values < self.low - slack) | (values > self.high + slack)
        reasons = []
        for row, row_outside in zip(values, outside, strict=True):
            k = int(np.argmax(row_outside))
            reasons.append(
                f"its {LEVELS[k]:g} brightness quantile is {row[k]:.3f} of the peak, in training "
                f"images {self.low[k]:.3f} to {self.high[k]:.3f}"
                if row_outside[k]
                else ""
            )
        return reasons

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Named arrays of what is too large for the settings of a model."""
        stored: dict[str, NDArray[Any]] = {}
        if self.jpeg_table is not None:
            stored["jpeg_table"] = self.jpeg_table.astype(np.int64)
        if self.pixel_scale_arcsec is not None:
            stored["pixel_scale_arcsec"] = np.array(self.pixel_scale_arcsec)
        parts = {"texture": self.texture, "layout": self.layout, "shapes": self.shapes}
        for name, part in parts.items():
            if part is not None:
                stored |= {f"{name}.{key}": value for key, value in part.arrays().items()}
        return stored

    def with_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take back what `arrays` gave; what is not there is not checked.

        Raises
        ------
        KeyError, ValueError
            If the arrays are not those of a domain.
        """
        table = arrays.get("jpeg_table")
        if table is not None and table.shape != (8, 8):
            raise ValueError(f"jpeg_table has shape {table.shape}, not (8, 8)")

        def part(name: str) -> dict[str, NDArray[Any]]:
            return {
                key.removeprefix(name): value
                for key, value in arrays.items()
                if key.startswith(name)
            }

        scale = arrays.get("pixel_scale_arcsec")
        texture, layout, shapes = part("texture."), part("layout."), part("shapes.")
        return replace(
            self,
            jpeg_table=table,
            pixel_scale_arcsec=None if scale is None else float(scale),
            texture=Texture.from_arrays(texture) if texture else None,
            layout=Layout.from_arrays(layout) if layout else None,
            shapes=Shapes.from_arrays(shapes) if shapes else None,
        )


def to_unit_range(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each image linearly so that its minimum is 0 and its maximum 1.

    Parameters
    ----------
    pixels : ndarray, shape (n, H, W)
    """
    low = pixels.min(axis=(-2, -1), keepdims=True)
    high = pixels.max(axis=(-2, -1), keepdims=True)
    scaled: NDArray[np.float32] = ((pixels - low) / (high - low)).astype(np.float32)
    return scaled


def flat_line_shares(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of the rows and columns of each image in which all pixels are equal, shape (n,)."""
    flat = [np.ptp(pixels, axis=axis) == 0 for axis in (1, 2)]
    shares: NDArray[np.float64] = np.concatenate(flat, axis=1).mean(axis=1)
    return shares


def _same_table(table: NDArray[np.int_] | None, other: NDArray[np.int_] | None) -> bool:
    return table is not None and other is not None and np.array_equal(table, other)


def _first_steps(table: NDArray[np.int_]) -> str:
    """The four largest waves' quantisation steps, by which qualities are told apart."""
    return ", ".join(str(step) for step in table[:2, :2].ravel())


def sorted_pixels(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixels of each image from the faintest on, shape (n, H x W)."""
    return np.sort(pixels.reshape(len(pixels), -1), axis=1)


def brightness_quantiles(ascending: NDArray[np.float32]) -> NDArray[np.float64]:
    """Quantiles at `LEVELS` of each image's sorted pixels on its [0, 1] scale, shape (n, 4)."""
    at = [round(level * (ascending.shape[1] - 1)) for level in LEVELS]
    quantiles = ascending[:, [0, *at, -1]].astype(np.float64)
    low, high = quantiles[:, :1], quantiles[:, -1:]
    return (quantiles[:, 1:-1] - low) / (high - low)


def one_value_shares(ascending: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of each image's sorted pixels that have its most common value, shape (n,)."""
    steps = ascending[:, 1:] != ascending[:, :-1]
    ends = np.pad(steps, ((0, 0), (1, 1)), constant_values=True)
    longest = [np.diff(np.flatnonzero(row)).max() for row in ends]
    shares: NDArray[np.float64] = np.array(longest) / ascending.shape[1]
    return shares
