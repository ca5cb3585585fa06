"""Score 100,000 images on two workers, and kill what can be killed.

Run with ``python reliability/cluster.py``; prints one JSON object. Every run is compared with
that of one process: each shard's table must have the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rings import write_model, write_shards

PATIENCE_S = 180


class Bench:
    """A folder with a model, shards and the results of one process."""

    def __init__(self, folder: Path, images: int, size: int) -> None:
        self.folder, self.images = folder, images
        self.model = write_model(folder / "model")
        self.shards = write_shards(folder / "shards", images, size)
        listed = folder / "shards.txt"
        listed.write_text("".join(f"{path}\n" for path in self.shards))
        self.list = f"@{listed}"

    def command(self, out: str, cluster: str) -> list[str]:
        """The command line that scores all shards."""
        return [
            sys.executable, "-m", "lumpylens.cli", "score", str(self.model), self.list,
            "--cluster", cluster, "--device", "cpu", "--out", str(self.folder / out),
            "--json", "--quiet",
        ]  # fmt: skip

    def start(self, out: str, cluster: str) -> subprocess.Popen[str]:
        """Start it."""
        return subprocess.Popen(
            self.command(out, cluster), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def finish(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait for the end, which must be a good one."""
        told, said = process.communicate(timeout=PATIENCE_S)
        if process.returncode != 0:
            raise RuntimeError(f"status {process.returncode}: {said}")
        return dict(json.loads(told))

    def wait_for_a_fifth(self, process: subprocess.Popen[str], out: str) -> None:
        """Wait until a run is in the middle."""
        deadline = time.monotonic() + PATIENCE_S
        while self.finished(out) < len(self.shards) // 5:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"no run to disturb: {str(process.communicate())[:1000]}")
            time.sleep(0.005)

    def finished(self, out: str) -> int:
        """Number of shards with a receipt."""
        return len(list((self.folder / out / "shards").glob("*.json")))

    def check_all_there_once(self, out: str, reference: str = "one") -> None:
        """Compare every table, and what is made of all of them, byte for byte."""
        here, there = self.folder / out, self.folder / reference
        names = sorted(path.name for path in (there / "shards").glob("*.parquet"))
        assert len(names) == len(self.shards), (len(names), len(self.shards))
        assert names == sorted(path.name for path in (here / "shards").glob("*.parquet"))
        assert not list((here / "shards").glob(".*")), "a half-written file is left"
        for name in [*(f"shards/{name}" for name in names), "top.csv", "selected.csv"]:
            assert (here / name).read_bytes() == (there / name).read_bytes(), name


