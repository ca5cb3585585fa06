"""What the `physics` detector can show of an image: maps, surprises, a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lumpylens.data.images import ImageBatch
from lumpylens.detectors.lens_words import departures, surprises_of
from lumpylens.detectors.outcome import BatchScores
from lumpylens.detectors.physics.examination import Examination, Examiner
from lumpylens.detectors.physics.state import Learned
from lumpylens.physics.batches import unsplit
from lumpylens.physics.parameters import INDEX
from lumpylens.physics.perturbation import Filter, Perturbers, Signals
from lumpylens.physics.residual import whitened_residual
from lumpylens.results.explanation import Explanation, Peak, PositionMap, ScorePart, Surprise
from lumpylens.results.position import position_words

__all__ = ["explain_one"]

REACH, SPACING = 1.5, 1 / 12
"""Radius of the drawn maps and the distance of their positions, in Einstein radii."""

AT_ONCE = 150
"""Positions filtered at once, beside those of the score."""

UNUSUAL = 0.01
"""Tail probability below which the sentence calls a part of the score unusual."""

LEAST_SIGMA = 4.0
"""Smallest half-range of the colours of the perturbation map: pure noise stays pale."""

VIEW = 2.6
"""Half-side of what is drawn, in Einstein radii: arcs reach about twice the ring."""


@dataclass(frozen=True)
class Maps:
    """Deflections of one image at a fine grid of positions, shape (h, w) each.

    Attributes
    ----------
    snr : ndarray
        Mass of a perturber over its error; NaN where the image does not tell.
    mass, error : ndarray
        Squared Einstein radius of a perturber and its standard deviation, px^2. Errors of the
        instrument model are included.
    extent : (float, float, float, float)
        Left, right, bottom and top edge relative to the image's centre, px.
    """

    snr: NDArray[np.float64]
    mass: NDArray[np.float64]
    error: NDArray[np.float64]
    extent: tuple[float, float, float, float]


@torch.no_grad()
@unsplit()
def explain_one(
    learned: Learned,
    examiner: Examiner,
    alone: ImageBatch,
    scores_of: Callable[[ImageBatch, Examination], BatchScores],
) -> Explanation:
    """Explain the one image of a batch."""
    model = learned.model
    filtered = examiner.look(alone)
    scored = filtered.signals(examiner.positions(filtered.solved.fitted))
    exam = examiner.judge(filtered, scored)
    result = scores_of(alone, exam)
    maps = perturbation_maps(examiner.radius, learned.error, filtered, scored)

    full = {name: float(model.expand(exam.fitted.values)[0, at]) for name, at in INDEX.items()}
    radius = math.exp(full["log_einstein_radius_px"])
    height, width = alone.pixels.shape[1:]
    column, row = full["centre_x_px"] + (width - 1) / 2, full["centre_y_px"] + (height - 1) / 2
    residual = np.full((height, width), np.nan, dtype=np.float32)
    region = model.measurement
    rows, columns = (slice(at, at + region.size) for at in (region.row, region.column))
    residual[rows, columns] = whitened_residual(model, filtered.solved.evidence)[0].numpy()

    surprises = surprises_in(learned, exam)
    parts = score_parts(learned, result)
    peak = peak_of(maps, radius, ((width - 1) / 2, (height - 1) / 2))
    assert result.reconstruction is not None
    where = ""
    if peak is not None:
        shape, scale = (height, width), alone.pixel_scale_arcsec
        where = position_words(peak.column_px, peak.row_px, shape, scale)
    return Explanation(
        image=alone.pixels[0],
        model=result.reconstruction[0],
        residual=residual,
        scores=parts,
        sentence=sentence(parts, surprises, where),
        surprises=surprises,
        maps=position_maps(maps, radius, ((width - 1) / 2, (height - 1) / 2)),
        peak=peak,
        ring_px=(column, row, radius),
        view_px=(
            max(column - VIEW * radius, -0.5),
            min(column + VIEW * radius, width - 0.5),
            max(row - VIEW * radius, -0.5),
            min(row + VIEW * radius, height - 0.5),
        ),
        warning=(result.warning or [""])[0],
    )


def perturbation_maps(unit: float, error: float, filtered: Filter, scored: Signals) -> Maps:
    """Filter one image at a fine grid of positions.

    The deflections that errors of the instrument model mimic are a random field at the
    positions of the score, of scale e. So the variance of D'Pr at x is, with C = D'PD,
    C_xx + e^2 sum_y C_xy^2 over those positions y.

    Parameters
    ----------
    unit : float
        Einstein radius of a normal lens, px.
    error : float
        e, px^2.
    filtered : Filter
        Of one image.
    scored : Signals
        At the positions of the score.
    """
    spacing = SPACING * unit
    fine = Perturbers.disc(REACH * unit, spacing)
    values = []
    for x, y in zip(fine.x.split(AT_ONCE, dim=1), fine.y.split(AT_ONCE, dim=1), strict=True):
        signals = filtered.signals(Perturbers(x, y))
        information = filtered.variance(signals)[0]
        mimicked = filtered.covariance(signals, scored)[0].square().sum(dim=1)
        spread = (information + error**2 * mimicked).clamp_min(0).sqrt() / information
        mass = filtered.projected(signals)[0] / information
        hidden = ~filtered.visible(signals)[0]
        values.append(torch.stack([mass, spread]).masked_fill(hidden, math.nan))
    half = math.ceil(REACH * unit / spacing)
    square = np.full((2, 2 * half, 2 * half), np.nan)
    at = [(grid / spacing + half - 0.5).round().long().numpy() for grid in (fine.y[0], fine.x[0])]
    square[:, at[0], at[1]] = torch.cat(values, dim=1).numpy()
    side = half * spacing
    return Maps(square[0] / square[1], square[0], square[1], (-side, side, -side, side))


def position_maps(
    maps: Maps, radius: float, centre: tuple[float, float]
) -> tuple[PositionMap, ...]:
    """The maps in pixel coordinates, for people."""
    x, y = centre
    left, right, bottom, top = maps.extent
    extent = (left + x, right + x, bottom + y, top + y)
    smallest = 100 * 5 * maps.error / radius**2
    return (
        PositionMap(
            "perturbation",
            "perturbation map",
            maps.snr.astype(np.float32),
            extent,
            "sigma of a clump there",
            diverging=True,
            least_range=LEAST_SIGMA,
        ),
        PositionMap(
            "sensitivity",
            "sensitivity map",
            smallest.astype(np.float32),
            extent,
            "% of lens mass, 5 sigma",
            diverging=False,
        ),
    )


def peak_of(maps: Maps, radius: float, centre: tuple[float, float]) -> Peak | None:
    """Position where a clump of mass improves the fit most; None if none does anywhere."""
    snr = np.nan_to_num(maps.snr, nan=-np.inf)
    row, column = np.unravel_index(snr.argmax(), snr.shape)
    if not snr[row, column] > 0:
        return None
    left, right, bottom, _ = maps.extent
    step = (right - left) / snr.shape[1]
    share = 100 * maps.mass[row, column] / radius**2
    return Peak(
        centre[0] + left + (column + 0.5) * step,
        centre[1] + bottom + (row + 0.5) * step,
        f"{snr[row, column]:.1f} sigma, about {share:.2g} % of the lens's mass",
    )


def surprises_in(learned: Learned, exam: Examination) -> tuple[Surprise, ...]:
    """Every parameter that varies between images, most surprising first."""
    sigmas = {name: float(sigma[0]) for name, sigma in learned.surprises(exam).items()}
    free = len(sigmas)
    values = exam.fitted.values[0, :free].tolist()
    typical = learned.population.mean[:free].tolist()
    return surprises_of(zip(sigmas, values, typical, sigmas.values(), strict=True))


def score_parts(learned: Learned, result: BatchScores) -> tuple[ScorePart, ...]:
    """The score and its components, with their tail probabilities among normal images."""
    # Beyond this the tails are extrapolated.
    smallest = 1 / (learned.normals + 1)
    parts = [ScorePart("anomaly_score", float(result.anomaly_score[0]))]
    for name, values in result.components.items():
        p_value = math.nan
        if name in learned.tails:
            p_value = max(math.exp(-float(learned.tails[name](values)[0])), smallest)
        parts.append(ScorePart(name, float(values[0]), p_value, smallest))
    return tuple(parts)


def sentence(parts: tuple[ScorePart, ...], surprises: tuple[Surprise, ...], where: str) -> str:
    """Say what is unusual about a lens and what is not; `where` is the peak's place."""
    unusual = {part.name for part in parts if part.p_value < UNUSUAL}
    score = {part.name: part.value for part in parts}
    clauses = []
    if outstanding := departures(surprises):
        clauses += outstanding
    elif "parameters" in unusual:
        clauses.append("parameters unusual in combination, but none of them alone")
    else:
        clauses.append("parameters typical of the population")
    if "residual" in unusual:
        clauses.append(f"residual {score['residual']:.1f} sigma above that of normal lenses")
    else:
        clauses.append("residual consistent with noise")
    if "perturbation" in unusual:
        most = where and f", most at {where}"
        clauses.append(f"light deflected as in no smooth lens{most}")
    else:
        clauses.append("no clump of mass stands out")
    text = "; ".join(clauses)
    return text[0].upper() + text[1:]
