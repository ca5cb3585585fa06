"""How far the limit is: a bracket for the best possible AUC, by population and substructure.

Run with ``python benchmarks/limit.py --out results``; writes ``limit.md`` and ``limit.json``. Sets
that are done lie in ``OUT/runs/limit`` and are not made again.

Of every smooth lens, many draws of lumps are imaged without noise, and the smooth model is refitted
to each image, with the population of smooth lenses as its prior. What remains is the signal; see
`signals`.

* Upper end: a likelihood ratio that knows the lumps.
* Lower end: likelihood ratios that know only other draws of lumps; see `bracket`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bracket import areas_between, known_lumps_areas, lens_scores, pooled
from numpy.typing import NDArray
from scipy.special import ndtr
from signals import (
    SCORE_STREAM,
    Refit,
    Smooth,
    lumpy_images,
    population_spread,
    refit,
    smooth,
    typical_lenses,
)
from torch import Tensor

from lumpylens.simulation import POPULATIONS, Population, Substructure
from lumpylens.simulation.camera import brightness
from lumpylens.simulation.substructure import substructure

FOLDS, NOISES = 10, 4
"""Parts into which the draws of a lens are cut, and realisations of noise of each draw."""

CHECKED_LENSES, CHECKED_DRAWS = 6, 10
"""Of each set, on which the checks are made."""

OTHER_START = 0.3
"""Standard deviations of the population by which a second start of a fit lies off the truth."""


@dataclass(frozen=True)
class Set:
    """One row: a population, and lumps that are added to its halos or taken from them."""

    population: str
    lumps: str
    substructure: Substructure

    @property
    def name(self) -> str:
        """As files are called."""
        return f"{self.population}-{self.lumps}".replace(" ", "-").replace("%", "pc")


def sets() -> list[Set]:
    """The sets of the tables in ``results``, and `slc` with less mass in lumps."""
    chosen = []
    for name in ("slc", "euclid", "lsst", "model-a", "model-b"):
        own = POPULATIONS[name].substructures
        kind = next(iter(own), "points")
        lumps = [(kind, substructure(kind, own))]
        if name == "slc":
            lumps.append(("points 1 %", replace(lumps[0][1], mass_fraction=0.01)))
        for words, plain in lumps:
            chosen += [
                Set(name, words, replace(plain, compensated=False)),
                Set(name, f"{words} compensated", replace(plain, compensated=True)),
            ]
    return chosen


@torch.no_grad()
def measure(
    chosen: Set, lenses: int, draws: int, seed: int, progress: bool = True
) -> dict[str, Any]:
    """One row of the table.

    Returns
    -------
    dict
        ``auc``: by end of the bracket, with its interval. ``snr_quantiles``: of the signals at 10,
        50 and 90 %. ``unfinished``: fits that were stopped. ``checks``: see `check`.
    """
    population = POPULATIONS[chosen.population]
    spread = population_spread(population, seed)
    squares, linear, unfinished, checks = [], [], 0, []
    scores: dict[str, tuple[list[Any], list[Any]]] = {}
    began = time.process_time()
    for count, index in enumerate(typical_lenses(population, lenses, seed), start=1):
        random = np.random.default_rng((SCORE_STREAM, seed, index))
        lens = smooth(population, spread, seed, index)
        clean = lumpy_images(lens.lens, population, chosen.substructure, draws, seed, index)
        fitted = refit(lens, lens.observe(clean))
        unfinished += fitted.unfinished
        remains = fitted.remains.double().numpy()
        gram = remains @ remains.T
        squares.append(np.diag(gram))
        linear.append(fitted.linear.clamp_min(0).numpy())
        for name, sides in lens_scores(gram, random, FOLDS, NOISES).items():
            for kept, values in zip(scores.setdefault(name, ([], [])), sides, strict=True):
                kept.append(values)
        if count <= CHECKED_LENSES:
            checks.append(check(lens, population, clean[:CHECKED_DRAWS], fitted, random))
        if progress:
            spent = time.process_time() - began
            sys.stderr.write(f"\r{chosen.name}: lens {count} of {lenses}, {spent:.0f} s ")
    if progress:
        sys.stderr.write("\n")
    ends = {
        "known": known_lumps_areas(np.sqrt(squares)),
        "known_linear": known_lumps_areas(np.sqrt(linear)),
    }
    ends |= {name: areas_between(*sides) for name, sides in scores.items()}
    return {
        "population": chosen.population,
        "lumps": chosen.lumps,
        "auc": {name: pooled(areas, seed) for name, areas in ends.items()},
        "snr_quantiles": np.sqrt(np.quantile(squares, (0.1, 0.5, 0.9))).tolist(),
        "unfinished": unfinished,
        "checks": {key: float(np.median([row[key] for row in checks])) for key in checks[0]},
        "core_seconds": time.process_time() - began,
    }


def check(
    lens: Smooth,
    population: Population,
    clean: NDArray[np.float32],
    fitted: Refit,
    random: np.random.Generator,
) -> dict[str, float]:
    """What the assumptions are worth on one lens.

    Parameters
    ----------
    lens : Smooth
    population : Population
    clean : ndarray, shape (n, H, W)
        The first of the images that `fitted` is of.
    fitted : Refit
    random : Generator

    Returns
    -------
    dict of str to float
        ``no_lumps``: signal-to-noise of a smooth lens. ``linear``: signal-to-noise of the linear
        projection over that of the refit, median. ``noisy_bias``, ``noisy_error``: mean and root
        mean square of the difference between the log likelihood ratio of refitted noisy images and
        what the noiseless refit foretells for the same noise, in standard deviations of the ratio.
        ``other_start``: signal-to-noise from fits that begin elsewhere, over that from the truth.
        ``rounded``: signal-to-noise from the probabilities of rounded coefficients over that from
        their information.
    """
    bare = brightness(lens.lens, population.size_px, cusp_pitch=population.cusp_pitch)
    seen, none = lens.observe(clean), lens.observe(bare[None])
    signal = fitted.remains[: len(seen)]
    noise = torch.from_numpy(random.standard_normal(signal.shape).astype(np.float32))
    on_image, centre = noise.split([seen.shape[1], lens.population_axes], dim=1)
    # For an observer who knows the lumps, their image without them is that of a smooth lens.
    energies = [
        refit(lens, image + on_image, centre).remains.double().square().sum(dim=1)
        for image in (seen, none.expand_as(seen))
    ]
    snr = signal.double().norm(dim=1)
    foretold = (signal * noise).double().sum(dim=1) + 0.5 * snr.square()
    error = (0.5 * (energies[0] - energies[1]) - foretold) / snr
    start = OTHER_START * torch.from_numpy(random.standard_normal(centre.shape).astype(np.float32))
    elsewhere = refit(lens, seen, start=start).remains.double().norm(dim=1)
    linear = fitted.linear[: len(seen)].clamp_min(0).sqrt()
    return {
        "no_lumps": float(refit(lens, none).remains.norm()),
        "linear": float((linear / snr).median()),
        "noisy_bias": float(error.mean()),
        "noisy_error": float(error.square().mean().sqrt()),
        "other_start": float((elsewhere / snr).median()),
        "other_start_least": float((elsewhere / snr).min()),
        "rounded": rounded(lens, clean, signal),
    }


def rounded(lens: Smooth, clean: NDArray[np.float32], signal: Tensor) -> float:
    """Signal-to-noise from the probabilities of rounded coefficients over that from information.

    The square of the first is the sum of both Kullback-Leibler divergences; without rounding it
    would be that of the second. Not a number for images that are not rounded.
    """
    steps = lens.model.measurement.active_steps
    if steps is None:
        return math.nan
    bare = replace(lens, root=torch.ones(1))
    count = len(steps)
    smooth_numbers, _ = bare.linearise(-signal[:, count:])
    numbers = (smooth_numbers, bare.observe(clean))
    step, sigma = steps.numpy().astype(float), lens.sigma.numpy().astype(float)
    nearest = np.rint(smooth_numbers.numpy() / step)
    edges = (nearest[..., None] + np.arange(-5.5, 6)) * step[:, None]
    below = [ndtr((edges - part.numpy()[..., None]) / sigma[:, None]) for part in numbers]
    without, with_lumps = (np.diff(part).clip(1e-30) for part in below)
    divergence = ((with_lumps - without) * np.log(with_lumps / without)).sum(axis=(1, 2))
    return float(np.median(np.sqrt(divergence) / signal[:, :count].norm(dim=1).numpy()))


ENDS = {
    "field": "Gaussian field",
    "mixture": "mixture of draws",
    "all": "mean likelihood of both and between",
    "grains": "field, mean change not trusted",
    "known_linear": "lumps known, linear projection",
}
CHECKS = {
    "no_lumps": "signal-to-noise without lumps",
    "linear": "linear / refit",
    "noisy_bias": "noisy images: bias",
    "noisy_error": "noisy images: error",
    "other_start": "other start / truth",
    "other_start_least": "least",
    "rounded": "rounded / information",
}
LOWER = ("field", "mixture", "all")


def bracket_of(row: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Lower and upper end, each with its interval."""
    return max((row["auc"][name] for name in LOWER), key=lambda area: area[0]), row["auc"]["known"]


