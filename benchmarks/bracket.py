"""How well lumps can be told from noise, from the signals of many draws of them: the statistics.

A signal is what lumps change in an image and a smooth lens cannot imitate, in units in which noise
is white: N(0, 1) along every direction. All that counts of the signals of one lens are their inner
products. `lumpylens` is not needed here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

Array = NDArray[np.float64]

WIDTHS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
"""Of the kernels that lie between the mixture of draws (0) and the Gaussian field (1). Not tuned:
the score `all` averages over them."""

LEAST_POWER = 1e-9
"""Part of the strongest direction's power below which a direction of the signals is rounding."""


def coordinates(
    gram: Array, train: NDArray[np.intp], test: NDArray[np.intp]
) -> tuple[Array, Array]:
    """Signals in an orthonormal basis of the space of some of them.

    Parameters
    ----------
    gram : ndarray, shape (d, d)
        Inner products of the signals.
    train : ndarray of int, shape (m,)
        Those that span the space.
    test : ndarray of int, shape (t,)
        Of these only the part that lies in it is kept.

    Returns
    -------
    ndarray, shape (m, r)
    ndarray, shape (t, r)
    """
    power, vectors = np.linalg.eigh(gram[np.ix_(train, train)])
    kept = power > LEAST_POWER * power[-1]
    root = np.sqrt(power[kept])
    return vectors[:, kept] * root, gram[np.ix_(test, train)] @ vectors[:, kept] / root


def log_ratios(data: Array, draws: Array, widths: Sequence[float]) -> Array:
    """Log likelihood ratios of lumps against none, shape (len(widths), n).

    Lumps have the density of the mean of N(m + sqrt(1 - w^2) (s - m), 1 + w^2 S) over the draws s,
    with m and S their mean and covariance, so that every width w gives the same mean and
    covariance. With w = 0 it is the mixture of the draws, with w = 1 the Gaussian random field.

    Parameters
    ----------
    data : ndarray, shape (n, r)
    draws : ndarray, shape (m, r)
    widths : sequence of float
        From 0 to 1.
    """
    mean = draws.mean(axis=0)
    departures = draws - mean
    power, axes = np.linalg.eigh(departures.T @ departures / (len(draws) - 1))
    data, mean, departures = data @ axes, mean @ axes, departures @ axes
    ratios = []
    for width in widths:
        variance = 1 + width**2 * power.clip(0)
        centres = mean + np.sqrt(1 - width**2) * departures
        own = 0.5 * (data**2 @ (1 - 1 / variance) - np.log(variance).sum())
        near = data @ (centres / variance).T - 0.5 * (centres**2 / variance).sum(axis=1)
        ratios.append(own + logsumexp(near, axis=1) - np.log(len(draws)))
    return np.array(ratios)


def without(vectors: Array, direction: Array) -> Array:
    """The part of vectors (n, r) that is orthogonal to a direction (r,) of length 1."""
    return np.asarray(vectors - np.outer(vectors @ direction, direction))


def lens_scores(
    gram: Array, random: np.random.Generator, folds: int, noises: int
) -> dict[str, tuple[Array, Array]]:
    """Scores of images of one lens with and without lumps, by an observer with draws of lumps.

    Each draw is tried once, under noise, with the other folds' draws as all that is known of lumps.

    Parameters
    ----------
    gram : ndarray, shape (d, d)
        Inner products of the draws' signals.
    random : Generator
        Of the noise.
    folds : int
    noises : int
        Realisations of noise for each draw, and as many of noise alone.

    Returns
    -------
    dict of str to (ndarray, ndarray), shape (d * noises,) each
        By score: lumpy and smooth images. ``field`` is a Gaussian random field with the draws' mean
        and covariance, ``mixture`` the mean likelihood of the draws, ``all`` the mean likelihood of
        both and of `WIDTHS` between them. ``grains`` is the field for an observer who does not
        trust the mean change, as if halos of any profile were smooth lenses.
    """
    order = random.permutation(len(gram))
    parts: dict[str, tuple[list[Array], list[Array]]] = {
        name: ([], []) for name in ("field", "mixture", "all", "grains")
    }
    for test in np.array_split(order, folds):
        draws, tried = coordinates(gram, np.setdiff1d(order, test), test)
        mean_change = draws.mean(axis=0) / np.linalg.norm(draws.mean(axis=0))
        noise = random.standard_normal((2, noises, *tried.shape))
        noise[0] += tried
        data = noise.reshape(-1, tried.shape[1])
        ratios = log_ratios(data, draws, (1.0, 0.0, *WIDTHS))
        mean = logsumexp(ratios, axis=0) - np.log(len(ratios))
        grains, *_ = log_ratios(without(data, mean_change), without(draws, mean_change), (1.0,))
        for name, score in zip(parts, (*ratios[:2], mean, grains), strict=True):
            for side, values in zip(parts[name], np.split(score, 2), strict=True):
                side.append(values)
    return {
        name: (np.concatenate(lumpy), np.concatenate(smooth))
        for name, (lumpy, smooth) in parts.items()
    }


def known_lumps_areas(snr: Array) -> Array:
    """AUC between lenses of a ratio that knows the lumps, shape (n, n): lumpy row, smooth column.

    With signal-to-noise d it is distributed as N(d^2 / 2, d^2) with lumps, and as N(-d^2 / 2, d^2)
    without.

    Parameters
    ----------
    snr : ndarray, shape (n, d)
        Of each draw of each lens.
    """
    square = snr**2
    areas = np.zeros((len(snr), len(snr)))
    for i, first in enumerate(square):
        for j, second in enumerate(square[: i + 1]):
            areas[i, j] = areas[j, i] = ndtr(0.5 * np.sqrt(first[:, None] + second)).mean()
    return areas


def areas_between(lumpy: Sequence[Array], smooth: Sequence[Array]) -> Array:
    """AUC between lenses, shape (n, n): scores of the lumpy row's against the smooth column's."""
    ranked = [np.sort(scores) for scores in smooth]

    def area(scores: Array, sorted_scores: Array) -> float:
        below = np.searchsorted(sorted_scores, scores, side="left")
        upto = np.searchsorted(sorted_scores, scores, side="right")
        return float((below + upto).mean() / 2 / len(sorted_scores))

    return np.array([[area(scores, column) for column in ranked] for scores in lumpy])


def pooled(areas: Array, seed: int, resamples: int = 2000) -> tuple[float, float, float]:
    """AUC over all pairs of two lenses, with a 95 % interval from a bootstrap over lenses.

    Parameters
    ----------
    areas : ndarray, shape (n, n)
        AUC of lumpy images of one lens against smooth images of another.
    seed : int
    resamples : int
    """
    count = len(areas)
    off = areas * (1 - np.eye(count))
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    pairs = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
    weights, pairs = weights[pairs > 0], pairs[pairs > 0]
    drawn = np.einsum("ri,ij,rj->r", weights, off, weights, optimize=True) / pairs
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(off.sum() / (count * (count - 1))), float(low), float(high)
