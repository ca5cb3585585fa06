"""The whole detector on lenses whose sources are galaxies, as in the Roman Data Challenge.

Run with ``python benchmarks/roman.py --out results``. Each detector learns from the same smooth
lenses, as ``lumpylens train`` does, and scores the same others. Models and scores are kept in
``--work``, where an interrupted run goes on. Labels are read in this script alone, for the numbers,
and by the classifier below the line, which learns from them. Prints, and writes ``NAME.md`` and
``NAME.json``.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens import LensImages, ScoreTable, load_model, score, train
from lumpylens.data.shortcuts import trivial_statistics
from lumpylens.files.writing import whole_file
from lumpylens.results.metrics import auc, roc_curve
from lumpylens.simulation import POPULATIONS, Simulation, simulate_with_truth
from lumpylens.simulation.images import lumps_of
from lumpylens.verbs.benchmark.supervised import supervised_reference

SHIPPED = {"encoder": "shipped", "near_epochs": 0}
"""The encoder that ships, as it is: nothing is trained on rendered lenses."""

DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "physics, source=shapelets": ("physics", {**SHIPPED, "source": "shapelets"}),
    "physics": ("physics", SHIPPED),
    "pca": ("pca", {}),
}
"""Name in the table -> detector and settings."""

RATES = (0.01, 0.05, 0.1)
SEEDS = {"learn": 0, "smooth": 1, "lumpy": 2, "labelled": 3}
DECADES = (1e8, 1e9, 10**9.5, np.inf)
"""Ends of the bins of the largest halo's mass, in solar masses."""


def simulated(given: argparse.Namespace, part: str) -> Simulation:
    """A set of lenses with their truth; the same numbers each time."""
    lumpy = part in ("lumpy", "labelled")
    count = given.n_learn if part in ("learn", "labelled") else given.n
    population = POPULATIONS[given.population]
    lumps = lumps_of(population, given.substructure, dict(given.settings)) if lumpy else None
    seed = 10 * given.seed + SEEDS[part]
    return simulate_with_truth(
        population, count, seed=seed, substructure=lumps, sources=given.sources
    )


def scores_of(
    given: argparse.Namespace, name: str, sets: Mapping[str, LensImages]
) -> dict[str, Any]:
    """Scores of the test sets by one detector, with the time; trained if it was not."""
    place = given.work / name.replace(", ", "-").replace("=", "-")
    place.mkdir(parents=True, exist_ok=True)
    record = place / "times.json"
    times = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    detector, settings = DETECTORS[name]
    begun = time.process_time()
    if not (place / "model").is_dir():
        train(sets["learn"], detector, settings=settings, seed=given.seed, out=place / "model")
        times["training"] = time.process_time() - begun
    model = load_model(place / "model")
    tables = {}
    for part in ("smooth", "lumpy"):
        path = place / f"{part}.csv"
        if not path.exists():
            begun = time.process_time()
            score(model, sets[part]).write(path)
            times[part] = time.process_time() - begun
            with whole_file(record) as partial:
                partial.write_text(json.dumps(times), encoding="utf-8")
        tables[part] = ScoreTable.read(path)
    return {"times": times, **tables}


def interval(normal: NDArray[np.float64], anomalous: NDArray[np.float64]) -> list[float]:
    """AUC and its 95 % interval (Newcombe 2006); images without a score are left out."""
    found = auc(normal[np.isfinite(normal)], anomalous[np.isfinite(anomalous)])
    return [round(number, 4) for number in (found.value, found.low, found.high)]


