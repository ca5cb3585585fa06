"""`Submission`: lumpy or smooth for every lens, at an operating point chosen without labels.

A lens is called lumpy if its p-value is at most a limit t. Of the smooth lenses, a fraction t is
then called lumpy, since their p-values are uniform, so that the expected accuracy is

    A(t) = F(t) + s (1 - 2 t),

where s is the fraction of smooth lenses and F(t) the fraction of all p-values up to t, both of
which the p-values tell. Its maximum is where a lens is as probably lumpy as smooth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumpylens.errors import DataError, ModelError
from lumpylens.files.tables import check_table_place, csv_rows, pandas_frame
from lumpylens.files.writing import whole_file

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "OperatingPoint",
    "Submission",
    "SubmissionCounts",
    "check_submission",
    "operating_point",
    "smooth_fraction",
    "write_submission",
]

HEADER = ("ID", "has_substructure")
"""Columns that the Roman Data Challenge asks for (its documentation, page Submissions)."""

WORDS = {True: "True", False: "False"}
"""As in the challenge's own files."""

TUNING = np.linspace(0.05, 0.95, 19)
"""Values of lambda that are tried, as in Storey & Tibshirani 2003 (PNAS 100, 9440)."""

LEAST_OF_TUNING = 0.1
"""Quantile of the estimates that stands for the smallest one, which is too noisy itself."""


@dataclass(frozen=True)
class OperatingPoint:
    """Where lumpy begins.

    Attributes
    ----------
    p_value_limit : float
        Lenses with at most this p-value are called lumpy; 0 if none is. Also the expected
        false-positive rate.
    lumpy_fraction : float or None
        Of the lenses; None if a false-positive rate decides.
    is_estimate : bool
        Whether the fraction was estimated from the p-values, and not given.
    expected_accuracy : float or None
        Of the lenses that have a p-value.
    """

    p_value_limit: float
    lumpy_fraction: float | None = None
    is_estimate: bool = False
    expected_accuracy: float | None = None

    @property
    def unknown_is_lumpy(self) -> bool:
        """What a lens without a p-value is called: what most lenses are, and smooth in doubt."""
        return self.lumpy_fraction is not None and self.lumpy_fraction > 0.5

    def is_lumpy(self, p_values: ArrayLike) -> NDArray[np.bool_]:
        """Tell for each lens whether it is called lumpy.

        Parameters
        ----------
        p_values : array_like of float, shape (n,)
            NaN where there is none.
        """
        values = np.asarray(p_values, dtype=np.float64)
        return np.where(np.isnan(values), self.unknown_is_lumpy, values <= self.p_value_limit)


@dataclass(frozen=True)
class SubmissionCounts:
    """Numbers of a submission; its text is a sentence for the user.

    Attributes
    ----------
    point : OperatingPoint
    images, lumpy, unknown : int
        Number of lenses, of those called lumpy, and of those without a p-value.
    """

    point: OperatingPoint
    images: int
    lumpy: int
    unknown: int

    def __str__(self) -> str:
        point = self.point
        text = (
            f"{self.lumpy} of {self.images} lenses are called lumpy, those with a p-value of at "
            f"most {point.p_value_limit:.3g}"
        )
        if point.lumpy_fraction is None or point.expected_accuracy is None:
            text += ", which is the false-positive rate asked for"
        else:
            origin = "an estimate from the p-values" if point.is_estimate else "as given"
            text += (
                f": the best accuracy, {point.expected_accuracy:.0%} expected, if "
                f"{point.lumpy_fraction:.0%} of the lenses are lumpy ({origin})"
            )
        if self.unknown:
            called = "lumpy" if point.unknown_is_lumpy else "smooth"
            text += (
                f"; {self.unknown} without a p-value (not scored, or a doubtful score) are called "
                f"{called}"
            )
        return text


