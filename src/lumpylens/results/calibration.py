"""P-values, thresholds and selections from raw scores, calibrated on normal images alone.

Calibration never changes the ranking: a higher score never gets a higher p-value, and images
whose scores lie between the same two calibration scores have equal p-values and keep the order of
their raw scores. Metrics are computed from raw scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumpylens.errors import ModelError

__all__ = [
    "LEAST_TOGETHER",
    "Calibration",
    "benjamini_hochberg",
    "benjamini_hochberg_of_counts",
    "calibration_images_for",
]

ROUNDING = 1e-9
"""Tolerance within which ``fpr * (n + 1)`` counts as the whole number that it stands for: far above
the rounding of a product, far below 1 / n for any calibration."""


LEAST_TOGETHER, ORDINARY = 50, 0.1
"""Least number of images that are judged together, and the least part of them that is expected to
be normal. The mean of 50 has a seventh of the spread of single ones."""


@dataclass(frozen=True)
class Calibration:
    """Scores of normal images that took no part in training.

    Attributes
    ----------
    scores : ndarray of float64, shape (n,)
        Sorted, lowest first; given in any order.

    Raises
    ------
    ModelError
        If there is no score, or one that is not a finite number.

    Examples
    --------
    >>> calibration = Calibration(np.arange(1.0, 100.0))
    >>> calibration.p_values([0.0, 95.0, 1000.0])
    array([1.  , 0.06, 0.01])
    >>> calibration.threshold(0.05)
    95.0
    """

    scores: NDArray[np.float64]

    def __post_init__(self) -> None:
        scores = np.sort(np.asarray(self.scores, dtype=np.float64).ravel())
        if len(scores) == 0:
            raise ModelError("no calibration image has a score, so there are no p-values")
        if not np.isfinite(scores).all():
            raise ModelError("a calibration score is not a finite number")
        scores.flags.writeable = False
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def smallest_p_value(self) -> float:
        """1 / (n + 1), given to every score above all calibration scores."""
        return 1 / (len(self) + 1)

    def p_values(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Conformal p-values (1 + #{calibration >= score}) / (n + 1).

        For a normal image, exchangeable with the calibration images, the probability of a
        p-value of at most u is at most u, whatever the distribution of the scores (Vovk,
        Gammerman & Shafer 2005).

        Parameters
        ----------
        scores : array_like, any shape
            NaN stays NaN.
        """
        values = np.asarray(scores, dtype=np.float64)
        reached = len(self) - np.searchsorted(self.scores, values, side="left")
        return np.where(np.isnan(values), np.nan, (1 + reached) / (len(self) + 1))

    def standing(self, score: float) -> str:
        """Say how a score compares with those of the calibration images.

        Examples
        --------
        >>> hundred = Calibration(np.arange(100.0))
        >>> hundred.standing(97.5)
        'score above 98 of 100 normal images'
        >>> hundred.standing(1e6)
        'score above all 100 normal images'
        """
        below = int(np.searchsorted(self.scores, score, side="left"))
        share = "all" if below == len(self) else f"{below} of"
        return f"score above {share} {len(self)} normal images"

    def counts(self, p_values: ArrayLike) -> list[tuple[int, int]]:
        """Count the images that have each p-value that occurs.

        Parameters
        ----------
        p_values : array_like
            As given by `p_values`, for any images; NaN is not counted.

        Returns
        -------
        list of (int, int)
            Pairs of j and the number of p-values j / (n + 1), in the order of j.

        Examples
        --------
        >>> Calibration([1.0, 2.0, 3.0]).counts([0.25, 1.0, 0.25, np.nan])
        [(1, 2), (4, 1)]
        """
        values = np.asarray(p_values, dtype=np.float64)
        ranks = np.rint(values[~np.isnan(values)] * (len(self) + 1)).astype(np.int64)
        occurring, times = np.unique(ranks, return_counts=True)
        return list(zip(occurring.tolist(), times.tolist(), strict=True))

    def strangers(self, counts: Iterable[tuple[int, int]]) -> str:
        """Say so if hardly any of many images scores like an ordinary normal one; else empty.

        Half of all normal images have p-values above 1/2, so a set in which a tenth of that do
        is lumpy for the most part, or was not taken as the calibration images were.

        Parameters
        ----------
        counts : iterable of (int, int)
            As given by `counts`.

        Examples
        --------
        >>> hundred = Calibration(np.arange(99.0))
        >>> hundred.strangers([(1, 90), (80, 2)])[:57]
        '2 of 92 images score like the lower half of normal images'
        >>> hundred.strangers([(1, 90), (80, 20)])
        ''
        """
        ranks = list(counts)
        images = sum(times for _, times in ranks)
        ordinary = sum(times for rank, times in ranks if 2 * rank > len(self) + 1)
        if images < LEAST_TOGETHER or ordinary >= ORDINARY * images / 2:
            return ""
        return (
            f"{ordinary} of {images} images score like the lower half of normal images: either "
            f"more than {1 - ORDINARY:.0%} of them have substructure, or they are not like the "
            "training images (another blur, noise or population) and their p-values are not "
            "valid; `lumpylens adapt` brings the model to such images"
        )

    def threshold(self, fpr: float) -> float:
        """Score above which a normal image lies with a probability of at most `fpr`.

        A score is above it exactly where its p-value is at most `fpr`. Over repeated
        calibrations the false-positive rate has the Beta(k, n + 1 - k) distribution with
        k = floor(fpr (n + 1)), mean k / (n + 1).

        Raises
        ------
        ModelError
            If `fpr` is finer than the calibration images can tell, or not a rate.
        """
        return float(self.scores[len(self) - self._rank(fpr)])

    def fewest_selected(self, fdr: float, n_images: int) -> int:
        """Smallest number of images that can be selected, if all have the smallest p-value.

        Benjamini-Hochberg selects the k images with p-values up to j / (n + 1) if that is at
        most fdr k / N, so the least k belongs to j = 1. More than N: nothing can be selected.

        Examples
        --------
        >>> hundred = Calibration(np.arange(99.0))
        >>> hundred.fewest_selected(0.05, 5), hundred.fewest_selected(0.05, 1000)
        (1, 200)
        >>> Calibration(np.arange(18.0)).fewest_selected(0.05, 100)
        106
        """
        smallest = self.smallest_p_value
        fewest = max(math.floor(n_images * smallest / fdr + ROUNDING), 1)
        # Compared in the arithmetic of q-values, which may miss a tie by the last bit.
        return fewest if smallest * (n_images / fewest) <= fdr else fewest + 1

    def selection_limit(self, fdr: float, n_images: int | None = None) -> str:
        """Say why nothing, or no single image, can be selected, and what would help; else empty.

        Parameters
        ----------
        fdr : float
        n_images : int, optional
            None if it is not known before the images are scored.

        Examples
        --------
        >>> Calibration(np.arange(99.0)).selection_limit(0.05, 5)
        ''
        """
        if self.smallest_p_value > fdr:
            return (
                f"no image can be flagged at a false-discovery rate of {fdr:g}: {self._floor()}; "
                f"calibrate on at least {calibration_images_for(fdr)} images, or allow a rate of "
                f"{math.ceil(1000 * self.smallest_p_value) / 1000:g}"
            )
        if n_images is None:
            fewest = f"1 in {math.floor(fdr / self.smallest_p_value + ROUNDING)} images"
            remedy = "more calibration images lower this fraction"
        else:
            least = self.fewest_selected(fdr, n_images)
            if least == 1:
                return ""
            fewest = f"{least} of the {n_images} images"
            remedy = (
                f"with {calibration_images_for(fdr / n_images)} calibration images a single image "
                "can be flagged"
            )
        return (
            f"fewer than {fewest} cannot be flagged at a false-discovery rate of {fdr:g}, and this "
            f"number only if each scores above all {len(self)} calibration images; {remedy}; the "
            "ranking needs no calibration images"
        )

    def _floor(self) -> str:
        return (
            f"{len(self)} calibration images give no p-value below "
            f"1/{len(self) + 1} = {self.smallest_p_value:.2g}"
        )

    def expected_false_alarms(
        self, fpr: float, n_normal: int, confidence: float = 0.95
    ) -> tuple[int, int]:
        """Number of `n_normal` unseen normal images that exceed `threshold(fpr)`.

        Returns
        -------
        (int, int)
            Central interval of the beta-binomial distribution of that number.
        """
        from scipy.stats import betabinom

        rank = self._rank(fpr)
        low, high = betabinom.interval(confidence, n_normal, rank, len(self) + 1 - rank)
        return int(low), int(high)

    def _rank(self, fpr: float) -> int:
        if not 0 < fpr < 1:
            raise ModelError(f"a false-positive rate lies between 0 and 1, got {fpr:g}")
        rank = math.floor(fpr * (len(self) + 1) + ROUNDING)
        if rank < 1:
            raise ModelError(
                f"{self._floor()}, so there is no threshold for a false-positive rate of {fpr:g}; "
                f"calibrate on at least {calibration_images_for(fpr)} images"
            )
        return rank

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The scores as named arrays, for the model folder."""
        return {"scores": np.array(self.scores)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Calibration:
        """Make a calibration from what `arrays` returned."""
        return cls(arrays["scores"])


def calibration_images_for(p_value: float) -> int:
    """Number of calibration images that a p-value as small as `p_value` needs.

    Examples
    --------
    >>> calibration_images_for(0.05), calibration_images_for(0.01)
    (19, 99)
    """
    return math.ceil(1 / p_value - ROUNDING) - 1


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Benjamini-Hochberg q-values: selecting q <= a keeps the false-discovery rate below a.

    Conformal p-values that share their calibration images are positively dependent in the
    way that the procedure allows (Bates et al. 2023, Annals of Statistics 51, 149).

    Parameters
    ----------
    p_values : array_like, shape (n,)
        NaN stays NaN and is not counted among the tests.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03, np.nan])
    array([0.03, 0.04, 0.04,  nan])
    """
    # As scipy.stats.false_discovery_control, which takes a second to import.
    values = np.asarray(p_values, dtype=np.float64)
    q = np.full(values.shape, np.nan)
    (defined,) = np.nonzero(~np.isnan(values))
    ascending = defined[np.argsort(values[defined], kind="stable")]
    tests = len(ascending)
    expected = values[ascending] * (tests / np.arange(1, tests + 1))
    q[ascending] = np.minimum.accumulate(expected[::-1])[::-1].clip(0, 1)
    return q