def judged(
    given: argparse.Namespace, found: Mapping[str, Any], truths: tuple[Simulation, Simulation]
) -> dict[str, Any]:
    """Numbers of one detector; `truths` are those of the smooth and of the lumpy lenses."""
    smooth, lumpy = found["smooth"], found["lumpy"]
    trusted = np.isfinite(smooth.p_value)
    scores = smooth.anomaly_score, lumpy.anomaly_score
    finite = [column[np.isfinite(column)] for column in scores]
    heaviest = largest_halo(truths[1])
    return {
        "training_core_s": round(found["times"]["training"]),
        "core_s_per_lens": round(found["times"]["smooth"] / given.n, 3),
        "auc": interval(*scores),
        "components": {
            part: interval(smooth.components[part], lumpy.components[part])
            for part in smooth.components
            if smooth.components[part].dtype.kind == "f"
        },
        "tpr": {str(rate): round(float(roc_curve(*finite).tpr_on(rate)), 3) for rate in RATES},
        "false_alarms": {
            str(rate): [int((smooth.p_value[trusted] <= rate).sum()), int(trusted.sum())]
            for rate in RATES
        },
        "without_p_value": [
            int((~np.isfinite(table.p_value)).sum()) for table in (smooth, lumpy)
        ],
        "failed": [table.n_failed for table in (smooth, lumpy)],
        "by_largest_halo": {
            label: [int(chosen.sum()), *interval(scores[0], scores[1][chosen])]
            for label, chosen in bins(heaviest).items()
            if chosen.sum() >= 20
        },
        "by_source": by_thirds(scores, truths),
    }  # fmt: skip


def largest_halo(truth: Simulation) -> NDArray[np.float64]:
    """Mass of the largest subhalo of every lens, in solar masses."""
    table = truth.table()
    radii = np.asarray(table["perturber_einstein_radius_px"], dtype=float).reshape(len(table), -1)
    mass: NDArray[np.float64] = radii.max(axis=1) ** 2 * np.asarray(table["msun_per_px2"], float)
    return mass


