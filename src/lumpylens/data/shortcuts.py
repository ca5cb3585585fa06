"""Statistics that know no lensing: what tells two classes apart by them is a shortcut."""

from __future__ import annotations

import math

import numpy as np

from lumpylens.data.image import LensImage

__all__ = ["TRIVIAL_STATISTICS", "trivial_statistics"]

TRIVIAL_STATISTICS = {
    "mean": "mean pixel value",
    "std": "standard deviation of the pixels",
    "median": "median pixel value",
    "maximum": "brightest pixel",
    "background": "median of the border",
    "border_noise": "scatter of the border (scaled median absolute deviation)",
    "bright_area": "fraction of the pixels above half of the peak",
    "sharpness": "mean absolute difference of neighbouring pixels over the standard deviation",
    "asymmetry": "mean absolute difference to the image turned by 180 degrees, over the mean",
    "file_bytes": "size of the file",
}
"""Name -> what it is, of each number that `trivial_statistics` gives."""


def trivial_statistics(item: LensImage) -> dict[str, float]:
    """Cheap numbers of one image, which a shortcut would show in; keys `TRIVIAL_STATISTICS`.

    All NaN for an image that cannot be read; ``file_bytes`` is NaN where there is no file.
    """
    if item.error or item.image is None:
        return dict.fromkeys(TRIVIAL_STATISTICS, math.nan)
    image = item.image.astype(np.float64)
    low, high, spread = image.min(), image.max(), image.std()
    width = max(1, min(image.shape) // 15)
    inside = np.zeros(image.shape, dtype=bool)
    inside[width:-width, width:-width] = True
    border = image[~inside]
    background = np.median(border)
    steps = np.abs(np.diff(image, axis=0)).mean() + np.abs(np.diff(image, axis=1)).mean()
    turned = np.abs(image - image[::-1, ::-1]).mean()
    values = (
        image.mean(),
        spread,
        np.median(image),
        high,
        background,
        1.4826 * np.median(np.abs(border - background)),
        np.mean(image > (low + high) / 2),
        steps / 2 / spread,
        turned / (image.mean() - low),
        math.nan if item.file_bytes is None else item.file_bytes,
    )
    return {name: float(value) for name, value in zip(TRIVIAL_STATISTICS, values, strict=True)}
