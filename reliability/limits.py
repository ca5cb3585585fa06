"""Full disks, read-only folders, huge images, Ctrl-C: one line, and no half result.

Run with ``python reliability/limits.py``; prints one JSON object. Disks are small file systems in
memory, which only the superuser can mount; elsewhere a limit on the size of files stands in for
the full one, and the read-only one is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rings import rings, write_model, write_shards

from lumpylens.files.tables import read_columns

LARGE = 4096
FILE_LIMIT_BYTES = 30_000
"""Stands in for a full disk: less than any result here, more than a small note."""
PATIENCE_S = 120


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "lumpylens.cli", *map(str, words), "--quiet"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False, **options,
    )  # fmt: skip


def one_line(done: subprocess.CompletedProcess[str], status: int = 2) -> str:
    """The complaint, which must be one line and no traceback."""
    assert done.returncode == status, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("lumpylens: "), done.stderr
    return lines[0]


@contextmanager
def disk(folder: Path, *, kilobytes: int = 64, read_only: bool = False) -> Iterator[bool]:
    """A small disk at `folder`; False where it cannot be mounted."""
    folder.mkdir()
    options = f"size={kilobytes}k" + (",ro" if read_only else "")
    words = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    mounted = os.geteuid() == 0 and not subprocess.run(words, check=False).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def verbs(folder: Path, out: Path) -> dict[str, list[object]]:
    """Command lines that write to `out`."""
    train = ["train", folder / "rings.npy", "--detector", "pca", "--set", "max_components=30"]
    shards = [*(folder / "shards").iterdir(), "--cluster", "local:1"]
    return {
        "train": [*train, "--out", out / "model"],
        "score": ["score", folder / "model", folder / "rings.npy", "--out", out / "scores.csv"],
        "score on shards": ["score", folder / "model", *shards, "--out", out / "campaign"],
        "simulate": ["simulate", "slc", "--n", 24, "--out", out / "lenses.npz"],
    }


def limit_files() -> None:
    """Let no file of this process grow."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, FILE_LIMIT_BYTES))


def full_disk(folder: Path) -> dict[str, str]:
    """Write where there is no room; what is said."""
    said = {}
    for number, verb in enumerate(verbs(folder, folder)):
        place = folder / f"full-{number}"
        with disk(place) as mounted:
            options = {} if mounted else {"preexec_fn": limit_files}
            done = run(*verbs(folder, place)[verb], **options)
            if verb == "score on shards":
                # A shard that cannot be written is a failed shard, and stops no other. A table
                # may have found room where its receipt has none; then it is whole.
                assert done.returncode in (1, 2), done.stderr
                lines = (done.stdout + done.stderr).splitlines()
                said[verb] = next(line for line in lines if "No space" in line or "large" in line)
                for table in place.rglob("*.parquet"):
                    assert len(read_columns(table)["id"]) == 2000, table
                assert not list(place.rglob(".*")), list(place.rglob("*"))
            else:
                said[verb] = one_line(done)
                # What a repeated command goes on from stays: epochs, and parts of images.
                kept = (".run", ".parts")
                finished = [entry.name for entry in place.iterdir() if entry.suffix not in kept]
                assert not finished, f"{verb} left {finished}"
    return {verb: line.replace(str(folder), "FOLDER") for verb, line in said.items()}


def read_only_folder(folder: Path) -> dict[str, str]:
    """Write where nothing can be written; the complaint must come before the work."""
    said = {}
    place = folder / "read-only"
    with disk(place, read_only=True) as mounted:
        if not mounted:
            return {"left out": "only the superuser can mount a read-only folder"}
        for verb, words in verbs(folder, place).items():
            said[verb] = one_line(run(*words)).replace(str(folder), "FOLDER")
    return said


def large_images(folder: Path) -> dict[str, Any]:
    """Score images of 4096x4096 pixels with a model for small ones, and read them."""
    from astropy.io import fits
    from PIL import Image

    place = folder / "large"
    place.mkdir()
    image = np.random.default_rng(0).normal(100, 10, (LARGE, LARGE)).astype(np.float32)
    fits.PrimaryHDU(image).writeto(place / "a.fits")
    np.save(place / "b.npy", image)
    picture = Image.fromarray(image.clip(0, 255).astype(np.uint8))
    picture.save(place / "c.png")
    picture.save(place / "d.jpg")
    for k in range(6):
        os.link(place / "a.fits", place / f"e{k}.fits")
    code = (
        "import sys, resource; from lumpylens import LensImages, score; "
        "t = score(sys.argv[1], sys.argv[2], progress=False); "
        "r = [i.image.shape for i in LensImages.open(sys.argv[2])]; "
        "print(set(t.error), set(r), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    words = [sys.executable, "-c", code, str(folder / "model"), str(place)]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    said, peak = told.rsplit(" ", 1)
    assert f"{LARGE}x{LARGE} pixels, expected 32x32" in said, said
    return {"images": 10, "said": said, "peak_mb": round(int(peak) / 1e6)}


def interrupted(folder: Path) -> dict[str, str]:
    """Press Ctrl-C in the middle of long work."""
    said = {}
    shards = write_shards(folder / "many", 120_000, 1000)
    long = {
        "score": ["score", folder / "model", folder / "many", "--out", folder / "late.csv"],
        "score on shards": ["score", folder / "model", *shards, "--cluster", "local:1",
                            "--out", folder / "late"],
        "simulate": ["simulate", "slc", "--n", 100_000, "--out", folder / "late.npz"],
    }  # fmt: skip
    for verb, words in long.items():
        process = subprocess.Popen(
            [sys.executable, "-m", "lumpylens.cli", *map(str, words), "--quiet"],
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        started = time.monotonic()
        while time.monotonic() < started + PATIENCE_S:
            busy = any((folder / "late" / "shards").glob("*.json"))
            if process.poll() is not None or (busy if verb == "score on shards" else
                                              time.monotonic() > started + 6):  # fmt: skip
                break
            time.sleep(0.05)
        # The terminal sends it to all processes of the group.
        os.killpg(process.pid, signal.SIGINT)
        told, complaint = process.communicate(timeout=PATIENCE_S)
        done = subprocess.CompletedProcess(words, process.returncode, told, complaint)
        said[verb] = one_line(done, 130)
        assert not list(folder.glob("late.*")), "a half result"
        left = [path.name for path in folder.glob(".late*") if path.suffix != ".parts"]
        assert not left, f"half-written: {left}"
    return said


def memory_per_image(folder: Path) -> dict[str, float]:
    """Peak memory of `score` in one process, for two numbers of images."""
    code = (
        "import sys, resource; from lumpylens import score; "
        "score(sys.argv[1], sys.argv[2], progress=False); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    peaks = {}
    for count in (10_000, 50_000):
        np.save(folder / "count.npy", rings(count, 5))
        words = [sys.executable, "-c", code, str(folder / "model"), str(folder / "count.npy")]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        peaks[count] = int(done.stdout)
    few, many = peaks
    return {
        **{f"peak_mb at {count} images": round(peak / 1e6) for count, peak in peaks.items()},
        "bytes_per_image": round((peaks[many] - peaks[few]) / (many - few)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything and print it."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "model")
        np.save(folder / "rings.npy", rings(2000, 3))
        write_shards(folder / "shards", 4000, 2000)
        found = {
            part.__name__.replace("_", " "): part(folder)
            for part in (full_disk, read_only_folder, large_images, interrupted, memory_per_image)
        }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
