"""AUC against the mass in substructure, against noise, and on other images than it learned from.

Run with ``python benchmarks/curves.py PRESET --out results``; writes ``curves-PRESET`` as .json,
.md and .png. Each detector learns once from smooth lenses of the population, and once more
at each noise level; fresh smooth and lumpy lenses are scored. Three trainings and the scoring of
6,900 images: with `physics` some hours of one core.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lumpylens import TrainedModel, score, train
from lumpylens.files.writing import whole_file
from lumpylens.results.metrics import auc
from lumpylens.simulation import Population, Substructure, population, simulate
from lumpylens.simulation.substructure import substructure

FRACTIONS = (0.001, 0.003, 0.01, 0.03, 0.1)
NOISE = (0.3, 1.0, 3.0)
"""In units of the population's; the signal-to-noise ratio of its sky-limited pixels is inverse."""

SHOWN = ("anomaly_score", "free_mass", "perturbation")
FALSE_ALARMS = 0.1


def wider(preset: Population, factor: float) -> Population:
    """The same population through a wider point-spread function."""
    sigma = preset.psf_sigma_px
    if isinstance(sigma, float):
        return replace(preset, name="wider PSF", psf_sigma_px=factor * sigma)
    scaled = {key: factor * getattr(sigma, key) for key in ("median", "low", "high")}
    return replace(preset, name="wider PSF", psf_sigma_px=replace(sigma, **scaled))


def shifts(preset: Population) -> dict[str, Population]:
    """Populations unlike the one that was learned."""
    if preset.velocity_dispersion_kms is None:
        radii = replace(preset, einstein_radius_spread=0.15)
    else:
        sigma = preset.velocity_dispersion_kms
        radii = replace(preset, velocity_dispersion_kms=replace(sigma, mean=1.1 * sigma.mean))
    return {
        "as learned": preset,
        "PSF 10 % wider": wider(preset, 1.1),
        "noise 30 % higher": replace(preset, noise=1.3 * preset.noise),
        "other Einstein radii": radii,
    }


def lumps_of(kind: Substructure, fraction: float, compensated: bool) -> Substructure:
    """The same kind of substructure with this part of the mass."""
    return replace(kind, mass_fraction=fraction, compensated=compensated)


def scores(model: TrainedModel, images: Any) -> dict[str, Any]:
    """Score, its components, and p-values."""
    table = score(model, images, progress=False)
    found = {"anomaly_score": table.anomaly_score, "p_value": table.p_value}
    return found | {k: v for k, v in table.components.items() if k in SHOWN}


def areas(normal: Mapping[str, Any], lumpy: Mapping[str, Any]) -> dict[str, list[float]]:
    """AUC and its interval by score."""
    found = {}
    for name in SHOWN:
        if name in normal:
            area = auc(normal[name], lumpy[name])
            found[name] = [area.value, area.low, area.high]
    return found


def measure(detector: str, preset: Population, kind: Substructure, given: Any) -> dict[str, Any]:
    """All curves of one detector."""

    def made(which: Population, lumps: Substructure | None, seed: int) -> Any:
        count = given.learned if lumps is None and seed == given.seed else given.tried
        return simulate(which, count, seed=seed, substructure=lumps)

    def learned(which: Population) -> TrainedModel:
        return train(made(which, None, given.seed), detector, seed=given.seed, progress=False)

    seeds = (given.seed + 1, given.seed + 2)
    model = learned(preset)
    fresh = scores(model, made(preset, None, seeds[0]))
    by_mass, by_noise, by_shift = [], [], []
    for fraction in FRACTIONS:
        for compensated in (False, True):
            lumps = lumps_of(kind, fraction, compensated)
            found = areas(fresh, scores(model, made(preset, lumps, seeds[1])))
            by_mass.append({"mass_fraction": fraction, "compensated": compensated, "auc": found})
    middle = lumps_of(kind, given.fraction, True)
    for factor in NOISE:
        which = replace(preset, noise=factor * preset.noise)
        own = model if factor == 1 else learned(which)
        found = areas(
            scores(own, made(which, None, seeds[0])), scores(own, made(which, middle, seeds[1]))
        )
        by_noise.append({"noise": factor, "auc": found})
    for name, which in shifts(preset).items():
        normal = scores(model, made(which, None, seeds[0]))
        p = normal["p_value"][np.isfinite(normal["p_value"])]
        by_shift.append({
            "images": name,
            "auc": areas(normal, scores(model, made(which, middle, seeds[1]))),
            "without_p_value": int(np.sum(~np.isfinite(normal["p_value"]))),
            "false_alarms": float((p <= FALSE_ALARMS).mean()) if len(p) else math.nan,
        })  # fmt: skip
    return {"mass": by_mass, "noise": by_noise, "shift": by_shift}