@dataclass(frozen=True, repr=False)
class Submission:
    """Lumpy or smooth for every lens, in the order of the images.

    Attributes
    ----------
    id : list of str, length n
    has_substructure : ndarray of bool, shape (n,)
    counts : SubmissionCounts
        With the operating point.
    """

    id: list[str]
    has_substructure: NDArray[np.bool_]
    counts: SubmissionCounts

    def __repr__(self) -> str:
        return f"Submission: {self.counts}"

    def to_pandas(self) -> DataFrame:
        """`pandas.DataFrame` with the columns of the file.

        Raises
        ------
        DataError
            If pandas is not installed.
        """
        return pandas_frame(dict(zip(HEADER, (self.id, self.has_substructure), strict=True)))

    def write(self, path: str | Path) -> Path:
        """Write the CSV file, under another name that is then changed.

        Raises
        ------
        DataError
            If it does not end in ``.csv``, or cannot be written.
        """
        check_submission_place(Path(path))
        write_submission([(self.id, self.has_substructure)], Path(path))
        return Path(path)

    @classmethod
    def of(cls, ids: list[str], p_values: NDArray[np.float64], point: OperatingPoint) -> Submission:
        """The submission of some lenses at an operating point.

        Raises
        ------
        DataError
            If two lenses have one id.
        """
        ((name, times),) = Counter(ids).most_common(1)
        if times > 1:
            raise DataError(
                f"{times} lenses are called {name}, and a submission has one row for each; "
                "score them apart"
            )
        lumpy = point.is_lumpy(p_values)
        unknown = int(np.isnan(p_values).sum())
        return cls(ids, lumpy, SubmissionCounts(point, len(ids), int(lumpy.sum()), unknown))


def write_submission(parts: Iterable[tuple[Iterable[str], Iterable[bool]]], path: Path) -> None:
    """Write ids, and whether each lens is called lumpy, part after part, into one whole file."""
    with whole_file(path) as part_file, csv_rows(part_file, HEADER) as write:
        for ids, lumpy in parts:
            for row in zip(ids, lumpy, strict=True):
                write((row[0], WORDS[bool(row[1])]))


def check_submission_place(path: Path) -> None:
    """Refuse a place for a submission before the work of making it.

    Raises
    ------
    DataError
        If it does not end in ``.csv``, or cannot be written.
    """
    if path.suffix.lower() != ".csv":
        raise DataError(f"a submission is a file that ends in .csv, and not {path}")
    check_table_place(path)


def check_submission(
    place: str | Path | None, lumpy_fraction: float | None, fpr: float | None
) -> None:
    """Refuse a place and an operating point that do not go together, before the work.

    Raises
    ------
    DataError
        If `place` does not end in ``.csv``, or cannot be written.
    ModelError
        If the fraction or the rate is none, both are given, or one without a place.
    """
    if place is not None:
        check_submission_place(Path(place))
    elif lumpy_fraction is not None or fpr is not None:
        raise ModelError(
            "a fraction of lumpy lenses and a false-positive rate are for a submission; say where "
            "to write it with submission, or leave them out"
        )
    check_operating_point(lumpy_fraction, fpr)


def check_operating_point(lumpy_fraction: float | None, fpr: float | None) -> None:
    """Refuse a fraction of lumpy lenses, or a false-positive rate, that is none, and both.

    Raises
    ------
    ModelError
    """
    if lumpy_fraction is not None and fpr is not None:
        raise ModelError(
            "a fraction of lumpy lenses and a false-positive rate are two ways to choose the "
            "operating point of a submission; give one of them"
        )
    if lumpy_fraction is not None and not 0 < lumpy_fraction < 1:
        raise ModelError(
            f"the fraction of lumpy lenses lies between 0 and 1, got {lumpy_fraction:g}"
        )
    if fpr is not None and not 0 < fpr < 1:
        raise ModelError(f"a false-positive rate lies between 0 and 1, got {fpr:g}")


