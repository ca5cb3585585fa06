"""Every detector on the same images under the same protocol, in one table."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lumpylens.data.images import LensImages
from lumpylens.data.splits import digests_of
from lumpylens.detectors import DETECTORS, create
from lumpylens.errors import ModelError
from lumpylens.files.digests import digest_of
from lumpylens.files.paths import short_path
from lumpylens.files.progress import counted
from lumpylens.files.receipts import read_receipt
from lumpylens.files.versions import installed_versions
from lumpylens.files.writing import check_writable, whole_file
from lumpylens.results.metrics import FPRS, auc_interval
from lumpylens.verbs.benchmark.run import REFERENCE, Job, by_class
from lumpylens.verbs.benchmark.sets import simulated_set
from lumpylens.verbs.benchmark.table import PUBLISHED, markdown

__all__ = ["benchmark"]


def benchmark(
    data: str | Path,
    detectors: Sequence[str] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    once: Sequence[str] = (),
    out: str | Path = "results",
    name: str = "benchmark",
    reference: bool = False,
    n: int = 2000,
    n_anomalous: int = 500,
    substructure: str | None = None,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Train and evaluate detectors on the same images, several times each.

    Each detector learns from the normal training part alone; the numbers are of normal images
    that it never saw against all anomalous ones. Every run is a process of its own. A run whose
    result lies in ``OUT/runs/NAME`` is not made again; remove the file to repeat it.

    Parameters
    ----------
    data : str or Path
        Images of both classes, such as a folder with ``no_sub`` and ``sub``; or the name of a
        population, whose images are simulated in ``OUT/simulated``. Then there is a second table,
        ``NAME-compensated``: the same detectors on substructure whose mass the halo gave up.
    detectors : sequence of str, optional
        Default: all.
    seeds : sequence of int
        Each detector is trained once with each. The split does not depend on it.
    once : sequence of str
        Those of the detectors that are trained with the first seed alone, since they take long.
    out : str or Path
        Folder for ``NAME.md`` and ``NAME.json``.
    name : str
    reference : bool
        Below the table, show a classifier that is trained on labels of both classes, with the
        first seed alone, on a quarter, a half and all of the training images.
    n, n_anomalous : int
        Images to simulate, without and with substructure.
    substructure : str, optional
        Kind to simulate. Default: the population's first, else ``points``.
    device : {"auto", "cpu", "cuda"}
    progress : bool
        Show progress on standard error.

    Returns
    -------
    dict
        What ``NAME.json`` holds: ``rows``, one per detector, best first; ``runs``, ``failed``,
        ``trivial``, ``reference``, ``published``, and what was measured where. For a population
        also ``compensated``, the same for the second table.

    Raises
    ------
    DataError
        If a class is missing, or `out` cannot be written.
    ModelError
        If there is no such detector, or every run failed.
    """
    names = list(DETECTORS) if detectors is None else list(dict.fromkeys(detectors))
    if not names or not seeds:
        raise ModelError("a benchmark needs at least one detector and one seed")
    for each in once:
        if each not in names:
            raise ModelError(f"{each} is to be trained once, but is not among {', '.join(names)}")
    folder = Path(out)
    check_writable(folder / f"{name}.md")
    settings = {each: create(each).config.model_dump(mode="json") for each in names}
    made = simulated_set(
        str(data), n=n, n_anomalous=n_anomalous, substructure=substructure,
        folder=folder / "simulated", progress=progress,
    )  # fmt: skip
    source = data if made is None else made.data
    normal, anomalous = by_class(source)
    compensated = None if made is None else LensImages.open(made.compensated)
    images = fingerprint(normal + anomalous + compensated if compensated else normal + anomalous,
                         progress)  # fmt: skip
    runs = []
    for detector in [*names, REFERENCE] if reference else names:
        for seed in seeds[:1] if detector in (*once, REFERENCE) else seeds:
            identity = {
                "images": images,
                "lumpylens": version("lumpylens"),
                "settings": {**settings.get(detector, {}), "seed": seed},
            }
            place = folder / "runs" / name / f"{detector.replace(' ', '-')}-{seed}.json"
            also = None if made is None else str(made.compensated)
            job = Job(str(source), detector, seed, device, progress, str(place), also)
            runs.append(one_run(job, identity))
    told = short_path(data)
    common_part = {
        "command": f"lumpylens benchmark {made.command if made else shlex.quote(told)} "
        f"--detectors {','.join(names)} --seeds {','.join(map(str, seeds))}"
        + (f" --once {','.join(once)}" if once else "")
        + (" --reference" if reference else "")
        + (f" --name {shlex.quote(name)}" if name != "benchmark" else ""),
        "n_given_normal": len(normal),
        "n_given_anomalous": len(anomalous),
        "seeds": list(seeds),
        "once": list(once),
        "versions": installed_versions(),
        "published": PUBLISHED,
    }
    result = summary(runs) | {"name": name, "data": told} | common_part
    _write(result, folder, name)
    if made is not None:
        second = [run if "failed" in run else run | {"metrics": run["also"]} for run in runs]
        titled = {"name": f"{name}-compensated", "data": f"{told}, mass-compensated"}
        result["compensated"] = summary(second) | titled | common_part
        _write(result["compensated"], folder, f"{name}-compensated")
    return result


