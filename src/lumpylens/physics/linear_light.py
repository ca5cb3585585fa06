"""Amplitudes of columns of light: solving for them, marginalising and projecting them out.

An image is a sum of columns with unknown amplitudes. Some are free, with a Gaussian prior (the
source, the sky); others are light of a galaxy and cannot be negative. Columns and data are
whitened, that is, divided by the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["LinearFit", "solve"]


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
    basis : Tensor, shape (m, n)
        Columns in use: the free ones, then those with an amplitude above zero.
    factor : Tensor, shape (m, m)
        Cholesky factor of their information, prior included.
    precision : Tensor, shape (f,)
    """

    free: Tensor
    positive: Tensor
    residual: Tensor
    chi2: float
    penalty: float
    log_determinant: float
    basis: Tensor
    factor: Tensor
    precision: Tensor

    @property
    def log_evidence(self) -> float:
        """Log likelihood with the free columns marginalised, up to a constant of the data."""
        return -0.5 * (self.chi2 + self.penalty + self.log_determinant)

    def without(self, rows: Tensor) -> Tensor:
        """Part of whitened images (..., n) that the columns in use, with their prior, leave over.

        This is P = I - B (B'B + Lambda)^-1 B', the inverse covariance of the data when the
        amplitudes are marginalised.
        """
        along = torch.cholesky_solve(self.basis @ rows.mT, self.factor)
        return rows - along.mT @ self.basis

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


def solve(free: Tensor, precision: Tensor, positive: Tensor, data: Tensor) -> LinearFit:
    """Solve regularised least squares in which some amplitudes are not negative.

    Parameters
    ----------
    free : Tensor, shape (f, n)
        Whitened columns of any sign.
    precision : Tensor, shape (f,)
        Prior precision of each; 0 for none.
    positive : Tensor, shape (p, n)
        Whitened columns whose amplitudes are not negative.
    data : Tensor, shape (n,)

    Notes
    -----
    The free columns are eliminated by a Cholesky decomposition, which leaves a small
    non-negative least-squares problem (Lawson & Hanson 1974, chapter 23) on the Schur complement.
    """
    from scipy.optimize import nnls

    count = len(free)
    columns = torch.cat([free, positive])
    # Scaled to a unit diagonal, so that the ridge, which is for coinciding Gaussians, does not
    # change the other amplitudes.
    gram, right = columns @ columns.mT, columns @ data
    scale = gram.diagonal().clamp_min(1e-30).rsqrt()
    prior = torch.zeros_like(right)
    prior[:count] = precision
    information = gram + torch.diag(prior)
    scaled = information * scale * scale[:, None]
    scaled.diagonal().add_(1e-9)
    target = right * scale
    free_factor = torch.linalg.cholesky(scaled[:count, :count])
    amplitudes = torch.zeros_like(right)
    active = np.zeros(0, dtype=int)
    if len(positive):
        mixed = torch.linalg.solve_triangular(free_factor, scaled[:count, count:], upper=False)
        reduced = torch.linalg.solve_triangular(free_factor, target[:count, None], upper=False)
        schur = scaled[count:, count:] - mixed.mT @ mixed
        reduced_target = target[count:] - (mixed.mT @ reduced)[:, 0]
        schur.diagonal().add_(1e-9)
        root = torch.linalg.cholesky(schur)
        aim = torch.linalg.solve_triangular(root, reduced_target[:, None], upper=False)[:, 0]
        positive_amplitudes, _ = nnls(root.mT.numpy(), aim.numpy(), maxiter=50 * len(positive))
        amplitudes[count:] = torch.from_numpy(positive_amplitudes)
        active = np.flatnonzero(positive_amplitudes > 0)
    remainder = target[:count] - scaled[:count, count:] @ amplitudes[count:]
    amplitudes[:count] = torch.cholesky_solve(remainder[:, None], free_factor)[:, 0]
    amplitudes = amplitudes * scale
    solved_rows = torch.cat([torch.arange(count), count + torch.from_numpy(active)])
    unscaled = information[solved_rows][:, solved_rows]
    unscaled.diagonal().mul_(1 + 1e-9)
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
        basis=columns[solved_rows],
        factor=torch.linalg.cholesky(unscaled),
        precision=precision,
    )
