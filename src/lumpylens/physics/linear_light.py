"""Amplitudes of columns of light: solving for them, marginalising and projecting them out.

An image is a sum of columns with unknown amplitudes. Some are free, with a Gaussian prior (the
source, the sky); others are light of a galaxy and cannot be negative. Columns and data are
whitened, that is, divided by the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["LinearFit", "solve"]

RIDGE = 1e-9
"""Part of each column's square that is added to it, so that coinciding Gaussians have amplitudes.
"""

GRAM_ROWS = 96
"""Rows of a Gram matrix that are computed at once, without the half that mirrors them."""


@dataclass(frozen=True)
class LinearFit:
    """The best sum of columns.

    Attributes
    ----------
    free : Tensor, shape (f,)
        Amplitudes of the free columns.
    positive : Tensor, shape (p,)
        Amplitudes of the others, none negative.
    residual : Tensor, shape (n,)
        Whitened data minus model.
    chi2 : float
    penalty : float
        free' Lambda free.
    log_determinant : float
        log |G + Lambda| - log |Lambda| of the free columns with a prior.
    precision : Tensor, shape (f,)
    columns : Tensor, shape (f + p, n)
        The free ones first.
    data : Tensor, shape (n,)
    gram : Tensor, shape (f + p, f + p)
        Products of the columns.
    """

    free: Tensor
    positive: Tensor
    residual: Tensor
    chi2: float
    penalty: float
    log_determinant: float
    precision: Tensor
    columns: Tensor
    data: Tensor
    gram: Tensor

    @property
    def log_evidence(self) -> float:
        """Log likelihood with the free columns marginalised, up to a constant of the data."""
        return -0.5 * (self.chi2 + self.penalty + self.log_determinant)

    @cached_property
    def used(self) -> Tensor:
        """Columns in use (m,): the free ones, then those with an amplitude above zero."""
        count = len(self.free)
        lit = torch.nonzero(self.positive > 0)[:, 0]
        return torch.cat([torch.arange(count), count + lit])

    @cached_property
    def factor(self) -> Tensor:
        """Cholesky factor (m, m) of the information of the columns in use, prior included."""
        information = self.gram[self.used][:, self.used]
        diagonal = information.diagonal()
        diagonal[: len(self.precision)] += self.precision
        diagonal.mul_(1 + RIDGE)
        factor: Tensor = torch.linalg.cholesky(information)
        return factor

    @property
    def basis(self) -> Tensor:
        """Columns in use, shape (m, n)."""
        columns: Tensor = self.columns[self.used]
        return columns

    def with_precision(self, precision: Tensor) -> LinearFit:
        """Solve again with another prior (f,) of the free columns."""
        return _solved(self.columns, precision, self.data, self.gram)

    def information(self, rows: Tensor) -> Tensor:
        """Products R P R' of whitened images (k, n), see `without`; shape (k, k)."""
        along = (self.columns @ rows.mT)[self.used]
        products: Tensor = rows @ rows.mT - along.mT @ torch.cholesky_solve(along, self.factor)
        return products

    def without(self, rows: Tensor) -> Tensor:
        """Part of whitened images (k, n) that the columns in use, with their prior, leave over.

        This is P = I - B (B'B + Lambda)^-1 B', the inverse covariance of the data when the
        amplitudes are marginalised.
        """
        along = self.columns @ rows.mT
        amplitudes = torch.zeros_like(along)
        amplitudes[self.used] = torch.cholesky_solve(along[self.used], self.factor)
        remainder: Tensor = rows - amplitudes.mT @ self.columns
        return remainder

    def evidence_factor(self, source: slice) -> float:
        """Factor by which a new prior precision of some columns maximises the evidence.

        MacKay 1992, Neural Computation 4, 415, equation 4.9: the number of well-measured
        amplitudes over the sum of their squares.
        """
        count = len(self.precision)
        inverse = torch.cholesky_inverse(self.factor)[:count, :count].diagonal()[source]
        measured = len(inverse) - float((inverse * self.precision[source]).sum())
        energy = float((self.precision[source] * self.free[source].square()).sum())
        return max(measured, 1e-3) / max(energy, 1e-30)


def solve(columns: Tensor, precision: Tensor, data: Tensor) -> LinearFit:
    """Solve regularised least squares in which some amplitudes are not negative.

    Parameters
    ----------
    columns : Tensor, shape (f + p, n)
        Whitened. The amplitudes of the first f have any sign, those of the others are not
        negative.
    precision : Tensor, shape (f,)
        Prior precision of each of the first; 0 for none.
    data : Tensor, shape (n,)

    Notes
    -----
    The free columns are eliminated by a Cholesky decomposition, which leaves a small
    non-negative least-squares problem (Lawson & Hanson 1974, chapter 23) on the Schur complement.
    """
    return _solved(columns, precision, data, _gram(columns))


def _gram(columns: Tensor) -> Tensor:
    """Products of all columns with each other."""
    gram = columns.new_empty(len(columns), len(columns))
    for first in range(0, len(columns), GRAM_ROWS):
        rows = slice(first, first + GRAM_ROWS)
        products = columns[rows] @ columns[first:].mT
        gram[rows, first:] = products
        gram[first:, rows] = products.mT
    return gram


def _solved(columns: Tensor, precision: Tensor, data: Tensor, gram: Tensor) -> LinearFit:
    from scipy.optimize import nnls

    count = len(precision)
    right = columns @ data
    # Scaled to a unit diagonal, so that the ridge does not change other amplitudes.
    scale = gram.diagonal().clamp_min(1e-30).rsqrt()
    scaled = gram * scale * scale[:, None]
    scaled.diagonal()[:count] += precision * scale[:count].square()
    scaled.diagonal().add_(RIDGE)
    target = right * scale
    free_factor = torch.linalg.cholesky(scaled[:count, :count])
    amplitudes = torch.zeros_like(right)
    if len(columns) > count:
        joined = torch.cat([scaled[:count, count:], target[:count, None]], dim=1)
        mixed = torch.linalg.solve_triangular(free_factor, joined, upper=False)
        schur_and_target = torch.cat([scaled[count:, count:], target[count:, None]], dim=1)
        schur_and_target -= mixed[:, :-1].mT @ mixed
        schur, reduced_target = schur_and_target[:, :-1], schur_and_target[:, -1:]
        schur.diagonal().add_(RIDGE)
        root = torch.linalg.cholesky(schur)
        aim = torch.linalg.solve_triangular(root, reduced_target, upper=False)[:, 0]
        limit = 50 * (len(columns) - count)
        positive_amplitudes, _ = nnls(root.mT.numpy(), aim.numpy(), maxiter=limit)
        amplitudes[count:] = torch.from_numpy(positive_amplitudes)
    remainder = target[:count] - scaled[:count, count:] @ amplitudes[count:]
    amplitudes[:count] = torch.cholesky_solve(remainder[:, None], free_factor)[:, 0]
    amplitudes = amplitudes * scale
    residual = data - amplitudes @ columns
    penalised = precision > 0
    logs = 2 * (free_factor.diagonal().log() - scale[:count].log())[penalised].sum()
    return LinearFit(
        free=amplitudes[:count],
        positive=amplitudes[count:],
        residual=residual,
        chi2=float(residual.square().sum()),
        penalty=float((precision * amplitudes[:count].square()).sum()),
        log_determinant=float(logs - precision[penalised].log().sum()),
        precision=precision,
        columns=columns,
        data=data,
        gram=gram,
    )
