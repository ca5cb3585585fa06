"""Mass in substructure of the challenge's lenses: 0 in the smooth ones, and some 8 % in the others.

``python benchmarks/population_challenge.py DATA --out results`` takes every eleventh image of each
class as a set of its own, and writes ``population-challenge.md`` and ``.json``. The inference does
not see the class. Simulated lenses are kept in ``results/simulated``; those of the smooth set are
shared with ``population.py``.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from lumpylens import LensImages, population
from lumpylens.files.json_files import write_json

MODEL, EVERY = "slc-physics", 11
SETS = {
    "no_sub": ("points-compensated", 0.1, 12_000, 11),
    "sub": ("points", 0.15, 1000, 61),
}
"""Class -> kind of substructure, largest fraction, simulated lenses, seed. That of the challenge
adds its mass to the lens."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args()
    rows, lines = {}, []
    for name, (kind, largest, simulations, seed) in SETS.items():
        images = LensImages.open(options.data / name)[::EVERY]
        found = population(
            MODEL,
            images,
            substructure=kind,
            largest=largest,
            simulations=simulations,
            seed=seed,
            cache=options.out / "simulated" / f"slc-{seed}",
        )
        numbers = found.to_dict()
        del numbers["posterior"]
        rows[name] = numbers
        lines += [f"`{name}`, with `--substructure {kind}` and {simulations} simulated lenses:", ""]
        lines += ["```text", repr(found), "```", ""]
    command = shlex.join(["python", "benchmarks/population_challenge.py", "DATA", *sys.argv[2:]])
    write_json({"command": command, "sets": rows}, options.out / "population-challenge.json")
    text = ["# Mass in substructure of the challenge's lenses", "", *lines, f"Made by `{command}`."]
    (options.out / "population-challenge.md").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
