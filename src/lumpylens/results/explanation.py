"""Explanation of the score of one image: images, numbers and a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

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
        ``perturbation`` or ``sensitivity``.
    title : str
        What it shows, for people.
    values : ndarray of float32, shape (h, w)
        NaN where nothing is known.
    extent_px : (float, float, float, float)
        Left, right, lower and upper edge in pixel coordinates of the image (column, column,
        row, row), in which pixel centres are whole numbers and rows count downwards.
    unit : str
    diverging : bool
        Zero is the middle of the scale, rather than its end.
    """

    name: str
    title: str
    values: NDArray[np.float32]
    extent_px: tuple[float, float, float, float]
    unit: str
    diverging: bool


@dataclass(frozen=True)
class Peak:
    """Position where an image departs most from a normal one.

    Attributes
    ----------
    column_px, row_px : float
        Pixel coordinates, counted from 0.
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
    peak : Peak or None
        Of the first map, or of the residual.
    ring_px : (float, float, float) or None
        Column, row and radius of the Einstein ring.
    view_px : (float, float, float, float) or None
        Part of the image to be shown, as in `PositionMap.extent_px`; None for all.
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
    peak: Peak | None = None
    ring_px: tuple[float, float, float] | None = None
    view_px: tuple[float, float, float, float] | None = None
    error: str = ""
    warning: str = ""

    @classmethod
    def of_reconstruction(
        cls,
        image: NDArray[np.float32],
        model: NDArray[np.float32] | None,
        noise: NDArray[np.float32] | None,
        scores: Mapping[str, float],
    ) -> Explanation:
        """Explain the score of any detector by how its reconstruction differs from the image.

        Parameters
        ----------
        image : ndarray of float32, shape (H, W)
        model, noise : ndarray of float32, shape (H, W), or None
            Reconstruction and 1-sigma noise map, in the unit of `image`.
        scores : dict of str to float
        """
        parts = tuple(ScorePart(name, float(value)) for name, value in scores.items())
        if model is None:
            text = "This detector draws no normal image to compare with: its score is all it says"
            return cls(image=image, scores=parts, sentence=text)
        difference = image.astype(np.float64) - model
        share = difference / float(np.ptp(image))
        residual, unit = (share, "of the range") if noise is None else (difference / noise, "sigma")
        row, column = np.unravel_index(np.abs(residual).argmax(), residual.shape)
        most = float(residual[row, column])
        amount = f"{most:+.1%} of the range" if noise is None else f"{most:+.1f} sigma"
        return cls(
            image=image,
            model=model,
            residual=residual.astype(np.float32),
            residual_unit=unit,
            scores=parts,
            sentence=(
                f"The reconstruction misses {np.sqrt(np.square(share).mean()):.2%} of the image's "
                f"range (rms), most at column {column}, row {row} ({amount})"
            ),
            peak=Peak(float(column), float(row), amount),
        )

    def calibrated(self, p_value: float, smallest_p_value: float) -> Explanation:
        """Add the p-value of the whole score, and raise the parts' p-values to the smallest one.

        Parameters
        ----------
        p_value : float
            Of the anomaly score; NaN where it is not known.
        smallest_p_value : float
            The smallest that the calibration gives.
        """
        if not self.scores:
            return self
        first, *others = self.scores
        return replace(
            self,
            scores=(
                replace(first, p_value=p_value, smallest_p_value=smallest_p_value),
                *(
                    replace(part, smallest_p_value=max(part.smallest_p_value, smallest_p_value))
                    for part in others
                ),
            ),
        )

    def __repr__(self) -> str:
        text = self.error or self.sentence or "nothing to show"
        return f"<Explanation of {self.id}: {text}>"
