"""What `pixel` can show of an image: how far its arcs are shifted, and where the score says so."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from lumpylens.data.images import ImageBatch
from lumpylens.detectors.maps import circle_radius_px, image_map, largest_at, sums_in_circles
from lumpylens.detectors.pixel.network import PixelNetwork
from lumpylens.results.explanation import Explanation, Peak, ScorePart
from lumpylens.results.position import position_words

__all__ = ["explain_shift", "radial_slope"]

LEAST_SIGMA = 3.0
"""Shifts of fewer standard deviations of normal images are not called shifts."""

LEAST_SLOPE = 40.0
"""Smallest half-range of the colours of the map, and slope below which no place stands out, in
units of the score per pixel: 95 % of 300 normal images of the challenge stay below 39."""


def radial_slope(
    network: PixelNetwork,
    centre: NDArray[np.float64],
    precision: NDArray[np.float64],
    unit: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Slope of the score as the light at each pixel is moved away from the middle.

    With I the image and u(x) a small displacement, the light that is seen at x comes from x - u, so
    that dS/du = -dS/dI dI/dr. The displacement falls to zero in the core, as that of the views that
    the network learned from does. The sum over all pixels is the slope of the score for a bend of
    the whole image, up to a tenth, since differences of neighbouring pixels stand for dI/dr.

    Parameters
    ----------
    network : PixelNetwork
        In evaluation mode.
    centre : ndarray of float64, shape (k,)
    precision : ndarray of float64, shape (k, k)
    unit : ndarray of float32, shape (H, W)
        On the [0, 1] scale.

    Returns
    -------
    ndarray of float64, shape (H, W)
        In units of the score per pixel of displacement.
    """
    device = next(network.parameters()).device
    image = torch.from_numpy(unit)[None].to(device).requires_grad_()
    with torch.enable_grad():
        features = network.look(image)[0].double().cpu()
        departure = features - torch.tensor(centre)
        score = (departure @ torch.tensor(precision) * departure).sum()
        (gradient,) = torch.autograd.grad(score, image)
    height, width = unit.shape
    y, x = np.ogrid[:height, :width]
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    radius = np.maximum(np.hypot(x, y), 1e-6)
    share = 1 - np.exp(-0.5 * np.square(radius / network.window.core_px))
    along_y, along_x = np.gradient(unit.astype(np.float64))
    outward = (x * along_x + y * along_y) / radius
    slope: NDArray[np.float64] = -gradient[0].double().cpu().numpy() * share * outward
    return slope


def explain_shift(
    alone: ImageBatch, scores: tuple[ScorePart, ...], slope: NDArray[np.float64]
) -> Explanation:
    """Explain the one image of a batch.

    Parameters
    ----------
    alone : ImageBatch
    scores : tuple of ScorePart
        The score, `outward_px` and `free_outward`.
    slope : ndarray of float64, shape (H, W)
        As `radial_slope` gives it.
    """
    height, width = alone.pixels.shape[1:]
    values = sums_in_circles(slope)
    sign = 1 if values.max() >= -values.min() else -1
    row, column = largest_at(sign * slope, sign * values)
    steepest = float(values[row, column])
    side = "inward" if steepest > 0 else "outward"
    within = f"within {circle_radius_px((height, width))} px"
    place = position_words(column, row, (height, width), alone.pixel_scale_arcsec)
    shift_map = image_map("shift", "shift map", values, "score per px outward", LEAST_SLOPE)
    standing_out = "no place stands out"
    if abs(steepest) >= LEAST_SLOPE:
        standing_out = f"the score would fall fastest if the light at {place} were moved {side}"
    return Explanation(
        image=alone.pixels[0],
        scores=scores,
        sentence=f"{shift_words(scores, alone.pixel_scale_arcsec)}; {standing_out}",
        maps=(shift_map,),
        peak=Peak(
            float(column),
            float(row),
            f"score falls by {abs(steepest):.3g} per px that the light {within} is moved {side}",
        ),
    )


def shift_words(scores: tuple[ScorePart, ...], pixel_scale_arcsec: float | None) -> str:
    """Say how far the arcs lie from those of smooth lenses, and how much of the score that is.

    The part of the squared distance that a shift accounts for, score minus `free_outward`, is
    the square of the shift in standard deviations of normal images.
    """
    value = {part.name: part.value for part in scores}
    score, outward = value["anomaly_score"], value["outward_px"]
    accounted = max(score - value["free_outward"], 0.0)
    arcsec = "" if pixel_scale_arcsec is None else f" ({abs(outward) * pixel_scale_arcsec:.2g}″)"
    amount = f"{abs(outward):.1f} px{arcsec} farther {'out' if outward > 0 else 'in'}"
    share = f"{100 * accounted / score:.0f} % of the score" if score > 0 else "none of the score"
    sigma = math.sqrt(accounted)
    if sigma < LEAST_SIGMA:
        return (
            f"Arcs lie about where those of smooth lenses do ({amount}): a shift makes up {share}"
        )
    return (
        f"Arcs lie {amount} than in smooth lenses ({sigma:.0f} sigma of normal images): this shift "
        f"makes up {share}"
    )
