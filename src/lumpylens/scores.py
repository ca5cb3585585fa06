"""`ScoreTable`: one row per image, scored or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ScoreTable"]


@dataclass(frozen=True)
class ScoreTable:
    """Scores of a collection, in its order.

    Attributes
    ----------
    id : list of str, length n
    anomaly_score : ndarray of float64, shape (n,)
        Higher is more anomalous; NaN where `error` says why there is none.
    p_value, q_value : ndarray of float64, shape (n,)
        Conformal p-value and Benjamini-Hochberg q-value; NaN before calibration, for failed
        images, and where `warning` says that the image is outside what the model knows.
    flag : ndarray of bool, shape (n,)
        Selected at the requested false-discovery rate.
    error, warning : list of str, length n
    components : dict of str to ndarray, shape (n,)
        Named parts of the score, the plain ``reconstruction_mse`` among them.
    """

    id: list[str]
    anomaly_score: NDArray[np.float64]
    error: list[str]
    warning: list[str]
    p_value: NDArray[np.float64]
    q_value: NDArray[np.float64]
    flag: NDArray[np.bool_]
    components: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.id)
