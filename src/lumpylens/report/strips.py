"""Images of single examples: data, reconstruction and residual side by side."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lumpylens.results.examples import Example

__all__ = ["residual_range", "write_strip"]

SHORT_SIDE_PX, LONG_SIDE_PX = 150, 400
GAP_PX = 4
SOFTENING = 0.15
"""Brightness on [0, 1] up to which the display is linear, so that arcs show beside the brighter
lens galaxy. By eye: a smaller value brightens arcs and noise alike."""


def residual_range(examples: Iterable[Example]) -> float:
    """Common colour range of all residuals, as a fraction of each image's own range.

    It is the upper quartile, over images, of their 99.5th percentile: a few images with large
    residuals do not make the others pale.
    """
    peaks = [
        float(np.percentile(np.abs(part), 99.5))
        for part in (residual(example) for example in examples)
        if part is not None
    ]
    return max(float(np.percentile(peaks, 75)), 1e-6) if peaks else 1.0


def write_strip(example: Example, span: float, path: Path) -> None:
    """Write a PNG with the image and, where there is one, reconstruction and residual.

    Row 0 is at the bottom.

    Parameters
    ----------
    example : Example
    span : float
        Residuals from ``-span`` to ``span`` fill the colour scale.
    path : Path
    """
    grey = matplotlib.colormaps["magma"]
    panels = [grey(display(example.image, example.image))]
    rest = residual(example)
    if example.reconstruction is not None and rest is not None:
        panels.append(grey(display(example.reconstruction, example.image)))
        panels.append(matplotlib.colormaps["RdBu_r"](0.5 + 0.5 * rest / span))
    gap = np.zeros((len(example.image), max(1, GAP_PX * example.image.shape[0] // 150), 4))
    parts = [part for panel in panels for part in (gap, panel)][1:]
    pixels = (255 * np.concatenate(parts, axis=1)[::-1]).round().astype(np.uint8)
    picture = Image.fromarray(pixels)
    height, width = example.image.shape
    if min(height, width) < SHORT_SIDE_PX:
        factor = -(-SHORT_SIDE_PX // min(height, width))
        picture = picture.resize(
            (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
        )
    elif max(height, width) > LONG_SIDE_PX:
        picture = picture.reduce(-(-max(height, width) // LONG_SIDE_PX))
    picture.save(path)


def display(pixels: NDArray[np.float32], image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Map brightness to [0, 1] by an inverse hyperbolic sine, on the scale of `image`."""
    low, high = np.percentile(image, [0.5, 99.9])
    unit = np.clip((pixels.astype(np.float64) - low) / max(high - low, 1e-30), 0, 1)
    shown: NDArray[np.float64] = np.arcsinh(unit / SOFTENING) / np.arcsinh(1 / SOFTENING)
    return shown


def residual(example: Example) -> NDArray[np.float64] | None:
    """Image minus reconstruction in units of the image's range, or None."""
    if example.reconstruction is None:
        return None
    difference = example.image.astype(np.float64) - example.reconstruction
    spread = float(np.ptp(example.image))
    result: NDArray[np.float64] = difference / spread
    return result
