"""Images unlike those that a model learned from: as it is, adapted, and trained on such images.

Run with ``python benchmarks/adaptation.py PRESET --out results``; writes ``adaptation-PRESET`` as
.md and .json. The model learns from smooth lenses of the population. It is adapted to lenses with a
wider blur, more noise or other Einstein radii, once to smooth ones alone and once to a set of which
a tenth is lumpy. Finished rows are kept in ``OUT/runs/adaptation``. With `physics` about an hour of
one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from contamination import alarm_rate, kept, scored
from curves import FALSE_ALARMS, shifts

from lumpylens import LensImages, TrainedModel, adapt, score, train
from lumpylens.data.image import UNKNOWN
from lumpylens.data.source import CutoutSource
from lumpylens.files.writing import whole_file
from lumpylens.results.metrics import auc
from lumpylens.simulation import Population, Substructure, population, simulate

LUMPY = 0.1
"""Share of lumpy lenses in the second set that a model is adapted to."""


def mixed(preset: Population, lumps: Substructure, count: int, seed: int) -> LensImages:
    """Smooth lenses and a tenth of lumpy ones, without labels."""
    hidden = round(LUMPY * count)
    parts = (
        simulate(preset, count - hidden, seed=seed),
        simulate(preset, hidden, seed=seed + 1, substructure=lumps),
    )
    images = (image for part in parts for image in part)
    unlabelled = [
        replace(image, id=str(number), label=UNKNOWN) for number, image in enumerate(images)
    ]
    return LensImages.from_source(CutoutSource(unlabelled, f"{preset.name}, a tenth lumpy"))


def judged(model: TrainedModel, normal: LensImages, lumpy: LensImages) -> dict[str, Any]:
    """AUC, and the rate of false alarms among smooth lenses."""
    tables = [score(model, images, progress=False) for images in (normal, lumpy)]
    area = auc(*scored(tables))
    return {
        "auc": [area.value, area.low, area.high],
        "false_alarms": alarm_rate(tables[0].p_value, FALSE_ALARMS),
        "without_p_value": int(np.isnan(tables[0].p_value).sum()),
        "left_out": model.info.get("contaminated", {}).get("share", 0.0),
        "seconds": model.info["seconds"],
    }


def main() -> None:
    """Measure every kind of images, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset", help="name of a population")
    parser.add_argument("--detector", default="physics")
    parser.add_argument("--fraction", type=float, default=0.03, help="of the mass, compensated")
    parser.add_argument("--learned", type=int, default=1000, help="images to learn from")
    parser.add_argument("--tried", type=int, default=300, help="other images of each class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args()
    preset, seed = population(given.preset), given.seed
    lumps = Substructure(mass_fraction=given.fraction, compensated=True)

    def learned(which: Population) -> TrainedModel:
        images = simulate(which, given.learned, seed=seed)
        return train(images, given.detector, seed=seed, progress=False)

    @cache
    def first() -> TrainedModel:
        return learned(preset)

    def tried(which: Population, made: Callable[[], TrainedModel]) -> dict[str, Any]:
        normal = simulate(which, given.tried, seed=seed + 1)
        lumpy = simulate(which, given.tried, seed=seed + 2, substructure=lumps)
        return judged(made(), normal, lumpy)

    rows: list[dict[str, Any]] = []
    for name, which in shifts(preset).items():
        ways: dict[str, Callable[[], TrainedModel]] = {"as it is": first}
        if which is not preset:
            smooth = simulate(which, given.learned, seed=seed + 3)
            ways["adapted"] = lambda smooth=smooth: adapt(first(), smooth, progress=False)
            ways["adapted, a tenth lumpy"] = lambda which=which: adapt(
                first(), mixed(which, lumps, given.learned, seed + 4), progress=False
            )
            ways["trained"] = lambda which=which: learned(which)
        for way, made in ways.items():
            place = given.out / "runs" / "adaptation" / (
                f"{given.preset}-{given.detector}-{name}-{way}-{seed}.json".replace(" ", "-")
            )  # fmt: skip
            row = kept(place, partial(tried, which, made))
            rows.append({"images": name, "model": way} | row)
    command = (
        f"python benchmarks/adaptation.py {given.preset} --detector {given.detector} --fraction "
        f"{given.fraction:g} --learned {given.learned} --tried {given.tried} --seed {seed}"
    )
    head = ["images", "model", "AUC", "95 % interval", f"false alarms at {FALSE_ALARMS:g}",
            "95 % interval", "without p-value", "left out"]  # fmt: skip
    lines = [head, ["---"] * len(head)]
    for row in rows:
        area, alarms = row["auc"], row["false_alarms"]
        lines.append([row["images"], row["model"], f"{area[0]:.3f}",
                      f"{area[1]:.3f} to {area[2]:.3f}", f"{alarms[0]:.3f}",
                      f"{alarms[1]:.3f} to {alarms[2]:.3f}", str(row["without_p_value"]),
                      f"{row['left_out']:.1%}"])  # fmt: skip
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    with whole_file(given.out / f"adaptation-{given.preset}.md") as path:
        path.write_text(
            f"# `{given.detector}` on other images than it learned from, `{given.preset}`\n\n"
            f"{given.fraction:.0%} of the mass in 25 point masses, compensated; {given.tried} "
            f"images of each class are scored.\n\n{table}\n\nMade by `{command}`.\n",
            encoding="utf-8",
        )
    with whole_file(given.out / f"adaptation-{given.preset}.json") as path:
        text = json.dumps({"command": command, "rows": rows}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