def bins(mass: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Label of each bin of mass, and the lenses in it."""
    labels = ("below 1e8", "1e8 to 1e9", "1e9 to 10^9.5", "10^9.5 or more")
    return {
        label: (mass >= low) & (mass < high)
        for label, low, high in zip(labels, (0.0, *DECADES[:-1]), DECADES, strict=True)
    }


def brightness(truth: Simulation) -> NDArray[np.float64]:
    """Surface brightness times area of the unlensed source over the noise of the sky: a rank."""
    table = truth.table()
    columns = ("source_brightness", "source_radius_px", "source_axis_ratio", "noise")
    light, radius, ratio, noise = (np.asarray(table[name], dtype=float) for name in columns)
    seen: NDArray[np.float64] = light * radius**2 * ratio / noise
    return seen


def by_thirds(
    scores: tuple[NDArray[np.float64], NDArray[np.float64]],
    truths: tuple[Simulation, Simulation],
) -> dict[str, list[float]]:
    """AUC among lenses with faint, medium and bright sources."""
    seen = [brightness(truth) for truth in truths]
    ends = [-np.inf, *np.quantile(seen[0], [1 / 3, 2 / 3]), np.inf]
    return {
        label: interval(
            *(part[(rank >= low) & (rank < high)] for part, rank in zip(scores, seen, strict=True))
        )
        for label, low, high in zip(("faint", "medium", "bright"), ends[:-1], ends[1:], strict=True)
    }


def shortcuts(smooth: LensImages, lumpy: LensImages) -> dict[str, float]:
    """AUC of statistics that know no lensing."""
    columns: list[dict[str, NDArray[np.float64]]] = []
    for images in (smooth, lumpy):
        rows = [trivial_statistics(image) for image in images]
        columns.append({name: np.array([row[name] for row in rows]) for name in rows[0]})
    return {
        name: interval(columns[0][name], columns[1][name])[0]
        for name in columns[0]
        if np.isfinite(columns[0][name]).all()
    }


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """All numbers."""
    smooth, lumpy = simulated(given, "smooth"), simulated(given, "lumpy")
    sets = {"learn": simulated(given, "learn").images, "smooth": smooth.images}
    sets["lumpy"] = lumpy.images
    found: dict[str, Any] = {
        "population": given.population, "substructure": given.substructure, "n": given.n,
        "n_learn": given.n_learn, "seed": given.seed,
        "detectors": {
            name: judged(given, scores_of(given, name, sets), (smooth, lumpy))
            for name in given.detectors
        },
        "shortcuts": shortcuts(sets["smooth"], sets["lumpy"]),
    }  # fmt: skip
    reference = given.work / "supervised.json"
    if not reference.exists():
        begun = time.process_time()
        classifier = supervised_reference(
            sets["learn"], simulated(given, "labelled").images, sets["smooth"], sets["lumpy"],
            seed=given.seed,
        )  # fmt: skip
        numbers = {
            "auc": interval(classifier.normal, classifier.anomalous),
            "labelled": [classifier.training_normal, classifier.training_anomalous],
            "training_core_s": round(time.process_time() - begun),
        }
        with whole_file(reference) as partial:
            partial.write_text(json.dumps(numbers), encoding="utf-8")
    found["supervised"] = json.loads(reference.read_text(encoding="utf-8"))
    return found


def shown(three: list[float]) -> str:
    """An AUC with its interval."""
    value, low, high = three
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def page(found: Mapping[str, Any], command: str) -> str:
    """The tables in Markdown."""
    detectors = found["detectors"]

    def row(label: str, cell: Callable[[Mapping[str, Any]], str]) -> str:
        return f"| {label} | " + " | ".join(cell(each) for each in detectors.values()) + " |"

    first = next(iter(detectors.values()))
    parts = [name for name in first["components"] if name != "reconstruction_mse"]
    lines = [
        f"# `{found['population']}`, `{found['substructure']}`",
        "",
        f"{found['n']} smooth and {found['n']} lumpy lenses (seed {found['seed']}); each detector "
        f"learned from the same {found['n_learn']} other smooth ones, a tenth of which "
        "calibrates p-values. No label was used. Intervals: 95 %, Newcombe 2006. "
        f"`{command}`",
        "",
        "| | " + " | ".join(f"`{name}`" for name in detectors) + " |",
        "|---|" + "---:|" * len(detectors),
        row("AUC", lambda each: shown(each["auc"])),
        *(
            row(
                f"AUC of `{part}`",
                lambda each, part=part: (
                    shown(each["components"][part]) if part in each["components"] else ""
                ),
            )
            for part in parts
        ),
        *(row(f"TPR at FPR {rate}", lambda each, r=str(rate): f"{each['tpr'][r]:.3f}")
          for rate in RATES),
        *(row(
            f"smooth lenses with p at most {rate}",
            lambda each, r=str(rate): "{} of {}".format(*each["false_alarms"][r]),
        ) for rate in RATES),
        row(
            "without p-value: smooth, lumpy",
            lambda each: "{}, {}".format(*each["without_p_value"]),
        ),
        row("failed: smooth, lumpy", lambda each: "{}, {}".format(*each["failed"])),
        *(
            row(
                f"AUC, largest subhalo {label} Msun ({first['by_largest_halo'][label][0]} lenses)",
                lambda each, label=label: shown(each["by_largest_halo"][label][1:]),
            )
            for label in first["by_largest_halo"]
        ),
        *(
            row(
                f"AUC, {label} third of sources",
                lambda each, label=label: shown(each["by_source"][label]),
            )
            for label in first["by_source"]
        ),
        row("training, core minutes", lambda each: f"{each['training_core_s'] / 60:.1f}"),
        row("scoring, core seconds a lens", lambda each: f"{each['core_s_per_lens']:.2f}"),
        "",
        "For comparison, and not a detector: a small convolutional classifier that learned from "
        "{} smooth and {} lumpy lenses *with their labels*".format(*found["supervised"]["labelled"])
        + f": {shown(found['supervised']['auc'])}.",
        "",
        "Statistics that know no lensing (AUC far from 0.5 is a shortcut): "
        + ", ".join(f"{name} {value:.3f}" for name, value in found["shortcuts"].items()) + ".",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as JSON."""
    name, _, value = text.partition("=")
    return name, json.loads(value)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--population", default="roman")
    parser.add_argument("--substructure", default="cdm")
    parser.add_argument("--sources", default="galaxies")
    parser.add_argument("--set", dest="settings", type=setting, action="append", default=[])
    parser.add_argument("--detectors", type=lambda text: text.split(";"), default=list(DETECTORS))
    parser.add_argument("--n", type=int, default=500, help="lenses of each class to score")
    parser.add_argument("--n-learn", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/roman"))
    parser.add_argument("--name", default="roman")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = measure(given)
    command = "python benchmarks/roman.py " + shlex.join(sys.argv[1:])
    text = page(found, command.strip())
    print(text, end="")
    if given.out is not None:
        for ending, whole in ((".md", text), (".json", json.dumps(found, indent=1) + "\n")):
            with whole_file(given.out / f"{given.name}{ending}") as path:
                path.write_text(whole, encoding="utf-8")


if __name__ == "__main__":
    main()
