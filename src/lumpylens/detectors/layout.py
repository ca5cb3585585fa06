"""Where light is in the training images: others are turned, shifted, enlarged, or of other things.

Everything is learned from the training images alone. What a change looks like is learned from
these images, changed; what substructure looks like, which must not be taken for one, from these
images bent outward, as added mass does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, affine_grid, grid_sample, pad

__all__ = ["LEAST_IMAGES", "Layout"]

SIDE = 25
"""An image is compared in this many by this many bins."""
FAINT = 0.05
"""Brightness, in units of the image's range, up to which bins are linear; then logarithmic."""

LEAST_IMAGES, MOST_IMAGES = 100, 3000
"""Fewer images say too little of where light may be; more need not be looked at."""
AXES, IMAGES_PER_AXIS = 60, 5
"""Principal axes of normal images, at most, and images that each needs."""

BENDS = (1 / 150, 1 / 50)
"""Outward displacements, in units of the shorter side. Masses of a twelfth of the lens's move its
arcs by a twenty-fifth of the Einstein radius: by the first of these where that is a sixth of the
side. The second is three times as much."""
CORE = 1 / 15
"""Radius that stays in place, in units of the shorter side."""

MARGIN = 0.1
"""What is added to each limit, in units of its distance from the median of normal images."""
NEAR = 0.3
"""How near to 1, its mean among images changed alike, a discriminant is for a change to be named;
and the least that is held against an image."""

TURN_QUANTILE = 0.998
"""Of normal and bent images, beyond which an image counts as turned: those of round lenses look the
same turned, and the largest of thousands would hide every turn."""

RIDGE = 1e-3
"""Added to the variance of each bin, in units of the mean one."""

BATCH = 128

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
        torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2,
        indexing="ij",
    )  # fmt: skip
    radius = torch.hypot(x, y).clamp_min(1e-6) / side
    scale = 1 - outward * (1 - torch.exp(-0.5 * (radius / CORE) ** 2)) / radius
    grid = torch.stack((2 * x * scale / width, 2 * y * scale / height), dim=-1)
    return _sampled(images, grid.expand(len(images), -1, -1, -1))


