"""Fit simulated lenses with two workers, and kill one of them twice.

Run with ``python reliability/fits.py``; prints one JSON object. The lenses are those of the preset
``lsst``, 48x48 pixels with noise map and PSF, and each is really fitted, with all defaults of
``lumpylens fit``. The same is done with more lenses whose rows are made up instead of fitted: it
shows what shards, receipts, table and page cost. ``--lenses 10000`` fits as many, in some 15 hours
of processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster import cluster, resident_mb, start_worker, wait_until

from lumpylens.lenses.catalogue import LensCatalogue
from lumpylens.scale.fitting import shard_folder
from lumpylens.simulation import simulate

WORKER = Path(__file__).with_name("fit_worker.py")


class FitBench:
    """Simulated lenses, and runs that fit them."""

    def __init__(self, folder: Path, lenses: int, *, made_up: bool) -> None:
        self.folder, self.lenses = folder, lenses
        folder.mkdir(parents=True)
        self.images = folder / "lenses.h5"
        simulate("lsst", lenses, seed=1, out=self.images, progress=False)
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        if made_up:
            self.environment["MADE_UP_ROWS"] = "1"

    def command(self, out: str, cluster: str) -> list[str]:
        """The command line that fits all lenses."""
        return [
            sys.executable, "-m", "lumpylens.cli", "fit", str(self.images), "--cluster", cluster,
            "--out", str(self.folder / out), "--report", str(self.folder / f"{out}-page"),
            "--quiet",
        ]  # fmt: skip

    def finished(self, out: str) -> int:
        """Number of lenses with a receipt."""
        try:
            return sum(name.endswith(".json") for name in os.listdir(self._shards(out)))
        except FileNotFoundError:
            return 0

    def _shards(self, out: str) -> Path:
        return shard_folder(self.folder / out)


def killed_twice(bench: FitBench, out: str = "killed.csv") -> dict[str, Any]:
    """Fit with two workers; kill -9 the first, and the one that takes its place."""
    told = bench.folder / "finished"
    told.mkdir()
    bench.environment["FINISHED"] = str(told)
    kill_at = [bench.lenses // 4, bench.lenses // 2]
    tenths = [bench.lenses * tenth // 10 for tenth in range(1, 11)]
    killed: list[int] = []
    memory: dict[str, list[float]] = {"driver": [], "worker": []}
    seconds: list[float] = []
    with cluster(bench.folder, 2, preload=WORKER, environment=bench.environment) as (
        address,
        processes,
    ):
        _, victim, survivor = processes
        driver = subprocess.Popen(
            bench.command(out, address), env=bench.environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_until(lambda: bench.finished(out) > 0 or driver.poll() is not None, "first lens", 600)
        begun = time.monotonic()
        while driver.poll() is None:
            done = bench.finished(out)
            if len(killed) < len(kill_at) and done >= kill_at[len(killed)]:
                victim.kill()
                killed.append(done)
                victim = start_worker(Path(address), bench.environment, preload=WORKER)
                processes.append(victim)
            while len(seconds) < len(tenths) and done >= tenths[len(seconds)]:
                seconds.append(round(time.monotonic() - begun, 1))
                memory["driver"].append(round(resident_mb(driver.pid), 1))
                memory["worker"].append(round(resident_mb(survivor.pid), 1))
            time.sleep(0.2)
        _, said = driver.communicate(timeout=60)
    if driver.returncode != 0:
        raise RuntimeError(f"status {driver.returncode}: {said}")
    assert len(killed) == len(kill_at), "the run was over before the worker was killed"
    return {
        "lenses": bench.lenses,
        "fitted when a worker was killed": killed,
        **counts(bench, out, told),
        "seconds at each tenth": seconds,
        "driver, MB at each tenth": memory["driver"],
        "worker that lived, MB at each tenth": memory["worker"],
    }


def counts(bench: FitBench, out: str, told: Path) -> dict[str, int]:
    """What is in the table, and what the workers say that they finished."""
    ids = Counter(row.id for row in LensCatalogue.read(bench.folder / out) if not row.error)
    shards = Counter(line for path in told.iterdir() for line in path.read_text().splitlines())
    assert not shard_folder(bench.folder / out).exists(), "shards are left"
    return {
        "rows": ids.total(),
        "lost": bench.lenses - len(ids),
        "rows that are there twice": ids.total() - len(ids),
        "fits that were finished twice": shards.total() - len(shards),
    }


def median_seconds(bench: FitBench, out: str = "killed.csv") -> dict[str, float]:
    """Of the first and of the last half of the lenses."""
    seconds = [row.seconds for row in LensCatalogue.read(bench.folder / out)]
    middle = len(seconds) // 2
    return {
        "first half": round(statistics.median(seconds[:middle]), 2),
        "last half": round(statistics.median(seconds[middle:]), 2),
    }


def one_process(bench: FitBench, out: str = "alone.csv") -> dict[str, float]:
    """Fit in a single process, without Dask; its time and its largest memory."""
    code = (
        "import sys, time, json, resource, fit_worker; from lumpylens import fit; "
        "fit_worker.dask_setup(None); before = time.process_time(); "
        "fit(sys.argv[1], out=sys.argv[2], progress=False); "
        "print(json.dumps([time.process_time() - before, "
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bench.images), str(bench.folder / out)],
        env={**bench.environment, "PYTHONPATH": os.pathsep.join([str(WORKER.parent), *sys.path])},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds, peak_kib = json.loads(done.stdout)
    return {
        "lenses": bench.lenses,
        "processor ms per lens": round(1000 * seconds / bench.lenses, 2),
        "peak MB": round(peak_kib * 1024 / 1e6, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lenses", type=int, default=40, help="really fitted")
    parser.add_argument("--rows", type=int, default=10_000, help="made up")
    given = parser.parse_args(arguments)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if given.rows:
            many = FitBench(Path(folder) / "rows", given.rows, made_up=True)
            few = FitBench(Path(folder) / "few", given.rows // 10, made_up=True)
            results["rows that are made up"] = {
                "a worker killed twice": killed_twice(many),
                "one process": one_process(many),
                "one process, a tenth of the lenses": one_process(few),
            }
            same = (many.folder / "alone.csv").read_bytes()
            assert (many.folder / "killed.csv").read_bytes() == same
        if given.lenses:
            fitted = FitBench(Path(folder) / "fits", given.lenses, made_up=False)
            results["lenses that are fitted, a worker killed twice"] = {
                **killed_twice(fitted),
                "median processor seconds of a fit": median_seconds(fitted),
            }
    print(json.dumps({**results, "cores": len(os.sched_getaffinity(0))}, indent=1))


if __name__ == "__main__":
    main()