def page(rows: Sequence[Mapping[str, Any]], given: argparse.Namespace, command: str) -> str:
    """The table of brackets, that of the parts, and that of the checks."""
    brackets = [["population", "lumps", "lower end", "upper end", "signal-to-noise: 10, 50, 90 %"]]
    parts = [["population", "lumps", *ENDS.values()]]
    checks = [["population", "lumps", *CHECKS.values(), "fits stopped"]]
    for row in rows:
        names = [row["population"], row["lumps"]]
        ends = (f"{a:.3f} ({low:.3f} to {high:.3f})" for a, low, high in bracket_of(row))
        quantiles = ", ".join(f"{value:.2g}" for value in row["snr_quantiles"])
        brackets.append([*names, *ends, quantiles])
        parts.append([*names, *(f"{row['auc'][name][0]:.3f}" for name in ENDS)])
        values = (f"{row['checks'][name]:.2g}" for name in CHECKS)
        checks.append([*names, *(v.replace("nan", "") for v in values), str(row["unfinished"])])
    return (
        "# How far the limit is\n\n"
        "Bracket for the AUC of the best possible detector, which knows how the population was "
        f"made: {given.lenses} smooth lenses of each population, {given.draws} draws of lumps for "
        "each. Noise, point-spread function and the form of the smooth lens are known; its numbers "
        "are not, but their mean and covariance in the population are. The smooth model is "
        "refitted to the noiseless image of every draw, and what remains is the signal. The lenses "
        "have sources as bright as those of ten times as many. Intervals (95 %) are from a "
        "bootstrap over lenses, as if these had been drawn at random: they are rather too wide."
        "\n\n"
        "The upper end is a likelihood ratio that knows the lumps, so no detector can do better. "
        "The lower end is the largest of three ratios that know only the other draws; each is a "
        "lower bound by itself.\n\n"
        f"{markdown(brackets)}\n\n"
        "## The ends by parts\n\n"
        "Lower bounds: a Gaussian random field with mean and covariance of the draws, the mean "
        "likelihood of the draws, and the mean of both and of kernels of widths between. The "
        "fourth column is the field without the draws' mean change, that is for an observer who "
        "would call halos of any radial profile smooth. The last is the upper end if refits are "
        "replaced by linear projections.\n\n"
        f"{markdown(parts)}\n\n"
        "## Checks\n\n"
        f"Medians over the first {CHECKED_LENSES} lenses, with {CHECKED_DRAWS} draws each. Linear "
        "and rounded are ratios of signal-to-noise. For noisy images the smooth model, with and "
        "without the lumps, is refitted to noisy lumpy images; bias and error are of the log "
        "likelihood ratio against that of the table for the same noise, in its standard "
        "deviations. Other starts lie 0.3 standard deviations of the population off the truth; a "
        "ratio below 1 is a better smooth lens than that of the table.\n\n"
        f"{markdown(checks)}\n\n"
        "Approximations of both ends: of the population of smooth lenses, mean and covariance are "
        "used and not its shape; on `slc`, light lies on a constant background, where the noise is "
        "in truth rectified; photon noise does not follow the lumps' own light. The lower end "
        "takes mean and covariance of the lumps' signals at the true smooth lens, not at a fitted "
        "one.\n\n"
        f"Made by `{command}`.\n"
    )


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table whose first line is its head."""
    head, *rows = lines
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def main() -> None:
    """Measure the sets, and write the tables."""
    every = {chosen.name: chosen for chosen in sets()}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lenses", type=int, default=60)
    parser.add_argument("--draws", type=int, default=200, help="of lumps, for each lens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", help=f"some of {','.join(every)}")
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args()
    names = list(every) if given.sets is None else given.sets.split(",")
    unknown = set(names) - set(every)
    if unknown:
        parser.error(f"no set {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    torch.set_num_threads(1)
    kept = given.out / "runs" / "limit"
    kept.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in names:
        place = kept / f"{name}-{given.lenses}-{given.draws}-{given.seed}.json"
        if not place.exists():
            row = measure(every[name], given.lenses, given.draws, given.seed)
            place.write_text(json.dumps(row, indent=1), encoding="utf-8")
        rows.append(json.loads(place.read_text(encoding="utf-8")))
    command = (
        f"python benchmarks/limit.py --lenses {given.lenses} --draws {given.draws} "
        f"--seed {given.seed}" + (f" --sets {given.sets}" if given.sets else "")
    )
    (given.out / "limit.md").write_text(page(rows, given, command), encoding="utf-8")
    written = [
        {**row, "lower": lower, "upper": upper}
        for row, (lower, upper) in ((row, bracket_of(row)) for row in rows)
    ]
    (given.out / "limit.json").write_text(
        json.dumps({"command": command, "rows": written}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
