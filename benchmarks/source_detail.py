"""What shapelets on the source are worth where all else of a lens is known best.

Run with ``python benchmarks/source_detail.py --out results``. Lenses of a population whose sources
are galaxies are fitted from their true numbers, under the true distribution of these, with one
Sersic source and with shapelets; the spread of the shapelets is learned from further smooth lenses.
Then the score `perturbation` is computed. So what differs is the source alone: no encoder, no
population learned from few lenses, no fit that begins in the wrong place. Finished sets are kept in
``--work``. Prints JSON, and writes it.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lumpylens.files.writing import whole_file
from lumpylens.physics.batches import map_chunks, per_lens, unsplit
from lumpylens.physics.fit_data import Data, Prior, Solution, observe
from lumpylens.physics.inference import descend
from lumpylens.physics.learning import REFIT_STEPS, broad_prior
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import Measurement
from lumpylens.physics.parameters import INDEX, NAMES
from lumpylens.physics.perturbation import Filter, Perturbers
from lumpylens.physics.population import GaussianPopulation, learn_detail
from lumpylens.physics.records import join
from lumpylens.physics.region import scene_of
from lumpylens.physics.scores import lit_deviance, log_mean
from lumpylens.physics.source_detail import LOWEST, SourceDetail
from lumpylens.physics.spectrum import Spectrum, learn_error
from lumpylens.results.metrics import auc
from lumpylens.simulation import POPULATIONS, simulate_with_truth
from lumpylens.simulation.images import lumps_of
from lumpylens.simulation.recipe import Recipe

FREE = tuple(name for name in NAMES if name != "log_psf_sigma_px")
PLACES = [INDEX[name] for name in FREE]
MASS = FREE.index("log_einstein_radius_px")
POSITIONS = 100
ORDER, FIRST_SPREAD, ROUNDS = 8, 0.3, 5
MARGIN = 6
"""Pixels at the border of the images that are not compared: there is only sky."""

KINDS: dict[str, tuple[str, dict[str, float]]] = {
    "points 8 %": ("points-compensated", {}),
    "points 3 %": ("points-compensated", {"mass_fraction": 0.03}),
    "cdm": ("cdm", {}),
}


class Seen(NamedTuple):
    """What fits of some lenses say."""

    information: Tensor
    along: Tensor
    halo: Tensor
    converged: Tensor
    chi2: Tensor
    seconds: float

    @property
    def spectrum(self) -> Spectrum:
        """Of deflections."""
        return Spectrum(self.information, self.along, self.halo)


class Lenses(NamedTuple):
    """Images in the unit of fits, and the true numbers."""

    data: Data
    truth: Tensor


def lenses(given: argparse.Namespace, kind: str | None, n: int, seed: int) -> Lenses:
    """Simulate lenses, and prepare them for comparison with a model."""
    population = POPULATIONS[given.population]
    lumps = None
    if kind is not None:
        name, settings = KINDS[kind]
        lumps = lumps_of(population, name, settings)
    made = simulate_with_truth(population, n, seed=seed, substructure=lumps)
    batch = made.images.stack()
    assert batch.noise is not None
    assert batch.psf is not None
    unit = np.float32(255 / np.median(batch.pixels.max(axis=(1, 2))))
    parts = (torch.from_numpy(part) for part in (batch.pixels * unit, batch.noise * unit))
    truth = torch.cat([lens.parameters() for lens in made.lenses])[:, PLACES]
    return Lenses(observe(model_of(population.size_px), *parts, torch.from_numpy(batch.psf)), truth)


def model_of(size_px: int, detail: SourceDetail | None = None) -> SmoothModel:
    """Make the model of all images."""
    region = Measurement(MARGIN, MARGIN, (size_px - 2 * MARGIN) // 2 * 2)
    noise = NoiseLevel(floor=1e-6, gain=1e-7, offset=1e-9, roughness=1e-3)
    scene = scene_of(region, (size_px, size_px))
    return SmoothModel(scene, region, torch.zeros(len(NAMES)), FREE, noise, detail=detail)


def true_population(given: argparse.Namespace) -> GaussianPopulation:
    """Mean and covariance of the true numbers of smooth lenses."""
    recipe = Recipe(POPULATIONS[given.population], None, 10 * given.seed + 9)
    drawn = torch.cat([recipe.lens(k).parameters() for k in range(500)])[:, PLACES].double()
    return GaussianPopulation(drawn.mean(dim=0), torch.cov(drawn.T) + 1e-4 * torch.eye(len(FREE)))


def fitted(model: SmoothModel, some: Lenses, part: Tensor, prior: Prior, steps: int) -> Solution:
    """Fit lenses from the truth; with shapelets from the best Sersic source."""
    data, start, amplitudes = some.data.select(part), some.truth[part], None
    if model.detail is not None:
        plain = replace(model, detail=None)
        rough = descend(plain, data, start, prior.first(len(FREE)), steps=10).fitted
        start, amplitudes = model.adopt(rough.values), rough.amplitudes
    return descend(model, data, start, prior, steps=steps, amplitudes=amplitudes)


def learned_detail(given: argparse.Namespace, size_px: int) -> SourceDetail:
    """Learn how much detail sources have, from smooth lenses."""
    some = lenses(given, None, given.n_learn, 10 * given.seed)
    model = model_of(size_px, SourceDetail((FIRST_SPREAD,) * (ORDER - LOWEST + 1)))
    for _ in range(ROUNDS):
        prior = broad_prior(model)

        def fits(part: Tensor, model: SmoothModel = model, prior: Prior = prior) -> Any:
            return fitted(model, some, part, prior, REFIT_STEPS).fitted

        model = learn_detail(model, some.data, join(map_chunks(fits, given.n_learn)), prior)
    assert model.detail is not None
    return model.detail


def seen(model: SmoothModel, some: Lenses, prior: Prior, n: int) -> Seen:
    """Fit lenses and look for deflections."""

    def chunk(part: Tensor) -> tuple[Tensor, ...]:
        solved = fitted(model, some, part, prior, 60)
        filtered = Filter(model, some.data.select(part), solved, binning=1)
        full = model.expand(solved.fitted.values)
        centre = full[:, INDEX["centre_x_px"]], full[:, INDEX["centre_y_px"]]
        radius = per_lens(torch.exp, full[:, INDEX["log_einstein_radius_px"]])
        signals = filtered.signals(Perturbers.like_halo(radius, centre, POSITIONS))
        spectrum = filtered.field(signals, prior).spectrum()
        observed, expected = lit_deviance(model, solved.line, solved.evidence)
        return (
            spectrum.information, spectrum.along, spectrum.halo, solved.fitted.converged,
            observed / expected,
        )  # fmt: skip

    begun = time.process_time()
    parts = [torch.cat(column) for column in zip(*map_chunks(chunk, n), strict=True)]
    return Seen(*parts, seconds=(time.process_time() - begun) / n)


def scores_of(work: Path, given: argparse.Namespace, kind: str | None) -> dict[str, Seen]:
    """What both models see of a set; kept, so that it is computed once."""
    name = f"{kind or 'smooth'}-{given.n}-{given.n_learn}-{given.seed}".replace(" ", "-")
    path, found = work / f"{given.population}-{name.replace('%', 'pc')}.npz", {}
    if not path.exists():
        size = POPULATIONS[given.population].size_px
        population, detail = true_population(given), detail_of(work, given)
        some = lenses(given, kind, given.n, 10 * given.seed + (2 if kind else 1))
        stored = {}
        for source, model, lens in (
            ("sersic", model_of(size), population),
            ("shapelets", model_of(size, detail), population.with_independent(detail.variance)),
        ):
            of = seen(model, some, lens.prior(free=MASS), given.n)
            stored |= {f"{source}.{key}": np.asarray(part) for key, part in of._asdict().items()}
        with whole_file(path) as partial, partial.open("wb") as stream:
            np.savez(stream, **stored)
    with np.load(path, allow_pickle=False) as arrays:
        for source in ("sersic", "shapelets"):
            parts = {key: arrays[f"{source}.{key}"] for key in Seen._fields}
            seconds = float(parts.pop("seconds"))
            tensors = {key: torch.from_numpy(part) for key, part in parts.items()}
            found[source] = Seen(**tensors, seconds=seconds)
    return found


def detail_of(work: Path, given: argparse.Namespace) -> SourceDetail:
    """What `learned_detail` learned; kept."""
    path = work / f"{given.population}-detail-{given.n_learn}-{given.seed}.json"
    if not path.exists():
        detail = learned_detail(given, POPULATIONS[given.population].size_px)
        with whole_file(path) as partial:
            partial.write_text(json.dumps(detail.spread), encoding="utf-8")
    return SourceDetail(tuple(json.loads(path.read_text(encoding="utf-8"))))


def compare(work: Path, given: argparse.Namespace) -> dict[str, Any]:
    """All numbers."""
    smooth = scores_of(work, given, None)
    lumpy = {kind: scores_of(work, given, kind) for kind in given.kinds.split(",")}
    found: dict[str, Any] = {
        "population": given.population, "n": given.n, "n_learn": given.n_learn, "seed": given.seed,
        "spread": [round(number, 3) for number in detail_of(work, given).spread],
    }  # fmt: skip
    for source, normal in smooth.items():
        error = learn_error(normal.spectrum)
        level = log_mean(normal.spectrum.log_ratio(error).numpy())
        found[source] = {
            "error_px2": round(error, 4),
            "chi2_smooth": round(float(normal.chi2.median()), 3),
            "converged_smooth": int(normal.converged.sum()),
            "seconds_per_lens": round(normal.seconds, 3),
            "auc": {},
        }
        for kind, of in lumpy.items():
            value = auc(level, log_mean(of[source].spectrum.log_ratio(error).numpy()))
            found[source]["auc"][kind] = [round(x, 3) for x in (value.value, value.low, value.high)]
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--population", default="roman")
    parser.add_argument("--n", type=int, default=150, help="lenses of each kind")
    parser.add_argument("--n-learn", type=int, default=60, help="to learn the detail from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS), help="of substructure")
    parser.add_argument("--work", type=Path, default=Path("source-detail"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    with unsplit(), torch.no_grad():
        found = compare(given.work, given)
    text = json.dumps(found, indent=1) + "\n"
    print(text, end="")
    if given.out is not None:
        with whole_file(given.out / "source-detail.json") as path:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
