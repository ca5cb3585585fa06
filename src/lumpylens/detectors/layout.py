"""Where light is in the training images: others are turned, shifted, enlarged, or of other things.

Everything is learned from the training images alone. What a change looks like is learned from
these images, changed; what substructure looks like, which must not be taken for one, from these
images bent outward, as added mass does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_IMAGES", "Layout"]


LEAST_IMAGES, MOST_IMAGES = 300, 1500
"""Limits that fewer images set are passed by some percent of other normal images (3.5 % of noisy
round blobs for 180 images, 0.7 % for 360). More images cost 20 ms of one core each."""
AXES, IMAGES_PER_AXIS = 60, 5
"""Principal axes of normal images, at most, and images that each needs. Not tuned."""

BENDS = (1 / 150, 1 / 50)
"""Outward displacements, in units of the shorter side. Masses of a twelfth of the lens's move its
arcs by a twenty-fifth of the Einstein radius: by the first of these where that is a sixth of the
side. The second is three times as much."""

MARGIN = 0.1
"""What is added to each limit, in units of its distance from the median of normal images. With it,
none of 1,200 normal images of the challenge passes a limit that 1,200 others set."""

NEAR = 0.3
"""How near to 1, its mean among images changed alike, a discriminant is for a change to be named;
and the least that is held against an image. Discriminants of changed images of the challenge
scatter by 0.04 to 0.15 around 1; 93 % and more of each change are named."""

TURN_QUANTILE = 0.998
"""Of normal and bent images, beyond which an image counts as turned: those of round lenses look the
same turned, and the largest of thousands would hide every turn."""

RIDGE = 1e-3
"""Added to the variance of each bin, in units of the mean one, so that bins without variance do not
decide. Not tuned."""


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
        import torch

        from lumpylens.detectors.changes import CHANGES, bent, binned

        positions = np.unique(
            np.linspace(0, len(unit) - 1, min(len(unit), MOST_IMAGES)).astype(int)
        )
        pixels = torch.from_numpy(unit[positions])
        normal = binned(pixels)
        heavier = [binned(pixels, partial(bent, outward=by)) for by in BENDS]
        changed = [binned(pixels, change) for change in CHANGES.values()]
        square = unit.shape[1] == unit.shape[2]
        values, of_bent = [], []
        for half in (0, 1):
            learned, held_out_half = slice(half, None, 2), slice(1 - half, None, 2)
            part = cls._of(
                normal[learned], [b[learned] for b in heavier], [c[learned] for c in changed]
            )
            values.append(part.measures(normal[held_out_half], square))
            of_bent += [part.measures(bins[held_out_half], square) for bins in heavier]
        held_out = np.concatenate(values)
        top = np.concatenate([held_out, *of_bent]).max(axis=0)
        limits = top + MARGIN * (top - np.median(held_out, axis=0))
        limits[1] = np.quantile(np.concatenate([held_out, *of_bent])[:, 1], TURN_QUANTILE)
        limits[2:] = limits[2:].clip(min=NEAR)
        layout = cls._of(normal, heavier, changed)
        return cls(layout.mean, layout.axes, layout.directions, layout.offsets, limits)

    @classmethod
    def _of(
        cls,
        normal: NDArray[np.float32],
        heavier: list[NDArray[np.float32]],
        changed: list[NDArray[np.float32]],
    ) -> Self:
        """Learn everything but the limits."""
        mean = normal.mean(axis=0)
        count = min(AXES, len(normal) // IMAGES_PER_AXIS)
        axes = np.linalg.svd(normal - mean, full_matrices=False)[2][:count]
        unchanged = np.concatenate([normal, *heavier])
        within, middle = np.cov(unchanged, rowvar=False), unchanged.mean(axis=0, dtype=np.float64)
        directions, offsets = [], []
        for bins in changed:
            covariance = within + np.cov(bins, rowvar=False)
            covariance += RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
            shift = bins.mean(axis=0, dtype=np.float64) - middle
            direction = np.linalg.solve(covariance, shift)
            direction /= max(direction @ shift, 1e-12)
            directions.append(direction.astype(np.float32))
            offsets.append(-direction @ middle)
        return cls(mean, axes, np.stack(directions), np.array(offsets), np.empty(0))

    def measures(self, bins: NDArray[np.float32], square: bool) -> NDArray[np.float64]:
        """Measures that `limits` bound, shape (n, 2 + len(CHANGES)), of bins of n images."""
        distance = self.distance(bins)
        gain = np.zeros(len(bins))
        if square:
            side = math.isqrt(bins.shape[1])
            grid = bins.reshape(-1, side, side)
            turned = [
                self.distance(np.rot90(grid, quarter, (1, 2)).reshape(bins.shape))
                for quarter in (1, 3)
            ]
            gain = np.log(distance / np.minimum(*turned))
        answers = bins.astype(np.float64) @ self.directions.T + self.offsets
        return np.column_stack([distance, gain, answers])

    def distance(self, bins: NDArray[np.float32]) -> NDArray[np.float64]:
        """Distance of bins, shape (n, SIDE * SIDE), from what the axes span, shape (n,)."""
        departure = (bins - self.mean).astype(np.float64)
        remainder = departure - departure @ self.axes.T @ self.axes
        distance: NDArray[np.float64] = np.sqrt(np.square(remainder).sum(axis=1)) + 1e-6
        return distance

    def oddities(self, unit: NDArray[np.float32]) -> list[str]:
        """Oddity of each image on the [0, 1] scale, shape (n, H, W), or an empty string."""
        import torch

        from lumpylens.detectors.changes import CHANGES, binned

        measures = self.measures(binned(torch.from_numpy(unit)), unit.shape[1] == unit.shape[2])
        reasons = []
        for row in measures:
            over = row > self.limits
            like = over[2:] & (np.abs(row[2:] - 1) < NEAR)
            if over[1]:
                reasons.append("it looks rotated by 90 degrees")
            elif like.any():
                names = [name for name, is_like in zip(CHANGES, like, strict=True) if is_like]
                reasons.append(f"it looks {' or '.join(names)}")
            elif over.any():
                reasons.append("its light lies where training images and substructure have none")
            else:
                reasons.append("")
        return reasons

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Named arrays of all that was learned."""
        return {
            "mean": self.mean,
            "axes": self.axes,
            "directions": self.directions,
            "offsets": self.offsets,
            "limits": self.limits,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Take back what `arrays` gave."""
        from lumpylens.detectors.changes import CHANGES, SIDE

        bins, changes = SIDE * SIDE, len(CHANGES)
        shapes = {
            "mean": (bins,),
            "axes": (len(arrays["axes"]), bins),
            "directions": (changes, bins),
            "offsets": (changes,),
            "limits": (2 + changes,),
        }
        for name, shape in shapes.items():
            if arrays[name].shape != shape:
                raise ValueError(f"the layout's {name} has shape {arrays[name].shape}, not {shape}")
        return cls(**{name: arrays[name] for name in shapes})
