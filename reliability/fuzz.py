"""Damage files of every format, and see that nothing worse than a reason comes of it.

Run with ``python reliability/fuzz.py``; prints one JSON object. Case k of a format is a function
of the seed, the format and k. Each runs in a child process under a limit of memory and of time,
with an audit hook that reports what no reader has to do: unpickle, start programs, connect, write.
A case fails if the child dies, hangs or does such a thing, if another exception than the package's
own comes out, if an image is neither readable nor given a reason, if it gets neither a finite score
nor a reason, or if a file that was only cut short is read as other pixels than it holds. What fails
is kept with its seed in the folder of failures.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rings import rings

from lumpylens.data.images import LensImages
from lumpylens.data.readers.companions import ENDINGS
from lumpylens.errors import DataWarning, LumpylensError

HANG_S = 30
MEMORY_BYTES = 6 * 2**30
"""Address space of a child; torch alone reserves more than 3 GB."""
SIDE = 40
FORBIDDEN = ("pickle.find_class", "os.system", "os.exec", "os.fork", "os.posix_spawn",
             "subprocess.Popen", "socket.connect", "shutil.rmtree", "os.remove", "os.rename",
             "os.chmod", "ctypes.dlopen")  # fmt: skip
HEADER_BYTES = 4096
"""Half of all changes are made within these first bytes."""
MAGIC = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\1", b"-1",
         b"1e999", b"NaN", b"99999999", b"'", b"\n", b"../", b"\x80\x04."]  # fmt: skip


# -- what is damaged ------------------------------------------------------------------------


def real_or_made(pattern: str, made: Callable[[Path], Path], folder: Path, pick: int) -> Path:
    """A real file, where the folder of real data is known, else one made here."""
    named = os.environ.get("LUMPYLENS_TEST_DATA")
    found = sorted(Path(named).glob(pattern))[:50] if named else []
    if not found:
        return made(folder)
    chosen = found[pick % len(found)]
    target = folder / chosen.name
    shutil.copyfile(chosen, target)
    return target


def bytes_of(images: np.ndarray) -> np.ndarray:
    """Images on 0 to 255."""
    low, high = images.min(axis=(1, 2), keepdims=True), images.max(axis=(1, 2), keepdims=True)
    return np.rint((images - low) / (high - low) * 255).astype(np.uint8)


def picture(suffix: str, **options: Any) -> Callable[[Path], Path]:
    """Writer of one picture."""

    def write(folder: Path) -> Path:
        from PIL import Image

        path = folder / f"ring{suffix}"
        Image.fromarray(bytes_of(rings(1, 3, side=SIDE))[0]).save(path, **options)
        return path

    return write


def fits(folder: Path) -> Path:
    """Image, noise map and PSF in one file."""
    from astropy.io import fits as io

    image = rings(1, 3, side=SIDE)[0]
    header = io.Header({"PIXSCALE": 0.05, "BUNIT": "electron/s"})
    path = folder / "ring.fits"
    io.HDUList(
        [
            io.PrimaryHDU(image, header),
            io.ImageHDU(np.full_like(image, 0.1), name="NOISE"),
            io.ImageHDU(np.ones((5, 5), np.float32), name="PSF"),
        ]
    ).writeto(path)
    return path


def fits_gz(folder: Path) -> Path:
    """The same, compressed."""
    import gzip

    plain = fits(folder)
    path = folder / "ring.fits.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    return path


def hdf5(folder: Path) -> Path:
    """Stack with ids, labels and noise."""
    import h5py

    path = folder / "rings.h5"
    with h5py.File(path, "w") as file:
        file["images"] = rings(3, 3, side=SIDE)
        file["ids"] = ["a", "b", "c"]
        file["noise"] = np.full((SIDE, SIDE), 0.1, np.float32)
        file.attrs["pixel_scale_arcsec"] = 0.05
    return path


def npy(folder: Path) -> Path:
    """Stack."""
    path = folder / "rings.npy"
    np.save(path, rings(3, 3, side=SIDE))
    return path


def npz(folder: Path) -> Path:
    """Compressed stack."""
    path = folder / "rings.npz"
    np.savez_compressed(path, images=rings(3, 3, side=SIDE), ids=["a", "b", "c"], labels=[0, 1, 0])
    return path


IMAGES: dict[str, Callable[[Path, int], Path]] = {
    "jpeg": lambda folder, pick: real_or_made(
        "slc/lenses/no_sub/*.jpg", picture(".jpg", quality=75), folder, pick
    ),
    "png": lambda folder, pick: picture(".png")(folder),
    "tiff": lambda folder, pick: picture(".tif")(folder),
    "fits": lambda folder, pick: real_or_made("slacs/*/image.fits", fits, folder, pick),
    "fits with extensions": lambda folder, pick: fits(folder),
    "fits.gz": lambda folder, pick: fits_gz(folder),
    "hdf5": lambda folder, pick: hdf5(folder),
    "npy": lambda folder, pick: npy(folder),
    "npz": lambda folder, pick: npz(folder),
}
MODELS = ("model.safetensors", "config.toml")
TABLES = ("scores.csv", "scores.ecsv", "scores.parquet")
FORMATS = (*IMAGES, *MODELS, *TABLES)


# -- how it is damaged ----------------------------------------------------------------------


def damage(content: bytes, random: np.random.Generator) -> tuple[str, bytes]:
    """Change a file's bytes in one of the ways that disks, networks and enemies have."""
    kind = str(random.choice(["cut", "flip", "overwrite", "magic", "remove", "insert", "repeat"]))
    size = len(content)
    if kind == "cut":
        return kind, content[: int(random.integers(size))]
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        reach = min(HEADER_BYTES, size) if random.random() < 0.5 else size
        at = int(random.integers(reach))
        length = int(random.integers(1, 65))
        if kind == "flip":
            changed[at % len(changed)] ^= 1 << int(random.integers(8))
        elif kind == "overwrite":
            changed[at : at + length] = random.bytes(length)
        elif kind == "magic":
            word = MAGIC[int(random.integers(len(MAGIC)))]
            changed[at : at + len(word)] = word
        elif kind == "remove":
            del changed[at : at + length]
        elif kind == "insert":
            changed[at:at] = random.bytes(length)
        else:
            changed[at:at] = changed[at : at + 8 * length]
        if not changed:
            break
    return kind, bytes(changed)


