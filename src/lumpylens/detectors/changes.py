"""Images changed as foreign ones differ: shifted, resized, blurred, filled; and their bins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, affine_grid, avg_pool2d, grid_sample, pad

__all__ = ["CHANGES", "SIDE", "bent", "binned"]

SIDE = 25
"""An image is compared in this many by this many bins: six pixels of the challenge's images, the
width of their arcs. Not tuned."""

FAINT = 0.05
"""Brightness, in units of the image's range, up to which bins are linear, then logarithmic: that of
`pixel`."""

CORE = 1 / 15
"""Radius that stays in place, in units of the shorter side: the default of `pixel`."""

BATCH = 128
"""Images changed at once; it decides the memory, not the result."""

Images = Tensor
"""Shape (n, H, W), on the [0, 1] scale."""


def moved(images: Images, *, zoom: float = 1.0, right: float = 0.0, up: float = 0.0) -> Images:
    """Images enlarged around their middle and shifted by parts of their sides."""
    matrix = torch.tensor([[1 / zoom, 0, -2 * right], [0, 1 / zoom, -2 * up]])
    grid = affine_grid(
        matrix.repeat(len(images), 1, 1), [len(images), 1, *images.shape[1:]], align_corners=False
    )
    return _sampled(images, grid)


def bent(images: Images, outward: float) -> Images:
    """Images with everything outside the core moved away from the middle, as by added mass."""
    height, width = images.shape[1:]
    side = min(height, width)
    y, x = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2,
        torch.arange(width) - (width - 1) / 2,
        indexing="ij",
    )
    radius = torch.hypot(x, y).clamp_min(1e-6) / side
    scale = 1 - outward * (1 - torch.exp(-0.5 * (radius / CORE) ** 2)) / radius
    grid = torch.stack((2 * x * scale / width, 2 * y * scale / height), dim=-1)
    return _sampled(images, grid.expand(len(images), -1, -1, -1))


def blurred(images: Images) -> Images:
    """Images blurred by a box of a thirtieth of the side, at least three pixels."""
    half = max(1, min(images.shape[1:]) // 60)
    padded = pad(images[:, None], (half,) * 4, mode="replicate")
    return avg_pool2d(padded, 2 * half + 1, stride=1)[:, 0]


def filled(images: Images, *, quarter_turns: int) -> Images:
    """Images with a quarter of them, at one edge, as dark as their darkest pixel."""
    turned = torch.rot90(images, quarter_turns, (1, 2)).clone()
    turned[:, : turned.shape[1] // 4] = 0
    return torch.rot90(turned, -quarter_turns, (1, 2))


def _sampled(images: Images, grid: Tensor) -> Images:
    return grid_sample(images[:, None], grid, padding_mode="border", align_corners=False)[:, 0]


CHANGES: dict[str, Callable[[Images], Images]] = {
    "shifted to the right": lambda images: moved(images, right=1 / 30),
    "shifted to the left": lambda images: moved(images, right=-1 / 30),
    "shifted upward": lambda images: moved(images, up=1 / 30),
    "shifted downward": lambda images: moved(images, up=-1 / 30),
    "made smaller": lambda images: moved(images, zoom=0.85),
    "enlarged": lambda images: moved(images, zoom=1.2),
    "blurred": blurred,
    "filled at its first rows": partial(filled, quarter_turns=0),
    "filled at its last columns": partial(filled, quarter_turns=1),
    "filled at its last rows": partial(filled, quarter_turns=2),
    "filled at its first columns": partial(filled, quarter_turns=3),
}
"""What is looked for, and an image of the training set to which it was done. Upward is towards
higher rows."""


def binned(unit: Images, change: Callable[[Images], Images] | None = None) -> NDArray[np.float32]:
    """Bins, shape (n, SIDE * SIDE), of images, or of what a change makes of them."""

    def parts() -> Iterator[NDArray[np.float32]]:
        for part in unit.split(BATCH):
            view = part if change is None else change(part)
            bins = adaptive_avg_pool2d(view[:, None], SIDE).flatten(1)
            yield torch.asinh(bins / FAINT).div(float(np.arcsinh(1 / FAINT))).numpy()

    with torch.no_grad():
        return np.concatenate(list(parts()))
