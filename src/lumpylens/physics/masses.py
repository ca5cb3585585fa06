"""Masses in the halo of a lens, by kind, and the sum of their deflections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.physics.deflection import (
    isothermal_spheres,
    point_masses,
    rod,
    truncated_haloes,
)

__all__ = ["Masses"]


def _empty() -> NDArray[np.float32]:
    return np.zeros((1, 0, 5), np.float32)


@dataclass(frozen=True, eq=False)
class Masses:
    """Masses of n images, padded with Einstein radii of zero.

    The last axis holds x, y, Einstein radius, and two numbers that depend on the kind. Lengths are
    in pixels from the lens, angles in radians.

    Attributes
    ----------
    points, spheres : ndarray of float32, shape (n, k, 5)
        Point masses and singular isothermal spheres; the last two numbers are not used.
    haloes : ndarray of float32, shape (n, k, 5)
        Truncated NFW haloes: scale radius, truncation radius over scale radius.
    rods : ndarray of float32, shape (n, k, 5)
        Uniform strings: half their length, angle.
    """

    points: NDArray[np.float32] = field(default_factory=_empty)
    spheres: NDArray[np.float32] = field(default_factory=_empty)
    haloes: NDArray[np.float32] = field(default_factory=_empty)
    rods: NDArray[np.float32] = field(default_factory=_empty)

    @classmethod
    def stack(cls, parts: Sequence[Masses]) -> Masses:
        """Join the masses of several images."""
        return cls(*(_padded([getattr(part, item.name) for part in parts]) for item in fields(cls)))

    def deflection(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the deflections by all masses.

        Parameters
        ----------
        x, y : Tensor of float32, shape (n, h, w) or (1, h, w)
            Positions relative to the lens.

        Returns
        -------
        pair of Tensor, shape (n, h, w)
        """
        count = len(self.points)
        x, y = x.expand(count, *x.shape[1:]), y.expand(count, *y.shape[1:])
        ax, ay = torch.zeros_like(x), torch.zeros_like(y)
        for values, kind in (
            (self.points, point_masses),
            (self.spheres, isothermal_spheres),
            (self.haloes, truncated_haloes),
            (self.rods, _rods),
        ):
            if values.shape[1]:
                columns = torch.from_numpy(values).to(x).unbind(-1)
                numbers = columns[:3] if kind in (point_masses, isothermal_spheres) else columns
                dx, dy = kind(x, y, *numbers)
                ax, ay = ax + dx, ay + dy
        return ax, ay


def _rods(
    x: Tensor,
    y: Tensor,
    at_x: Tensor,
    at_y: Tensor,
    einstein_radius: Tensor,
    half_length: Tensor,
    angle: Tensor,
) -> tuple[Tensor, Tensor]:
    ax, ay = torch.zeros_like(x), torch.zeros_like(y)
    for k in range(at_x.shape[1]):
        at = (slice(None), k, None, None)
        dx, dy = rod(x - at_x[at], y - at_y[at], half_length[at], angle[at])
        ax = ax + einstein_radius[at].square() * dx
        ay = ay + einstein_radius[at].square() * dy
    return ax, ay


def _padded(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    most = max(part.shape[1] for part in arrays)
    # Padding: an Einstein radius of zero, and ones for numbers that are divided by.
    out = np.ones((len(arrays), most, 5), np.float32)
    out[:, :, 2] = 0
    for row, part in zip(out, arrays, strict=True):
        row[: part.shape[1]] = part[0]
    return out