def blurred(images: Images) -> Images:
    """Images blurred by a box of a thirtieth of the side, at least three pixels."""
    half = max(1, min(images.shape[1:]) // 60)
    padded = pad(images[:, None], (half,) * 4, mode="replicate")
    return torch.nn.functional.avg_pool2d(padded, 2 * half + 1, stride=1)[:, 0]


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


@dataclass(frozen=True)
class Layout:
    """What bins of normal images look like, and how changed ones differ from them.

    Attributes
    ----------
    mean : ndarray of float32, shape (SIDE * SIDE,)
    axes : ndarray of float32, shape (k, SIDE * SIDE)
        Principal axes of normal images.
    directions : ndarray of float32, shape (len(CHANGES), SIDE * SIDE)
        Linear discriminants between changed images, whose mean is 1, and normal or bent ones.
    offsets : ndarray of float64, shape (len(CHANGES),)
        Their values at the bins' zero.
    limits : ndarray of float64, shape (2 + len(CHANGES),)
        Of the distance from the axes, of the logarithm by which turning back makes it smaller (0
        where images are not square), and of the discriminants.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    directions: NDArray[np.float32]
    offsets: NDArray[np.float64]
    limits: NDArray[np.float64]

    @classmethod
    def learn(cls, unit: NDArray[np.float32]) -> Self:
        """Learn from normal images on the [0, 1] scale, shape (n, H, W), n >= LEAST_IMAGES.

        Limits are those of images that the rest was not learned from: each half of them is
        measured with what the other half taught.
        """
        chosen = np.unique(np.linspace(0, len(unit) - 1, min(len(unit), MOST_IMAGES)).astype(int))
        pixels = torch.from_numpy(unit[chosen])
        normal = binned(pixels)
        heavier = [binned(pixels, partial(bent, outward=by)) for by in BENDS]
        changed = [binned(pixels, change) for change in CHANGES.values()]
        square = unit.shape[1] == unit.shape[2]
        values, of_bent = [], []
        for half in (0, 1):
            learned, other = slice(half, None, 2), slice(1 - half, None, 2)
            part = cls._of(
                normal[learned], [b[learned] for b in heavier], [c[learned] for c in changed]
            )
            values.append(part.measures(normal[other], square))
            of_bent += [part.measures(bins[other], square) for bins in heavier]
        held_out = np.concatenate(values)
        top = np.concatenate([held_out, *of_bent]).max(axis=0)
        limits = top + MARGIN * (top - np.median(held_out, axis=0))
        limits[1] = np.quantile(np.concatenate([held_out, *of_bent])[:, 1], TURN_QUANTILE)
        limits[2:] = limits[2:].clip(min=NEAR)
        whole = cls._of(normal, heavier, changed)
        return cls(whole.mean, whole.axes, whole.directions, whole.offsets, limits)

    @classmethod
    def _of(
        cls,
        normal: NDArray[np.float32],
        heavier: list[NDArray[np.float32]],
        changed: list[NDArray[np.float32]],
    ) -> Self:
        """Everything but the limits."""
        mean = normal.mean(axis=0)
        count = min(AXES, len(normal) // IMAGES_PER_AXIS)
        axes = np.linalg.svd(normal - mean, full_matrices=False)[2][:count]
        usual = np.concatenate([normal, *heavier])
        within, middle = np.cov(usual, rowvar=False), usual.mean(axis=0, dtype=np.float64)
        directions, offsets = [], []
        for bins in changed:
            covariance = within + np.cov(bins, rowvar=False)
            covariance += RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
            away = bins.mean(axis=0, dtype=np.float64) - middle
            direction = np.linalg.solve(covariance, away)
            direction /= max(direction @ away, 1e-12)
            directions.append(direction.astype(np.float32))
            offsets.append(-direction @ middle)
        return cls(mean, axes, np.stack(directions), np.array(offsets), np.empty(0))

    def measures(self, bins: NDArray[np.float32], square: bool) -> NDArray[np.float64]:
        """What is held against `limits`, shape (n, 2 + len(CHANGES)), of bins of n images."""
        distance = self.distance(bins)
        gain = np.zeros(len(bins))
        if square:
            grid = bins.reshape(-1, SIDE, SIDE)
            turned = [
                self.distance(np.rot90(grid, quarter, (1, 2)).reshape(bins.shape))
                for quarter in (1, 3)
            ]
            gain = np.log(distance / np.minimum(*turned))
        answers = bins.astype(np.float64) @ self.directions.T + self.offsets
        return np.column_stack([distance, gain, answers])

    def distance(self, bins: NDArray[np.float32]) -> NDArray[np.float64]:
        """Distance of bins, shape (n, SIDE * SIDE), from what the axes span, shape (n,)."""
        off = (bins - self.mean).astype(np.float64)
        left = off - off @ self.axes.T @ self.axes
        distance: NDArray[np.float64] = np.sqrt(np.square(left).sum(axis=1)) + 1e-6
        return distance

    def oddities(self, unit: NDArray[np.float32]) -> list[str]:
        """Per image on the [0, 1] scale, shape (n, H, W): what is odd, or an empty string."""
        found = self.measures(binned(torch.from_numpy(unit)), unit.shape[1] == unit.shape[2])
        said = []
        for row in found:
            over = row > self.limits
            like = over[2:] & (np.abs(row[2:] - 1) < NEAR)
            if over[1]:
                said.append("it looks turned by 90 degrees")
            elif like.any():
                names = [name for name, is_like in zip(CHANGES, like, strict=True) if is_like]
                said.append(f"it looks {' or '.join(names)}")
            elif over.any():
                said.append("its light lies where neither theirs does nor substructure brings it")
            else:
                said.append("")
        return said

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it, as named arrays."""
        return {
            "mean": self.mean, "axes": self.axes, "directions": self.directions,
            "offsets": self.offsets, "limits": self.limits,
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take back what `arrays` gave."""
        bins, changes = SIDE * SIDE, len(CHANGES)
        shapes = {
            "mean": (bins,), "axes": (len(arrays["axes"]), bins), "directions": (changes, bins),
            "offsets": (changes,), "limits": (2 + changes,),
        }  # fmt: skip
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise ValueError(f"the layout's {name} has shape {arrays[name].shape}, not {shape}")
        return cls(**{name: arrays[name] for name in shapes})


def binned(unit: Images, change: Callable[[Images], Images] | None = None) -> NDArray[np.float32]:
    """Bins, shape (n, SIDE * SIDE), of images, or of what a change makes of them."""

    def parts() -> Iterator[NDArray[np.float32]]:
        for part in unit.split(BATCH):
            seen = part if change is None else change(part)
            bins = adaptive_avg_pool2d(seen[:, None], SIDE).flatten(1)
            yield torch.asinh(bins / FAINT).div(float(np.arcsinh(1 / FAINT))).numpy()

    with torch.no_grad():
        return np.concatenate(list(parts()))
