"""Small noisy rings, made in microseconds: images for campaigns that are about numbers of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIDE = 32
CHUNK = 2000
"""Images made at once, so that memory stays small."""


def rings(count: int, seed: int, *, lump: float = 0.0, side: int = SIDE) -> NDArray[np.float32]:
    """Round to slightly flattened rings with noise, and a spot of height `lump` on each.

    Returns
    -------
    ndarray of float32, shape (count, side, side)
    """
    random = np.random.default_rng(seed)
    y, x = (np.indices((side, side)) - (side - 1) / 2) * 32 / side
    images = np.empty((count, side, side), np.float32)
    for start in range(0, count, CHUNK):
        part = images[start : start + CHUNK]
        radius = random.uniform(7, 10, (len(part), 1, 1))
        flattening = random.uniform(0.8, 1.25, (len(part), 1, 1))
        distance = np.sqrt(x**2 * flattening + y**2 / flattening) - radius
        spot = lump * np.exp(-((x - radius) ** 2 + y**2) / 3)
        part[:] = np.exp(-(distance**2) / 4) + spot + random.normal(0, 0.05, part.shape)
    return images


def write_shards(folder: Path, images: int, size: int, *, seed: int = 1000) -> list[Path]:
    """Write `images` rings, one in a hundred with a spot, as npy files of `size`."""
    folder.mkdir(parents=True)
    paths = []
    for number, start in enumerate(range(0, images, size)):
        count = min(size, images - start)
        stack = rings(count, seed + number)
        lumpy = max(1, count // 100)
        stack[:lumpy] = rings(lumpy, seed + number, lump=1.0)
        paths.append(folder / f"shard-{number:05d}.npy")
        np.save(paths[-1], stack)
    return paths


def write_model(folder: Path, *, training: int = 4000, seed: int = 1) -> Path:
    """Train `pca` on rings; a tenth of them calibrates it."""
    from lumpylens.verbs.train import train

    train(rings(training, seed), "pca", out=folder, settings={"max_components": 30}, progress=False)
    return folder
