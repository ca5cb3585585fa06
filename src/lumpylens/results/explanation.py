"""Explanation of the score of one image: images, numbers and a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lumpylens.results.calibration import Calibration
from lumpylens.results.position import ROW_ZERO, position_words

__all__ = ["Explanation", "Peak", "PositionMap", "ScorePart", "Surprise"]


@dataclass(frozen=True)
class ScorePart:
    """A score, or a part of one, and how often normal images reach it.

    Attributes
    ----------
    name : str
    value : float
        Higher is more anomalous.
    p_value : float
        Probability that a normal image scores as high; NaN where it is not known.
    smallest_p_value : float
        1/(n + 1) for n normal images, the smallest that they can give. A smaller `p_value` is
        replaced by this one.
    """

    name: str
    value: float
    p_value: float = math.nan
    smallest_p_value: float = 0.0

    def __post_init__(self) -> None:
        if self.p_value < self.smallest_p_value:
            object.__setattr__(self, "p_value", self.smallest_p_value)

    @property
    def p_text(self) -> str:
        """The p-value in words, empty if it is not known.

        Examples
        --------
        >>> ScorePart("residual", 1.2, 0.031).p_text
        'p = 0.031'
        >>> ScorePart("residual", 99.0, 1e-9, smallest_p_value=0.001).p_text
        'p ≤ 0.001'
        """
        if math.isnan(self.p_value):
            return ""
        sign = "≤" if self.p_value <= self.smallest_p_value else "="
        return f"p {sign} {self.p_value:.2g}"


@dataclass(frozen=True)
class Surprise:
    """One parameter of a lens, compared with those of normal lenses.

    Attributes
    ----------
    parameter : str
        Its name in words, such as ``Einstein radius``.
    value, typical : float
        Of this lens, and the mean of normal ones, in `unit`.
    unit : str
    sigma : float
        Departure in standard deviations: spread of normal lenses and error of this fit.
    """

    parameter: str
    value: float
    typical: float
    unit: str
    sigma: float


@dataclass(frozen=True, eq=False)
class PositionMap:
    """A quantity at positions in the image.

    Attributes
    ----------
    name : str
        One word, such as ``loss`` or ``perturbation``.
    title : str
        What it shows, for people.
    values : ndarray of float32, shape (h, w)
        NaN where nothing is known.
    extent_px : (float, float, float, float)
        Left, right, lower and upper edge in pixel coordinates of the image (column, column,
        row, row), in which pixel centres are whole numbers and row 0 is at the bottom.
    unit : str
    diverging : bool
        Zero is the middle of the scale, rather than its end.
    least_range : float
        Smallest half-range of the colours of a `diverging` map, in `unit`. Below it, colours would
        stretch what normal images have too until it looks like a signal.
    """

    name: str
    title: str
    values: NDArray[np.float32]
    extent_px: tuple[float, float, float, float]
    unit: str
    diverging: bool
    least_range: float = 0.0


@dataclass(frozen=True)
class Peak:
    """Position where an image departs most from a normal one.

    Attributes
    ----------
    column_px, row_px : float
        Pixel coordinates, counted from 0; row 0 is at the bottom.
    text : str
        By how much, with the unit.
    """

    column_px: float
    row_px: float
    text: str


@dataclass(frozen=True, eq=False)
class Explanation:
    """Everything that a detector can show about one image.

    Attributes
    ----------
    id : str
    image : ndarray of float32, shape (H, W), or None
        As given; None if it could not be read.
    model : ndarray of float32, shape (H, W), or None
        The normal image nearest to it, on its scale; None if the detector makes none.
    residual : ndarray of float32, shape (H, W), or None
        Image minus model in `residual_unit`; NaN where nothing is known.
    residual_unit : str
        ``sigma`` if it is divided by its noise.
    scores : tuple of ScorePart
        The anomaly score first.
    sentence : str
        What is unusual, in plain words.
    surprises : tuple of Surprise
        Empty for detectors that know no parameters.
    maps : tuple of PositionMap
        Of places; the first one is the score's own.
    no_map : str
        Why there is none; empty if there is one.
    peak : Peak or None
        Of the first map.
    ring_px : (float, float, float) or None
        Column, row and radius of the Einstein ring.
    view_px : (float, float, float, float) or None
        Part of the image to be shown, as in `PositionMap.extent_px`; None for all.
    pixel_scale_arcsec : float or None
        Of the image, where it is known.
    error, warning : str
        Why there is no explanation, or why it should not be trusted.
    """

    id: str = ""
    image: NDArray[np.float32] | None = None
    model: NDArray[np.float32] | None = None
    residual: NDArray[np.float32] | None = None
    residual_unit: str = "sigma"
    scores: tuple[ScorePart, ...] = ()
    sentence: str = ""
    surprises: tuple[Surprise, ...] = ()
    maps: tuple[PositionMap, ...] = ()
    no_map: str = ""
    peak: Peak | None = None
    ring_px: tuple[float, float, float] | None = None
    view_px: tuple[float, float, float, float] | None = None
    pixel_scale_arcsec: float | None = None
    error: str = ""
    warning: str = ""

    def calibrated(self, calibration: Calibration) -> Explanation:
        """Say how the score compares with those of normal images.

        The anomaly score gets its p-value, unless there is a `warning`, and the sentence says how
        many normal images it exceeds. No p-value of a part stays below the smallest one.

        Parameters
        ----------
        calibration : Calibration
            Scores of normal images that were not learned from.
        """
        if not self.scores:
            return self
        smallest = calibration.smallest_p_value
        first, *components = self.scores
        p_value = math.nan if self.warning else float(calibration.p_values(first.value))
        standing = "" if self.warning else f"; {calibration.standing(first.value)}"
        return replace(
            self,
            sentence=self.sentence + standing,
            scores=(
                replace(first, p_value=p_value, smallest_p_value=smallest),
                *(
                    replace(part, smallest_p_value=max(part.smallest_p_value, smallest))
                    for part in components
                ),
            ),
        )

    @property
    def peak_words(self) -> str:
        """Place where an image departs most, and by how much; or why none is named.

        Examples
        --------
        >>> image = np.zeros((11, 11), dtype=np.float32)
        >>> Explanation(image=image, peak=Peak(3.0, 7.0, "4 sigma")).peak_words
        'column 3, row 7: 4 sigma; row 0 is at the bottom'
        """
        if self.peak is None or self.image is None:
            return self.no_map and f"no map: {self.no_map}"
        height, width = self.image.shape
        column, row = self.peak.column_px, self.peak.row_px
        place = position_words(column, row, (height, width), self.pixel_scale_arcsec)
        return f"{place}: {self.peak.text}; {ROW_ZERO}"

    def __repr__(self) -> str:
        text = self.error or self.sentence or "nothing to show"
        return f"<Explanation of {self.id}: {text}>"