def _write(result: Mapping[str, Any], folder: Path, name: str) -> None:
    with whole_file(folder / f"{name}.json") as path:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    with whole_file(folder / f"{name}.md") as path:
        path.write_text(markdown(result), encoding="utf-8")


def fingerprint(images: LensImages, progress: bool) -> str:
    """Name a collection by the content of its images, in whatever order."""
    with counted("reading", len(images), show=progress) as step:
        digests, _ = digests_of(images, progress=step)
    return digest_of(*sorted(row.tobytes() for row in digests))


def one_run(job: Job, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Result of one run: found, or made in a process of its own."""
    place = Path(job.result)
    found = read_receipt(place, {"identity": identity})
    if found is not None and "failed" not in found:
        return found
    if job.progress:
        sys.stderr.write(f"{job.detector}, seed {job.seed}\n")
    with whole_file(place) as beside:
        done = subprocess.run(
            [sys.executable, "-m", "lumpylens.verbs.benchmark.run"],
            input=json.dumps(asdict(job) | {"result": str(beside)}).encode(),
            stdout=subprocess.DEVNULL,
            stderr=None if job.progress else subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            said = (done.stderr or b"").decode(errors="replace").strip().splitlines()
            found = {
                "detector": job.detector,
                "seed": job.seed,
                "failed": f"exit status {done.returncode}: {said[-1] if said else 'see above'}",
            }
        else:
            found = json.loads(beside.read_text(encoding="utf-8"))
        found["identity"] = dict(identity)
        beside.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One row per detector, best first, over its seeds."""
    good = [run for run in runs if "failed" not in run and run["detector"] != REFERENCE]
    learned = [run for run in runs if "failed" not in run and run["detector"] == REFERENCE]
    failed = [
        {key: run[key] for key in ("detector", "seed", "failed")} for run in runs if "failed" in run
    ]
    if not good:
        first = failed[0]
        raise ModelError(
            f"all {len(runs)} runs failed; the first, {first['detector']}: {first['failed']}"
        )
    rows = [
        row([run for run in good if run["detector"] == detector])
        for detector in dict.fromkeys(run["detector"] for run in good)
    ]
    first_metrics = good[0]["metrics"]
    return {
        "rows": sorted(rows, key=lambda each: -each["auc"]),
        "failed": failed,
        "n_normal": first_metrics["n_normal"],
        "n_anomalous": first_metrics["n_anomalous"],
        "trivial": first_metrics["audit"]["trivial"],
        "reference": common(learned) | {"learning_curve": learned[0]["metrics"]["learning_curve"]}
        if learned
        else None,
        "machine": sorted({run["device"] for run in good}),
        "runs": [{**run, "metrics": brief(run["metrics"])} for run in good],
    }


def row(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the seeds of one detector."""
    metrics = [run["metrics"] for run in runs]
    return {
        **common(runs),
        "auc_by_part": {
            part: mean([each["splits"].get(part, {}).get("auc") for each in metrics])
            for part in ("train", "test")
        },
        "wasserstein": mean([each["wasserstein"] for each in metrics]),
        "audit": {
            part: mean([each["audit"]["components"][part]["auc"] for each in metrics])
            for part in metrics[0]["audit"]["components"]
        },
        "n_failed": max(each["n_failed_normal"] + each["n_failed_anomalous"] for each in metrics),
        **{key: mean([run[key] for run in runs]) for key in ("images_per_core_second", "model_mb")},
    }


def common(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What detectors and reference have in common; the interval is that of the mean AUC."""
    metrics = [run["metrics"] for run in runs]
    areas = [each["auc"] for each in metrics]
    low, high = auc_interval(
        float(np.mean(areas)), metrics[0]["n_normal"], metrics[0]["n_anomalous"]
    )
    return {
        "detector": runs[0]["detector"],
        "seeds": [run["seed"] for run in runs],
        "n_train": runs[0]["n_train"],
        "auc": mean(areas),
        "auc_low": low,
        "auc_high": high,
        "auc_by_seed": areas,
        "tpr_at_fpr": {
            f"{fpr:g}": mean([each["tpr_at_fpr"][f"{fpr:g}"] for each in metrics]) for fpr in FPRS
        },
        "n_normal": metrics[0]["n_normal"],
        "n_anomalous": metrics[0]["n_anomalous"],
        **{
            key: mean([run[key] for run in runs])
            for key in ("training_core_seconds", "peak_memory_mb")
        },
    }


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the numbers that exist, or None."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def brief(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one run that do not stand elsewhere in the file."""
    kept = ("auc", "auc_low", "auc_high", "tpr_at_fpr", "wasserstein", "n_normal", "n_anomalous")
    return {key: metrics[key] for key in kept}
