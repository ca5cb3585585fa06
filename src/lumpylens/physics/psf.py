"""Blur of the instrument, and the change of basis to the coefficients that are compared.

A blur that is a sum of separable terms is a sum of matrix products ``rows @ image @ columns^T``,
and so is a block cosine transform after it. Both are folded into one pair of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lumpylens.physics.batches import is_compiled, per_lens
from lumpylens.physics.compiled.projection import Bands, Lines, bands_of, project

__all__ = ["Blur", "Response", "gaussian_response", "kernel_response"]


@dataclass(frozen=True)
class Response:
    """Linear map from light on the sky to coefficients.

    Attributes
    ----------
    rows : Tensor, shape (n or 1, terms, c, h)
    columns : Tensor, shape (n or 1, terms, c, w)
    """

    rows: Tensor
    columns: Tensor

    def __call__(self, light: Tensor) -> Tensor:
        """Map light of shape (n, k, h, w) to coefficients of shape (n, k, c, c)."""
        out = self._term(light, 0)
        for term in range(1, self.rows.shape[1]):
            out = out + self._term(light, term)
        return out

    def _term(self, light: Tensor, term: int) -> Tensor:
        rows, columns = self.rows[:, term], self.columns[:, term]
        if rows.shape[0] == 1:
            # One matrix for all images: two large products instead of n small ones.
            return torch.matmul(torch.matmul(rows[0], light), columns[0].transpose(0, 1))
        return torch.matmul(torch.matmul(rows[:, None], light), columns[:, None].transpose(-1, -2))

    def at(self, light: Tensor, lines: Lines) -> Tensor:
        """Map light of shape (n, k, h, w) to some of the coefficients alone, shape (n, k, a)."""
        if is_compiled(light):
            return torch.from_numpy(project(light.numpy(), self.bands, lines))
        places = torch.from_numpy(lines.flat(self.rows.shape[2])).to(light.device)
        return self(light).flatten(-2).index_select(-1, places)

    @cached_property
    def bands(self) -> tuple[Bands, Bands]:
        """The parts of rows and columns that are not zero, for compiled code."""
        rows = bands_of(self.rows.numpy())
        return rows, rows if self.columns is self.rows else bands_of(self.columns.numpy())

    def transposed(self, coefficients: Tensor) -> Tensor:
        """The adjoint map: coefficients (n, k, c, c) to the sky (n, k, h, w)."""
        back = Response(self.rows.transpose(-1, -2), self.columns.transpose(-1, -2))
        return back(coefficients)

    def select(self, index: Tensor) -> Response:
        """Select some images of a batch."""
        if self.rows.shape[0] == 1:
            return self
        return Response(self.rows[index], self.columns[index])

    def of_centres(self, variance: float) -> Response:
        """Map for light that is sampled at the centres of pixels, and not averaged over them.

        Parameters
        ----------
        variance : float
            Of the places in a pixel that the average is taken over, along each axis, px^2.
        """
        rows = _averaged(self.rows, variance)
        return Response(
            rows, rows if self.columns is self.rows else _averaged(self.columns, variance)
        )


def _averaged(matrices: Tensor, variance: float) -> Tensor:
    """Apply matrices (n, terms, c, h) to averages over neighbours of the given variance."""
    near = (1 - variance) * matrices
    near[..., 1:] += variance / 2 * matrices[..., :-1]
    near[..., :-1] += variance / 2 * matrices[..., 1:]
    return near


@dataclass(frozen=True)
class Blur:
    """Maps from lens light and from source light to coefficients."""

    lens: Response
    source: Response


def gaussian_matrix(size: int, sigma: Tensor, radius: int) -> Tensor:
    """Make banded matrices that blur `size` samples with a truncated, normalised Gaussian.

    Parameters
    ----------
    size : int
    sigma : Tensor, shape (n,)
        In samples.
    radius : int
        Half-width at which the kernel is cut, in samples.

    Returns
    -------
    Tensor, shape (n, size, size)
    """
    at = torch.arange(size, dtype=sigma.dtype, device=sigma.device)
    distance = at[:, None] - at[None, :]
    near = distance.abs() <= radius
    kernel = torch.exp(-0.5 * (distance / sigma[:, None, None]).square()) * near
    taps = torch.arange(-radius, radius + 1, dtype=sigma.dtype, device=sigma.device)
    total = per_lens(torch.exp, -0.5 * (taps / sigma[:, None]).square()).sum(dim=1)
    return kernel / total[:, None, None]


def gaussian_response(basis: Tensor, sigma: Tensor, radius: int) -> Response:
    """Make the map of a Gaussian point-spread function, followed by a change of basis.

    Parameters
    ----------
    basis : Tensor, shape (c, h)
        Applied to rows and columns; the identity compares pixels.
    sigma : Tensor, shape (n,) or (1,)
        Standard deviation in pixels.
    radius : int
        Kernel half-width in pixels.
    """
    blur = torch.matmul(basis, gaussian_matrix(basis.shape[1], sigma, radius))[:, None]
    return Response(blur, blur)


def kernel_response(basis: Tensor, kernel: Tensor, tolerance: float = 1e-3) -> Response:
    """Make the map of a point-spread function given as pixels, followed by a change of basis.

    The kernel is replaced by the fewest separable terms (its singular vectors) that keep the
    root-mean-square error below `tolerance` of its norm.

    Parameters
    ----------
    basis : Tensor, shape (c, h)
    kernel : Tensor, shape (n, k, k)
        Odd-sized; normalised here.
    tolerance : float
    """
    if kernel.shape[-1] % 2 == 0 or kernel.shape[-2] % 2 == 0:
        raise ValueError(f"a point-spread function needs odd sides, got {tuple(kernel.shape)}")
    kernel = kernel / kernel.sum(dim=(-1, -2), keepdim=True)
    # One by one: on some processors the last digits depend on where in memory a kernel lies, and
    # in a batch that is another place than alone.
    parts = [torch.linalg.svd(single, full_matrices=False) for single in kernel]
    left_vectors, values, right_vectors = (
        torch.stack(of_kernels) for of_kernels in zip(*parts, strict=True)
    )
    lost = values.square().flip(-1).cumsum(-1).flip(-1).sqrt() / values.norm(dim=-1, keepdim=True)
    terms = int((lost > tolerance).sum(dim=-1).max())
    # The terms of a kernel do not depend on the other kernels of the batch.
    scale = (values * (lost > tolerance))[:, None, :terms].sqrt()
    size = basis.shape[1]

    def banded(taps: Tensor) -> Tensor:
        half = taps.shape[1] // 2
        at = torch.arange(size, device=basis.device)
        offset = at[:, None] - at[None, :] + half
        inside = (offset >= 0) & (offset < taps.shape[1])
        picked = taps.transpose(1, 2)[:, :, offset.clamp(0, taps.shape[1] - 1)]
        return torch.matmul(basis, picked * inside)

    return Response(
        banded(left_vectors[:, :, :terms] * scale), banded(right_vectors.mT[:, :, :terms] * scale)
    )
