"""Learning from images among which some may have substructure, nobody knows which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.splits import Split
from lumpylens.detectors import Detector, Run
from lumpylens.files.progress import counted, note
from lumpylens.results.apart import EXPECTED, UNEXPECTED, start_of_second_group

__all__ = ["TakenForNormal", "learn_without_anomalies"]

ROUNDS = 4
"""Most times that a detector learns. With 40 % of lumpy lenses among images of the challenge the
third time leaves out the same images as the second. Not tuned."""


@dataclass(frozen=True)
class TakenForNormal:
    """Images whose scores do not stand apart, of each part that a model is made with.

    Attributes
    ----------
    train, validation, calibration : ndarray of bool, shape (n,)
    """

    train: NDArray[np.bool_]
    validation: NDArray[np.bool_]
    calibration: NDArray[np.bool_]

    def counts(self) -> dict[str, int | float]:
        """How many images of each part stand apart, and the share of all of them."""
        apart = {part.name: int((~getattr(self, part.name)).sum()) for part in fields(self)}
        total = sum(len(getattr(self, name)) for name in apart)
        return {**apart, "share": round(sum(apart.values()) / total, 4)}

    def equals(self, other: TakenForNormal) -> bool:
        """Whether both hold the same images for learning."""
        return np.array_equal(self.train, other.train) and np.array_equal(
            self.validation, other.validation
        )


def learn_without_anomalies(
    learner: Detector, learn: Callable[..., Any], parts: Split, run: Run
) -> TakenForNormal:
    """Learn, leave out the images whose scores stand apart, and learn again, until none changes.

    Each time all images are judged anew, those that were left out, too.

    Parameters
    ----------
    learner : Detector
    learn : callable
        Its `fit` or `adapt`.
    parts : Split
    run : Run
    """
    learn(parts.train, validation=parts.validation, run=run)
    before = TakenForNormal(
        *(
            np.ones(len(part), dtype=bool)
            for part in (parts.train, parts.validation, parts.calibration)
        )
    )
    for turn in range(2, ROUNDS + 1):
        normal = _judged(learner, parts, run)
        note(_progress(normal), show=run.progress)
        if normal.equals(before):
            return normal
        before = normal
        again = run if run.folder is None else replace(run, folder=run.folder / f"round-{turn}")
        learn(parts.train[normal.train], validation=parts.validation[normal.validation], run=again)
    return _judged(learner, parts, run)


def _judged(learner: Detector, parts: Split, run: Run) -> TakenForNormal:
    """Tell from their scores which images stand apart."""
    total = len(parts.train) + len(parts.validation) + len(parts.calibration)
    with counted("looking for anomalies", total, show=run.progress) as step:
        train, validation, calibration = (
            learner.score(part, on_image=step).anomaly_score
            for part in (parts.train, parts.validation, parts.calibration)
        )
    of_learned = start_of_second_group(train)
    # Apart from those that were learned from, whose scores may be lower.
    held_out = np.concatenate([validation, calibration])
    of_others = start_of_second_group(
        held_out, least=UNEXPECTED if of_learned is None else EXPECTED
    )
    return TakenForNormal(
        _up_to(of_learned, train), _up_to(of_others, validation), _up_to(of_others, calibration)
    )


def _up_to(limit: float | None, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Scores that are not above a limit; one that is not a number is not."""
    return np.ones(len(scores), dtype=bool) if limit is None else ~(scores > limit)


def _progress(normal: TakenForNormal) -> str:
    counts = normal.counts()
    return (
        f"the scores of {counts['share']:.1%} of the images stand apart "
        f"({counts['train']} of {len(normal.train)} to learn from): they are left out"
        if counts["share"]
        else "no image stands apart"
    )