def page(result: Mapping[str, Any]) -> str:
    """Tables in Markdown."""
    lines = [f"# Curves on `{result['preset']}`", "", f"`{result['command']}`", ""]
    for title, key, head in (
        ("Mass in substructure", "mass", "mass fraction"),
        (f"Noise, {result['fraction']:g} of the mass, compensated", "noise", "noise"),
        (f"Other images, {result['fraction']:g} of the mass, compensated", "shift", "images"),
    ):
        lines += [f"## {title}", "", f"| detector | score | {head} | AUC | 95 % interval |",
                  "| --- | --- | --- | ---: | ---: |"]  # fmt: skip
        for detector, curves in result["detectors"].items():
            for point in curves[key]:
                at = {
                    "mass": lambda p: (
                        f"{p['mass_fraction']:g}" + (", compensated" if p["compensated"] else "")
                    ),
                    "noise": lambda p: f"{p['noise']:g}",
                    "shift": lambda p: (
                        f"{p['images']} (false alarms at {FALSE_ALARMS:g}: {p['false_alarms']:.2f})"
                    ),
                }[key](point)
                for name, (value, low, high) in point["auc"].items():
                    lines.append(
                        f"| `{detector}` | {name} | {at} | {value:.3f} | {low:.3f} to {high:.3f} |"
                    )
        lines.append("")
    return "\n".join(lines)


def picture(result: Mapping[str, Any], path: Path) -> None:
    """AUC against mass, one line per score."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for pane, compensated in zip(panes, (False, True), strict=True):
        for detector, curves in result["detectors"].items():
            points = [p for p in curves["mass"] if p["compensated"] == compensated]
            for name in points[0]["auc"]:
                value, low, high = np.array([p["auc"][name] for p in points]).T
                at = [p["mass_fraction"] for p in points]
                pane.errorbar(at, value, [value - low, high - value], marker="o", capsize=2,
                              label=f"{detector}: {name}")  # fmt: skip
        pane.axhline(0.5, color="0.7", linewidth=0.8)
        pane.set(xscale="log", xlabel="mass fraction in substructure",
                 title="mass-compensated" if compensated else "as is")  # fmt: skip
    panes[0].set_ylabel("AUC")
    panes[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, and write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset", help="name of a population")
    parser.add_argument("--detectors", default="physics,pca", help="names, with commas")
    parser.add_argument("--substructure", default="points", help="kind of equal masses")
    parser.add_argument("--fraction", type=float, default=0.03, help="for noise and other images")
    parser.add_argument("--learned", type=int, default=1000, help="smooth lenses to learn from")
    parser.add_argument("--tried", type=int, default=300, help="fresh lenses of each class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args()
    preset = population(given.preset)
    kind = substructure(given.substructure, preset.substructures)
    result: dict[str, Any] = {
        "preset": given.preset,
        "fraction": given.fraction,
        "command": f"python benchmarks/curves.py {given.preset} --detectors {given.detectors} "
        f"--substructure {given.substructure} --fraction {given.fraction:g} "
        f"--learned {given.learned} --tried {given.tried} --seed {given.seed}",
        "detectors": {},
    }
    stem = given.out / f"curves-{given.preset}"
    for detector in given.detectors.split(","):
        result["detectors"][detector] = measure(detector, preset, kind, given)
        for suffix, text in (("json", json.dumps(result, indent=1) + "\n"), ("md", page(result))):
            with whole_file(Path(f"{stem}.{suffix}")) as path:
                path.write_text(text, encoding="utf-8")
        with whole_file(Path(f"{stem}.png")) as path:
            picture(result, path)
    print(page(result))


if __name__ == "__main__":
    main()