# -- one case, in the child -----------------------------------------------------------------


class Child:
    """Runs cases; complains by raising."""

    def __init__(self, folder: Path, seed: int) -> None:
        from rings import write_model

        from lumpylens.store.folder import load_model
        from lumpylens.verbs.score import score

        self.folder, self.seed = folder, seed
        self.model_folder = folder / "model"
        if not self.model_folder.exists():
            write_model(self.model_folder, training=300)
        self.model = load_model(self.model_folder)
        self.probe = LensImages.from_arrays(rings(3, 9))
        self.scores = score(self.model, self.probe, progress=False)
        self.detectors: dict[tuple[int, ...], Any] = {}
        self.originals: dict[bytes, list[np.ndarray]] = {}
        self.forbidden: list[str] = []
        self.watching = False
        sys.addaudithook(self.watch)

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note what no reader has to do; cannot be taken off again."""
        if not self.watching:
            return
        if event in FORBIDDEN:
            self.forbidden.append(f"{event} {arguments}"[:200])
        elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
            self.forbidden.append(f"open for writing {arguments}"[:200])

    def case(self, kind: str, number: int) -> tuple[str, Path]:
        """Make the damaged file of a case."""
        random = np.random.default_rng((self.seed, FORMATS.index(kind), number))
        place = Path(tempfile.mkdtemp(dir=self.folder))
        pick = int(random.integers(50))
        if kind in MODELS:
            path = Path(shutil.copytree(self.model_folder, place / "model")) / kind
        elif kind in TABLES:
            path = self.scores.write(place / kind)
        else:
            path = IMAGES[kind](place, pick)
        how, content = damage(path.read_bytes(), random)
        self.before = path.read_bytes()
        path.write_bytes(content)
        return how, path

    def run(self, kind: str, number: int) -> str:
        """Run one case; what came of it in one word."""
        how, path = self.case(kind, number)
        if kind in IMAGES:
            originals = self.pixels_of(path, self.before) if how == "cut" else []
        self.watching, self.forbidden = True, []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                if kind in MODELS:
                    outcome = self.use_model(path)
                elif kind in TABLES:
                    outcome = self.read_table(path)
                else:
                    outcome = self.read_images(path, originals)
        except LumpylensError as problem:
            outcome = "refused"
            assert "\n" not in str(problem), f"more than one line: {problem}"
        finally:
            self.watching = False
        assert not self.forbidden, self.forbidden
        return outcome

    def pixels_of(self, path: Path, content: bytes) -> list[np.ndarray]:
        """Pixels of the file as it was."""
        if content not in self.originals:
            if len(self.originals) > 200:
                self.originals.clear()
            name = path.name
            ending = next((end for end in ENDINGS if name.endswith(end)), path.suffix)
            whole = path.with_name(f"whole{ending}")
            whole.write_bytes(content)
            self.originals[content] = [item.image for item in LensImages.open(whole)]
            whole.unlink()
        return self.originals[content]

    def read_images(self, path: Path, originals: list[np.ndarray]) -> str:
        """Read and score all images of a file."""
        images = LensImages.open(path)
        outcomes = set()
        for position, item in enumerate(images):
            if item.error:
                assert "\n" not in item.error, item.error
                outcomes.add("reason")
                continue
            assert item.image is not None, "neither pixels nor a reason"
            assert item.image.dtype == np.float32
            assert item.image.ndim == 2
            assert np.isfinite(item.image).all(), "pixels that are not finite"
            if originals:
                assert np.array_equal(item.image, originals[position]), (
                    "cut, yet read as other pixels"
                )
            outcomes.add("read")
        scores = self.detector(images).score(images)
        for score, error in zip(scores.anomaly_score, scores.error, strict=True):
            assert np.isfinite(score) != bool(error), f"score {score} with error {error!r}"
        return "reason" if "reason" in outcomes else "read"

    def detector(self, images: LensImages) -> Any:
        """One that scores the shape of the first readable image."""
        from lumpylens.detectors import create

        shape = next((item.image.shape for item in images if not item.error), (SIDE, SIDE))
        if min(shape) < 4 or max(shape) > 400:
            shape = (SIDE, SIDE)
        if shape not in self.detectors:
            random = np.random.default_rng(0)
            normal = random.normal(size=(40, *shape)).astype(np.float32)
            self.detectors[shape] = create("pca", max_components=3).fit(normal)
        return self.detectors[shape]

    def use_model(self, path: Path) -> str:
        """Load a model whose weights or settings are damaged; weights never load as others."""
        from lumpylens.verbs.score import score

        table = score(path.parent, self.probe, progress=False)
        if path.name == "model.safetensors":
            assert np.array_equal(table.anomaly_score, self.scores.anomaly_score), "other weights"
        for value, error in zip(table.anomaly_score, table.error, strict=True):
            assert np.isfinite(value) != bool(error), f"score {value} with error {error!r}"
        return "read"

    def read_table(self, path: Path) -> str:
        """Read a damaged table of scores."""
        from lumpylens.results.score_table import ScoreTable

        ScoreTable.read(path)
        return "read"


def child(folder: Path, seed: int) -> None:
    """Run the cases whose format and number come on standard input; answer each in one line."""
    worker = Child(folder, seed)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    warnings.simplefilter("ignore")
    print("ready", flush=True)
    for line in sys.stdin:
        kind, number = json.loads(line)
        try:
            answer = {"outcome": worker.run(kind, number)}
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is a finding
            answer = {"failure": f"{type(problem).__name__}: {problem}"[:500]}
        for left in folder.iterdir():
            if left.name != "model":
                shutil.rmtree(left)
        print(json.dumps(answer), flush=True)


# -- all cases, in the parent ---------------------------------------------------------------


class Children:
    """A child process, started again when it dies or hangs."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.process: subprocess.Popen[str] | None = None

    def ask(self, kind: str, number: int) -> dict[str, str]:
        """Answer of one case, or how the child ended."""
        process = self.process or self.start()
        assert process.stdin is not None
        process.stdin.write(json.dumps([kind, number]) + "\n")
        process.stdin.flush()
        answer = self.line(process)
        if answer is None:
            self.stop()
            return {"failure": f"no answer after {HANG_S} s"}
        if not answer:
            status = process.wait()
            self.stop()
            return {"failure": f"the process died with status {status}"}
        return dict(json.loads(answer))

    def start(self) -> subprocess.Popen[str]:
        """A fresh child that is ready."""
        self.process = process = subprocess.Popen(
            [sys.executable, __file__, "--child", str(self.folder), "--seed", str(self.seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if self.line(process, 120) != "ready\n":
            raise RuntimeError("the child does not start")
        return process

    def line(self, process: subprocess.Popen[str], patience_s: float = HANG_S) -> str | None:
        """Next line; None if none comes in time, empty if the child has died."""
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], patience_s)
        return process.stdout.readline() if ready else None

    def stop(self) -> None:
        """End the child."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def cases(count: int) -> Iterator[tuple[str, int]]:
    """Formats in turn."""
    for position in range(count):
        yield FORMATS[position % len(FORMATS)], position // len(FORMATS)


def fuzz(count: int, seed: int, keep: Path | None = None) -> dict[str, Any]:
    """Run `count` cases; copy what fails to the folder `keep`."""
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in FORMATS}
    failures, slowest = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        children = Children(Path(folder), seed)
        try:
            children.start()
            for kind, number in cases(count):
                started = time.perf_counter()
                answer = children.ask(kind, number)
                slowest = max(slowest, time.perf_counter() - started)
                if "failure" in answer:
                    failures.append({"format": kind, "case": number, "seed": seed, **answer})
                outcomes[kind][answer.get("outcome", "failure")] += 1
        finally:
            children.stop()
    if keep is not None and failures:
        keep.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            maker = Child(Path(folder), seed)
            for failure in failures:
                _, path = maker.case(failure["format"], failure["case"])
                name = f"{seed}-{failure['case']}-{path.name}"
                shutil.copyfile(path, keep / name)
                (keep / f"{name}.json").write_text(json.dumps(failure) + "\n")
    return {
        "cases": count,
        "seed": seed,
        "slowest_s": round(slowest, 2),
        "outcomes": {kind: dict(sorted(times.items())) for kind, times in outcomes.items()},
        "failures": failures,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cases, or be the child."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(__file__).parent / "failures")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        child(given.child, given.seed)
        return
    found = fuzz(given.cases, given.seed, given.keep)
    print(json.dumps(found, indent=1))
    sys.exit(bool(found["failures"]))


if __name__ == "__main__":
    main()
