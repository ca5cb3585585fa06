"""Speed of reading images into checked batches, beside numpy, h5py and Pillow, in one run.

Run with ``python benchmarks/reading.py``; prints one JSON object. Images per second of processor
time, one thread, files in the cache of the system.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from lumpylens.data import LensImages

BATCH = 64
"""Images of one batch: as many as most detectors score together."""


def rate(count: int, read: Callable[[], object], repeats: int) -> float:
    """Images per second of processor time, the best of some runs."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        read()
        taken.append(time.process_time() - start)
    return count / min(taken)


def batches_of(path: Path) -> None:
    """Read all images of a file or folder in batches."""
    for _ in LensImages.open(path).batches(BATCH):
        pass


def slices_of(array: np.ndarray | h5py.Dataset) -> None:
    """Read all images of an array, as many at a time as a batch has."""
    for start in range(0, len(array), BATCH):
        np.array(array[start : start + BATCH])


def decode_all(folder: Path) -> None:
    """Decode all pictures of a folder."""
    for path in sorted(folder.iterdir()):
        with Image.open(path) as picture:
            np.asarray(picture)


def main() -> None:
    """Write files, time everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=8000, help="images in one stack")
    parser.add_argument("--pictures", type=int, default=1000, help="JPEG files")
    parser.add_argument("--side", type=int, default=64, help="pixels along a side of a stack")
    parser.add_argument("--repeats", type=int, default=5, help="runs, of which the best counts")
    given = parser.parse_args()
    random = np.random.default_rng(0)
    pixels = random.normal(size=(given.n, given.side, given.side)).astype(np.float32)
    y, x = np.mgrid[-75:75, -75:75]
    lens = 200 * np.exp(-np.hypot(x, y) / 12)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        np.save(folder / "stack.npy", pixels)
        with h5py.File(folder / "stack.h5", "w") as file:
            file["images"] = pixels
        psf = np.exp(-np.hypot(*np.mgrid[-5:6, -5:6])).astype(np.float32)
        np.savez(folder / "stack.npz", images=pixels, noise=np.ones_like(pixels), psf=psf)
        del pixels
        pictures = folder / "pictures"
        pictures.mkdir()
        for k in range(given.pictures):
            noisy = np.clip(random.poisson(lens + 2), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(pictures / f"{k:05d}.jpg")
        array = np.load(folder / "stack.npy", mmap_mode="r")
        with h5py.File(folder / "stack.h5") as file:
            reads: dict[str, tuple[int, Callable[[], object]]] = {
                "npy": (given.n, lambda: batches_of(folder / "stack.npy")),
                "numpy": (given.n, lambda: slices_of(array)),
                "HDF5": (given.n, lambda: batches_of(folder / "stack.h5")),
                "h5py": (given.n, lambda: slices_of(file["images"])),
                "npz with noise maps and a PSF": (
                    given.n,
                    lambda: batches_of(folder / "stack.npz"),
                ),
                "JPEG": (given.pictures, lambda: batches_of(pictures)),
                "Pillow": (given.pictures, lambda: decode_all(pictures)),
            }
            rates = {
                f"{name}, images/s": round(rate(count, read, given.repeats))
                for name, (count, read) in reads.items()
            }
    print(json.dumps({**rates, "images": given.n, "side": given.side, "pictures": given.pictures,
                      "machine": platform.machine()}))  # fmt: skip


if __name__ == "__main__":
    main()