def wait_until(true: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for a moment in the life of other processes."""
    deadline = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.005)


def resident_mb(pid: int) -> float:
    """Memory of a process, in MB of 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def one_process(bench: Bench, out: str = "one") -> dict[str, Any]:
    """Score in a single process, without Dask."""
    code = (
        "import sys, resource, json; from lumpylens.scale import score_shards; "
        "c = score_shards(sys.argv[1], [sys.argv[2]], out=sys.argv[3], progress=False); "
        "print(json.dumps([c.seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))"
    )
    arguments = [str(bench.model), bench.list, str(bench.folder / out)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
    )
    seconds, peak_kib = json.loads(done.stdout)
    return {
        "seconds": seconds,
        "images_per_s": round(bench.images / seconds, 1),
        "peak_mb": round(peak_kib * 1024 / 1e6, 1),
    }


def on_workers(bench: Bench, workers: int, out: str = "workers") -> dict[str, Any]:
    """Score on a local cluster; sample the memory of the driver at each tenth of the shards."""
    process = bench.start(out, f"local:{workers}")
    memory: list[float] = []
    marks = [len(bench.shards) * tenth // 10 for tenth in range(1, 11)]
    first = 0.0
    while process.poll() is None:
        done = bench.finished(out)
        first = first or (time.monotonic() if done else 0.0)
        while len(memory) < len(marks) and done >= marks[len(memory)]:
            memory.append(round(resident_mb(process.pid), 1))
        last = time.monotonic()
        time.sleep(0.02)
    told = bench.finish(process)
    bench.check_all_there_once(out)
    return {
        "seconds": told["seconds"],
        "images_per_s": round(bench.images / told["seconds"], 1),
        "images_per_s_after_the_start": round(bench.images / (last - first), 1),
        "driver_mb_at_each_tenth": memory,
    }


@contextmanager
def cluster(
    folder: Path,
    workers: int,
    *,
    preload: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers, each a process of its own; the first process is the scheduler."""
    place = folder / f"scheduler-{time.monotonic_ns()}.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "dask"]
    environment = {**environment, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [*dask, "scheduler", "--port", "0", "--scheduler-file", str(place), "--no-dashboard"],
            env=environment, **quiet,
        )
    ]  # fmt: skip
    try:
        wait_until(lambda: is_json(place), "the scheduler starts")
        for _ in range(workers):
            processes.append(start_worker(place, environment, preload=preload))
        yield str(place), processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def is_json(place: Path) -> bool:
    """Tell whether the scheduler has written all of its file."""
    try:
        return bool(json.loads(place.read_text()))
    except (OSError, ValueError):
        return False


def start_worker(
    place: Path, environment: Mapping[str, str], *, preload: Path | None = None
) -> subprocess.Popen[bytes]:
    """A worker of one thread, which nobody starts again when it dies."""
    loaded = [] if preload is None else ["--preload", str(preload)]
    return subprocess.Popen(
        [
            sys.executable, "-m", "dask", "worker", "--scheduler-file", str(place),
            "--nthreads", "1", "--no-nanny", "--no-dashboard", *loaded,
        ],
        env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def kill_a_worker(bench: Bench, out: str = "worker-killed") -> dict[str, Any]:
    """Kill -9 one of two workers in mid-run: the other does all, without a second command."""
    with cluster(bench.folder, 2) as (address, (_, first, _second)):
        process = bench.start(out, address)
        bench.wait_for_a_fifth(process, out)
        first.kill()
        at_kill, running = bench.finished(out), process.poll() is None
        told = bench.finish(process)
    bench.check_all_there_once(out)
    assert running, "the run was over before the worker was killed"
    return {"shards_at_kill": at_kill, "shards": told["shards"], "images": told["images"]}


def kill_the_scheduler(bench: Bench, out: str = "scheduler-killed") -> dict[str, Any]:
    """Kill -9 the scheduler in mid-run: the driver says so, and a second run does the rest."""
    with cluster(bench.folder, 2) as (address, (scheduler, *_)):
        process = bench.start(out, address)
        bench.wait_for_a_fifth(process, out)
        scheduler.kill()
        killed = time.monotonic()
        _, said = process.communicate(timeout=PATIENCE_S)
        noticed = time.monotonic() - killed
    assert process.returncode == 2, (process.returncode, said)
    at_kill = bench.finished(out)
    assert at_kill < len(bench.shards), "the run was over before the scheduler was killed"
    with cluster(bench.folder, 2) as (address, _):
        told = bench.finish(bench.start(out, address))
    assert 0 < told["shards_before"] < told["shards"]
    bench.check_all_there_once(out)
    return {
        "said": said.strip().splitlines(),
        "noticed_after_s": round(noticed, 1),
        "shards_at_kill": at_kill,
        "shards_not_done_again": told["shards_before"],
        "images": told["images"],
    }


def kill_the_driver(bench: Bench, out: str = "driver-killed") -> dict[str, Any]:
    """Kill -9 the driver, in which the scheduler of a local cluster lives; run it again."""
    process = bench.start(out, "local:2")
    bench.wait_for_a_fifth(process, out)
    children = children_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    at_kill = bench.finished(out)
    assert at_kill < len(bench.shards), "the run was over before the driver was killed"
    wait_until(lambda: not any(map(alive, children)), "the workers end when their driver does", 60)
    told = bench.finish(bench.start(out, "local:2"))
    assert 0 < told["shards_before"] < told["shards"]
    bench.check_all_there_once(out)
    return {
        "shards_at_kill": at_kill,
        "shards_not_done_again": told["shards_before"],
        "images": told["images"],
    }


def children_of(pid: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--shard", type=int, default=1000, help="images in each")
    parser.add_argument("--killed", type=int, default=20_000, help="images in the killed runs")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "large", given.images, given.shard)
        smaller = Bench(Path(folder) / "small", given.images // 10, given.shard)
        found = {
            "images": given.images,
            "one process": one_process(bench),
            "two workers": on_workers(bench, 2),
            "one process, a tenth of the images": one_process(smaller),
            "two workers, a tenth of the images": on_workers(smaller, 2),
        }
        killed = Bench(Path(folder) / "killed", given.killed, given.killed // 100)
        one_process(killed)
        found["a worker killed"] = kill_a_worker(killed)
        found["the scheduler killed"] = kill_the_scheduler(killed)
        found["the driver killed"] = kill_the_driver(killed)
    print(json.dumps({**found, "cores": len(os.sched_getaffinity(0))}, indent=1))


if __name__ == "__main__":
    main()
