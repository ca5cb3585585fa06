"""Expected significances of subhaloes against those of subhaloes that were planted.

    python benchmarks/sensitivity.py LENSES --out results

Lenses of the `euclid` population are simulated; LENSES has one folder per real lens. In each,
subhaloes of the mass that the sensitivity map gives are planted at random positions near the arcs:
the fitted source is deflected in full, not to first order. The smooth lens is fitted again, and the
subhalo's significance is measured on the residuals. The second part compares the sensitive part of
simulated lenses with O'Riordan et al. 2023 (arXiv:2211.15679).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lumpylens import LensImages
from lumpylens.files.processes import one_thread
from lumpylens.files.writing import whole_file
from lumpylens.lenses.analysis import SmoothLens, fit_smooth_lens
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.lenses.sensitivity import (
    SensitivityMap,
    Subhaloes,
    expected_detections,
    map_sensitivity,
    signals,
)
from lumpylens.lenses.smooth import polish_from
from lumpylens.physics.compiled.perturbers import radii
from lumpylens.simulation.images import simulate_with_truth

REAL_LENSES = {"J0737+3216": Redshifts(0.3223, 0.5812), "J1627-0053": Redshifts(0.2076, 0.5241)}
"""Real lenses, with redshifts of Auger et al. 2009 (arXiv:0911.2471)."""

PIXEL_SCALE_ARCSEC = 0.05
"""Of the real lenses; the files do not say."""

PLANTED_SIGMA = (5.0, 10.0)
"""Significances that planted subhaloes are expected to have, in turn."""

PUBLISHED = {"1e10": 0.0235, "1e9": 0.0003}
"""Fraction of the pixels within two Einstein radii in which a subhalo of that mass is seen at 3
sigma in images of Euclid, in O'Riordan et al. 2023."""

PEAK_SHARE = 0.446
"""Mass of an NFW subhalo within the radius of its largest circular velocity, over the total mass
when it is truncated at 5 scale radii: their mass in units of ours."""


def planted(
    fitted: SmoothLens, redshifts: Redshifts, kind: Subhaloes, x: float, y: float, mass: float
) -> tuple[float, float, float]:
    """Significance that a subhalo is expected to have, and those before and after it is planted.

    Its position is relative to the centre of the image, arcsec.
    """
    table = kind.bending(fitted, redshifts, np.array([mass]))
    at = torch.tensor([x], dtype=torch.float64), torch.tensor([y], dtype=torch.float64)
    expected, before = signals(fitted, *at, table)
    observation, lens = fitted.observation, fitted.smooth.best.lens
    u, v = observation.x - x, observation.y - y
    weight = torch.from_numpy(np.interp(torch.hypot(u, v).numpy(), radii(), table[0]))
    moved = (lens.rays[0] - weight * u, lens.rays[1] - weight * v)
    with torch.no_grad():
        change = lens.source_seen_by(moved)[0] - lens.source_light
        pixels = observation.pixels + observation.blur(change[None])[0]
        again = replace(observation, pixels=pixels)
        best = polish_from(again, fitted.smooth.best, fitted.smooth.belief)
    refitted = replace(fitted, observation=again, smooth=replace(fitted.smooth, best=best))
    _, after = signals(refitted, *at, table)
    return float(expected), float(before), float(after)
