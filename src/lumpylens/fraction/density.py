"""Likelihood of the fraction for one lens: the density of its summaries, learned by simulation.

A conditional normalising flow (Durkan et al. 2019, arXiv:1906.04032, of the package zuko) gives the
density of `LensSummaries.power` at given fraction and depth. The distribution of the depths
cancels: a survey may be deeper or shallower than the simulated one, as far as it has such lenses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lumpylens.errors import ModelError
from lumpylens.files.extras import pip_install
from lumpylens.fraction.stretch import FractionAxis
from lumpylens.fraction.summaries import LensSummaries
from lumpylens.physics.batches import unsplit

__all__ = ["FOLDS", "PowerDensity", "check_zuko", "learn_densities"]

FOLDS = 4
"""Flows, each of which learns from all simulated lenses but a quarter, on which it is checked."""

EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 15, 256, 3e-3, 1e-4
TRANSFORMS, BINS, HIDDEN = 2, 6, (48, 48)
"""A small flow, which cannot follow single lenses. Chosen on simulated lenses of `slc`."""


def check_zuko() -> None:
    """Raise if the package of the flows is not installed.

    Raises
    ------
    ModelError
    """
    try:
        import zuko  # noqa: F401
    except ImportError:
        raise ModelError(
            f"the fraction is inferred with the package zuko: {pip_install('population')}"
        ) from None


@dataclass(frozen=True)
class Whitening:
    """Linear map that brings numbers to mean 0 and covariance 1: powers of fields are alike.

    Attributes
    ----------
    mean : ndarray, shape (k,)
    inverse : ndarray, shape (k, k)
        Of the Cholesky factor of the covariance.
    """

    mean: NDArray[np.float64]
    inverse: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Whitening:
        """Learn from values of shape (n, k)."""
        covariance = np.cov(values.T) + 1e-9 * np.eye(values.shape[1])
        return cls(values.mean(axis=0), np.linalg.inv(np.linalg.cholesky(covariance)))

    def __call__(self, values: NDArray[np.float64]) -> Tensor:
        return _float((values - self.mean) @ self.inverse.T)


@dataclass(frozen=True)
class PowerDensity:
    """Density of the powers of a lens at given fraction and depth.

    Attributes
    ----------
    axis : FractionAxis
    flow : Module
        Of zuko.
    power, depth : Whitening
    """

    axis: FractionAxis
    flow: nn.Module
    power: Whitening
    depth: Whitening

    @torch.no_grad()
    def log_likelihood(self, lenses: LensSummaries) -> NDArray[np.float64]:
        """Logarithm of the likelihood of each lens, up to a constant, at all nodes; (n, 33)."""
        power, depth = self.power(np.arcsinh(lenses.power)), self.depth(lenses.depth)
        columns = []
        with one_thread():
            for place in self.axis.nodes:
                columns.append(
                    self.flow(_context(np.full(len(lenses), place), depth)).log_prob(power)
                )
        return torch.stack(columns, dim=1).double().numpy()

    @torch.no_grad()
    def deviates(self, lenses: LensSummaries, fraction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Powers as deviates that are standard normal if each lens has its `fraction`, (n, 3)."""
        context = _context(self.axis.place(fraction), self.depth(lenses.depth))
        with one_thread():
            deviates: Tensor = self.flow(context).transform(self.power(np.arcsinh(lenses.power)))
        return deviates.double().numpy()


def learn_densities(
    lenses: LensSummaries,
    fraction: NDArray[np.float64],
    axis: FractionAxis,
    *,
    seed: int,
    on_epoch: Callable[[], None] = lambda: None,
) -> tuple[list[PowerDensity], NDArray[np.int_]]:
    """Learn `FOLDS` densities, each without the lenses of one fold.

    Parameters
    ----------
    lenses : LensSummaries
        Simulated, n of them.
    fraction : ndarray of float64, shape (n,)
        Their true fractions.
    axis : FractionAxis
    seed : int
    on_epoch : callable
        Called `FOLDS` times `EPOCHS` times.

    Returns
    -------
    list of PowerDensity
    ndarray of int, shape (n,)
        Fold of each lens: the density that never saw it.
    """
    fold = np.random.default_rng((seed, 1)).permutation(len(lenses)) % FOLDS
    densities = [
        _learn(lenses[fold != number], fraction[fold != number], axis, (seed, number), on_epoch)
        for number in range(FOLDS)
    ]
    return densities, fold


def _learn(
    lenses: LensSummaries,
    fraction: NDArray[np.float64],
    axis: FractionAxis,
    seed: tuple[int, int],
    on_epoch: Callable[[], None],
) -> PowerDensity:
    import zuko

    random = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    scaled_power, scaled_depth = Whitening.of(np.arcsinh(lenses.power)), Whitening.of(lenses.depth)
    power = scaled_power(np.arcsinh(lenses.power))
    context = _context(axis.place(fraction), scaled_depth(lenses.depth))
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(random.initial_seed())  # layers take the generator of the process
        flow: Any = zuko.flows.NSF(
            power.shape[1],
            context.shape[1],
            transforms=TRANSFORMS,
            bins=BINS,
            hidden_features=HIDDEN,
        )
        optimizer = torch.optim.AdamW(
            flow.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY
        )
        steps = -(-len(power) // BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * steps)
        for _ in range(EPOCHS):
            for part in torch.randperm(len(power), generator=random).split(BATCH):
                loss = -flow(context[part]).log_prob(power[part]).mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
                optimizer.step()
                schedule.step()
            on_epoch()
    flow.eval().requires_grad_(False)
    return PowerDensity(axis, flow, scaled_power, scaled_depth)


def _context(place: NDArray[np.float64], depth: Tensor) -> Tensor:
    return torch.cat([_float(2 * place - 1)[:, None], depth], dim=1)


def _float(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


@contextmanager
def one_thread() -> Iterator[None]:
    """The same numbers on all machines, whatever their number of threads."""
    with unsplit():
        yield
