"""Lenses whose deflections are a Gaussian field, so that their likelihood is known exactly."""

from __future__ import annotations

import numpy as np
import torch

from lumpylens.detectors.physics.state import FLUCTUATIONS
from lumpylens.physics.spectrum import LUMPS, SEEN_FRACTIONS, Spectrum

DIRECTIONS, HALO = 100, 400.0


def eigenvalues(count, random):
    """Eigenvalues (count, DIRECTIONS): lenses of different depth and number of arcs."""
    depth = np.exp(random.normal(4.5, 0.8, count))
    length = random.uniform(4, 12, count)
    return depth[:, None] * np.exp(-np.arange(DIRECTIONS) / length[:, None]) + 1e-6


def variance(fraction):
    """Of the squared Einstein radius at each position, as `Spectrum.field_variance`."""
    return (np.asarray(fraction) * HALO) ** 2 / LUMPS / DIRECTIONS


def observed(information, fraction, random):
    """Components along the directions, shape (n, DIRECTIONS)."""
    total = information * (1 + variance(fraction)[:, None] * information)
    return np.sqrt(total) * random.normal(size=information.shape)


def numbers(information, along, random):
    """What a `physics` detector would give of these lenses."""
    spectrum = Spectrum(
        torch.tensor(information), torch.tensor(along), torch.full((len(along),), HALO).double()
    )
    sums = zip(FLUCTUATIONS, spectrum.fluctuations(0.0), strict=True)
    found = {
        f"{name}_{fraction:g}": table[:, k].numpy()
        for name, table in sums
        for k, fraction in enumerate(SEEN_FRACTIONS)
    }
    return found | {"residual": random.normal(size=len(along))}


def lenses(fraction, seed):
    """Numbers of lenses of given fractions, (n,), with their information and components."""
    random = np.random.default_rng(seed)
    fraction = np.asarray(fraction, dtype=float)
    information = eigenvalues(len(fraction), random)
    along = observed(information, fraction, random)
    return numbers(information, along, random), information, along


def exact_log_likelihood(information, along, grid):
    """Of each fraction of `grid`, for all lenses together."""
    likelihood = []
    for added in variance(grid):
        total = information * (1 + added * information)
        likelihood.append(-0.5 * (np.log(total) + along**2 / total).sum())
    return np.array(likelihood)
