"""Light of a source as a sum of shapelets: Gauss-Hermite functions, complete for smooth images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Shapelets", "orders"]


def orders(largest: int) -> list[tuple[int, int]]:
    """Orders along x and y of all shapelets up to a total of `largest`, lowest first.

    Examples
    --------
    >>> orders(1)
    [(0, 0), (0, 1), (1, 0)]
    """
    return [(n, total - n) for total in range(largest + 1) for n in range(total + 1)]


@dataclass(frozen=True)
class Shapelets:
    """The shapelets up to a total order, at given positions.

    Attributes
    ----------
    along_x, along_y : Tensor, shape (order + 2, h, w)
        One-dimensional functions, up to one order more than `largest`, for the derivatives.
    largest : int
    scale : float
        Width of the Gaussian.

    Notes
    -----
    Refregier 2003 (astro-ph/0105178), equations 1 to 3, for unit integral of the square, so that
    all coefficients can have one prior variance.
    """

    along_x: Tensor
    along_y: Tensor
    largest: int
    scale: float

    @classmethod
    def at(cls, x: Tensor, y: Tensor, scale: float, largest: int) -> Shapelets:
        """Evaluate at positions (h, w) relative to the source, in the unit of `scale`."""
        return cls(_functions(x / scale, largest), _functions(y / scale, largest), largest, scale)

    def columns(self) -> Tensor:
        """Surface brightness of every shapelet, shape (count, h, w)."""
        parts = [
            self.along_x[: total + 1] * self.along_y[: total + 1].flip(0)
            for total in range(self.largest + 1)
        ]
        return torch.cat(parts) / self.scale

    def _matrix(self, coefficients: Tensor) -> Tensor:
        matrix = coefficients.new_zeros(self.largest + 1, self.largest + 1)
        where = torch.tensor(orders(self.largest))
        matrix[where[:, 0], where[:, 1]] = coefficients
        return matrix

    def sum(self, coefficients: Tensor) -> Tensor:
        """Surface brightness (h, w) with the given coefficients (count,)."""
        size = self.largest + 1
        by_y = torch.einsum("ij,jhw->ihw", self._matrix(coefficients), self.along_y[:size])
        return (self.along_x[:size] * by_y).sum(dim=0) / self.scale

    def gradient(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (h, w) along x and y of the sum with the given coefficients (count,)."""
        size, matrix = self.largest + 1, self._matrix(coefficients)
        x, y = self.along_x[:size], self.along_y[:size]
        norm = 1 / self.scale**2
        by_y = torch.einsum("ij,jhw->ihw", matrix, y)
        d_x = (self._slopes(self.along_x) * by_y).sum(dim=0)
        by_x = torch.einsum("ij,ihw->jhw", matrix, x)
        d_y = (self._slopes(self.along_y) * by_x).sum(dim=0)
        return d_x * norm, d_y * norm

    def _slopes(self, values: Tensor) -> Tensor:
        """Derivatives of the one-dimensional functions (Refregier 2003, equation 14)."""
        n = torch.arange(self.largest + 1, dtype=values.dtype)[:, None, None]
        below = torch.cat([torch.zeros_like(values[:1]), values[: self.largest]])
        return (n / 2).sqrt() * below - ((n + 1) / 2).sqrt() * values[1 : self.largest + 2]


def _functions(u: Tensor, largest: int) -> Tensor:
    """Compute Gauss-Hermite functions of orders 0 to `largest` + 1, by their recurrence."""
    functions = [math.pi**-0.25 * torch.exp(-u.square() / 2)]
    functions.append(math.sqrt(2) * u * functions[0])
    for n in range(2, largest + 2):
        functions.append(
            math.sqrt(2 / n) * u * functions[-1] - math.sqrt((n - 1) / n) * functions[-2]
        )
    return torch.stack(functions)
