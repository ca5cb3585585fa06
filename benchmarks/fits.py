"""Time to fit real lenses with this build and with another one, in turn on one machine.

    git worktree add /tmp/before COMMIT
    python benchmarks/fits.py /tmp/before --lenses FOLDER

FOLDER has one folder per lens, with image, noise map and PSF. Prints one line per lens and then one
JSON object: processor seconds per lens in each build at one thread, their ratios, and by how much
the rows of the two builds differ, in units of their errors. Both builds run in the environment of
this one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lumpylens import LensImages

HERE = Path(__file__).parents[1]

FIT = """
import json, sys, time
from dataclasses import asdict
from lumpylens import LensImages
from lumpylens.lenses.analysis import analyse
from lumpylens.lenses.catalogue import row_of
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.quality import remarks
images = LensImages.open(sys.argv[1], pixel_scale_arcsec=float(sys.argv[2]))
for text in sys.stdin:
    cutout = cutout_of(images[int(text)])
    begun = time.process_time()
    analysis = analyse(cutout)
    spent = time.process_time() - begun
    fitted = analysis.perturber.fitted
    more = {
        "cpu_s": spent, "energy": analysis.smooth.best.energy, "perturber_energy": fitted.energy,
        **{f"{name}_err": fitted.spread(name) for name in ("perturber_x", "perturber_y")},
    }
    print(json.dumps(asdict(row_of(analysis, remarks(analysis), "")) | more), flush=True)
"""


class Build:
    """A checkout whose code fits lenses in a process of its own, one after the other."""

    def __init__(self, checkout: Path, lenses: Path, pixel_scale: float) -> None:
        surroundings = os.environ | {
            "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-c", FIT, lenses, str(pixel_scale)], env=surroundings, cwd=checkout,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def fit(self, position: int) -> dict[str, Any]:
        """Fit one lens; its row, its energies and the seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{position}\n")
        row: dict[str, Any] = json.loads(self.process.stdout.readline())
        return row


def apart(this: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """Differences of two rows of one lens, in units of the other's errors.

    The significance of a perturber is in standard deviations already.
    """

    def significance(row: dict[str, Any]) -> float:
        return math.sqrt(2 * max(row["perturber_log_evidence"], 0))

    place = [
        (this[f"perturber_{axis}_arcsec"] - other[f"perturber_{axis}_arcsec"])
        / other[f"perturber_{axis}_err"]
        for axis in "xy"
    ]
    radius = this["einstein_radius_arcsec"] - other["einstein_radius_arcsec"]
    return {
        "einstein_radius": abs(radius) / other["einstein_radius_err"],
        "significance": abs(significance(this) - significance(other)),
        "place": math.hypot(*place),
        "energy": this["energy"] - other["energy"],
        "perturber_energy": this["perturber_energy"] - other["perturber_energy"],
    }


def main() -> None:
    """Time both builds, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="checkout of the other build")
    parser.add_argument("--lenses", type=Path, required=True, help="folder of lenses")
    parser.add_argument("--pixel-scale", type=float, default=0.05, help="arcsec")
    parser.add_argument("--first", type=int, help="fit only so many")
    given = parser.parse_args()
    lenses = given.lenses.resolve()
    images = LensImages.open(lenses, pixel_scale_arcsec=given.pixel_scale)
    builds = {
        name: Build(checkout, lenses, given.pixel_scale)
        for name, checkout in (("this", HERE), ("other", given.other.resolve()))
    }
    seconds: dict[str, list[float]] = {name: [] for name in builds}
    differences = []
    # A first fit, which is not counted, imports and loads what is needed.
    for position in (0, *range(len(images))[: given.first]):
        rows = {name: build.fit(position) for name, build in builds.items()}
        for name, row in rows.items():
            seconds[name].append(row["cpu_s"])
        differences.append(apart(rows["this"], rows["other"]))
        told = ", ".join(f"{key} {value:+.3f}" for key, value in differences[-1].items())
        spent = ", ".join(f"{name} {row['cpu_s']:.1f} s" for name, row in rows.items())
        print(f"{rows['this']['id']}: {spent}; {told}", file=sys.stderr, flush=True)
    cpu = {name: np.array(spent[1:]) for name, spent in seconds.items()}
    ratio = cpu["other"] / cpu["this"]
    counted = differences[1:]
    print(json.dumps({
        "lenses": len(ratio),
        **{f"cpu s per lens, median, {name}": round(float(np.median(spent)), 2)
           for name, spent in cpu.items()},
        "cpu ratio, total": round(float(cpu["other"].sum() / cpu["this"].sum()), 2),
        "cpu ratio, median and least": [round(float(f(ratio)), 2) for f in (np.median, np.min)],
        **{f"{key} apart, median and most": [
            float(f"{f([row[key] for row in counted]):.2g}") for f in (np.median, np.max)
        ] for key in ("einstein_radius", "significance", "place")},
        **{f"{key} within 0.1": sum(row[key] < 0.1 for row in counted)
           for key in ("einstein_radius", "significance", "place")},
    }))  # fmt: skip


if __name__ == "__main__":
    main()
