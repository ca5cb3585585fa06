"""Scores that the shipped models give; ``python tests/unit/pinned_scores.py`` pins them anew.

Do that only where a change of the scores is meant: the difference of ``pinned_scores.json`` is then
part of the change. Needs LUMPYLENS_TEST_DATA for the real images, of which numbers alone are kept.
"""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from pathlib import Path

from lumpylens.data.images import LensImages
from lumpylens.simulation import simulate
from lumpylens.store.folder import load_model
from lumpylens.verbs.score import score

PINNED = Path(__file__).with_suffix(".json")
SCORED_BY = {
    "slc-physics": {"model": "slc-physics"},
    "slc-physics, fast": {"model": "slc-physics", "fast": True},
    "slc-pixel": {"model": "slc-pixel"},
    "euclid-physics": {"model": "euclid-physics", "preset": "euclid"},
}
PINS = [
    (scored_by, images)
    for scored_by in SCORED_BY
    for images in ("simulated", "real")
    # Whether the fit of a real lens of Euclid converges is decided by the last digits.
    if (scored_by, images) != ("euclid-physics", "real")
]
REAL = {
    "no_sub": (
        "image_100108096845777232664144315147734473464.jpg",
        "image_100227287539121191196450747013226157267.jpg",
        "image_100264483508961414728177018733988774270.jpg",
    ),
    "sub": (
        "image_100015241301657914033614173596761104525.jpg",
        "image_100019258133324150161414627571840489791.jpg",
        "image_100037595382723842062692422633464214182.jpg",
    ),
}

Numbers = dict[str, dict[str, float]]
"""Name of the image -> name of the column -> number."""


@functools.cache
def simulated_images(scored_by: str) -> LensImages:
    """Three smooth lenses and three with substructure."""
    preset = SCORED_BY[scored_by].get("preset", "slc")
    return simulate(preset, 3, seed=71) + simulate(preset, 3, seed=72, substructure="points")


def real_images(data: Path) -> LensImages:
    """Three smooth lenses and three with substructure of the challenge's."""
    lenses = data / "slc" / "lenses"
    paths = [lenses / name / image for name, images in REAL.items() for image in images]
    return functools.reduce(LensImages.__add__, map(LensImages.open, paths))


def numbers_of(scored_by: str, images: LensImages) -> Numbers:
    """Every finite number of the score table, by image."""
    how = SCORED_BY[scored_by]
    table = score(load_model(how["model"]), images, fast=how.get("fast", False), progress=False)
    columns = {"anomaly_score": table.anomaly_score, "p_value": table.p_value, **table.components}
    return {
        image: {
            name: float(f"{column[row]:.7g}")
            for name, column in columns.items()
            if math.isfinite(column[row])
        }
        for row, image in enumerate(table.id)
    }


def pin(data: Path) -> None:
    """Write the numbers that the models give now."""
    numbers: dict[str, dict[str, Numbers]] = {scored_by: {} for scored_by in SCORED_BY}
    for scored_by, images in PINS:
        given = simulated_images(scored_by) if images == "simulated" else real_images(data)
        numbers[scored_by][images] = numbers_of(scored_by, given)
    PINNED.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    if "LUMPYLENS_TEST_DATA" not in os.environ:
        sys.exit("LUMPYLENS_TEST_DATA is not set: scores of real images are pinned too")
    pin(Path(os.environ["LUMPYLENS_TEST_DATA"]))