def benjamini_hochberg_of_counts(counts: ArrayLike) -> NDArray[np.float64]:
    """Benjamini-Hochberg q-values of any number of images, from the counts of their p-values.

    Conformal p-values are multiples of 1 / (n + 1), so their counts are all that the procedure
    needs: the q-values equal those of `benjamini_hochberg`, bit for bit.

    Parameters
    ----------
    counts : array_like of int, shape (n + 1,)
        Number of images with p-value j / (n + 1), for j from 1.

    Returns
    -------
    ndarray of float64, shape (n + 1,)
        The q-value of an image with p-value j / (n + 1).

    Examples
    --------
    >>> benjamini_hochberg_of_counts([2, 0, 1, 1])
    array([0.5, 1. , 1. , 1. ])
    >>> benjamini_hochberg([0.25, 0.25, 0.75, 1.0])
    array([0.5, 0.5, 1. , 1. ])
    """
    times = np.asarray(counts)
    size = len(times)
    p_value = np.arange(1, size + 1) / size
    reached = np.cumsum(times)
    total = reached[-1] if size else 0
    # A p-value that no image reaches decides nothing.
    ratio = np.where(reached > 0, p_value * (total / np.maximum(reached, 1)), 1.0)
    return np.minimum(np.minimum.accumulate(ratio[::-1])[::-1], 1.0)
