"""Every detector on the same images under the same protocol, in one table."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lumpylens.data.images import LensImages
from lumpylens.data.splits import digests_of
from lumpylens.detectors import DETECTORS, create, detector_class, list_detectors
from lumpylens.errors import ModelError
from lumpylens.files.digests import digest_of, digest_of_file
from lumpylens.files.paths import short_path
from lumpylens.files.progress import counted
from lumpylens.files.receipts import read_receipt
from lumpylens.files.versions import installed_versions
from lumpylens.files.writing import check_writable, whole_file
from lumpylens.report.comparison import Comparison
from lumpylens.report.comparison_table import PUBLISHED
from lumpylens.results.metrics import CURVE_FPRS, FPRS, auc_interval
from lumpylens.verbs.benchmark.run import REFERENCE, Job, by_class
from lumpylens.verbs.benchmark.sets import simulated_set

__all__ = ["benchmark"]


def benchmark(
    data: str | Path,
    detectors: Sequence[str] | None = None,
    *,
    band: str | None = None,
    seeds: Sequence[int] = (0,),
    once: Sequence[str] = (),
    out: str | Path | None = None,
    name: str = "benchmark",
    reference: bool = False,
    n: int = 2000,
    n_anomalous: int = 500,
    substructure: str | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Comparison:
    """Train and evaluate detectors on the same images, several times each.

    Each detector learns from the normal training part alone. It is measured on normal images that
    it never saw against all anomalous ones. Every run is a process of its own. A run whose result
    lies in ``OUT/runs/NAME`` is not made again; remove the file to repeat it.

    Parameters
    ----------
    data : str or Path
        Images of both classes, such as a folder with ``no_sub`` and ``sub``; or the name of a
        population, whose images are simulated in ``OUT/simulated``. Then there is a second table,
        ``NAME-compensated``: the same detectors on substructure whose mass is taken from the halo.
    detectors : sequence of str, optional
        Names, or ``module:Class`` for one of your own. Default: all of `list_detectors`.
    band : str, optional
        Which of the bands to take, where the files hold several.
    seeds : sequence of int
        Each detector is trained once with each. The split does not depend on it.
    once : sequence of str
        Those of the detectors that are trained with the first seed alone, since they take long.
    out : str or Path, optional
        Folder for ``NAME.html``, ``NAME.md``, ``NAME.json`` and the single runs.
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
    Comparison

    Raises
    ------
    DataError
        If a class is missing, or `out` cannot be written.
    ModelError
        If there is no such detector, or every run failed.
    """
    names = list_detectors() if detectors is None else list(dict.fromkeys(detectors))
    if not names or not seeds:
        raise ModelError("a benchmark needs at least one detector and one seed")
    for detector in once:
        if detector not in names:
            raise ModelError(
                f"{detector} is to be trained once, but is not among {', '.join(names)}"
            )
    for detector in names:
        if detector.startswith("__main__:"):
            raise ModelError(
                f"{detector} cannot be found by the runs, which are separate processes; put "
                "the class into a module"
            )
    settings = {detector: create(detector).config.model_dump(mode="json") for detector in names}
    with _place(out) as folder:
        check_writable(folder / f"{name}.md")
        lenses = simulated_set(
            str(data),
            n=n,
            n_anomalous=n_anomalous,
            substructure=substructure,
            folder=folder / "simulated",
            progress=progress,
        )
        source = data if lenses is None else lenses.data
        also = None if lenses is None else str(lenses.compensated)
        normal, anomalous = by_class(source, band)
        every = normal + anomalous
        digest = fingerprint(every if also is None else every + LensImages.open(also), progress)
        runs = []
        for detector in [*names, REFERENCE] if reference else names:
            for seed in seeds[:1] if detector in (*once, REFERENCE) else seeds:
                identity = {
                    "images": digest,
                    "lumpylens": version("lumpylens"),
                    "settings": {**settings.get(detector, {}), "seed": seed},
                    **own_code(detector),
                }
                place = folder / "runs" / name / f"{re.sub('[ :]', '-', detector)}-{seed}.json"
                job = Job(
                    str(source),
                    detector,
                    seed,
                    device,
                    progress,
                    str(place),
                    also,
                    band,
                    tuple(sys.path),
                )
                runs.append(one_run(job, identity))
        data_words = short_path(data)
        data_argument = lenses.command if lenses else shlex.quote(data_words)
        common_part = {
            "command": f"lumpylens benchmark {data_argument} "
            + (f"--band {shlex.quote(band)} " if band else "")
            + f"--detectors {','.join(names)} --seeds {','.join(map(str, seeds))}"
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
        compensated = None
        if lenses is not None:
            second = [
                run
                if "failed" in run
                else run | {"metrics": run["also"], "roc": run.get("also_roc")}
                for run in runs
            ]
            titled = {"name": f"{name}-compensated", "data": f"{data_words}, mass-compensated"}
            compensated = Comparison(summary(second) | titled | common_part)
        titled = {"name": name, "data": data_words}
        comparison = Comparison(summary(runs) | titled | common_part, compensated)
        if out is not None:
            comparison.write(folder)
    return comparison


@contextmanager
def _place(out: str | Path | None) -> Iterator[Path]:
    """Folder for runs and results; without one, a temporary one."""
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def fingerprint(images: LensImages, progress: bool) -> str:
    """Name a collection by the content of its images, in whatever order."""
    with counted("reading", len(images), show=progress) as step:
        digests, _ = digests_of(images, progress=step)
    return digest_of(*sorted(row.tobytes() for row in digests))


def own_code(detector: str) -> dict[str, str]:
    """Digest of the file of a detector that does not ship: the version says nothing of it."""
    if detector in (*DETECTORS, REFERENCE):
        return {}
    file = Path(inspect.getfile(detector_class(detector)))
    return {"code": digest_of_file(file)}


def one_run(job: Job, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Result of one run: found, or made in a process of its own."""
    place = Path(job.result)
    result = read_receipt(place, {"detector": job.detector, "identity": identity})
    if result is not None and "failed" not in result:
        return result
    if job.progress:
        sys.stderr.write(f"{job.detector}, seed {job.seed}\n")
    with whole_file(place) as part_file:
        process = subprocess.run(
            # -P: the working folder, which may hold modules of strangers, is not on the path
            [sys.executable, "-P", "-m", "lumpylens.verbs.benchmark.run"],
            input=json.dumps(asdict(job) | {"result": str(part_file)}).encode(),
            stdout=subprocess.DEVNULL,
            stderr=None if job.progress else subprocess.PIPE,
            check=False,
        )
        if process.returncode:
            error_lines = (process.stderr or b"").decode(errors="replace").strip().splitlines()
            last_line = error_lines[-1] if error_lines else "see above"
            result = {
                "detector": job.detector,
                "seed": job.seed,
                "failed": f"exit status {process.returncode}: {last_line}",
            }
        else:
            result = json.loads(part_file.read_text(encoding="utf-8"))
        result["identity"] = dict(identity)
        part_file.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summary with one row per detector, over its seeds, best first."""
    finished = [run for run in runs if "failed" not in run and run["detector"] != REFERENCE]
    learned = [run for run in runs if "failed" not in run and run["detector"] == REFERENCE]
    failed = [
        {key: run[key] for key in ("detector", "seed", "failed")} for run in runs if "failed" in run
    ]
    if not finished:
        first = failed[0]
        raise ModelError(
            f"all {len(runs)} runs failed; the first, {first['detector']}: {first['failed']}"
        )
    rows = [
        row([run for run in finished if run["detector"] == detector])
        for detector in dict.fromkeys(run["detector"] for run in finished)
    ]
    first_metrics = finished[0]["metrics"]
    return {
        "rows": sorted(rows, key=lambda summed: -summed["auc"]),
        "failed": failed,
        "n_normal": first_metrics["n_normal"],
        "n_anomalous": first_metrics["n_anomalous"],
        "trivial": first_metrics["audit"]["trivial"],
        "reference": common(learned) | {"learning_curve": learned[0]["metrics"]["learning_curve"]}
        if learned
        else None,
        "roc_fpr": list(CURVE_FPRS),
        "machine": sorted({run["device"] for run in finished}),
        "runs": [brief(run) for run in finished],
    }


def row(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the seeds of one detector."""
    metrics = [run["metrics"] for run in runs]
    return {
        **common(runs),
        "auc_by_part": {
            part: mean([numbers["splits"].get(part, {}).get("auc") for numbers in metrics])
            for part in ("train", "test")
        },
        "wasserstein": mean([numbers["wasserstein"] for numbers in metrics]),
        "audit": {
            part: mean([numbers["audit"]["components"][part]["auc"] for numbers in metrics])
            for part in metrics[0]["audit"]["components"]
        },
        "n_failed": max(
            numbers["n_failed_normal"] + numbers["n_failed_anomalous"] for numbers in metrics
        ),
        **{key: mean([run[key] for run in runs]) for key in ("images_per_core_second", "model_mb")},
    }


