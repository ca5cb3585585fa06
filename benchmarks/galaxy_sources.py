"""`physics` with Sersic sources and with shapelets, on lenses whose sources are galaxies.

Run with ``python benchmarks/galaxy_sources.py --out results``. Both detectors learn from the same
smooth lenses, share one encoder, and score the same others. Images and scores are kept in
``--work``, where an interrupted run goes on. It prints and writes ``galaxy-sources.json`` and
``galaxy-sources.md``: the AUC of every kind of substructure, the difference of the two detectors
over the same lenses (bootstrap over lenses), and how many smooth lenses have small p-values. Labels
are read only there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens import LensImages, simulate
from lumpylens.detectors.physics.detector import PhysicsConfig, PhysicsDetector
from lumpylens.files.writing import whole_file
from lumpylens.results.calibration import Calibration
from lumpylens.results.metrics import auc
from lumpylens.store.folder import load_model, save_model
from lumpylens.store.trained import TrainedModel
from lumpylens.training.run import Run

SOURCES = ("sersic", "shapelets")
SETS: dict[str, dict[str, Any]] = {
    "cdm": {"substructure": "cdm"},
    "points 3 %": {
        "substructure": "points-compensated", "settings": {"mass_fraction": 0.03},
    },
    "points 8 %": {"substructure": "points-compensated"},
}  # fmt: skip
"""Kinds of substructure, all of them mass-compensated."""

SCORES = ("anomaly_score", "free_mass", "perturbation", "residual", "parameters")
SEEDS = {"train": 0, "calibration": 1, "smooth": 2, "lumpy": 3}
BOOTSTRAPS = 2000


def images_of(work: Path, given: argparse.Namespace, part: str, kind: str | None) -> LensImages:
    """Simulate a set, or open it if it was simulated before."""
    count = {"train": given.n_train, "calibration": given.n_calibration}.get(part, given.n)
    name = f"{part}-{kind or 'smooth'}-{count}-{given.seed}".replace(" ", "-").replace("%", "pc")
    path = work / f"{given.population}-{name}.h5"
    if not path.exists():
        seed = 10 * given.seed + SEEDS[part]
        simulate(given.population, count, seed=seed, out=path, **SETS.get(kind or "", {}))
    return LensImages.open(path)


def model_of(work: Path, given: argparse.Namespace, source: str) -> TrainedModel:
    """Train a detector, or load it.

    The second keeps the first one's encoder, and learns the rest from the same images.
    """
    place = work / f"model-{source}-{given.n_train}-{given.seed}"
    if place.is_dir():
        return load_model(place)
    learn = images_of(work, given, "train", None)
    check = images_of(work, given, "calibration", None)
    detector, run = (
        PhysicsDetector(
            PhysicsConfig(
                source=source,
                seed=given.seed,
                sample=given.sample,
                near_epochs=0,
                renders=given.renders,
                epochs=given.epochs,
            )
        ),
        Run(),
    )
    begun = time.process_time()
    if source == SOURCES[0]:
        detector.fit(learn, validation=check, run=run)
    else:
        first = model_of(work, given, SOURCES[0]).detector
        assert isinstance(first, PhysicsDetector)
        detector.image_shape, detector.quick = first.image_shape, first.quick
        detector.adapt(learn, validation=check, run=run)
    seconds = time.process_time() - begun
    scores = detector.score(check)
    calibration = Calibration(scores.anomaly_score[scores.trusted])
    model = TrainedModel(detector, calibration, seen={}, info={"core_seconds": seconds})
    save_model(model, place)
    return model


def scored(
    work: Path, given: argparse.Namespace, source: str, kind: str | None
) -> dict[str, NDArray[Any]]:
    """Scores of a set by a detector, with p-values, whether they are trusted, and the time."""
    label = (kind or "smooth").replace(" ", "-").replace("%", "pc")
    path = work / f"scores-{source}-{label}-{given.n}-{given.seed}.npz"
    if not path.exists():
        model = model_of(work, given, source)
        images = images_of(work, given, "lumpy" if kind else "smooth", kind)
        begun = time.process_time()
        scores = model.detector.score(images)
        seconds = (time.process_time() - begun) / len(images)
        columns = {"anomaly_score": scores.anomaly_score, **scores.components}
        with whole_file(path) as partial, partial.open("wb") as stream:
            np.savez(
                stream,
                p_value=model.calibration.p_values(scores.anomaly_score),
                trusted=scores.trusted,
                seconds=seconds,
                **{name: columns[name] for name in SCORES},
            )
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def estimate(normal: NDArray[Any], anomalous: NDArray[Any]) -> list[float]:
    """AUC and its 95 % interval (Newcombe 2006)."""
    found = auc(normal, anomalous)
    return [round(number, 4) for number in (found.value, found.low, found.high)]


def difference(
    first: tuple[NDArray[Any], NDArray[Any]], second: tuple[NDArray[Any], NDArray[Any]], seed: int
) -> list[float]:
    """By how much the second AUC is larger, with its 95 % interval: the lenses are the same."""
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(BOOTSTRAPS):
        normal, anomalous = (random.integers(len(part), size=len(part)) for part in first)
        draws.append(
            auc(second[0][normal], second[1][anomalous]).value
            - auc(first[0][normal], first[1][anomalous]).value
        )
    value = auc(*second).value - auc(*first).value
    return [round(float(number), 4) for number in (value, *np.quantile(draws, [0.025, 0.975]))]


def compare(work: Path, given: argparse.Namespace) -> dict[str, Any]:
    """All numbers of the comparison."""
    smooth = {source: scored(work, given, source, None) for source in SOURCES}
    lumpy = {
        kind: {source: scored(work, given, source, kind) for source in SOURCES}
        for kind in given.kinds.split(",")
    }
    detectors = {}
    for source in SOURCES:
        normal, model = smooth[source], model_of(work, given, source)
        trusted, detector = normal["trusted"], model.detector
        assert isinstance(detector, PhysicsDetector)
        assert detector.learned is not None
        detail = detector.learned.model.detail
        detectors[source] = {
            "training_core_seconds": round(float(model.info["core_seconds"])),
            "seconds_per_lens": round(float(normal["seconds"]), 3),
            "free": list(detector.learned.model.free),
            "detail": None if detail is None else [round(s, 3) for s in detail.spread],
            "error_px2": round(detector.learned.error, 4),
            "doubtful_smooth": int((~trusted).sum()),
            "doubtful_lumpy": {k: int((~v[source]["trusted"]).sum()) for k, v in lumpy.items()},
            "false_alarms": {
                str(rate): int((normal["p_value"][trusted] <= rate).sum()) for rate in (0.05, 0.1)
            },
            "trusted_smooth": int(trusted.sum()),
            "auc": {
                kind: {
                    name: estimate(normal[name], of[source][name]) for name in SCORES
                }
                for kind, of in lumpy.items()
            },
            "auc_trusted": {
                kind: estimate(
                    normal["anomaly_score"][trusted],
                    of[source]["anomaly_score"][of[source]["trusted"]],
                )
                for kind, of in lumpy.items()
            },
        }  # fmt: skip
    gain = {
        kind: difference(
            *(
                (smooth[source]["anomaly_score"], of[source]["anomaly_score"])
                for source in SOURCES
            ),
            seed=given.seed,
        )
        for kind, of in lumpy.items()
    }  # fmt: skip
    return {
        "population": given.population, "seed": given.seed, "n_train": given.n_train,
        "n_calibration": given.n_calibration, "n": given.n, "sample": given.sample,
        "kinds": given.kinds, "renders": given.renders, "epochs": given.epochs,
        "detectors": detectors, "gain": gain,
    }  # fmt: skip


def page(found: dict[str, Any]) -> str:
    """The numbers as a page."""
    of = found["detectors"]
    lines = [
        f"# Sersic sources and shapelets on `{found['population']}`, whose sources are galaxies",
        "",
        f"Both detectors learned from the same {found['n_train']} smooth lenses, with p-values "
        f"from {found['n_calibration']} others, and scored {found['n']} smooth lenses and as many "
        "lumpy ones of each kind. All substructure is mass-compensated. Intervals are 95 % "
        "(Newcombe 2006); that of the gain is a bootstrap over the same lenses.",
        "",
        "| substructure | AUC, one Sersic source | AUC, shapelets | gain |",
        "|---|---:|---:|---:|",
    ]
    for kind, gain in found["gain"].items():
        cells = [
            "{:.3f} ({:.3f} to {:.3f})".format(*of[source]["auc"][kind]["anomaly_score"])
            for source in SOURCES
        ]
        cells.append("{:+.3f} ({:+.3f} to {:+.3f})".format(*gain))
        lines.append(f"| `{kind}` | " + " | ".join(cells) + " |")
    lines += ["", "| | one Sersic source | shapelets |", "|---|---:|---:|"]

    def row(words: str, of_source: Any) -> None:
        lines.append(f"| {words} | " + " | ".join(of_source(of[s]) for s in SOURCES) + " |")

    for rate in ("0.05", "0.1"):
        row(
            f"smooth lenses with a p-value of at most {rate}",
            lambda d, rate=rate: f"{d['false_alarms'][rate]} of {d['trusted_smooth']}",
        )
    row("smooth lenses in doubt, without a p-value", lambda d: str(d["doubtful_smooth"]))
    row("lumpy ones in doubt", lambda d: ", ".join(map(str, d["doubtful_lumpy"].values())))
    row("seconds of one core per lens", lambda d: f"{d['seconds_per_lens']:.2f}")
    row("seconds of one core to learn", lambda d: str(d["training_core_seconds"]))
    lines += [
        "",
        "The second detector has the encoder of the first, so its time to learn is without one.",
        "",
        f"`python benchmarks/galaxy_sources.py --n-train {found['n_train']} --n-calibration "
        f"{found['n_calibration']} --n {found['n']} --sample {found['sample']} --renders "
        f"{found['renders']} --epochs {found['epochs']} --kinds "
        f"'{found['kinds']}' --seed {found['seed']} --out results`",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--population", default="roman")
    parser.add_argument("--n-train", type=int, default=400)
    parser.add_argument("--n-calibration", type=int, default=150)
    parser.add_argument("--n", type=int, default=200, help="lenses of each kind that are tried")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=int, default=300, help="see the setting of `physics`")
    parser.add_argument("--renders", type=int, default=10_000, help="of the encoder")
    parser.add_argument("--epochs", type=int, default=8, help="of the encoder")
    parser.add_argument("--work", type=Path, default=Path("galaxy-sources"))
    parser.add_argument("--kinds", default=",".join(SETS), help="of substructure")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    found = compare(given.work, given)
    print(json.dumps(found, indent=1))
    if given.out is not None:
        for ending, text in (("json", json.dumps(found, indent=1) + "\n"), ("md", page(found))):
            with whole_file(given.out / f"galaxy-sources.{ending}") as path:
                path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
