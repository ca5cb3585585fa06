"""Expected significances of subhaloes against those of subhaloes that were planted.

    python benchmarks/sensitivity.py --lenses FOLDER

Lenses of the `euclid` population are simulated; FOLDER, which may be left out, has one folder per
real lens. In each lens, subhaloes of the mass that the sensitivity map gives are planted at random
positions near the arcs: the fitted source is deflected in full, not to first order. Then the smooth
lens is fitted again. Two significances are measured: that of the subhalo's amplitude on the
residuals of this fit, and the gain in log evidence of the lens with the subhalo over this fit.
The sensitive part of the simulated lenses stands beside that of O'Riordan et al. 2023
(arXiv:2211.15679). Prints one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lumpylens import LensImages
from lumpylens.data.image import LensImage
from lumpylens.files.processes import in_processes
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

KINDS = {
    "nfw": Subhaloes("nfw"),
    "nfw, twice as concentrated": Subhaloes("nfw", 2.0),
    "pseudo-jaffe": Subhaloes("pseudo-jaffe"),
}

PLANTED_SIGMA = (5.0, 10.0)
"""Significances that planted subhaloes are expected to have, in turn."""

PUBLISHED_SIGMA = 3.0
PUBLISHED = {
    "fraction at 1e10": 0.0235, "fraction at 1e9": 0.0003, "log10 of the least mass": 8.8,
    "detections per lens": 0.0143,
}  # fmt: skip
"""O'Riordan et al. 2023: pixels within two Einstein radii in which a subhalo is seen at 3 sigma,
and detections for 1 % of the mass in subhaloes."""

PEAK_SHARE = 0.446
"""Mass of an NFW subhalo within the radius of its largest circular velocity, which is taken to be
their mass, over the total mass when it is truncated at 5 scale radii, which is ours."""


def settled(fitted: SmoothLens) -> SmoothLens:
    """Fit a lens again from where its fit ended, so that a second fit gains no more."""
    with torch.no_grad():
        best = polish_from(fitted.observation, fitted.smooth.best, fitted.smooth.belief)
    return replace(fitted, smooth=replace(fitted.smooth, best=best))


def planted(
    fitted: SmoothLens, redshifts: Redshifts, kind: Subhaloes, at: tuple[float, float], mass: float
) -> dict[str, float]:
    """Plant a subhalo at a position, arcsec from the centre of the image, and look for it."""
    table = kind.bending(fitted, redshifts, np.array([mass]))
    place = [torch.tensor([part], dtype=torch.float64) for part in at]
    expected, before = (float(part) for part in signals(fitted, *place, table))
    observation, lens = fitted.observation, fitted.smooth.best.lens
    u, v = observation.x - at[0], observation.y - at[1]
    bend = torch.from_numpy(np.interp(torch.hypot(u, v).numpy(), radii(), table[0]))
    with torch.no_grad():
        bent = lens.rays[0] - bend * u, lens.rays[1] - bend * v
        change = lens.source_seen_by(bent)[0] - lens.source_light
        pixels = observation.pixels + observation.blur(change[None])[0]
        again = replace(observation, pixels=pixels)
        best = polish_from(again, fitted.smooth.best, fitted.smooth.belief)
    refitted = replace(fitted, observation=again, smooth=replace(fitted.smooth, best=best))
    _, after = (float(part) for part in signals(refitted, *place, table))
    # With the subhalo in the model, the residuals are those that the lens had before.
    gain = best.energy - fitted.smooth.best.energy
    return {
        "expected": expected,
        "amplitude": after - before,
        # The gain is (s + n)^2 - n^2 for a signal s on noise n.
        "evidence": math.sqrt(max(gain + before**2, 0.0)) - before,
    }


def positions(
    fitted: SmoothLens, sensitivity: SensitivityMap, sigma: float, random: np.random.Generator
) -> Iterator[tuple[tuple[float, float], float]]:
    """Positions near the arcs in random order, and the mass that has this significance there."""
    lens, log_least = fitted.smooth.best.lens, sensitivity.log_least_mass(sigma)
    seen = sensitivity.near_arcs & torch.isfinite(log_least)
    for k in random.permutation(torch.nonzero(seen)[:, 0].numpy()):
        at = float(sensitivity.x[k]) + lens["light_x"], float(sensitivity.y[k]) + lens["light_y"]
        yield at, 10 ** float(log_least[k])


def ratios(places: list[dict[str, float]]) -> dict[str, Any]:
    """Median and scatter of measured over expected significances."""
    summary: dict[str, Any] = {"places": len(places)}
    for sigma in PLANTED_SIGMA:
        some = [place for place in places if abs(place["expected"] - sigma) < 0.2 * sigma]
        for name in ("amplitude", "evidence") if some else ():
            ratio = np.array([place[name] / place["expected"] for place in some])
            low, middle, high = np.quantile(ratio, (0.16, 0.5, 0.84))
            summary[f"{name} at {sigma:g} sigma"] = {
                "places": len(some),
                "median ratio": round(float(middle), 3),
                "scatter": round(float(high - low) / 2, 3),
            }
    return summary


@dataclass(frozen=True)
class Task:
    """A lens to measure: how many places, for each kind of subhalo and each significance."""

    item: LensImage
    redshifts: Redshifts
    places: int
    seed: int


@dataclass(frozen=True)
class Measured:
    """What was measured on one lens, by kind of subhalo.

    The least masses are logarithms, at `PUBLISHED_SIGMA`; the detections are expected for 1 % of
    the mass in subhaloes.
    """

    places: dict[str, list[dict[str, float]]]
    log_least: dict[str, NDArray[np.float64]]
    detections: dict[str, float]


def measure(task: Task) -> Measured:
    """Fit one lens, map its sensitivity, and plant subhaloes in it."""
    random = np.random.default_rng(task.seed)
    fitted = settled(fit_smooth_lens(cutout_of(task.item)))
    measured = Measured({}, {}, {})
    for name, kind in KINDS.items():
        sensitivity = map_sensitivity(fitted, task.redshifts, kind)
        log_least = sensitivity.log_least_mass(PUBLISHED_SIGMA)
        measured.log_least[name] = log_least.numpy()
        measured.detections[name] = expected_detections(
            fitted, sensitivity, log_least, task.redshifts, 0.01
        )
        measured.places[name] = [
            planted(fitted, task.redshifts, kind, at, mass)
            for sigma in PLANTED_SIGMA
            for at, mass in itertools.islice(
                positions(fitted, sensitivity, sigma, random), task.places
            )
        ]
    return measured


def sensitive(lenses: Sequence[Measured], kind: str) -> dict[str, float]:
    """Sensitive part of many lenses, in the definitions of O'Riordan et al. 2023."""
    by_lens = [lens.log_least[kind] for lens in lenses]
    pooled, shift = np.concatenate(by_lens), math.log10(PEAK_SHARE)
    best = np.sort([(least + shift <= 10).mean() for least in by_lens])[::-1]
    numbers = {
        "fraction at 1e10": (pooled + shift <= 10).mean(),
        "fraction at 1e9": (pooled + shift <= 9).mean(),
        "log10 of the least mass": pooled.min() + shift,
        "detections per lens": np.mean([lens.detections[kind] for lens in lenses]),
        "fraction at a total mass of 1e10": (pooled <= 10).mean(),
        "fraction at a total mass of 1e9": (pooled <= 9).mean(),
        "fraction at 1e10 in the best tenth": best[: max(len(best) // 10, 1)].mean(),
    }
    return {name: float(f"{number:.3g}") for name, number in numbers.items()}


def main() -> None:
    """Measure both, and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lenses", type=Path, help="folder of real lenses")
    parser.add_argument("--n", type=int, default=40, help="simulated lenses")
    parser.add_argument("--planted-in", type=int, default=16, help="so many of them")
    parser.add_argument("--places", type=int, default=3, help="per lens, kind and significance")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    simulation = simulate_with_truth("euclid", given.n, seed=given.seed)
    tasks = [
        Task(
            item,
            Redshifts(lens.lens_redshift, lens.source_redshift),
            given.places if number < given.planted_in else 0,
            number,
        )
        for number, (item, lens) in enumerate(
            zip(simulation.images, simulation.lenses, strict=True)
        )
    ]
    if given.lenses is not None:
        images = LensImages.open(given.lenses, pixel_scale_arcsec=PIXEL_SCALE_ARCSEC)
        tasks += [
            Task(item, REAL_LENSES[item.id], given.places, len(tasks))
            for item in images
            if item.id in REAL_LENSES
        ]
    measured: dict[int, Measured] = {}
    with in_processes(measure, tasks, given.workers) as results:
        for number, lens in results:
            measured[number] = lens
            print(f"{tasks[number].item.id} is done", file=sys.stderr, flush=True)
    result: dict[str, Any] = {"simulated lenses": given.n}
    for name, numbers in (("euclid", range(given.n)), ("slacs", range(given.n, len(tasks)))):
        result[f"measured over expected, {name}"] = {
            kind: ratios([place for k in numbers for place in measured[k].places[kind]])
            for kind in KINDS
        }
    result["sensitive at 3 sigma, euclid"] = {"O'Riordan et al. 2023": PUBLISHED} | {
        # Masses are converted as those of NFW subhaloes.
        kind: sensitive([measured[k] for k in range(given.n)], kind)
        for kind in KINDS
        if kind.startswith("nfw")
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    # Other processes find functions by the name of their module, which is not that of a script.
    from sensitivity import main as main_of_module

    main_of_module()
