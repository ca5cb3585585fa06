"""What perturbation and sensitivity maps are worth, on simulated lenses with one perturber.

Run with ``python benchmarks/maps.py --out results``; writes ``maps.md`` and ``maps.json``.

* Detection: a point mass is put at a random visible place of each lens with the mass that the
  sensitivity map calls 5 sigma there. Half of them should show more than 5 at their place. The
  largest value anywhere on the map is another statistic, given apart.
* Place: how often the highest peak lies within 0.1 Einstein radii of the mass, by mass.
* Mass: the linear estimate at the true place over the truth.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lumpylens.physics.fit_data import Prior, observe
from lumpylens.physics.inference import descend
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import Measurement
from lumpylens.physics.parameters import GEOMETRY, pack
from lumpylens.physics.perturbation import Field, Filter, Perturbers
from lumpylens.physics.region import scene_of
from lumpylens.simulation import Population, Substructure, population
from lumpylens.simulation.images import Simulation, simulate_with_truth

LENSES = replace(
    population("slc"), name="linear-slc", size_px=120, position_angle_deg=(-90.0, 90.0),
    source_offset=(0.1, 1.0), noise=0.04, noise_spread=0.0, photons=None, rectified=False,
    cusp_pitch=None, output="linear",
)  # fmt: skip
"""The challenge's lenses at any angle, in linear brightness with a noise map."""

SPREAD = (0.3, 0.15, 0.15, 0.6, 0.6, 0.4, 0.4, 0.4, 0.4)
"""Standard deviations of a weak prior."""


def smooth_model(preset: Population) -> SmoothModel:
    """The decoder with the true shared numbers; all noise is in the noise maps."""
    shared = pack(
        log_einstein_radius_px=math.log(preset.einstein_radius_px),
        log_source_radius_px=math.log(preset.source_radius_px[0]),
        log_source_index=math.log(preset.source_index),
        log_lens_light_radius_px=math.log(preset.lens_light_radius_px[0]),
        log_lens_light_index=math.log(preset.lens_light_index),
        log_psf_sigma_px=math.log(preset.psf_sigma_px),
    )[0]
    region = Measurement(0, 0, preset.size_px)
    # As the simulator averages over pixels; a detector learns it from normal images.
    scene = scene_of(
        region, (preset.size_px, preset.size_px), cusp_samples=2, cusp_pitch=preset.cusp_pitch
    )
    return SmoothModel(scene, region, shared, GEOMETRY, NoiseLevel(1e-12))


def weak_prior(preset: Population) -> Prior:
    """About an average lens, wide enough to leave the data their say."""
    mean = torch.zeros(len(GEOMETRY))
    mean[0] = math.log(preset.einstein_radius_px)
    return Prior(mean, torch.diag(torch.tensor(SPREAD).square().reciprocal()))


@torch.no_grad()
def filtered(made: Simulation, preset: Population, perturbers: Perturbers) -> Field:
    """Fit smooth lenses to images and filter what is left.

    The fits start at the truth: starts are another question than maps.
    """
    model = smooth_model(preset)
    batch = made.images.stack()
    data = observe(model, torch.tensor(batch.pixels), torch.tensor(batch.noise))
    truth = model.reduce(torch.cat([lens.parameters() for lens in made.lenses]))
    solved = descend(model, data, truth, weak_prior(preset))
    seen = Filter(model, data, solved)
    return seen.field(seen.signals(perturbers))


def detections(
    n: int, seed: int, preset: Population = LENSES, factors: Sequence[float] = (1.0, 2.0, 4.0)
) -> list[dict[str, Any]]:
    """Inject one perturber per lens at multiples of the 5-sigma mass of the sensitivity map.

    Parameters
    ----------
    n : int
        Lenses; every one is used with each factor, with the same place and noise.
    seed : int
    preset : Population
    factors : sequence of float
        Of the squared Einstein radius.

    Returns
    -------
    list of dict
        Per factor and lens: ``factor``, ``mass_px2``, ``snr_at_place``, ``highest``,
        ``distance`` (of the peak, in Einstein radii), ``mass_ratio`` (linear estimate over truth).
    """
    radius = preset.einstein_radius_px
    places = Perturbers.disc(1.5 * radius, 0.1 * radius)
    random = np.random.default_rng(seed)
    rows = []
    for index in range(n):
        smooth = simulate_with_truth(preset, seed=seed, indices=[index])
        field = filtered(smooth, preset, places)
        at = int(random.choice(torch.nonzero(field.visible[0])[:, 0].numpy()))
        x, y = float(places.x[0, at]), float(places.y[0, at])
        for factor in factors:
            mass = factor * float(field.sensitivity()[0, at])
            lump = Substructure(count=1, einstein_radius_px=math.sqrt(mass), at_px=(x, y))
            lumpy = simulate_with_truth(preset, seed=seed, indices=[index], substructure=lump)
            seen = filtered(lumpy, preset, places)
            snr = seen.snr()[0]
            peak = int(snr.argmax())
            rows.append({
                "factor": factor,
                "mass_px2": mass,
                "snr_at_place": float(snr[at]),
                "highest": float(snr[peak]),
                "distance": math.hypot(float(places.x[0, peak]) - x, float(places.y[0, peak]) - y)
                / radius,
                "mass_ratio": float(seen.mass()[0, at]) / mass,
            })  # fmt: skip
    return rows


def summary(rows: Sequence[dict[str, Any]], factor: float) -> dict[str, float]:
    """Shares and medians at one multiple of the 5-sigma mass."""
    some = [row for row in rows if row["factor"] == factor]
    column = {key: np.array([row[key] for row in some]) for key in some[0]}
    return {
        "n": len(some),
        "above_5_at_its_place": float((column["snr_at_place"] > 5).mean()),
        "above_5_anywhere": float((column["highest"] > 5).mean()),
        "peak_within_0.1_einstein_radii": float((column["distance"] < 0.1001).mean()),
        "median_mass_fraction": float(np.median(column["mass_px2"]) / LENSES.einstein_radius_px**2),
        "median_mass_ratio": float(np.median(column["mass_ratio"])),
    }


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=150, help="lenses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args()
    factors = (1.0, 2.0, 4.0, 8.0)
    rows = detections(given.n, given.seed, factors=factors)
    found = {f"{factor:g}": summary(rows, factor) for factor in factors}
    head = ["mass / 5-sigma mass", *next(iter(found.values()))]
    table = [head, ["---"] * len(head)]
    table += [[key, *(f"{value:.3g}" for value in one.values())] for key, one in found.items()]
    given.out.mkdir(parents=True, exist_ok=True)
    command = f"python benchmarks/maps.py --n {given.n} --seed {given.seed}"
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in table)
    (given.out / "maps.md").write_text(
        "# Perturbation and sensitivity maps against known perturbers\n\n"
        "One point mass per simulated lens (the challenge's at any angle, linear brightness, "
        "noise map), at a random visible place, with a multiple of the mass that the sensitivity "
        "map of the smooth lens calls 5 sigma there. Masses are squared Einstein radii; their "
        "fraction is of the lens's.\n\n"
        f"{text}\n\nMade by `{command}`.\n",
        encoding="utf-8",
    )
    (given.out / "maps.json").write_text(
        json.dumps({"command": command, "by_factor": found}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