def common(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers that detectors and reference have in common; the interval is that of the mean AUC."""
    metrics = [run["metrics"] for run in runs]
    areas = [numbers["auc"] for numbers in metrics]
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
            f"{fpr:g}": mean([numbers["tpr_at_fpr"][f"{fpr:g}"] for numbers in metrics])
            for fpr in FPRS
        },
        "roc": mean_curve([run.get("roc") for run in runs]),
        "n_normal": metrics[0]["n_normal"],
        "n_anomalous": metrics[0]["n_anomalous"],
        **{
            key: mean([run[key] for run in runs])
            for key in ("training_core_seconds", "peak_memory_mb")
        },
    }


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the numbers that exist, or None."""
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else None


def mean_curve(curves: Sequence[Sequence[float] | None]) -> list[float] | None:
    """Mean true-positive rates over the seeds; None if a run of version 0.1 kept no curve."""
    measured = [curve for curve in curves if curve is not None]
    return np.mean(measured, axis=0).round(5).tolist() if len(measured) == len(curves) else None


def brief(run: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one run that do not stand elsewhere in the file."""
    keys = ("auc", "auc_low", "auc_high", "tpr_at_fpr", "wasserstein", "n_normal", "n_anomalous")
    without_curves = {key: value for key, value in run.items() if key not in ("roc", "also_roc")}
    return without_curves | {"metrics": {key: run["metrics"][key] for key in keys}}
