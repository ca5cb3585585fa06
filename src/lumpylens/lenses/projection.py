"""What a smooth lens can imitate, projected out of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lumpylens.lenses.refine import Belief, Refined

__all__ = ["Projected", "Projection"]


class Projected(NamedTuple):
    """Whitened images (k, n) in parts.

    Attributes
    ----------
    by_basis : Tensor of float32, shape (k, m)
        Coordinates of what light of source, lens galaxy and sky can imitate.
    by_rows : Tensor of float32, shape (k, p)
        Coordinates of what other parameters of the smooth lens can imitate.
    total, remaining : Tensor of float64, shape (k,)
        Square of each image, and of what is left of it.
    """

    by_basis: Tensor
    by_rows: Tensor
    total: Tensor
    remaining: Tensor


@dataclass(frozen=True)
class Projection:
    """Projection orthogonal to everything that a fitted smooth lens can imitate, with its priors.

    Attributes
    ----------
    basis : Tensor of float32, shape (m, n)
        Columns of light in use, orthonormal but for their prior.
    rows : Tensor of float32, shape (p, n)
        Tangents of the free parameters without that light, orthonormal but for their prior.
    residual : Tensor, shape (n,)
        Whitened data minus the smooth lens.
    absorbed_residual : Tensor, shape (p,)
        Coordinates of the residual, with the pull of the priors, along `rows`.
    """

    basis: Tensor
    rows: Tensor
    residual: Tensor
    absorbed_residual: Tensor

    @classmethod
    def of(cls, fitted: Refined, belief: Belief) -> Projection:
        """Projection of a fitted lens with the priors of its free parameters."""
        lens, linear = fitted.lens, fitted.lens.linear
        tangents = fitted.model.tangents(lens, fitted.names)
        precision, pull = belief.precision_and_pull(lens.values, fitted.names)
        free_tangents = linear.without(tangents)
        smooth_information = free_tangents @ tangents.mT + torch.diag(precision)
        scale = smooth_information.diagonal().clamp_min(1e-20).rsqrt()
        unit = smooth_information * scale * scale[:, None]
        unit.diagonal().add_(1e-9)
        factor = torch.linalg.cholesky(unit)
        # Rows that are orthonormal under P, so that one product with an image projects them out.
        rows = torch.linalg.solve_triangular(
            factor, free_tangents * scale[:, None], upper=False
        ).float()
        absorbed_residual = torch.linalg.solve_triangular(
            factor, ((tangents @ linear.residual + pull) * scale)[:, None], upper=False
        )[:, 0]
        basis = torch.linalg.solve_triangular(linear.factor, linear.basis, upper=False).float()
        return cls(basis, rows, linear.residual, absorbed_residual)

    def split(self, images: Tensor) -> Projected:
        """Split whitened images of float32, shape (k, n), into parts."""
        by_basis, by_rows = images @ self.basis.mT, images @ self.rows.mT
        total = images.square().sum(dim=1).double()
        absorbed = by_basis.double().square().sum(dim=1) + by_rows.double().square().sum(dim=1)
        return Projected(by_basis, by_rows, total, total - absorbed)

    def along_residual(self, images: Tensor, parts: Projected) -> Tensor:
        """Products (k,) of what is left of the images with what is left of the residual."""
        return images.double() @ self.residual - parts.by_rows.double() @ self.absorbed_residual

    def left_over(self, images: Tensor, parts: Projected) -> Tensor:
        """What is left of the images, shape (k, n)."""
        return images - parts.by_basis @ self.basis - parts.by_rows @ self.rows