def operating_point(
    p_values: ArrayLike,
    counts: ArrayLike | None = None,
    *,
    lumpy_fraction: float | None = None,
    fpr: float | None = None,
) -> OperatingPoint:
    """Choose the limit of the p-values from which on lenses are called lumpy.

    Parameters
    ----------
    p_values : array_like of float, shape (n,)
        NaN is left out.
    counts : array_like of int, shape (n,), optional
        How many lenses have each of them. Default: one.
    lumpy_fraction : float, optional
        Fraction of lumpy lenses. Default: one minus `smooth_fraction`. Given or not, the limit is
        that of the best expected accuracy.
    fpr : float, optional
        False-positive rate, in place of the best accuracy.

    Raises
    ------
    DataError
        If there is no p-value.
    ModelError
        See `check_operating_point`.

    Examples
    --------
    >>> point = operating_point([0.01, 0.01, 0.02, 0.6, 0.9], lumpy_fraction=0.5)
    >>> point.p_value_limit, round(point.expected_accuracy, 2)
    (0.02, 0.99)
    """
    check_operating_point(lumpy_fraction, fpr)
    values, times = _occurring(p_values, counts)
    if fpr is not None:
        return OperatingPoint(fpr)
    is_estimate = lumpy_fraction is None
    if lumpy_fraction is None:
        lumpy_fraction = 1 - smooth_fraction(values, times)
    smooth = 1 - lumpy_fraction
    limits = np.concatenate([[0.0], values])
    reached = np.concatenate([[0.0], np.cumsum(times) / times.sum()])
    best = int(np.argmax(reached - 2 * smooth * limits))
    limit = float(limits[best])
    # No more lumpy lenses than there are can be called so, whatever chance adds.
    right_lumpy = min(reached[best] - smooth * limit, lumpy_fraction)
    return OperatingPoint(
        limit,
        lumpy_fraction=lumpy_fraction,
        is_estimate=is_estimate,
        expected_accuracy=float(right_lumpy + smooth * (1 - limit)),
    )


def smooth_fraction(p_values: ArrayLike, counts: ArrayLike | None = None) -> float:
    """Estimate which fraction of the lenses is smooth, from their p-values alone.

    Those of smooth lenses are uniform, so of all above lambda nearly all are theirs:
    ``#{p > lambda} / (n (1 - lambda))`` (Storey 2002, J. R. Stat. Soc. B 64, 479). Of several
    lambda, the one with the least mean squared error is taken (section 9 there), with the variance
    of a binomial in place of a bootstrap. As lumpy lenses may have high p-values too, the estimate
    is too large rather than too small.

    Parameters
    ----------
    p_values, counts : array_like
        See `operating_point`.

    Returns
    -------
    float
        At most 1.

    Raises
    ------
    DataError
        If there is no p-value.
    """
    values, times = _occurring(p_values, counts)
    total = times.sum()
    # Conformal p-values are multiples of one number, and uniform only at these.
    places = np.unique(np.searchsorted(values, TUNING, side="right")) - 1
    places = places[(places >= 0) & (values[places] < 1)]
    if not len(places):
        return 1.0
    tuning = values[places]
    above = 1 - np.cumsum(times)[places] / total
    estimates = above / (1 - tuning)
    variances = above * (1 - above) / (total * (1 - tuning) ** 2)
    errors = variances + (estimates - np.quantile(estimates, LEAST_OF_TUNING)) ** 2
    return float(min(estimates[np.argmin(errors)], 1.0))


def _occurring(
    p_values: ArrayLike, counts: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """P-values that occur, ascending, and how often."""
    values = np.asarray(p_values, dtype=np.float64).ravel()
    times: Any = np.ones(len(values), int) if counts is None else np.asarray(counts, int)
    known = ~np.isnan(values) & (times > 0)
    if not known.any():
        raise DataError("no lens has a p-value, so there is nothing to submit")
    unique, place = np.unique(values[known], return_inverse=True)
    return unique, np.bincount(place, weights=times[known]).astype(int)
